"""Plans: which models to ask, in which order, at what cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from llm_magic.types.efforts import Effort, name_at
from llm_magic.types.models import ModelSpec
from llm_magic.types.outcomes import Confirmation
from llm_magic.types.requests import CascadeMode, Message, Request
from llm_magic.types.tasks import Classification, TaskTier


class Quote(Protocol):
    """Cost of one request on one model at one effort. Implemented above this layer, by plan.quotes.ModelQuote.

    effort: None if it is unknown. output_tokens: expected, including reasoning. input_tokens: estimated, rounded
    upward. input_tokens_bound: upper bound for every tokenizer. wanted_output_tokens: the output limit without caps.
    full_output_tokens: that without regard to the lengths of earlier answers.
    typical_usd: without regard to `max_output_tokens`. worst_usd: for `input_tokens_bound` and `max_output_tokens`,
    which is what is held.
    """

    @property
    def model(self) -> ModelSpec: ...
    @property
    def effort(self) -> Effort | None: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def input_tokens(self) -> int: ...
    @property
    def input_tokens_bound(self) -> int: ...
    @property
    def is_counted(self) -> bool: ...

    @property
    def max_output_tokens(self) -> int: ...
    @property
    def wanted_output_tokens(self) -> int: ...
    @property
    def full_output_tokens(self) -> int: ...
    @property
    def marks_prefix(self) -> bool: ...
    @property
    def typical_usd(self) -> Decimal: ...

    @property
    def low_usd(self) -> Decimal: ...
    @property
    def expected_usd(self) -> Decimal: ...
    @property
    def worst_usd(self) -> Decimal: ...

    def at(self, now: datetime) -> Quote: ...

    def fit(self, left_usd: Decimal, now: datetime) -> Quote | None:
        """Lower the output limit until the worst case fits; None if it can't."""
        ...

    def affordable_tokens(self, left_usd: Decimal, wanted: int, now: datetime) -> int: ...

    def with_output_limit(self, limit: int, now: datetime) -> Quote: ...

    def with_full_output(self, now: datetime) -> Quote: ...

    def with_messages(self, messages: tuple[Message, ...], now: datetime) -> Quote | None:
        """Add messages to send; None if the context window is too small for them."""
        ...

    def with_expected_input(self, input_tokens: int, now: datetime) -> Quote:
        """Add the cost of input whose text is not known yet to the expected cost."""
        ...

    def with_input(self, input_tokens: int, input_tokens_bound: int, max_output_tokens: int, now: datetime) -> Quote:
        """Replace the prompt by one of another length, with the same expected answer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model that a plan may ask, at the effort that the plan chose for it.

    expected_quality: estimated chance of a good answer, 0..1. cooling: its circuit is open, and it is asked because
    nothing else can be. stepped_down: it leads because a better model would not fit under the cap. better_levels: the
    model at levels of effort with a higher expected quality, which were not worth their cost.
    """

    quote: Quote
    why: str = ""
    expected_quality: float = 0.0
    cooling: bool = False
    stepped_down: bool = False
    better_levels: tuple[Candidate, ...] = ()

    @property
    def model(self) -> ModelSpec:
        return self.quote.model

    @property
    def effort(self) -> Effort | None:
        return self.quote.effort

    @property
    def name(self) -> str:
        return name_at(self.model.id, self.effort)

    @property
    def output_tokens(self) -> int:
        return self.quote.output_tokens

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
    def is_limited(self) -> bool:
        """True if a cap has lowered the output limit."""
        return self.quote.max_output_tokens < self.quote.wanted_output_tokens

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

    def with_output_limit(self, limit: int, now: datetime) -> Candidate:
        return replace(self, quote=self.quote.with_output_limit(limit, now))

    def with_full_output(self, now: datetime) -> Candidate:
        return replace(self, quote=self.quote.with_full_output(now))

    def with_messages(self, messages: tuple[Message, ...], now: datetime) -> Candidate | None:
        quote = self.quote.with_messages(messages, now)
        return None if quote is None else replace(self, quote=quote)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A model that a plan does not ask.

    asked_usd: its worst case if that exceeds a cap, else None. is_configured: False if its provider can't be used, for
    example without a key.
    """

    model: ModelSpec
    reason: str
    asked_usd: Decimal | None = None
    typical_usd: Decimal | None = None
    is_configured: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """Cheap candidates to ask before `strong`, the plan's leader, with the expected cost of the whole.

    cheap: one, or two that are asked at the same time: two models, or one model twice. acceptance_rate: expected share
    of runs that end without the strong model, 0..1.
    """

    mode: CascadeMode
    confirmation: Confirmation
    cheap: tuple[Candidate, ...]
    strong: Candidate
    judge: Candidate | None
    acceptance_rate: float
    expected_quality: float
    expected_usd: Decimal
    worst_usd: Decimal
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """Something that is sent in addition to the prompt, with its estimated tokens and cost on the plan's leader."""

    name: str
    tokens: int
    usd: Decimal
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffPeak:
    """Hours in which a prompt, or a row of a column, is expected to cost less than now.

    model: the one whose price is lower then. now_usd: None if nothing can be sent now.
    """

    until: datetime
    model: str
    now_usd: Decimal | None
    then_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The ordered candidates for one request, with the skipped ones in their places.

    left_usd: headroom of the tightest cap when the plan was made; None without a cap. minimum_quality: expected quality
    that the request asks for, 0..1. baseline_reasoning_tokens: mean of the baseline model at its default effort; None
    if too few of its answers were measured. off_peak: what the run would wait for; None if it is sent at once.
    """

    request: Request
    classification: Classification
    ranked: tuple[Candidate | Skipped, ...]
    baseline_model: ModelSpec
    baseline_usd: Decimal
    left_usd: Decimal | None
    extras: tuple[Extra, ...] = ()
    cascade: Cascade | None = None
    no_cascade: str = ""
    minimum_quality: float = 0.0
    baseline_reasoning_tokens: float | None = None
    off_peak: OffPeak | None = None

    @property
    def tier(self) -> TaskTier:
        return self.classification.tier

    @property
    def expected_usd(self) -> Decimal | None:
        if self.cascade is not None:
            return self.cascade.expected_usd
        return self.candidates[0].expected_usd if self.candidates else None

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        return tuple(entry for entry in self.ranked if isinstance(entry, Candidate))

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        return tuple(entry for entry in self.ranked if isinstance(entry, Skipped))
