"""A provider in this process that does what a test tells it at every step, and keeps its own journal and bill.

It has its own tokenizer, may think without showing it, may ignore the output limit, and may report its usage wrongly or
not at all. Its bill is computed with no line of llm_magic's code.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from llm_magic.errors import (
    AuthFailed,
    ConnectionFailed,
    Overloaded,
    ProtocolError,
    ProviderError,
    RateLimited,
    ServerError,
    StreamBroken,
    TimedOut,
)
from llm_magic.events import Progress, TextDelta
from llm_magic.providers.base import Finished, ProviderEvent, ProviderRequest, RequestSent, UsageReport, thinking
from llm_magic.testing import FakeClock
from llm_magic.types import Usage
from tests.support.sdk_errors import sdk_error, translated

WORD = " word"
"""One token in o200k_base, the encoding that llm_magic counts with."""
LONG = 40
"""Words of a long chunk."""
SUMMARIZED = 25
"""Tokens that are billed for a one-word summary of reasoning."""

FREE: tuple[type[ProviderError], ...] = (RateLimited, Overloaded, ServerError, AuthFailed, ConnectionFailed)
"""Not billed if they are the first thing that the provider sends."""
BILLED: tuple[type[ProviderError], ...] = (TimedOut, StreamBroken, ProtocolError)
_ERRORS = {kind.__name__: kind for kind in (*FREE, *BILLED)}
REPORTS = ("exact", "zero", "nothing", "small", "little input", "absurd", "over", "negative", "cached", "none")

CONTENT = ("text", "long", "pieces", "all", "flood", "thought", "summary", "ping")
ENDS = (
    *(f"end:{report}" for report in REPORTS),
    *(f"finish:{report}" for report in ("exact", "zero", "none")),
    *_ERRORS,
    "error event",
    "bug",
    "disconnect",
    "not sent",
)
PARTIAL = ("partial:exact", "partial:zero", "partial:nothing", "partial:absurd", "partial:negative", "partial:over")
STEPS = (*CONTENT, *PARTIAL, *ENDS)
"""`finish:X` ends the answer and reports X as the next step. `not sent` fails before the request is sent."""


class JumpingClock(FakeClock):
    """A fake clock whose time of day can be set."""

    def jump(self, seconds: float) -> None:
        """Move the time of day, but not the monotonic clock."""
        self._start += timedelta(seconds=seconds)


@dataclass(frozen=True, kw_only=True)
class Character:
    """The habits of a provider."""

    tokens_per_word: Decimal = Decimal(1)
    """0.3 to 3. For llm_magic, a word of an answer is one token."""
    thinking_tokens_per_s: int = 0
    """Hidden reasoning while the stream is silent: before its first content, and after its last."""
    thinks_between: bool = False
    """The same between two contents."""
    obeys_limit: bool = True
    announces_sending: bool = False


@dataclass(kw_only=True, eq=False)
class Call:
    """One request, as the provider saw and billed it. prices: USD per million tokens of input and output."""

    request: ProviderRequest
    character: Character
    clock: FakeClock
    next: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    sent_at: float | None = None
    first_content: float | None = None
    last_content: float | None = None
    words: int = 0
    thought_words: int = 0
    summarized: int = 0
    spoke: bool = False
    """Something was sent that shows that the request was accepted."""
    free: bool = False
    thinks: bool = True
    """Hidden reasoning is billed. False from the end of the answer, and for an error event."""
    hidden: int = 0
    report: UsageReport | None = None
    is_over: bool = False
    key: tuple[str, int] = ("", 0)
    """Run and number of its row in the ledger, for the test."""
    held_usd: Decimal = Decimal(0)

    @property
    def marker(self) -> str:
        """The word of the prompt that names its run."""
        return next(word for m in self.request.messages for word in m.content.split() if word.startswith("run"))

    @property
    def prices(self) -> tuple[Decimal, Decimal]:
        assert self.request.model.price is not None
        return self.request.model.price.input, self.request.model.price.output

    def tokens(self, words: int) -> int:
        return math.ceil(words * self.character.tokens_per_word)

    @property
    def input_words(self) -> int:
        return sum(len(message.content.split()) for message in self.request.messages)

    @property
    def input_tokens(self) -> int:
        """A tokenizer of bytes never makes more tokens than bytes."""
        size = sum(len(message.content.encode()) for message in self.request.messages)
        return min(size, self.tokens(self.input_words))

    @property
    def shown_tokens(self) -> int:
        return self.tokens(self.words + self.thought_words) + self.summarized

    @property
    def output_tokens(self) -> int:
        return self.shown_tokens + self.hidden

    @property
    def billed_usd(self) -> Decimal:
        return Decimal(0) if self.free or self.sent_at is None else self.cost(self.input_tokens, self.output_tokens)

    @property
    def reported_usd(self) -> Decimal:
        assert self.report is not None
        return self.cost(self.report.usage.input_tokens, self.report.usage.output_tokens)

    def cost(self, input_tokens: int, output_tokens: int) -> Decimal:
        return (input_tokens * self.prices[0] + output_tokens * self.prices[1]) / 1_000_000

    def think(self) -> None:
        """Update the hidden reasoning up to now."""
        if not self.thinks or self.sent_at is None:
            return
        now = self.clock.monotonic()
        silent_s = now - self.sent_at
        if self.first_content is not None and self.last_content is not None and not self.character.thinks_between:
            silent_s = self.first_content - self.sent_at + now - self.last_content
        hidden = math.floor(silent_s * self.character.thinking_tokens_per_s)
        if self.character.obeys_limit:
            hidden = min(hidden, max(0, self.request.max_output_tokens - self.shown_tokens))
        self.hidden = hidden

    def show(self, words: int, *, summarized: int = 0) -> int:
        """Return how many of these words may still be sent, and note the time if there are any."""
        self.think()
        if self.character.obeys_limit:
            left = self.request.max_output_tokens - self.output_tokens - summarized
            words = min(words, max(0, math.floor(left / self.character.tokens_per_word)))
        if words:
            now = self.clock.monotonic()
            self.first_content = now if self.first_content is None else self.first_content
            self.last_content = now
            self.summarized += summarized
            self.spoke = True
        return words

    @property
    def credibility(self) -> str:
        """`credible`, `doubtful`, `unclear`, or `missing`, for the last report by what a stranger can tell of it."""
        if self.report is None or not self.report.final:
            return "missing"
        usage, words = self.report.usage, self.words
        if (usage.input_tokens, usage.output_tokens) == (self.input_tokens, self.output_tokens) and (
            usage.cached_input_tokens == 0
        ):
            return "credible"
        if min(usage.input_tokens, usage.output_tokens) < 0 or usage.cached_input_tokens > usage.input_tokens:
            return "doubtful"
        too_little = usage.output_tokens < words / 12 if words >= 20 else usage.output_tokens == 0 and words >= 4
        if too_little or usage.output_tokens >= 10**9 or usage.input_tokens < self.input_words / 25:
            return "doubtful"
        # Reasoning that was shown took at least a token.
        least = max(words * 0.3, 1 if self.thought_words else 0)
        plausible = usage.output_tokens >= least and usage.input_tokens >= self.input_words * 0.3
        return "credible" if plausible else "unclear"

    def usage(self, kind: str) -> Usage:
        """Return the usage of a report of some kind."""
        true_input, true_output = self.input_tokens, self.output_tokens
        return {
            "exact": Usage(input_tokens=true_input, output_tokens=true_output),
            "zero": Usage(input_tokens=true_input),
            "nothing": Usage(),
            "small": Usage(input_tokens=true_input, output_tokens=self.words // 20),
            "little input": Usage(input_tokens=self.input_words // 50, output_tokens=true_output),
            "absurd": Usage(input_tokens=true_input, output_tokens=10**9),
            "over": Usage(input_tokens=true_input, output_tokens=3 * self.request.max_output_tokens),
            "negative": Usage(input_tokens=-true_input, output_tokens=-50),
            "cached": Usage(input_tokens=true_input, output_tokens=true_output, cached_input_tokens=10 * true_input),
        }[kind]


class HostileProvider:
    """The provider. `calls` is its journal; a call waits until a test sets `Call.next` to one of STEPS."""

    def __init__(self, character: Character, clock: FakeClock, *, on_start: Callable[[Call], None]) -> None:
        """on_start: called when a request reaches the provider, before it is sent."""
        self.calls: list[Call] = []
        self.announces_sending = character.announces_sending
        self._character = character
        self._clock = clock
        self._on_start = on_start

    def unavailable(self) -> str | None:
        return None

    @property
    def waiting(self) -> list[Call]:
        return [call for call in self.calls if not call.is_over and not call.next.done()]

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        call = Call(request=request, character=self._character, clock=self._clock)
        self.calls.append(call)
        self._on_start(call)
        try:
            if self.announces_sending:
                if (step := await _told(call)) == "not sent":
                    raise TimedOut("no connection was free")
                call.sent_at = self._clock.monotonic()
                yield RequestSent()
            else:
                call.sent_at = self._clock.monotonic()
                step = await _told(call)
            while step is not None:
                for event in _events(call, step):
                    yield event
                step = await _after(call, step)
        finally:
            call.think()
            call.is_over = True


async def _told(call: Call) -> str:
    step = await call.next
    call.next = asyncio.get_running_loop().create_future()
    return step


async def _after(call: Call, step: str) -> str | None:
    """Return the step that follows another one; None at the end of the stream."""
    kind, _, report = step.partition(":")
    if kind == "finish":
        await _told(call)
        return None if report == "none" else f"late:{report}"
    return None if kind in ("end", "late", "disconnect") else await _told(call)


def _events(call: Call, step: str) -> list[ProviderEvent]:
    """Return what the provider sends in one step, or raise what it fails with."""
    kind, _, report = step.partition(":")
    call.think()
    if kind in _ERRORS or kind in ("error event", "bug", "not sent"):
        raise _error(call, kind)
    if kind == "ping":
        return [Progress(message="waiting", done=True)]
    if kind == "thought":
        count = call.show(LONG)
        call.thought_words += count
        return [thinking(WORD * count)] if count else []
    if kind == "summary":
        count = call.show(1, summarized=SUMMARIZED)
        call.thought_words += count
        return [thinking(WORD)] if count else []
    limit = call.request.max_output_tokens
    if kind in ("text", "long", "pieces", "all", "flood"):
        count = call.show(
            {"text": 1, "long": LONG, "pieces": LONG, "all": 4 * limit, "flood": min(2 * limit, 5_000)}[kind]
        )
        if not call.character.obeys_limit:
            count = min(count, max(0, 4 * limit - call.words))
        call.words += count
        size = 1 if kind == "pieces" else count
        return [TextDelta(text=WORD * size) for _ in range(count // size if size else 0)]
    if kind == "disconnect":
        return []
    events: list[ProviderEvent] = []
    if kind in ("end", "finish"):
        call.thinks = False
    if report != "none" and kind != "finish":
        call.spoke = True
        call.report = UsageReport(usage=call.usage(report), final=kind != "partial")
        events.append(call.report)
    if kind in ("end", "finish"):
        is_full = call.character.obeys_limit and call.output_tokens >= limit
        reason = "length" if is_full else "stop"
        events.append(Finished(finish_reason=reason, served_model=call.request.model.api_model))
    return events


def _error(call: Call, kind: str) -> Exception:
    if kind == "bug":
        return RuntimeError("a bug in the provider's class")
    if kind == "error event":
        call.spoke, call.thinks, call.hidden = True, False, 0
        return ServerError("overloaded in mid-stream", accepted=True)
    expected = _ERRORS.get(kind, ConnectionFailed)
    call.free = expected in FREE and not call.spoke
    original = sdk_error(expected.__name__)
    error = expected("as told") if original is None else translated(original, accepted=call.spoke)
    assert type(error) is expected, "another class"
    return error
