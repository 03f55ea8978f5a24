"""Kept connections that the server closes just when the next request goes out."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from types import SimpleNamespace

import openai
import pytest

from llm_magic import AllAttemptsFailed, Ledger, Registry, Router
from llm_magic.bridge import bridge
from llm_magic.events import TextDelta
from llm_magic.execute import RetryPolicy
from llm_magic.providers import aclose, errors, sending
from llm_magic.providers.anthropic import AnthropicProvider
from llm_magic.providers.base import ProviderRequest, RequestSent
from llm_magic.providers.http import Endpoint
from llm_magic.providers.openai import OpenAIProvider
from llm_magic.providers.refused_parameters import SentRequest
from llm_magic.types import CostBasis, Message, Outcome
from tests.support import loopback

PROVIDERS = {"openai": OpenAIProvider, "anthropic": AnthropicProvider}
MODELS = {"openai": "gpt-5.5", "anthropic": "claude-sonnet-4-6"}
ANSWERS: dict[str, dict[str, object]] = {
    "openai": {
        "model": "gpt-5.5",
        "choices": [{"message": {"content": "Paris."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2},
    },
    "anthropic": {
        "type": "message",
        "model": "claude-sonnet-4-6",
        "content": [{"type": "text", "text": "Paris."}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 9, "output_tokens": 2},
    },
}


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read_request(connection: socket.socket) -> bool:
    """Read a request to its end. Returns False at the end of the connection."""
    with connection.makefile("rb") as lines:
        size = 0
        for line in lines:
            if line.lower().startswith(b"content-length:"):
                size = int(line.split(b":")[1])
            if line == b"\r\n":
                return len(lines.read(size)) == size
    return False


class ClosingServer:
    """Answers the first request of a connection. At the second one, it closes the connection in a way of its own."""

    def __init__(self, close: Callable[[socket.socket], None], answer: object, *, reads: bool) -> None:
        self.close, self.reads = close, reads
        self.connections = 0
        self.body = json.dumps(answer).encode()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listening.getsockname()[1]}"

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        if not read_request(connection):
            return
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(self.body)}\r\n\r\n"
        connection.sendall(head.encode() + self.body)
        if self.reads:
            read_request(connection)
        else:
            connection.recv(1)
            time.sleep(0.2)  # until the kernel takes no more
        self.close(connection)


@contextmanager
def serving(server: ClosingServer) -> Iterator[ClosingServer]:
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.listening.shutdown(socket.SHUT_RDWR)
        server.listening.close()
        thread.join(5)
        asyncio.run_coroutine_threadsafe(aclose(), bridge.loop()).result(5)


def new_router(server: ClosingServer, monkeypatch: pytest.MonkeyPatch) -> Router:
    for name in ("OPENAI", "ANTHROPIC"):
        monkeypatch.setenv(f"{name}_BASE_URL", server.url)
        monkeypatch.setenv(f"{name}_API_KEY", loopback.KEY)
    policy = RetryPolicy(backoff_s=0.0)
    return Router(registry=Registry.load("article"), ledger=Ledger(":memory:"), policy=policy)


@pytest.mark.parametrize("close", [socket.socket.close, reset])
@pytest.mark.parametrize("wire", MODELS)
def test_a_request_that_a_closed_connection_took_is_tried_again_and_its_input_is_an_estimate(
    wire: str, close: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(ClosingServer(close, ANSWERS[wire], reads=True)) as server:
        router = new_router(server, monkeypatch)
        ask = {"model": MODELS[wire], "cascade": False, "max_output_tokens": 400}
        first, second = (router.route_sync("Capital of France?", **ask) for _ in range(2))
    assert (first.text, second.text) == ("Paris.", "Paris.")
    assert server.connections == 2
    failed, answered = second.attempts
    assert (failed.outcome, answered.outcome) == (Outcome.STREAM_BROKEN, Outcome.OK)
    assert failed.error is not None
    assert "closed a kept connection" in failed.error
    assert (failed.cost_estimated, failed.cost_basis) == (True, CostBasis.COUNTED)
    assert failed.usage.output_tokens == 0
    assert failed.usage.input_tokens > 0
    assert not answered.cost_estimated
    assert router.ledger.held_usd == Decimal(0)
    assert router.circuit(router.registry[MODELS[wire]]).state == "closed"


def test_a_kept_connection_that_breaks_while_the_server_works_is_charged_as_a_broken_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "CLOSING_S", 0.0)
    with serving(ClosingServer(socket.socket.close, ANSWERS["openai"], reads=True)) as server:
        router = new_router(server, monkeypatch)
        ask = {"model": MODELS["openai"], "cascade": False, "max_output_tokens": 400}
        _, second = (router.route_sync("Capital of France?", **ask) for _ in range(2))
    failed = second.attempts[0]
    assert (failed.outcome, failed.cost_basis) == (Outcome.STREAM_BROKEN, CostBasis.HELD)
    assert failed.error is not None
    assert "closed a kept connection" not in failed.error


@pytest.mark.parametrize("wire", MODELS)
async def test_a_request_that_was_not_written_in_whole_is_sent_again_in_the_same_attempt(wire: str) -> None:
    """The kernel takes a few megabytes, whether or not anything reads them."""
    with serving(ClosingServer(reset, ANSWERS[wire], reads=False)) as server:
        registry = Registry.load("article")
        environ = {f"{wire.upper()}_BASE_URL": server.url, f"{wire.upper()}_API_KEY": loopback.KEY}
        provider = PROVIDERS[wire](registry.providers[wire], environ=environ)
        for text in ("Capital of France?", "x" * 12_000_000):
            message = Message(role="user", content=text)
            request = ProviderRequest(model=registry[MODELS[wire]], messages=(message,), max_output_tokens=10)
            stream = provider.stream(request)
            sent = await anext(stream)
            assert isinstance(sent, RequestSent)
            assert not sent.was_written()
            events = [event async for event in stream]
            assert sent.was_written()
            assert [event.text for event in events if isinstance(event, TextDelta)] == ["Paris."]
        assert server.connections == 2
        await aclose()


def test_a_new_connection_that_is_closed_is_an_ordinary_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ClosingServer(socket.socket.close, ANSWERS["openai"], reads=True)
    monkeypatch.setattr(server, "serve", lambda connection: (read_request(connection), connection.close()))
    with serving(server):
        router = new_router(server, monkeypatch)
        with pytest.raises(AllAttemptsFailed) as caught:
            router.route_sync("Capital of France?", model="gpt-5.5", cascade=False)
    assert "closed a kept connection" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "body_bytes", "may_have_left"), [("POST", 100, True), ("POST", 10**6, False), ("CONNECT", 0, False)]
)
async def test_a_short_request_counts_as_written_as_soon_as_its_body_is(
    method: str, body_bytes: int, may_have_left: bool
) -> None:
    request = SimpleNamespace(method=method.encode(), headers=[(b"Content-Length", str(body_bytes).encode())])
    written = sending.Sending()
    await written("http11.send_request_headers.started", {"request": request})
    assert not written.was_written()
    await written("http11.send_request_body.started", {"request": request})
    assert written.was_written() is may_have_left
    await written("http11.send_request_body.complete", {})
    assert written.was_written() is (method == "POST")


def test_an_unknown_error_is_free_only_before_the_request_leaves() -> None:
    request = sending.http_library(openai).Request("POST", "https://localhost/v1")
    request.extensions["trace"] = on_its_way = sending.Sending()
    error = openai.APIConnectionError(request=request)
    error.__cause__ = ssl.SSLError("bad record mac")
    endpoint = Endpoint(base_url="https://localhost/v1", api_key="none")
    sent = SentRequest(url="", model="m", schema="", output_limit=100, parameters=(), renames={})
    assert not errors.translate(error, openai, endpoint, sent, accepted=False).billed
    on_its_way.is_begun = True
    assert errors.translate(error, openai, endpoint, sent, accepted=False).billed
