"""Loading of providers before their first request, in a thread."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

from llm_magic.garbage import paused_gc
from llm_magic.providers.base import LoadableProvider, PreparedProvider, Provider


class Loading:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._loaded: set[str] = set()

    async def prepare(self, name: str, provider: Provider) -> None:
        """Load a provider, if that is not done, and let it prepare its next request."""
        if name not in self._loaded:
            if isinstance(provider, LoadableProvider):
                await asyncio.to_thread(self._load, name, provider)
            self._loaded.add(name)
        if isinstance(provider, PreparedProvider):
            await provider.prepare()

    def _load(self, name: str, provider: LoadableProvider) -> None:
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            if name not in self._loaded:
                with suppress(Exception), paused_gc():  # the request raises it
                    provider.load()
                self._loaded.add(name)
