"""A private event loop in a thread of its own, on which all async code runs.

Cells, scripts, and coroutines on other loops share it, so each provider has one connection pool and one queue, and an
interrupt of the caller becomes a clean cancellation.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import queue
import sys
import threading
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing, suppress
from functools import partial
from types import AsyncGeneratorType
from typing import Any, Generic, TypeVar

from llm_magic import turns

Item = TypeVar("Item")

# A wait without a timeout can't be interrupted on Windows, so a thread waits for an item in short steps.
POLL_INTERVAL_S = 0.05
SETTLE_TIMEOUT_S = 5.0
_REFERENCE_S = 86_400.0


class Bridge:
    """An event loop in a daemon thread, started at first use and again after a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.current_thread()
        self._jobs: set[Job[Any]] = set()
        self._at_close: list[Callable[[], Coroutine[Any, Any, None]]] = []
        atexit.register(self.close)

    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                if self._pid != os.getpid():
                    self._jobs.clear()  # after a fork, they belong to the parent
                self._pid = os.getpid()
                self._loop = asyncio.ProactorEventLoop() if sys.platform == "win32" else asyncio.new_event_loop()
                # An empty context: ipykernel keeps the current cell in a context variable, and the loop outlives it.
                run = contextvars.Context().run
                self._thread = threading.Thread(
                    target=run, args=(self._loop.run_forever,), name="llm_magic", daemon=True
                )
                self._thread.start()
            return self._loop

    def start(self, generator: AsyncGenerator[Item]) -> Job[Item]:
        job: Job[Item] = Job(self.loop(), on_end=self._jobs.discard)
        self._jobs.add(job)
        job.launch(generator)
        return job

    @property
    def running_jobs(self) -> int:
        return len(self._jobs)

    def iterate(self, generator: AsyncGenerator[Item]) -> Iterator[Item]:
        """Yield the items in this thread. On an interrupt or early exit, cancel the generator and wait for its end."""
        job = self.start(generator)
        try:
            yield from job
        finally:
            job.cancel()
            job.join(SETTLE_TIMEOUT_S)

    def aiterate(
        self, generator: AsyncGenerator[Item], *, split: Callable[[Item], Sequence[Item]] | None = None
    ) -> AsyncItems[Item]:
        """Return an async iterator over the items. split: returns the items that an item is split into."""
        return AsyncItems(partial(self.start, generator), split)

    def at_close(self, closing: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._at_close.append(closing)

    def close(self) -> None:
        """Cancel and settle all running jobs, run the `at_close` functions, and stop the loop."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is None or self._pid != os.getpid():
            return
        for job in tuple(self._jobs):
            job.cancel()
        for job in tuple(self._jobs):
            job.join(SETTLE_TIMEOUT_S)
        for closing in self._at_close:
            try:
                asyncio.run_coroutine_threadsafe(closing(), loop).result(SETTLE_TIMEOUT_S)
            except TimeoutError:
                continue
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join(SETTLE_TIMEOUT_S)
        if not loop.is_running():
            loop.close()


class _End:
    pass


_END = _End()


class Job(Generic[Item]):
    """An async generator that runs on the private loop, and a queue of its items."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, on_end: Callable[[Job[Any]], None]) -> None:
        self._loop = loop
        self._on_end = on_end
        self._items: queue.SimpleQueue[Item | _End] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._done = threading.Event()
        self._wakers: list[Callable[[], None]] = []
        self._end_callbacks: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None

    def launch(self, generator: AsyncGenerator[Item]) -> None:
        """Start the generator, in the caller's context. Call it once."""
        self._loop.call_soon_threadsafe(self._create_task, generator, contextvars.copy_context())

    def _create_task(self, generator: AsyncGenerator[Item], context: contextvars.Context) -> None:
        self._task = self._loop.create_task(self._run(generator), context=context)
        self._task.add_done_callback(self._ended)

    async def _run(self, generator: AsyncGenerator[Item]) -> None:
        async with aclosing(generator):
            turn = turns.of_running_loop()
            async for item in generator:
                self._put(item)
                if turn.is_over:
                    await turn.checkpoint()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._on_end(self)
        self._done.set()
        self._put(_END)
        for callback in tuple(self._end_callbacks):
            callback()

    def _put(self, item: Item | _End) -> None:
        self._items.put(item)
        for wake in tuple(self._wakers):
            wake()

    def cancel(self) -> None:
        """Cancel the job, from any thread and any number of times."""
        if not self._done.is_set():
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        assert self._task is not None, "launched earlier on the same loop"
        self._task.cancel()

    def done(self) -> bool:
        return self._done.is_set()

    def join(self, timeout_s: float) -> bool:
        """Wait until the job has ended and settled. Returns False after a timeout."""
        return self._done.wait(timeout_s)

    async def ajoin(self) -> None:
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
        return (item for item in self.items_with_ticks() if item is not None)

    def items_with_ticks(self) -> Iterator[Item | None]:
        """Yield the items, and None after each POLL_INTERVAL_S without one."""
        while True:
            try:
                item = self._items.get(timeout=POLL_INTERVAL_S)
            except queue.Empty:
                yield None
                continue
            if isinstance(item, _End):
                self._raise()
                return
            yield item

    def drain(self, receive: Callable[[Item], None]) -> bool:
        """Pass on the queued items without waiting. Returns True after the last item; raises the generator's error."""
        while True:
            try:
                item = self._items.get_nowait()
            except queue.Empty:
                return False
            if isinstance(item, _End):
                self._raise()
                return True
            receive(item)

    @property
    def unread(self) -> int:
        """The number of items that wait in the queue."""
        return self._items.qsize()

    def aitems(self) -> AsyncItems[Item]:
        return AsyncItems(lambda: self)

    async def aclose(self) -> None:
        """Cancel the job, and wait until it has ended and settled, or SETTLE_TIMEOUT_S."""
        self.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_TIMEOUT_S):
                await self.ajoin()

    async def next_item(self) -> Item | _End:
        """Return the next item, or the end. Raises the generator's error."""
        while True:
            try:
                item = self._items.get_nowait()
            except queue.Empty:
                await self._wait_for_item()
                continue
            if isinstance(item, _End):
                self._raise()
            return item

    async def _wait_for_item(self) -> None:
        """Wait, referenced by the caller's loop alone: if that is closed or dropped, the waiting task is freed."""
        loop = asyncio.get_running_loop()
        arrived = asyncio.Event()
        loop_reference, event_reference = weakref.ref(loop), weakref.ref(arrived)
        reference = loop.call_later(_REFERENCE_S, arrived.is_set)
        scheduled = False

        def wake() -> None:
            nonlocal scheduled
            loop, arrived = loop_reference(), event_reference()
            if scheduled or loop is None or arrived is None:
                return
            scheduled = True  # one wake-up is enough for all queued items
            try:
                loop.call_soon_threadsafe(arrived.set)
            except RuntimeError:  # the loop was closed
                self.cancel()

        self._wakers.append(wake)
        try:
            if self._items.empty() and not self._done.is_set():
                await arrived.wait()
        finally:
            self._wakers.remove(wake)
            reference.cancel()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


class AsyncItems(AsyncGenerator[Item, None]):
    """The items of a job, which is started at the first one. On an early exit, the job is canceled and waited for.

    A native async generator can't be closed while another task is closing it. A loop that ends closes all its async
    generators concurrently, so a generator that another one iterates would be closed twice.
    """

    def __init__(self, start: Callable[[], Job[Item]], split: Callable[[Item], Sequence[Item]] | None = None) -> None:
        self._start = start
        self._split = split
        self._parts: deque[Item] = deque()
        self._job: Job[Item] | None = None
        self._at_loop_end: AsyncGenerator[None] | None = None
        self._is_closed = False

    async def __anext__(self) -> Item:
        if self._parts:
            return self._parts.popleft()
        if self._is_closed:
            raise StopAsyncIteration
        if self._job is None:
            self._job = self._start()
            self._at_loop_end = _closed_with_loop(self._job)
            await anext(self._at_loop_end)
        try:
            await turns.of_running_loop().checkpoint()
            item = await self._job.next_item()
        except GeneratorExit:  # freed while it waits: nothing can be waited for
            self._job.cancel()
            raise
        except BaseException:
            await self.aclose()
            raise
        if isinstance(item, _End):
            await self.aclose()
            raise StopAsyncIteration
        if self._split is None:
            return item
        self._parts.extend(self._split(item))
        return self._parts.popleft()

    async def asend(self, value: None) -> Item:  # noqa: ARG002
        return await anext(self)

    async def athrow(self, error: Any, *_: Any) -> Item:
        await self.aclose()
        raise error

    async def aclose(self) -> None:
        self._is_closed = True
        self._parts.clear()
        if self._job is None:
            return
        await self._job.aclose()
        if isinstance(self._at_loop_end, AsyncGeneratorType) and not self._at_loop_end.ag_running:
            await self._at_loop_end.aclose()

    def __del__(self) -> None:
        if self._job is not None:
            self._job.cancel()  # also if the loop is closed, so that nothing can be waited for


async def _closed_with_loop(job: Job[Any]) -> AsyncGenerator[None]:
    """Close the job when the running loop ends, which then closes the async generators that were begun."""
    try:
        yield
    finally:
        await job.aclose()


bridge = Bridge()
