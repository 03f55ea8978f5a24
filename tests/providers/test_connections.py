"""Connections: how many there are, and what they survive."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import cast

import pytest
import trustme

from llm_magic import Ledger, Registry, Router
from llm_magic.bridge import bridge
from llm_magic.events import TextDelta
from llm_magic.providers import aclose, connect
from llm_magic.providers.base import ProviderRequest
from llm_magic.types import Message
from tests.support import loopback
from tests.support.forwarding import Forwarder, forwarding
from tests.support.loopback import Answer, Fault

MODELS = {"openai": "gpt-5.5", "anthropic": "claude-sonnet-4-6", "deepseek": "deepseek-v3"}


@pytest.fixture(scope="module")
def server() -> Iterator[loopback.Server]:
    with loopback.running() as running:
        yield running


@pytest.fixture
async def forwarder(server: loopback.Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Forwarder]:
    server.scripts.clear()
    server.journal.clear()
    with forwarding(server.url) as running:
        reach(server, running.url, monkeypatch)
        yield running
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(aclose(), bridge.loop()))


def reach(server: loopback.Server, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value.replace(server.url, url))


def new_router() -> Router:
    return Router(registry=Registry.load("article"), ledger=Ledger(":memory:"))


class CountingServer:
    """Answers every request at once, and counts connections."""

    def __init__(self, wire: str) -> None:
        self.connections = 0
        self.serving: set[asyncio.Task[None]] = set()
        self._response = "\r\n".join(
            ["HTTP/1.1 200 OK", "transfer-encoding: chunked", "", *_CHUNKS[wire], "", ""]
        ).encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.serving.add(cast("asyncio.Task[None]", asyncio.current_task()))
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                size = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(size.split(b":")[1]))
                writer.write(self._response)
        except asyncio.IncompleteReadError:
            writer.close()
            await writer.wait_closed()


def _chunked(*events: object, end: str = "") -> list[str]:
    """A body in the chunks of HTTP, one for each event."""
    texts = [*(f"data: {json.dumps(event)}\n\n" for event in events), *([end] if end else [])]
    return [*(f"{len(text):x}\r\n{text}" for text in texts), "0"]


_CHUNKS = {
    "openai": _chunked({"choices": [{"delta": {"content": "42"}, "finish_reason": "stop"}]}, end="data: [DONE]\n\n"),
    "deepseek": _chunked({"choices": [{"delta": {"content": "42"}, "finish_reason": "stop"}]}, end="data: [DONE]\n\n"),
    "anthropic": _chunked(
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "42"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    ),
}


@pytest.mark.parametrize("in_flight", [1, 8])
@pytest.mark.parametrize("wire", MODELS)
async def test_two_hundred_calls_take_no_more_connections_than_are_in_flight(
    wire: str, in_flight: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting, registry, slots = CountingServer(wire), Registry.load("article"), asyncio.Semaphore(in_flight)
    server = await asyncio.start_server(counting.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for name, value in {"API_KEY": "sk-key", "BASE_URL": url}.items():
        monkeypatch.setenv(f"{wire.upper()}_{name}", value)
    provider = connect(registry.providers)[registry[MODELS[wire]].provider]
    message = Message(role="user", content="hello")
    request = ProviderRequest(model=registry[MODELS[wire]], messages=(message,), max_output_tokens=10)

    async def ask() -> None:
        async with slots, aclosing(provider.stream(request)) as events:
            assert [event.text async for event in events if isinstance(event, TextDelta)] == ["42"]

    async with server:
        await asyncio.gather(*(ask() for _ in range(200)))
        await aclose()
        await asyncio.gather(*counting.serving)
    assert 1 <= counting.connections <= in_flight


@pytest.mark.parametrize("wire", MODELS)
async def test_errors_and_whole_answers_keep_the_connection(
    server: loopback.Server, forwarder: Forwarder, wire: str
) -> None:
    model, router = MODELS[wire], new_router()
    server.script(model, Fault(status=429), Answer(whole=True), Fault(status=500), Answer(finish="length"), Answer())
    for _ in range(3):
        await router.route("hello", model=model, cascade=False)
    assert len(server.journal) == 5
    assert forwarder.connections == 1


async def test_a_second_cell_takes_no_handshake(
    server: loopback.Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With TLS, and 40 ms to the server and back."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with forwarding(server.url, tls=context) as secure, forwarding(secure.url, delay_s=0.02) as distant:
        reach(server, distant.url, monkeypatch)
        router = new_router()
        for model in MODELS.values():
            before = distant.connections
            first, second = [await router.route("hello", model=model, cascade=False) for _ in range(2)]
            assert (first.text, second.text) == ("The answer is 42.",) * 2
            assert distant.connections == before + 1
            assert second.latency_s >= 0.04
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(aclose(), bridge.loop()))
