"""How long to wait for the next event of a stream, with one timer for all of it.

`asyncio.timeout` around each event sets and cancels a timer per token, a tenth of the CPU of a streamed answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

Event = TypeVar("Event")


class Silence:
    """Waits for the events of a stream on behalf of the task that makes it. Close it when the stream is done with."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "a stream is read by a task"
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._until: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rang = False

    async def next_of(self, stream: AsyncGenerator[Event], limit_s: float | None) -> Event | None:
        """The stream's next event; None behind its last. Raises TimeoutError after `limit_s`; with None, never."""
        if limit_s is not None:
            self._until = self._loop.time() + limit_s
            if self._timer is None or self._timer.when() > self._until:
                self.close()
                self._timer = self._loop.call_at(self._until, self._ring)
        try:
            return await anext(stream, None)
        except asyncio.CancelledError:
            if not self._rang:
                raise
            self._rang = False
            if self._task.uncancel() > 0:  # somebody else has cancelled it too
                raise
            raise TimeoutError from None
        finally:
            self._until = None
            if self._rang:
                self._rang = False
                self._task.uncancel()

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        """The timer is up: the wait that it was set for may be long over, and another one under way."""
        self._timer = None
        if self._until is None:
            return
        if self._loop.time() < self._until:
            self._timer = self._loop.call_at(self._until, self._ring)
        else:
            self._rang = True
            self._task.cancel()
