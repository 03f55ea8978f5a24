"""An in-process provider that is controlled step by step, and keeps a journal of its bills.

The bills are computed without any code of the package: each word of the prompt and each chunk of the answer is one token.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from llm_magic.errors import AuthFailed, Overloaded, ProviderError, RateLimited, ServerError, StreamBroken, TimedOut
from llm_magic.events import TextDelta
from llm_magic.providers.base import Finished, ProviderEvent, ProviderRequest, UsageReport
from llm_magic.types import Usage

FREE: tuple[type[ProviderError], ...] = (RateLimited, Overloaded, ServerError, AuthFailed)
"""Raised before the request is read: not billed unless a chunk was sent."""
PAID: tuple[type[ProviderError], ...] = (TimedOut, StreamBroken)
FAULTS = {kind.__name__: kind for kind in (*FREE, *PAID)}


@dataclass(kw_only=True)
class Entry:
    """One request, as the provider saw and billed it. `prices`: USD per million tokens of input and of output."""

    model: str
    prices: tuple[Decimal, Decimal]
    input: int
    sent: int = 0
    free: bool = False
    reported: bool = False
    """True once its usage was sent."""
    next: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    over: bool = False

    @property
    def billed_usd(self) -> Decimal:
        if self.free:
            return Decimal(0)
        return (self.input * self.prices[0] + self.sent * self.prices[1]) / 1_000_000


class Journal:
    """The provider. Each request follows `script`, and then the steps that `Entry.next` is set to.

    Steps: `chunk`, `all` (all remaining tokens), `end`, or the name of a fault.
    """

    def __init__(self, script: Sequence[str] = ()) -> None:
        self.entries: list[Entry] = []
        self._script = script

    def unavailable(self) -> str | None:
        return None

    @property
    def waiting(self) -> list[Entry]:
        """The requests that wait for their next step."""
        return [entry for entry in self.entries if not entry.over and not entry.next.done()]

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        assert request.model.price is not None
        text = " ".join(message.content for message in request.messages)
        entry = Entry(
            model=request.model.id,
            prices=(request.model.price.input, request.model.price.output),
            input=len(text.split()),
        )
        self.entries.append(entry)
        script = iter(self._script)
        try:
            while True:
                if (step := next(script, None)) is None:
                    step = await entry.next
                    entry.next = asyncio.get_running_loop().create_future()
                if kind := FAULTS.get(step):
                    entry.free = not entry.sent and kind in FREE
                    raise kind("as scripted")
                if step == "end" and entry.sent:
                    entry.reported = True
                    yield UsageReport(usage=Usage(input_tokens=entry.input, output_tokens=entry.sent))
                    yield Finished(finish_reason="stop", served_model=request.model.id)
                    return
                left = request.max_output_tokens - entry.sent
                if count := left if step == "all" else min(1, left):
                    entry.sent += count
                    yield TextDelta(text="word " * count)
        finally:
            entry.over = True
