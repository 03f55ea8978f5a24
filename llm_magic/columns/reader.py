"""An iterator that a thread reads ahead, so that rows are sent and stored while it waits for its next item."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections import deque
from collections.abc import Callable, Iterator

_READ_AHEAD = 128
_END = object()


class Reader:
    """error: raised by the iterator, after the items that it yielded."""

    def __init__(self, items: Iterator[object]) -> None:
        self._items = items
        self._read: deque[object] = deque()
        self._changed = threading.Condition()
        self._wanted = 0
        self._is_reading = False
        self._has_ended = False
        self._wake: Callable[[], object] | None = None
        self.error: BaseException | None = None

    @property
    def is_ended(self) -> bool:
        return self._has_ended and not self._read

    def peek(self, count: int, timeout_s: float) -> list[object]:
        """Return the next items and leave them. Waits for this many, but not longer than the timeout."""
        with self._changed:
            self._read_up_to(count)
            self._changed.wait_for(lambda: len(self._read) >= count or self._has_ended, timeout_s)
            return list(self._read)[:count]

    def take(self, count: int) -> list[object]:
        """Return up to this many items that were read already."""
        with self._changed:
            taken = [self._read.popleft() for _ in range(min(count, len(self._read)))]
            if len(self._read) <= _READ_AHEAD // 2:
                self._read_up_to(_READ_AHEAD)
            return taken

    async def wait(self) -> None:
        """Wait until an item was read, or for the end."""
        is_there = asyncio.Event()
        wake = functools.partial(asyncio.get_running_loop().call_soon_threadsafe, is_there.set)
        with self._changed:
            if self._read or self._has_ended:
                return
            self._read_up_to(_READ_AHEAD)
            self._wake = wake
        await is_there.wait()

    def _read_up_to(self, count: int) -> None:
        self._wanted = count
        if not self._is_reading and not self._has_ended and len(self._read) < count:
            self._is_reading = True
            run = contextvars.copy_context().run
            threading.Thread(target=run, args=(self._run,), name="llm_magic rows", daemon=True).start()

    def _run(self) -> None:
        while self._is_reading:
            item = self._next()
            with self._changed:
                if item is _END:
                    self._has_ended = True
                else:
                    self._read.append(item)
                self._is_reading = not self._has_ended and len(self._read) < self._wanted
                self._changed.notify_all()
                if (wake := self._wake) is not None:
                    self._wake = None
                    wake()

    def _next(self) -> object:
        try:
            return next(self._items, _END)
        except BaseException as error:  # noqa: BLE001 - raised to the caller of the column
            self.error = error
            return _END
