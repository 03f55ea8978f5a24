"""Loading of a provider before its first request, and at its first error."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from llm_magic import Router, RouteResult
from llm_magic.errors import StreamBroken
from llm_magic.events import TextDelta
from llm_magic.providers import errors
from llm_magic.providers.base import Finished, ProviderEvent, ProviderRequest, UsageReport
from llm_magic.providers.http import Endpoint
from llm_magic.providers.refused_parameters import SentRequest
from llm_magic.types import Usage
from tests.support import builders
from tests.support.builders import model


class SlowToLoad:
    """Loads until `released` is set."""

    def __init__(self) -> None:
        self.loaded_in: list[str] = []
        self.loading, self.released = threading.Event(), threading.Event()
        self.error: Exception | None = None

    def unavailable(self) -> str | None:
        return None

    def load(self) -> None:
        self.loading.set()
        assert self.released.wait(10)
        self.loaded_in.append(threading.current_thread().name)
        if self.error is not None:
            raise self.error

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        yield TextDelta(text=f"loaded: {len(self.loaded_in)}")
        yield UsageReport(usage=Usage(input_tokens=1, output_tokens=1))
        yield Finished(finish_reason="stop", served_model=request.model.api_model)


@pytest.fixture
def providers() -> dict[str, SlowToLoad]:
    return {"one": SlowToLoad(), "other": SlowToLoad()}


@pytest.fixture
def router(providers: dict[str, SlowToLoad]) -> Router:
    specs = [model(name, provider=name, price="1/2") for name in providers]
    return builders.router(*specs, providers=providers)


async def route(router: Router, name: str, **options: Any) -> RouteResult:
    return await router.route("hello", model=name, cascade=False, **options)


async def test_a_run_waits_only_for_the_provider_that_it_uses(router: Router, providers: dict[str, SlowToLoad]) -> None:
    waiting = asyncio.create_task(route(router, "other"))
    await asyncio.to_thread(providers["other"].loading.wait, 10)
    providers["one"].released.set()
    assert (await route(router, "one")).text == "loaded: 1"
    assert not waiting.done()
    providers["other"].released.set()
    assert (await waiting).text == "loaded: 1"


async def test_a_provider_is_loaded_once_and_not_on_the_event_loop(
    router: Router, providers: dict[str, SlowToLoad]
) -> None:
    providers["one"].released.set()
    texts = [result.text for result in await asyncio.gather(*(route(router, "one") for _ in range(5)))]
    loop_thread = threading.current_thread().name
    assert texts == ["loaded: 1"] * 5
    assert loop_thread not in providers["one"].loaded_in
    assert providers["other"].loaded_in == [], "no run has used it"


async def test_a_provider_that_fails_to_load_is_asked_all_the_same(
    router: Router, providers: dict[str, SlowToLoad]
) -> None:
    providers["one"].error = ImportError("a broken SDK")
    providers["one"].released.set()
    assert (await route(router, "one")).text == "loaded: 1"


def test_the_first_error_imports_no_other_http_library(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx2
    import openai

    monkeypatch.delitem(sys.modules, "httpx", raising=False)
    endpoint = Endpoint(base_url="http://127.0.0.1:1", api_key="sk-none")
    sent = SentRequest(url="", model="gpt", schema="", output_limit=1, parameters=(), renames={})
    error = errors.translate(httpx2.ReadError("reset"), openai, endpoint, sent, accepted=True)
    assert isinstance(error, StreamBroken)
    assert "httpx" not in sys.modules
