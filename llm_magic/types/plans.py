"""Who would be asked, in which order, at what cost."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from llm_magic.types.models import ModelSpec
from llm_magic.types.requests import CascadeMode, Request
from llm_magic.types.tasks import Classification, TaskTier


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model in a plan, with what it is expected to cost and the most that it can cost."""

    model: ModelSpec
    input_tokens: int
    """Estimated, upward."""
    input_tokens_bound: int
    """No tokenizer gives more than this."""
    max_output_tokens: int
    low_usd: Decimal
    expected_usd: Decimal
    worst_usd: Decimal
    why: str = ""
    expected_quality: float = 0.0
    """The chance of a good answer, 0..1, as far as prompt and capability tell."""
    cooling: bool = False
    """It has just failed, and is asked all the same, for want of another."""
    stepped_down: bool = False
    """A better one stood before it, which does not fit under the cap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A model that the plan passed over, and the reason in words."""

    model: ModelSpec
    reason: str
    asked_usd: Decimal | None = None
    """Its worst case, where that is what did not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """Cheap candidates to ask before the plan's leader, and what it all is expected to cost."""

    mode: CascadeMode
    cheap: tuple[Candidate, ...]
    """One; or two that are asked at once, the same one twice or two models."""
    strong: Candidate
    """The plan's leader: asked where the cheap answers are not confirmed."""
    judge: Candidate | None
    acceptance_rate: float
    """Expected share of such runs that end without the strong one, 0..1."""
    expected_quality: float
    """The chance that it ends in a good answer, 0..1."""
    expected_usd: Decimal
    worst_usd: Decimal
    """All of them asked, at their worst."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """Something that is sent besides the prompt, with what it costs on the plan's leader."""

    name: str
    tokens: int
    """Estimated, upward."""
    usd: Decimal
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The ordered candidates for one request. Making one sends nothing and spends nothing."""

    request: Request
    classification: Classification
    ranked: tuple[Candidate | Skipped, ...]
    """In the order in which they are tried, the passed-over ones in their places."""
    baseline_model: ModelSpec
    baseline_usd: Decimal
    """Expected cost on the baseline model."""
    left_usd: Decimal | None
    """What the tightest cap had left when the plan was made; None: no cap."""
    extras: tuple[Extra, ...] = ()
    cascade: Cascade | None = None
    """What is asked before the candidates, if anything."""
    no_cascade: str = ""
    """Why there is none although one was asked for, in words."""

    @property
    def tier(self) -> TaskTier:
        return self.classification.tier

    @property
    def expected_usd(self) -> Decimal | None:
        """What the run is expected to cost if nothing fails; None where nobody can be asked."""
        if self.cascade is not None:
            return self.cascade.expected_usd
        return self.candidates[0].expected_usd if self.candidates else None

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        return tuple(entry for entry in self.ranked if isinstance(entry, Candidate))

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        return tuple(entry for entry in self.ranked if isinstance(entry, Skipped))
