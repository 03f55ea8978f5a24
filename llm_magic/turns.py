"""Fair use of an event loop by tasks that may not suspend by themselves, such as readers of a flood of text."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import deque

TURN_S = 0.005


class Turns:
    """Shares of TURN_S of one iteration of an event loop. A task that finds it used up waits for a share in line."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._ends_at: float | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def is_over(self) -> bool:
        if self._ends_at is None:
            self._start()
            return False
        return time.monotonic() >= self._ends_at

    async def checkpoint(self) -> None:
        if self.is_over:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn

    def _start(self) -> None:
        loop = self._loop()
        assert loop is not None, "the loop is running"
        self._ends_at = time.monotonic() + TURN_S
        loop.call_soon(self._end)

    def _end(self) -> None:
        self._ends_at = None
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # canceled
                turn.set_result(None)
                self._start()
                return


_turns: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = weakref.WeakKeyDictionary()


def of_running_loop() -> Turns:
    loop = asyncio.get_running_loop()
    if (turns := _turns.get(loop)) is None:
        turns = _turns[loop] = Turns(loop)
    return turns
