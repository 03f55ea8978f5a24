"""Timeout for each event of a stream, with one timer for the whole stream.

`asyncio.timeout` around each event sets and cancels a timer per token: a tenth of the CPU of a streamed answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

Event = TypeVar("Event")


class StreamTimeout:
    """Waits for the events of a stream, in the task that creates it. Close it after the stream."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "a stream is read by a task"
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._until: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._expired = False

    async def next_of(self, stream: AsyncGenerator[Event], limit_s: float | None) -> Event | None:
        """Return the stream's next event, or None after the last. Raises TimeoutError after `limit_s`, if given."""
        if limit_s is not None:
            self._until = self._loop.time() + limit_s
            if self._timer is None or self._timer.when() > self._until:
                self.close()
                self._timer = self._loop.call_at(self._until, self._expire)
        try:
            return await anext(stream, None)
        except asyncio.CancelledError:
            if not self._expired:
                raise
            self._expired = False
            if self._task.uncancel() > 0:  # the task was canceled from elsewhere too
                raise
        finally:
            self._until = None
            if self._expired:
                self._expired = False
                self._task.uncancel()
        raise TimeoutError  # not in the handler: its context would refer to frames with the API key in a variable

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        # The wait that the timer was set for may be over, and another one in progress.
        self._timer = None
        if self._until is None:
            return
        if self._loop.time() < self._until:
            self._timer = self._loop.call_at(self._until, self._expire)
        else:
            self._expired = True
            self._task.cancel()
