"""Loading of what the first run of a process needs: price catalog, tokenizer, classifier, database, SDKs."""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from weakref import WeakKeyDictionary

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
_loading = threading.Lock()
_loaded = threading.Event()
"""Set once the parts that all providers share are loaded."""


def load(providers: Iterable[Provider], *, stop: threading.Event | None = None) -> None:
    """Load it in this thread, or wait for the thread that does. It takes a second, and next to nothing afterwards.

    Errors are left to the run that needs the part. stop: ends the loading after the current step.
    """
    with _loading:
        for step in _steps(providers):
            if stop is not None and stop.is_set():
                return
            with suppress(Exception):
                step()
        _loaded.set()


class WarmUp:
    """The warm-up of one router, in a thread: on the event loop, it would block all other runs."""

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self._providers = providers
        self._is_done = False
        self._tasks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()

    async def done(self) -> None:
        """Wait for the warm-up. Runs that wait for it continue together, in their order."""
        if self._is_done:
            return
        loop = asyncio.get_running_loop()
        task = self._tasks.get(loop)
        if task is None and _loaded.is_set() and not self._has_loadable():
            self._is_done = True
            return
        if task is None or task.done():  # it is canceled if the loop's tasks are
            task = self._tasks[loop] = loop.create_task(self._load())
        await asyncio.shield(task)

    def _has_loadable(self) -> bool:
        return any(isinstance(provider, LoadableProvider) for provider in self._providers.values())

    async def _load(self) -> None:
        await asyncio.to_thread(load, self._providers.values())
        self._is_done = True


def _steps(providers: Iterable[Provider]) -> Iterator[Callable[[], object]]:
    yield _load_classifier
    yield _load_tokenizer
    for name in _MODULES:
        yield lambda name=name: importlib.import_module(name)
    yield _load_ledger
    for provider in providers:
        if isinstance(provider, LoadableProvider) and provider.unavailable() is None:
            yield provider.load


def _load_classifier() -> None:
    from llm_magic.classify import classify

    classify("Plese explian it")  # misspelled, which loads the tables of the spelling too


def _load_ledger() -> None:
    from llm_magic.ledger import Ledger

    Ledger(":memory:").close()


def _load_tokenizer() -> None:
    from llm_magic import tokens

    tokens.count_o200k("ready")
