"""Steps of the execution of a column."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from llm_magic.columns.records import Record
from llm_magic.columns.rows import Item
from llm_magic.errors import AllAttemptsFailed, LLMMagicError, ProviderError
from llm_magic.types import Outcome


async def next_or_first(ended: asyncio.Queue[Item], others: Sequence[Coroutine[Any, Any, None]]) -> list[Item]:
    """Return the next row that ends, or nothing if one of the others ends before."""
    if not others:
        return [await ended.get()]
    getting, waiting = asyncio.create_task(ended.get()), [asyncio.create_task(other) for other in others]
    try:
        await asyncio.wait({getting, *waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for other in waiting:
            other.cancel()
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
