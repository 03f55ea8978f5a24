"""Steps of the execution of a column."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any

from llm_magic.columns.records import Record
from llm_magic.columns.rows import Item
from llm_magic.errors import AllAttemptsFailed, LLMMagicError, ProviderError
from llm_magic.types import Outcome


async def take(items: AsyncIterator[Item], count: int) -> AsyncGenerator[Item]:
    for _ in range(count):
        if (item := await anext(items, None)) is None:
            return
        yield item


async def next_or_turn(
    ended: asyncio.Queue[Item], seconds: float | None, sleep: Callable[[float], Coroutine[Any, Any, None]]
) -> list[Item]:
    """Return the next row that ends, or nothing after `seconds`, when another one may be sent."""
    if seconds is None:
        return [await ended.get()]
    getting, turn = asyncio.create_task(ended.get()), asyncio.create_task(sleep(seconds))
    try:
        await asyncio.wait({getting, turn}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        turn.cancel()
        if not getting.done():
            getting.cancel()
    return [getting.result()] if getting.done() and not getting.cancelled() else []


def record_failure(record: Record, error: LLMMagicError) -> None:
    """Record the last cause of a failed run."""
    causes = error.exceptions if isinstance(error, AllAttemptsFailed) else (error,)
    provider_errors = [cause for cause in causes if isinstance(cause, ProviderError)]
    record.outcome = (provider_errors[-1].outcome if provider_errors else Outcome.ERROR).value
    record.text = None
    record.error = error.message if isinstance(error, AllAttemptsFailed) else str(error)


def record_cancellation(record: Record) -> None:
    record.outcome, record.text = Outcome.CANCELLED.value, None
    record.error = "the column was stopped while this row was in flight"
