"""Providers that misbehave."""

from __future__ import annotations

import asyncio

from llm_magic.events import TextDelta
from llm_magic.providers.base import ProviderRequest


class Stuck:
    """Yields some text, then nothing for ever; knows when it was closed."""

    def __init__(self, *chunks: str) -> None:
        self.chunks = chunks
        self.stuck = asyncio.Event()
        self.closed = False

    def unavailable(self) -> None:
        return None

    async def stream(self, request: ProviderRequest):  # type: ignore[no-untyped-def]
        try:
            for chunk in self.chunks:
                yield TextDelta(text=chunk)
            self.stuck.set()
            await asyncio.Event().wait()
        finally:
            self.closed = True
