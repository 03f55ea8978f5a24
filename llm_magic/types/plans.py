"""Plans: which models to ask, in which order, at what cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from llm_magic.types.models import ModelSpec
from llm_magic.types.requests import CascadeMode, Message, Request
from llm_magic.types.tasks import Classification, TaskTier


class Quote(Protocol):
    """Cost of one request on one model. Implemented above this layer, by plan.quotes.ModelQuote."""

    @property
    def model(self) -> ModelSpec: ...
    @property
    def input_tokens(self) -> int:
        """Estimated, rounded upward."""
        ...

    @property
    def input_tokens_bound(self) -> int:
        """Upper bound for every tokenizer."""
        ...

    @property
    def max_output_tokens(self) -> int: ...
    @property
    def typical_usd(self) -> Decimal:
        """Cost of a typical answer, without regard to `max_output_tokens`."""
        ...

    @property
    def low_usd(self) -> Decimal: ...
    @property
    def expected_usd(self) -> Decimal: ...
    @property
    def worst_usd(self) -> Decimal:
        """Cost of `input_tokens_bound` and `max_output_tokens`: what is held."""
        ...

    def at(self, now: datetime) -> Quote:
        """The quote with its worst case at the prices of this hour."""
        ...

    def fit(self, left_usd: Decimal, now: datetime) -> Quote | None:
        """The quote with its output limit lowered until its worst case fits; None if it can't."""
        ...

    def affordable_tokens(self, left_usd: Decimal, wanted: int, now: datetime) -> int:
        """Output tokens, up to `wanted`, with which the worst case stays within `left_usd`."""
        ...

    def with_messages(self, messages: tuple[Message, ...], now: datetime) -> Quote | None:
        """The quote with further messages to send; None if the context window is too small."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    quote: Quote
    why: str = ""
    expected_quality: float = 0.0
    """Estimated chance of a good answer, 0..1."""
    cooling: bool = False
    """True if its circuit is open, and it is asked because nothing else can be."""
    stepped_down: bool = False
    """True if it leads because a better model does not fit under the cap."""

    @property
    def model(self) -> ModelSpec:
        return self.quote.model

    @property
    def input_tokens(self) -> int:
        return self.quote.input_tokens

    @property
    def input_tokens_bound(self) -> int:
        return self.quote.input_tokens_bound

    @property
    def max_output_tokens(self) -> int:
        return self.quote.max_output_tokens

    @property
    def typical_usd(self) -> Decimal:
        return self.quote.typical_usd

    @property
    def low_usd(self) -> Decimal:
        return self.quote.low_usd

    @property
    def expected_usd(self) -> Decimal:
        return self.quote.expected_usd

    @property
    def worst_usd(self) -> Decimal:
        return self.quote.worst_usd

    def at(self, now: datetime) -> Candidate:
        return replace(self, quote=self.quote.at(now))

    def fit(self, left_usd: Decimal, now: datetime) -> Candidate | None:
        quote = self.quote.fit(left_usd, now)
        return None if quote is None else replace(self, quote=quote)

    def with_messages(self, messages: tuple[Message, ...], now: datetime) -> Candidate | None:
        quote = self.quote.with_messages(messages, now)
        return None if quote is None else replace(self, quote=quote)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    model: ModelSpec
    reason: str
    asked_usd: Decimal | None = None
    """The worst case, if that exceeds a cap."""
    typical_usd: Decimal | None = None
    """Cost of a typical answer; None: no price is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """Cheap candidates to ask before the plan's leader, with the expected cost of the whole."""

    mode: CascadeMode
    cheap: tuple[Candidate, ...]
    """One; or two that are asked at the same time: two models, or one model twice."""
    strong: Candidate
    """The plan's leader: asked if the cheap answers are not confirmed."""
    judge: Candidate | None
    acceptance_rate: float
    """Expected share of runs that end without the strong model, 0..1."""
    expected_quality: float
    expected_usd: Decimal
    worst_usd: Decimal
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """Something that is sent in addition to the prompt, with its cost on the plan's leader."""

    name: str
    tokens: int
    """Estimated, rounded upward."""
    usd: Decimal
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The ordered candidates for one request. Making one sends nothing and spends nothing."""

    request: Request
    classification: Classification
    ranked: tuple[Candidate | Skipped, ...]
    """In the order in which they are asked, the skipped ones in their places."""
    baseline_model: ModelSpec
    baseline_usd: Decimal
    left_usd: Decimal | None
    """Headroom of the tightest cap when the plan was made; None without a cap."""
    extras: tuple[Extra, ...] = ()
    cascade: Cascade | None = None
    no_cascade: str = ""

    @property
    def tier(self) -> TaskTier:
        return self.classification.tier

    @property
    def expected_usd(self) -> Decimal | None:
        """Expected cost of the run if nothing fails; None without candidates."""
        if self.cascade is not None:
            return self.cascade.expected_usd
        return self.candidates[0].expected_usd if self.candidates else None

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        return tuple(entry for entry in self.ranked if isinstance(entry, Candidate))

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        return tuple(entry for entry in self.ranked if isinstance(entry, Skipped))
