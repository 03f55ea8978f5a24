"""Attempts and results, at their cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from llm_magic.types.models import Usage
from llm_magic.types.outcomes import CostBasis, Doubt, Outcome
from llm_magic.types.tasks import TaskTier

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request sent to one provider, as it ended: one row of the ledger."""

    run_id: str
    attempt: int
    """1, 2, 3, ... within the run."""
    started_at: datetime
    tier: TaskTier
    confidence: float
    provider: str
    model: str
    served_model: str | None
    outcome: Outcome
    error: str | None
    fallback_from: str | None
    usage: Usage
    cost_usd: Decimal
    cost_estimated: bool
    baseline_usd: Decimal
    """Zero unless the attempt answered."""
    price_source: str
    ttft_s: float | None
    latency_s: float
    session_id: str
    tags: tuple[str, ...]
    input_price: Decimal | None = None
    """USD per million tokens, as applied: a later change of prices does not change history."""
    output_price: Decimal | None = None
    service_tier: str | None = None
    """`batch`, `flex` or `priority`, as the provider reported it; None: the default tier of service."""
    parent_run_id: str | None = None
    """The run that this one repeats, escalates or is compared with."""
    rating: int | None = None
    """The user's rating: 1 good, -1 bad."""
    difficulty: float = 0.0
    """Difficulty of the prompt, in logits."""
    reason: Doubt | None = None
    """The reason why a cheap answer of a cascade was replaced."""
    cost_basis: CostBasis = CostBasis.REPORTED
    cost_low_usd: Decimal | None = None
    """Cost of what was reported or counted; None: `cost_usd`."""
    cost_high_usd: Decimal | None = None
    """The hold; None: `cost_usd`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    model: str
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteResult:
    """The answer of a run, its path and its cost."""

    run_id: str
    text: str
    model: str
    served_model: str
    tier: TaskTier
    confidence: float
    reasons: tuple[str, ...]
    path: tuple[Step, ...]
    attempts: tuple[Attempt, ...]
    usage: Usage
    """Usage of the attempt that answered."""
    finish_reason: str
    cost_usd: Decimal
    cost_estimated: bool
    session_cost_usd: Decimal
    cap_usd: Decimal | None
    """The session's cap at the end of the run."""
    baseline_usd: Decimal
    """Cost of the same answer on the baseline model."""
    baseline_model: str
    ttft_s: float | None
    latency_s: float
    data: Any = None
    """With a schema: an instance of its class, or parsed JSON."""
    notes: tuple[str, ...] = ()
    """Messages to the user, e.g. about a cap that is nearly reached, or stale prices."""

    @property
    def savings_usd(self) -> Decimal:
        """Baseline minus cost; negative if routing cost more than the baseline model alone."""
        return self.baseline_usd - self.cost_usd

    @property
    def cached(self) -> bool:
        """True if the answer came from the cache, so that nothing was sent."""
        return any(attempt.outcome == Outcome.CACHED for attempt in self.attempts)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    label: str
    """A model's id, or a tier."""
    result: RouteResult | None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Answers of several models to one prompt. Each answer is a run of its own."""

    columns: tuple[Compared, ...]

    @property
    def results(self) -> tuple[RouteResult, ...]:
        return tuple(column.result for column in self.columns if column.result is not None)

    @property
    def cost_usd(self) -> Decimal:
        """Cost of the runs that answered."""
        return sum((result.cost_usd for result in self.results), ZERO)
