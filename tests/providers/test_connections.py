"""Connections: how many there are, and what they survive."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trustme

from llm_magic import Ledger, Registry, Router
from llm_magic.bridge import bridge
from llm_magic.providers import aclose
from tests.support import loopback
from tests.support.forwarding import Forwarder, forwarding
from tests.support.loopback import Answer, Fault

MODELS = {"openai": "gpt-5.5", "anthropic": "claude-sonnet-4-6", "deepseek": "deepseek-v3"}
CALLS = 40


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


@pytest.mark.parametrize("wire", MODELS)
async def test_calls_one_after_the_other_take_one_connection(forwarder: Forwarder, wire: str) -> None:
    router = new_router()
    for _ in range(CALLS):
        assert (await router.route("hello", model=MODELS[wire], cascade=False)).text == "The answer is 42."
    assert forwarder.connections == 1


@pytest.mark.parametrize("wire", MODELS)
async def test_calls_at_once_take_no_more_connections_than_are_in_flight(forwarder: Forwarder, wire: str) -> None:
    router, in_flight = new_router(), asyncio.Semaphore(8)

    async def ask() -> None:
        async with in_flight:
            await router.route("hello", model=MODELS[wire], cascade=False)

    await asyncio.gather(*(ask() for _ in range(CALLS)))
    assert forwarder.connections <= 8


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
