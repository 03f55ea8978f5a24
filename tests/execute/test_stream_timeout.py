"""The wait for the next event of a stream: cut short by silence, never by anything else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import closing

import pytest

from llm_magic.execute.stream_timeout import Silence


async def saying(*pauses: float | None) -> AsyncGenerator[int]:
    """Counts, turning the loop between; for ever silent at None."""
    for number, pause in enumerate(pauses):
        await (asyncio.sleep(0) if pause is not None else asyncio.Event().wait())
        yield number


async def test_events_come_through_and_then_none() -> None:
    with closing(Silence()) as silence:
        stream = saying(0, 0)
        assert [await silence.next_of(stream, limit) for limit in (60, None, 60)] == [0, 1, None]


async def test_silence_is_a_timeout_and_the_task_goes_on() -> None:
    with closing(Silence()) as silence:
        with pytest.raises(TimeoutError):
            await silence.next_of(saying(None), 0)
        assert await silence.next_of(saying(0), 60) == 0
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


async def test_a_timer_that_rings_too_early_or_for_nobody_cancels_nothing() -> None:
    with closing(Silence()) as silence:
        silence._loop.call_soon(silence._ring)
        assert await silence.next_of(saying(0), 60) == 0, "the wait has a minute yet"
        silence._ring()
        assert await silence.next_of(saying(0), 60) == 0, "nobody was waiting"


async def test_a_shorter_limit_after_a_longer_one() -> None:
    with closing(Silence()) as silence:
        assert await silence.next_of(saying(0), 60) == 0
        with pytest.raises(TimeoutError):
            await silence.next_of(saying(None), 0)


async def test_a_cancellation_stays_one() -> None:
    async def wait() -> None:
        with closing(Silence()) as silence:
            await silence.next_of(saying(None), 60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_in_the_same_moment_wins() -> None:
    async def wait() -> None:
        with closing(Silence()) as silence:
            silence._loop.call_soon(task.cancel)
            await silence.next_of(saying(None), 0)

    task = asyncio.create_task(wait())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_stream_that_swallows_the_timeout_leaves_no_trace() -> None:
    async def deaf() -> AsyncGenerator[str]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            yield "all the same"

    with closing(Silence()) as silence:
        assert await silence.next_of(deaf(), 0) == "all the same"
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)
