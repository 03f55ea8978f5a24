"""Loading of what the first run of a process needs: price catalog, tokenizer, classifier, database; then SDKs."""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from weakref import WeakKeyDictionary

from llm_magic.garbage import paused_gc
from llm_magic.providers.base import LoadableProvider, Provider

_MODULES = (
    "genai_prices.data",
    "llm_magic.ledger.queries",
    "llm_magic.cache.table",
    "llm_magic.conversations.table",
    "psutil",
    "h11",  # imported by the first connection, and so is the next one
    "anyio._backends._asyncio",
)
_PAUSE_S, _PAUSE_FOR_RUN_S = 1.0, 3.0
_loading = threading.Lock()
_loaded = threading.Event()
"""Set once the parts that all providers share are loaded."""
_awaited = threading.Event()
"""Set by a run that waits for them."""


def load(*, stop: threading.Event | None = None) -> None:
    """Load the shared parts in this thread, or wait for the thread that does. The next time, it takes no time.

    Errors are left to the run that needs the part. stop: ends the loading after the current step.
    """
    with _loading:
        _run_steps(() if _loaded.is_set() else _steps(), stop)
        if stop is None or not stop.is_set():
            _loaded.set()


def load_others(providers: Iterable[Provider], load_display: Callable[[], object], *, stop: threading.Event) -> None:
    """Load what the first available provider imports, then the display, then the other providers, in their order.

    A run that waits for the shared parts loads its own SDK first, and has the processor for itself until it has sent.
    """
    usable = (provider for provider in providers if provider.unavailable() is None)
    first, *others = [provider.load for provider in usable if isinstance(provider, LoadableProvider)] or [load_display]
    pause_s = _PAUSE_FOR_RUN_S if _awaited.is_set() else 0.0
    for steps in ((first, load_display), *((load,) for load in others)):
        if pause_s and stop.wait(pause_s):
            return
        _run_steps(steps, stop)
        pause_s = _PAUSE_S


def _run_steps(steps: Iterable[Callable[[], object]], stop: threading.Event | None) -> None:
    for step in steps:
        if stop is not None and stop.is_set():
            return
        with suppress(Exception), paused_gc():  # collections take a fifth of the time of imports
            step()


class WarmUp:
    """The warm-up of one router, in a thread: on the event loop, it would block all other runs."""

    def __init__(self) -> None:
        self._tasks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()

    async def done(self) -> None:
        """Wait for the shared parts. Runs that wait for them continue together, in their order."""
        if _loaded.is_set():
            return
        loop = asyncio.get_running_loop()
        task = self._tasks.get(loop)
        _awaited.set()
        if task is None or task.done():  # it is canceled if the loop's tasks are
            task = self._tasks[loop] = loop.create_task(asyncio.to_thread(load))
        await asyncio.shield(task)


def _steps() -> Iterator[Callable[[], object]]:
    yield _load_classifier
    yield _load_tokenizer
    for name in _MODULES:
        yield lambda name=name: importlib.import_module(name)
    yield _load_ledger


def _load_classifier() -> None:
    from llm_magic.classify import classify

    classify("Plese explian it")  # misspelled, which loads the tables of the spelling too


def _load_ledger() -> None:
    from llm_magic.ledger import Ledger

    Ledger(":memory:").close()


def _load_tokenizer() -> None:
    from llm_magic import tokens

    tokens.count_o200k("ready")
