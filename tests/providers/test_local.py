"""The embedded model: its provider on a fake engine, and the real engine."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from llm_magic.answers import schema_of
from llm_magic.errors import ContextTooLong, LocalModelUnavailable
from llm_magic.events import Progress, TextDelta
from llm_magic.providers.base import Finished, ProviderEvent, ProviderRequest, UsageReport
from llm_magic.providers.local import engine
from llm_magic.providers.local.provider import LocalProvider
from llm_magic.providers.local.weights import SMOLLM2
from llm_magic.types import Message, ModelSpec
from tests.support.schemas import CASES, HARD_TO_COMPILE

MODEL = ModelSpec(
    id="local",
    provider="local",
    api_model="local",
    context_window=4096,
    max_output_tokens=1024,
    params={"seed": 0, "temperature": 0},
)


def ask(prompt: str, max_output_tokens: int = 16, **more) -> ProviderRequest:
    messages = (Message(role="user", content=prompt),)
    return ProviderRequest(model=MODEL, messages=messages, max_output_tokens=max_output_tokens, **more)


async def events_of(provider: LocalProvider, request: ProviderRequest) -> list[ProviderEvent]:
    return [event async for event in provider.stream(request)]


def text_of(events: list[ProviderEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


# --- with a stand-in ----------------------------------------------------------------------------------------------


class FakeEngine:
    """A few lines of HTTP on loopback that answer "Hello", or an error."""

    def __init__(self, path: Path, name: str, base_url: str) -> None:
        self.path, self.name, self.base_url, self.api_key = path, name, base_url, "a-key-of-loopback"
        self.running = True

    def alive(self) -> bool:
        return self.running

    def stop(self) -> None:
        self.running = False


class Stage:
    """A LocalProvider on fakes, and a record of its calls."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.engines: list[FakeEngine] = []
        self.fetches: list[threading.Event] = []
        self.may_fetch = threading.Event()
        self.may_fetch.set()
        self.fetching = threading.Event()
        self.error: Exception | None = None

    def provider(self, **environ: str) -> LocalProvider:
        return LocalProvider(
            environ=environ,
            folder=Path("models"),
            choose=lambda: SMOLLM2,
            fetch=self.fetch,
            start_engine=self.start,
        )

    def fetch(self, weights, folder, *, progress, stop) -> Path:
        self.fetches.append(stop)
        progress("fetching the local model", 0.5)
        self.fetching.set()
        while not self.may_fetch.wait(0.01):
            if stop.is_set():
                raise LocalModelUnavailable("it was stopped")
        return folder / weights.file_name

    def start(self, path: Path, name: str) -> FakeEngine:
        if self.error:
            raise self.error
        self.engines.append(FakeEngine(path, name, self.base_url))
        return self.engines[-1]


@pytest.fixture
def requests() -> list[str]:
    """The requests that reached the fake engine, as text."""
    return []


@pytest.fixture
async def stage(requests: list[str]) -> AsyncIterator[Stage]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.split(":")[1]) for line in head.lower().split("\r\n") if line.startswith("content-length")
        )
        requests.append(head + (await reader.readexactly(length)).decode())
        chunks = [
            {"choices": [{"delta": {"content": "Hello"}}], "model": SMOLLM2.name},
            {"choices": [{"delta": {}, "finish_reason": "stop"}], "model": SMOLLM2.name},
            {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}},
        ]
        body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield Stage(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")


@pytest.fixture(autouse=True)
async def closed_connections() -> AsyncIterator[None]:
    """Close the SDK's clients on the loop that made them."""
    yield
    from llm_magic import providers

    await providers.aclose()


async def test_progress_then_the_answer(stage: Stage) -> None:
    events = await events_of(stage.provider(), ask("Hi"))
    progress = [event for event in events if isinstance(event, Progress)]
    assert progress[-2] == Progress(message=f"loading the local model {SMOLLM2.name}")
    assert progress[-1].done
    assert text_of(events) == "Hello"
    assert isinstance(events[-1], Finished)
    assert events[-1].served_model == SMOLLM2.name
    assert stage.engines[0].path == Path("models") / SMOLLM2.file_name


async def test_progress_of_a_download_is_reported_while_it_runs(stage: Stage) -> None:
    stage.may_fetch.clear()
    async with aclosing(stage.provider().stream(ask("Hi"))) as events:
        assert await anext(events) == Progress(message="fetching the local model", fraction=0.5)
        stage.may_fetch.set()
        assert text_of([event async for event in events]) == "Hello"


async def test_the_second_request_uses_the_running_engine(stage: Stage) -> None:
    provider = stage.provider()
    await events_of(provider, ask("Hi"))
    events = await events_of(provider, ask("Hi again"))
    assert not [event for event in events if isinstance(event, Progress)]
    assert len(stage.engines) == len(stage.fetches) == 1


async def test_each_request_has_its_own_connection_and_the_key(stage: Stage, requests: list[str]) -> None:
    await events_of(stage.provider(), ask("Hi", max_output_tokens=7))
    head, _, body = requests[0].partition("\r\n\r\n")
    assert "connection: close" in head.lower()
    assert "authorization: bearer a-key-of-loopback" in head.lower()
    assert json.loads(body).items() >= {"max_tokens": 7, "seed": 0, "temperature": 0}.items()
    assert "extra_headers" not in body


async def test_concurrent_first_requests_start_one_engine(stage: Stage) -> None:
    provider = stage.provider()
    answers = await asyncio.gather(*(events_of(provider, ask("Hi")) for _ in range(8)))
    assert [text_of(events) for events in answers] == ["Hello"] * 8
    assert len(stage.engines) == len(stage.fetches) == 1


async def test_an_engine_that_died_is_replaced(stage: Stage) -> None:
    provider = stage.provider()
    await events_of(provider, ask("Hi"))
    stage.engines[0].running = False
    assert text_of(await events_of(provider, ask("Hi"))) == "Hello"
    assert len(stage.engines) == 2


async def test_a_failed_start_is_tried_again_by_the_next_request(stage: Stage) -> None:
    provider = stage.provider()
    stage.error = LocalModelUnavailable("no memory for it")
    with pytest.raises(LocalModelUnavailable, match="no memory for it"):
        await events_of(provider, ask("Hi"))
    stage.error = None
    assert text_of(await events_of(provider, ask("Hi"))) == "Hello"


async def test_a_download_is_abandoned_when_its_last_request_leaves(stage: Stage) -> None:
    provider = stage.provider()
    stage.may_fetch.clear()
    first, second = provider.stream(ask("Hi")), provider.stream(ask("Hi"))
    await anext(first)
    await anext(second)
    await first.aclose()
    assert not stage.fetches[0].is_set()
    await second.aclose()
    assert stage.fetches[0].is_set()
    stage.may_fetch.set()
    assert text_of(await events_of(provider, ask("Hi"))) == "Hello"


async def test_a_canceled_task_abandons_its_download(stage: Stage) -> None:
    stage.may_fetch.clear()
    task = asyncio.create_task(events_of(stage.provider(), ask("Hi")))
    await asyncio.to_thread(stage.fetching.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stage.fetches[0].is_set()


async def test_stop_ends_the_engine_and_the_next_request_starts_another(stage: Stage) -> None:
    provider = stage.provider()
    await events_of(provider, ask("Hi"))
    provider.stop()
    assert not stage.engines[0].alive()
    provider.stop()
    assert text_of(await events_of(provider, ask("Hi"))) == "Hello"
    assert len(stage.engines) == 2


async def test_stop_ends_a_download(stage: Stage) -> None:
    provider = stage.provider()
    stage.may_fetch.clear()
    async with aclosing(provider.stream(ask("Hi"))) as events:
        await anext(events)
        await asyncio.to_thread(provider.stop)
        with pytest.raises(LocalModelUnavailable, match="stopped"):
            await anext(events)
    assert stage.engines == []


async def test_requests_work_on_a_loop_in_a_background_thread(stage: Stage) -> None:
    provider = stage.provider()

    async def there() -> str:
        from llm_magic import providers

        try:
            return text_of(await events_of(provider, ask("Hi")))
        finally:
            await providers.aclose()

    assert await asyncio.to_thread(asyncio.run, there()) == "Hello"
    assert text_of(await events_of(provider, ask("Hi"))) == "Hello"
    assert len(stage.engines) == 1


async def test_a_users_file_is_served_under_its_name(stage: Stage, tmp_path: Path) -> None:
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(b"GGUF")
    provider = LocalProvider(environ={"LLM_MAGIC_LOCAL_MODEL": str(mine)}, start_engine=stage.start)
    await events_of(provider, ask("Hi"))
    assert (stage.engines[0].path, stage.engines[0].name) == (mine, "mine")


async def test_a_missing_file_of_the_user_is_an_error(stage: Stage) -> None:
    provider = LocalProvider(environ={"LLM_MAGIC_LOCAL_MODEL": "/nowhere.gguf"}, start_engine=stage.start)
    with pytest.raises(LocalModelUnavailable, match="not a file"):
        await events_of(provider, ask("Hi"))


@pytest.mark.parametrize("value", ["0", "false", "Off"])
async def test_the_environment_turns_the_model_off(stage: Stage, value: str) -> None:
    provider = stage.provider(LLM_MAGIC_LOCAL=value)
    assert provider.unavailable() == "turned off by LLM_MAGIC_LOCAL=0"
    with pytest.raises(LocalModelUnavailable, match="turned off"):
        await events_of(provider, ask("Hi"))
    assert stage.fetches == []


def test_without_the_engine_the_model_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert LocalProvider(environ={}).unavailable() == "not installed: pip install llm-magic[local]"


def test_no_key_is_needed() -> None:
    pytest.importorskip("xllamacpp")
    assert LocalProvider(environ={}).unavailable() is None


# --- the child process --------------------------------------------------------------------------------------------


def test_a_file_that_is_not_a_model_is_an_error(tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"not a model")
    with pytest.raises(LocalModelUnavailable, match=r"could not be loaded from .*bad\.gguf.*is it a GGUF file"):
        engine.start(bad, "bad")


def test_a_child_that_dies_at_once_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engine, "CHILD_CODE", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(LocalModelUnavailable, match="SIGKILL"):
        engine.start(tmp_path / "any.gguf", "any")


def test_a_missing_executable_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(LocalModelUnavailable, match="could not be started"):
        engine.start(tmp_path / "any.gguf", "any")


def test_importing_the_module_of_the_child_is_light() -> None:
    code = "import sys; import llm_magic.providers.local.engine; print([*sys.modules])"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("openai", "anthropic", "httpx2", "pandas", "IPython", "xllamacpp", "psutil", "asyncio"):
        assert f"'{heavy}'" not in modules


# --- for real -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(smollm2: Path) -> Iterator[LocalProvider]:
    started.clear()
    provider = LocalProvider(
        environ={}, folder=smollm2.parent, choose=lambda: SMOLLM2, start_engine=start_and_record_engine
    )
    yield provider
    provider.stop()


started: list[engine.Engine] = []


def start_and_record_engine(path: Path, name: str) -> engine.Engine:
    started.append(engine.start(path, name))
    return started[-1]


async def test_a_real_answer_streams(real: LocalProvider) -> None:
    events = await events_of(real, ask("What is the capital of France?"))
    assert len(text_of(events)) > 10
    assert len([event for event in events if isinstance(event, TextDelta)]) > 3
    usage = [event for event in events if isinstance(event, UsageReport)][-1].usage
    assert usage.input_tokens > 20
    assert 3 < usage.output_tokens <= 16
    assert isinstance(events[-1], Finished)
    assert events[-1].finish_reason in ("stop", "length")
    assert events[-1].served_model == SMOLLM2.name


async def test_the_same_seed_gives_the_same_answer(real: LocalProvider) -> None:
    """Also if part of the prompt is cached, and for concurrent requests."""
    prompt = "Name three colours."
    first = text_of(await events_of(real, ask(prompt)))
    await events_of(real, ask("Something else."))
    answers = await asyncio.gather(*(events_of(real, ask(prompt)) for _ in range(3)))
    assert [text_of(events) for events in answers] == [first] * 3


async def test_requests_in_quick_succession_all_work(real: LocalProvider) -> None:
    """The server drops some connections that it promises to keep, so none may be used twice."""
    for _ in range(40):
        assert text_of(await events_of(real, ask("Hi", max_output_tokens=2)))


async def test_an_answer_bound_to_a_schema_parses(real: LocalProvider) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "large": {"type": "boolean"}},
        "required": ["city", "large"],
        "additionalProperties": False,
    }
    answer = json.loads(text_of(await events_of(real, ask("Tell me about Paris.", 64, schema=schema_of(schema)))))
    assert set(answer) == {"city", "large"}
    assert isinstance(answer["large"], bool)


async def test_the_engine_takes_every_schema(real: LocalProvider) -> None:
    schemas = {name: case[0] for name, case in CASES.items()} | HARD_TO_COMPILE
    for name, schema in schemas.items():
        if len(schema_of(schema).text) < 10_000:  # a longer one exceeds the context
            events = await events_of(real, ask("Give an example, as JSON.", 4, schema=schema_of(schema)))
            assert isinstance(events[-1], Finished), name


async def test_a_canceled_answer_frees_the_slot(real: LocalProvider) -> None:
    async with aclosing(real.stream(ask("Write a very long story about a river.", 4000))) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    async with asyncio.timeout(10):  # The story would take a minute, and there is one slot.
        assert text_of(await events_of(real, ask("Hi", max_output_tokens=2)))


async def test_a_canceled_prompt_frees_the_slot(real: LocalProvider) -> None:
    """Canceled before the first token, while 3,600 tokens are being read."""
    reading = asyncio.create_task(events_of(real, ask("A river runs. " * 900, 10)))
    done, _ = await asyncio.wait([reading], timeout=0.5)
    assert not done
    reading.cancel()
    async with asyncio.timeout(10):
        assert text_of(await events_of(real, ask("Hi", max_output_tokens=2)))


async def test_a_prompt_beyond_the_context_is_an_error(real: LocalProvider) -> None:
    with pytest.raises(ContextTooLong, match="4096"):
        await events_of(real, ask("river " * 9000))


async def test_an_engine_that_is_killed_is_replaced(real: LocalProvider) -> None:
    await events_of(real, ask("Hi", max_output_tokens=2))
    old = started[-1]
    old.process.kill()
    old.process.wait()
    assert text_of(await events_of(real, ask("Hi", max_output_tokens=2)))
    assert started[-1].process.pid != old.process.pid


async def test_the_engine_requires_its_key_and_hides_it(real: LocalProvider) -> None:
    await events_of(real, ask("Hi", max_output_tokens=2))
    child = psutil.Process(started[-1].process.pid)
    key = started[-1].api_key
    assert key not in " ".join([*child.cmdline(), *child.environ().values()])
    connections = getattr(child, "net_connections", None) or child.connections
    assert {connection.laddr.ip for connection in connections("inet")} == {"127.0.0.1"}
    reader, writer = await asyncio.open_connection("127.0.0.1", int(started[-1].base_url.split(":")[2].split("/")[0]))
    writer.write(b"GET /v1/models HTTP/1.0\r\n\r\n")
    assert b" 401 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


@pytest.mark.skipif(sys.platform == "win32", reason="process groups of POSIX")
async def test_an_interrupt_of_the_notebook_does_not_reach_the_engine(real: LocalProvider) -> None:
    await events_of(real, ask("Hi", max_output_tokens=2))
    assert os.getpgid(started[-1].process.pid) != os.getpgid(0)


def test_no_orphan_is_left_by_a_parent_that_exits_or_is_killed(smollm2: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from llm_magic.providers.local import engine\n"
        "running = engine.start(Path(sys.argv[1]), 'x'); print(running.process.pid, flush=True); input()"
    )
    for end in ("exit", "kill"):
        parent = subprocess.Popen(
            [sys.executable, "-c", code, str(smollm2)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with parent:
            assert parent.stdout
            child = psutil.Process(int(parent.stdout.readline()))
            if end == "kill":
                parent.send_signal(signal.SIGKILL)
            else:
                parent.communicate("\n")
            parent.wait(10)
            child.wait(10)  # Raises TimeoutExpired if it stays.


def test_the_engine_prints_nothing_on_the_notebooks_streams(smollm2: Path, capfd: pytest.CaptureFixture[str]) -> None:
    running = engine.start(smollm2, "x")
    running.stop()
    running.stop()
    assert not running.alive()
    assert capfd.readouterr() == ("", "")
