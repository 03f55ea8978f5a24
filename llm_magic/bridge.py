"""The one bridge between the world's threads and the async core: a private event loop in a thread of its own.

Everything async runs there, whoever asks: a cell, a script, or a coroutine on another loop. So there is one
connection pool per provider, one queue per provider, and an interrupt of the asker ends in a clean cancellation here.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import queue
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing, suppress
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")

POLL_S = 0.05
"""How long a thread waits for the next item at a time: an untimed wait can't be interrupted on Windows."""
FAIR_S = 0.01
"""Longest time for which a job's items may keep an event loop from its other tasks."""
SETTLE_S = 5.0
"""How long a cancelled job may take to settle before its asker goes on without it."""


class Bridge:
    """A loop in a daemon thread, started at first use and again after a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.current_thread()
        self._jobs: set[Job[Any]] = set()
        self._at_close: list[Callable[[], Coroutine[Any, Any, None]]] = []
        atexit.register(self.close)

    def loop(self) -> asyncio.AbstractEventLoop:
        """The private loop, running."""
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                if self._pid != os.getpid():
                    self._jobs.clear()  # after a fork: they are the parent's, and end there
                self._pid = os.getpid()
                self._loop = asyncio.ProactorEventLoop() if sys.platform == "win32" else asyncio.new_event_loop()
                # An empty context: ipykernel keeps the current cell in a context variable, and this outlives the cell.
                run = contextvars.Context().run
                self._thread = threading.Thread(
                    target=run, args=(self._loop.run_forever,), name="llm_magic", daemon=True
                )
                self._thread.start()
            return self._loop

    def start(self, generator: AsyncGenerator[Item]) -> Job[Item]:
        """Run an async generator on the private loop; the job hands its items over."""
        return Job(self, generator)

    def iterate(self, generator: AsyncGenerator[Item]) -> Iterator[Item]:
        """The generator's items, in this thread. Interrupted or abandoned, it is cancelled and settled first."""
        job = self.start(generator)
        try:
            yield from job
        finally:
            job.cancel()
            job.join(SETTLE_S)

    async def aiterate(self, generator: AsyncGenerator[Item]) -> AsyncGenerator[Item]:
        """The generator's items, on the asker's own loop."""
        job = self.start(generator)
        try:
            while not isinstance(item := await job.anext(), _End):
                yield item
        finally:
            job.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_S):
                    await job.ajoin()

    def at_close(self, closing: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine function on the private loop before it stops for good."""
        self._at_close.append(closing)

    def close(self) -> None:
        """Cancel and settle whatever is under way, close the connections, stop the loop."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is None or self._pid != os.getpid():
            return
        for job in tuple(self._jobs):
            job.cancel()
        for job in tuple(self._jobs):
            job.join(SETTLE_S)
        for closing in self._at_close:
            try:
                asyncio.run_coroutine_threadsafe(closing(), loop).result(SETTLE_S)
            except TimeoutError:
                continue
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join(SETTLE_S)
        if not loop.is_running():
            loop.close()


class _End:
    """Behind the last item."""


_END = _End()


class _FairTurn:
    """Yields to the event loop every FAIR_S seconds in a loop that may never suspend by itself."""

    def __init__(self) -> None:
        self._until = time.monotonic() + FAIR_S

    async def give_way(self) -> None:
        if time.monotonic() >= self._until:
            await asyncio.sleep(0)
            self._until = time.monotonic() + FAIR_S


class Job(Generic[Item]):
    """An async generator under way on the private loop, and the queue of what it has yielded."""

    def __init__(self, bridge: Bridge, generator: AsyncGenerator[Item]) -> None:
        self._bridge = bridge
        self._loop = bridge.loop()
        self._items: queue.SimpleQueue[Item | _End] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._done = threading.Event()
        self._wakers: list[Callable[[], None]] = []
        self._end_callbacks: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._turn = _FairTurn()
        bridge._jobs.add(self)  # pyright: ignore[reportPrivateUsage] - the two are one
        context = contextvars.copy_context()
        self._loop.call_soon_threadsafe(self._launch, generator, context)

    def _launch(self, generator: AsyncGenerator[Item], context: contextvars.Context) -> None:
        self._task = self._loop.create_task(self._run(generator), context=context)
        self._task.add_done_callback(self._ended)

    async def _run(self, generator: AsyncGenerator[Item]) -> None:
        async with aclosing(generator):
            turn = _FairTurn()
            async for item in generator:
                self._put(item)
                await turn.give_way()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._bridge._jobs.discard(self)  # pyright: ignore[reportPrivateUsage]
        self._done.set()
        self._put(_END)
        for ended in tuple(self._end_callbacks):
            ended()

    def _put(self, item: Item | _End) -> None:
        self._items.put(item)
        for wake in tuple(self._wakers):
            wake()

    def cancel(self) -> None:
        """Cancel it, wherever it is. May be called from any thread, and again."""
        if not self._done.is_set():
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        assert self._task is not None, "launched before, on the same loop"
        self._task.cancel()

    def done(self) -> bool:
        return self._done.is_set()

    def join(self, timeout_s: float) -> bool:
        """Wait until it is over and settled; False if that takes longer."""
        return self._done.wait(timeout_s)

    async def ajoin(self) -> None:
        """Wait until the job has ended, on the caller's loop, without consuming its items."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(ended.set)

        self._end_callbacks.append(wake)
        try:
            if not self._done.is_set():
                await ended.wait()
        finally:
            self._end_callbacks.remove(wake)

    def __iter__(self) -> Iterator[Item]:
        return (item for item in self.ticking() if item is not None)

    def ticking(self) -> Iterator[Item | None]:
        """Its items, and None whenever nothing has come for POLL_S seconds."""
        while True:
            try:
                item = self._items.get(timeout=POLL_S)
            except queue.Empty:
                yield None
                continue
            if isinstance(item, _End):
                self._raise()
                return
            yield item

    def poll(self, take: Callable[[Item], None]) -> bool:
        """Hand over what has come by now, without waiting. True once all has come; raises what it raised."""
        while True:
            try:
                item = self._items.get_nowait()
            except queue.Empty:
                return False
            if isinstance(item, _End):
                self._raise()
                return True
            take(item)

    async def anext(self) -> Item | _End:
        """The next item, on the asker's loop; `_END` behind the last."""
        await self._turn.give_way()
        while True:
            try:
                item = self._items.get_nowait()
            except queue.Empty:
                await self._woken()
                continue
            if isinstance(item, _End):
                self._raise()
            return item

    async def _woken(self) -> None:
        """Wait until there is something new."""
        loop = asyncio.get_running_loop()
        news = asyncio.Event()

        told = False

        def wake() -> None:
            nonlocal told
            if not told and not loop.is_closed():
                told = True  # once is enough: whoever is woken takes all that is there
                loop.call_soon_threadsafe(news.set)

        self._wakers.append(wake)
        try:
            if self._items.empty() and not self._done.is_set():
                await news.wait()
        finally:
            self._wakers.remove(wake)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


bridge = Bridge()
"""The process's own."""
