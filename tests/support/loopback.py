"""A loopback server that speaks the providers' APIs, fails by script, and keeps a journal of its bills.

Each endpoint has a path: Anthropic's Messages API is at `/anthropic`, OpenAI's Chat Completions at `/openai/v1`, and so on
(`PATHS`). An endpoint refuses what the real one refuses (`endpoint_rules`), in its own shape of errors. The bills are
computed from a price table of the server, without any code of the package.

A test that needs one endpoint says `with loopback.mistral() as server:` and sends to `server.base_url`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support import endpoint_rules
from tests.support.endpoint_rules import Refusal

PATHS = {
    "anthropic": "/anthropic",
    "openai": "/openai/v1",
    "deepseek": "/deepseek",
    "mistral": "/mistral/v1",
    "groq": "/groq/openai/v1",
    "gemini": "/gemini/v1beta/openai",
    "xai": "/xai/v1",
    "openrouter": "/openrouter/api/v1",
    "together": "/together/v1",
    "azure": "/azure/openai/v1",
    "vllm": "/vllm/v1",
    "ollama": "/ollama/v1",
    "nvidia": "/nvidia/v1",
    "cerebras": "/cerebras/v1",
    "lmstudio": "/lmstudio/v1",
}
"""The path of each endpoint's base URL."""
KEY = "sk-planted-key-0123456789"
MILLION = Decimal(1_000_000)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A good answer. Each word of the prompt and each chunk of the answer is one token."""

    chunks: tuple[str, ...] = ("The ", "answer ", "is ", "42.")
    cached: int = 0
    written: int = 0
    reasoning: int = 0
    served_model: str | None = None
    finish: str = "stop"
    gate: threading.Event | None = None
    """Pauses the stream after the first chunk, or an answer in one piece before it, until it is set."""
    thoughts: int = 0
    """Number of reasoning events before the first chunk."""
    whole: bool = False
    """Answer without streaming, although a stream was requested."""
    junk: Any = ...
    """If given, reported as the number of output tokens."""
    pause_s: float = 0.0
    """Before each chunk."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """An HTTP error before any token."""

    status: int
    message: str = "no"
    code: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    refusal: Refusal | None = None
    """The rule of the endpoint that the request breaks; None for a scripted fault."""


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A stream that goes wrong after some chunks: `cut`, `truncated`, `malformed`, `error`, `html`, or `silent`.

    `cut_body`: an answer in one piece, billed to its end, whose body is cut.
    """

    how: str
    chunks: tuple[str, ...] = ("half ", "an ")


Step = Answer | Fault | Broken


@dataclass(kw_only=True)
class Entry:
    """One request, as the server saw and billed it."""

    api: str
    model: str
    body: dict[str, Any]
    key: str
    status: int = 200
    input: int = 0
    cached: int = 0
    written: int = 0
    output: int = 0
    cost_usd: Decimal = Decimal(0)
    ended: str = ""
    """`whole`, `disconnected`, or what went wrong."""


class Server:
    """The server, its scripts and its journal. `prices`: USD per MTok as input, output, cached, cache write, by model."""

    def __init__(self, flavor: str = "openai") -> None:
        self.flavor = flavor
        self.scripts: dict[str, list[Step]] = {}
        self.prices: dict[str, tuple[str, str, str, str]] = {}
        self.journal: list[Entry] = []
        self.counted: list[dict[str, Any]] = []
        """Bodies of the requests to count tokens, which cost nothing."""
        self.count_fault: int | None = None
        """Status of the answer to a request to count tokens; None counts one token for each word, and 1,000 an image."""
        self.changed = threading.Condition()
        self.url = ""

    def script(self, model: str, *steps: Step) -> None:
        """Set the responses to the next requests for a model; the last one is repeated."""
        self.scripts[model] = list(steps)

    @property
    def base_url(self) -> str:
        """The base URL of the server's own flavor."""
        return self.url_of(self.flavor)

    def url_of(self, flavor: str) -> str:
        return self.url + PATHS[flavor]

    @property
    def billed_usd(self) -> Decimal:
        return sum((entry.cost_usd for entry in self.journal), Decimal(0))

    def environment(self) -> dict[str, str]:
        """The environment variables with which a process reaches this server."""
        variables: dict[str, str] = {}
        for flavor in ("anthropic", "openai", "deepseek"):
            name = flavor.upper()
            variables |= {f"{name}_API_KEY": f"{KEY}-{flavor}", f"{name}_BASE_URL": self.url_of(flavor)}
        return variables

    def wait_until(self, holds: Callable[[], bool], timeout_s: float = 10) -> None:
        with self.changed:
            assert self.changed.wait_for(holds, timeout_s), [entry.ended for entry in self.journal]

    def note(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def next_step(self, model: str) -> Step:
        script = self.scripts.get(model) or [Answer()]
        return script.pop(0) if len(script) > 1 else script[0]

    def bill(self, entry: Entry, output: int) -> None:
        """Charge the tokens that were read and written so far."""
        prices = [Decimal(usd) for usd in self.prices.get(entry.model, ("1", "5", "0.1", "1.25"))]
        entry.output = output
        fresh = entry.input - entry.cached - entry.written
        counts = (fresh, output, entry.cached, entry.written)
        entry.cost_usd = (
            sum((Decimal(count) * usd for count, usd in zip(counts, prices, strict=True)), Decimal(0)) / MILLION
        )


def _dialect(path: str) -> str:
    return path.split("/")[1]


async def _answer(server: Server, request: Request) -> Response:
    body = await request.json()
    api = _dialect(request.url.path)
    key = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
    entry = Entry(api=api, model=body.get("model", ""), body=body, key=key)
    server.journal.append(entry)
    server.note()
    step = _refusal(entry) or server.next_step(entry.model)
    if isinstance(step, Fault):
        entry.status, entry.ended = step.status, "fault"
        return _fault(api, step)
    if isinstance(step, Broken) and step.how == "html":
        entry.ended = "html"
        return Response("<html>hello</html>", media_type="text/html")
    entry.input = len(json.dumps([body["messages"], body.get("system", "")]).split())
    if isinstance(step, Answer):
        entry.cached, entry.written = min(step.cached, entry.input), step.written
        entry.input += step.written
        if step.whole or not body.get("stream"):
            return await _whole(server, entry, step)
    elif step.how == "cut_body":
        server.bill(entry, len(step.chunks))
        entry.ended = step.how
        return StreamingResponse(_cut_body(), media_type="application/json")
    return StreamingResponse(_stream(server, entry, step, request), media_type="text/event-stream")


async def _count(server: Server, request: Request) -> Response:
    body = await request.json()
    server.counted.append(body)
    refusals = (rule.check(body) for rule in endpoint_rules.ANTHROPIC_COUNT)
    if refusal := next((refusal for refusal in refusals if refusal is not None), None):
        return JSONResponse(endpoint_rules.error_body("anthropic", refusal), status_code=refusal.status)
    if server.count_fault is not None:
        return JSONResponse({"type": "error", "error": {"message": "no"}}, status_code=server.count_fault)
    images = sum(block.get("type") == "image" for block in endpoint_rules.blocks(body))
    return JSONResponse({"input_tokens": len(endpoint_rules.text_of(body).split()) + 1_000 * images})


def _refusal(entry: Entry) -> Fault | None:
    """Refuse what the real endpoint refuses."""
    if not entry.key.startswith(KEY):
        return Fault(status=401, message=f"bad key {entry.key}", code="authentication_error")
    refusal = endpoint_rules.refusal_of(entry.api, entry.body)
    if refusal is None:
        return None
    return Fault(status=refusal.status, message=refusal.message, refusal=refusal)


def _fault(api: str, step: Fault) -> JSONResponse:
    if step.refusal is not None:
        return JSONResponse(endpoint_rules.error_body(api, step.refusal), status_code=step.status)
    error = {"type": step.code or "error", "message": step.message, "code": step.code}
    body = {"type": "error", "error": error} if api == "anthropic" else {"error": error}
    return JSONResponse(body, status_code=step.status, headers=step.headers)


async def _stream(server: Server, entry: Entry, step: Answer | Broken, request: Request) -> AsyncIterator[str]:
    """Yield the events of a stream, and bill each as it is generated."""
    say = _Anthropic(entry) if entry.api == "anthropic" else _OpenAI(entry)
    served = entry.model if isinstance(step, Broken) else step.served_model or entry.model
    try:
        server.bill(entry, 0)
        yield say.start(served)
        for _ in range(step.thoughts if isinstance(step, Answer) else 0):
            yield say.thought(served)
        for number, chunk in enumerate(step.chunks, 1):
            if isinstance(step, Answer) and step.pause_s:
                await asyncio.sleep(step.pause_s)
            server.bill(entry, number)
            yield say.delta(chunk, served)
            if isinstance(step, Answer) and step.gate is not None and number == 1:
                while not step.gate.is_set():
                    if await request.is_disconnected():
                        return
                    await asyncio.sleep(0.005)
        if isinstance(step, Broken):
            entry.ended = step.how
            async for part in say.broken(step.how, request):
                yield part
            return
        server.bill(entry, len(step.chunks) + step.reasoning)
        entry.ended = "whole"
        yield say.end(step, served)
    finally:
        entry.ended = entry.ended or "disconnected"
        server.note()


async def _cut_body() -> AsyncIterator[str]:
    yield '{"id": "1", "choices": [{"mess'
    raise ConnectionResetError  # uvicorn drops the connection


async def _whole(server: Server, entry: Entry, step: Answer) -> JSONResponse:
    """The answer without streaming."""
    say = _Anthropic(entry) if entry.api == "anthropic" else _OpenAI(entry)
    while step.gate is not None and not step.gate.is_set():
        await asyncio.sleep(0.005)
    server.bill(entry, len(step.chunks) + step.reasoning)
    entry.ended = "whole"
    server.note()
    return JSONResponse(say.whole("".join(step.chunks), step, step.served_model or entry.model))


def _event(data: Any, name: str = "") -> str:
    return (f"event: {name}\n" if name else "") + f"data: {json.dumps(data)}\n\n"


_STOPS = {"stop": "end_turn", "length": "max_tokens"}


class _Speaker:
    def __init__(self, entry: Entry) -> None:
        self.entry = entry

    def error_event(self) -> str:
        raise NotImplementedError

    def whole(self, text: str, step: Answer, served: str) -> dict[str, Any]:
        raise NotImplementedError

    async def broken(self, how: str, request: Request) -> AsyncIterator[str]:
        if how == "malformed":
            yield "data: {broken\n\n"
        elif how == "error":
            yield self.error_event()
        elif how == "cut":
            raise ConnectionResetError  # uvicorn drops the connection
        elif how == "silent":
            while not await request.is_disconnected():
                await asyncio.sleep(0.005)


class _Anthropic(_Speaker):
    def counts(self, output: int) -> dict[str, Any]:
        return {
            "input_tokens": self.entry.input - self.entry.cached - self.entry.written,
            "cache_read_input_tokens": self.entry.cached,
            "cache_creation_input_tokens": self.entry.written,
            "output_tokens": output,
        }

    def message(self, served: str, content: list[dict[str, Any]], output: int) -> dict[str, Any]:
        message = {"id": "msg", "type": "message", "role": "assistant", "model": served}
        return {**message, "content": content, "stop_reason": None, "stop_sequence": None, "usage": self.counts(output)}

    def whole(self, text: str, step: Answer, served: str) -> dict[str, Any]:
        message = self.message(served, [{"type": "text", "text": text}], self.entry.output)
        message["usage"]["output_tokens_details"] = {"thinking_tokens": step.reasoning}
        return message | {"stop_reason": _STOPS.get(step.finish, step.finish)}

    def start(self, served: str) -> str:
        message = self.message(served, [], 0)
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        return (
            _event({"type": "message_start", "message": message}, "message_start")
            + _event(block, "content_block_start")
            + _event({"type": "ping"}, "ping")
        )

    def thought(self, served: str) -> str:
        """Current models omit their thinking unless a summary is requested."""
        omits = endpoint_rules.version_of(self.entry.model) >= (5, 0)
        is_shown = not omits or (self.entry.body.get("thinking") or {}).get("display") == "summarized"
        thought = {"type": "thinking_delta", "thinking": "hmm" if is_shown else ""}
        return _event({"type": "content_block_delta", "index": 0, "delta": thought}, "content_block_delta")

    def delta(self, text: str, served: str) -> str:
        delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
        return _event(delta, "content_block_delta")

    def end(self, step: Answer, served: str) -> str:
        reason = _STOPS.get(step.finish, step.finish)
        output = self.entry.output if step.junk is ... else step.junk
        details = {"output_tokens": output, "output_tokens_details": {"thinking_tokens": step.reasoning}}
        delta = {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": details}
        return (
            _event({"type": "content_block_stop", "index": 0}, "content_block_stop")
            + _event(delta, "message_delta")
            + _event({"type": "message_stop"}, "message_stop")
        )

    def error_event(self) -> str:
        error = {"type": "overloaded_error", "message": "Overloaded"}
        return _event({"type": "error", "error": error}, "error")


class _OpenAI(_Speaker):
    def chunk(self, served: str, choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> str:
        return _event(
            {"id": "c", "object": "chat.completion.chunk", "model": served, "choices": choices, "usage": usage}
        )

    def start(self, served: str) -> str:
        return self.chunk(served, [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])

    def thought(self, served: str) -> str:
        return self.chunk(served, [{"index": 0, "delta": {"reasoning_content": "hmm"}, "finish_reason": None}])

    def delta(self, text: str, served: str) -> str:
        return self.chunk(served, [{"index": 0, "delta": {"content": text}, "finish_reason": None}])

    def counts(self, step: Answer) -> dict[str, Any]:
        return {
            "prompt_tokens": self.entry.input,
            "completion_tokens": self.entry.output if step.junk is ... else step.junk,
            "prompt_tokens_details": {"cached_tokens": self.entry.cached, "cache_write_tokens": self.entry.written},
            "completion_tokens_details": {"reasoning_tokens": step.reasoning},
        }

    def whole(self, text: str, step: Answer, served: str) -> dict[str, Any]:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": step.finish}
        body = {"id": "c", "object": "chat.completion", "created": 1, "model": served, "choices": [choice]}
        return body | {"usage": self.counts(step)}

    def end(self, step: Answer, served: str) -> str:
        usage = self.counts(step)
        last: list[dict[str, Any]] = [{"index": 0, "delta": {}, "finish_reason": step.finish}]
        if self.entry.api in ("deepseek", "mistral"):  # their usage is part of the last choice
            return self.chunk(served, last, usage) + "data: [DONE]\n\n"
        asked = (self.entry.body.get("stream_options") or {}).get("include_usage", False)
        report = self.chunk(served, [], usage) if asked else ""
        return self.chunk(served, last) + report + "data: [DONE]\n\n"

    def error_event(self) -> str:
        return _event({"error": {"message": "The server had an error", "type": "server_error"}})


@contextmanager
def running(server: Server | None = None) -> Iterator[Server]:
    """Run a server on a free loopback port, in its own thread."""
    server = server or Server()

    async def answer(request: Request) -> Response:
        return await _answer(server, request)

    calls = [path + ("/v1/messages" if name == "anthropic" else "/chat/completions") for name, path in PATHS.items()]

    async def count(request: Request) -> Response:
        return await _count(server, request)

    counting = Route(f"{PATHS['anthropic']}/v1/messages/count_tokens", count, methods=["POST"])
    app = Starlette(routes=[*(Route(path, answer, methods=["POST"]) for path in calls), counting])
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1, timeout_keep_alive=60
    )
    unit = uvicorn.Server(config)
    thread = threading.Thread(target=unit.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        yield server
    finally:
        unit.should_exit = True
        thread.join(5)
        listening.close()


def _one(flavor: str) -> Callable[[], AbstractContextManager[Server]]:
    return lambda: running(Server(flavor))


anthropic, openai, deepseek, mistral = _one("anthropic"), _one("openai"), _one("deepseek"), _one("mistral")
groq, gemini, xai, openrouter = _one("groq"), _one("gemini"), _one("xai"), _one("openrouter")
together, azure, vllm, ollama = _one("together"), _one("azure"), _one("vllm"), _one("ollama")
