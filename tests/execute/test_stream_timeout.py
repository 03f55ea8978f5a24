"""The timeout for the next event of a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import closing

import pytest

from llm_magic.execute.stream_timeout import StreamTimeout


async def numbers(*pauses_s: float | None) -> AsyncGenerator[int]:
    """Yield 0, 1, ... after these pauses. None is a pause that never ends."""
    for number, pause_s in enumerate(pauses_s):
        await (asyncio.Event().wait() if pause_s is None else asyncio.sleep(pause_s))
        yield number


def assert_not_canceled() -> None:
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_events_are_returned_and_none_after_the_last() -> None:
    with closing(StreamTimeout()) as timeout:
        stream = numbers(0, 0)
        assert [await timeout.next_of(stream, limit_s) for limit_s in (60, None, 60)] == [0, 1, None]


async def test_a_silent_stream_times_out_and_the_task_can_go_on() -> None:
    with closing(StreamTimeout()) as timeout:
        with pytest.raises(TimeoutError):
            await timeout.next_of(numbers(None), 0)
        assert await timeout.next_of(numbers(0), 60) == 0
        assert_not_canceled()


async def test_a_timer_that_expires_during_a_later_wait_does_not_end_it() -> None:
    with closing(StreamTimeout()) as timeout:
        assert await timeout.next_of(numbers(0), 0.01) == 0
        assert await timeout.next_of(numbers(0.03), 60) == 0
        assert_not_canceled()


async def test_a_timer_that_expires_between_two_waits_cancels_nothing() -> None:
    with closing(StreamTimeout()) as timeout:
        assert await timeout.next_of(numbers(0), 0.01) == 0
        await asyncio.sleep(0.03)
        assert await timeout.next_of(numbers(0), 60) == 0
        assert_not_canceled()


async def test_a_shorter_limit_after_a_longer_one_is_kept() -> None:
    with closing(StreamTimeout()) as timeout:
        assert await timeout.next_of(numbers(0), 60) == 0
        with pytest.raises(TimeoutError):
            await timeout.next_of(numbers(None), 0)


async def test_a_cancellation_is_not_turned_into_a_timeout() -> None:
    async def wait() -> None:
        with closing(StreamTimeout()) as timeout:
            await timeout.next_of(numbers(None), 60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_at_the_moment_of_the_timeout_wins() -> None:
    async def wait() -> None:
        with closing(StreamTimeout()) as timeout:
            asyncio.get_running_loop().call_soon(task.cancel)
            await timeout.next_of(numbers(None), 0)

    task = asyncio.create_task(wait())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_stream_that_swallows_the_cancellation_leaves_the_task_not_canceled() -> None:
    async def stubborn() -> AsyncGenerator[str]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            yield "an event after all"

    with closing(StreamTimeout()) as timeout:
        assert await timeout.next_of(stubborn(), 0) == "an event after all"
        assert_not_canceled()
        await asyncio.sleep(0)
