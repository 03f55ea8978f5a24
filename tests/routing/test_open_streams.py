"""Streams and columns that are left open when their event loop ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from llm_magic import Router
from llm_magic.events import TextDelta
from llm_magic.providers.base import ProviderEvent, ProviderRequest, RequestSent
from llm_magic.types import Outcome
from tests.support import builders


class Silent:
    """Sends one word, and then waits. `closed` counts the streams that were closed."""

    announces_sending = True

    def __init__(self) -> None:
        self.closed = 0

    def unavailable(self) -> str | None:
        return None

    async def stream(self, _: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        try:
            yield RequestSent()
            yield TextDelta(text="word")
            await asyncio.Event().wait()
        finally:
            self.closed += 1


async def stream_to_first_text(router: Router) -> AsyncIterator[object]:
    events = router.stream("hello")
    async for event in events:
        if isinstance(event, TextDelta):
            break
    return events


async def column_to_first_text(router: Router) -> AsyncIterator[object]:
    rows = aiter(router.map("Translate {{value}}", over=["one", "two"], pilot=0))
    first = asyncio.ensure_future(anext(rows))
    while router.ledger.held_usd == 0:
        await asyncio.sleep(0)
    first.cancel()
    return rows


@pytest.mark.parametrize("leave", [stream_to_first_text, column_to_first_text])
def test_a_loop_that_ends_cancels_and_charges_what_is_open(leave: object, caplog: pytest.LogCaptureFixture) -> None:
    provider = Silent()
    router = builders.router(builders.model("only"), providers={"cloud": provider})
    left = asyncio.run(leave(router))  # type: ignore[operator]
    assert "asynchronous generator" not in caplog.text
    assert router.ledger.held_usd == 0
    rows = router.ledger.rows()
    assert provider.closed == len(rows) >= 1
    assert {row.outcome for row in rows} == {Outcome.CANCELLED}
    assert all(row.cost_usd > 0 and row.cost_estimated for row in rows)
    del left
