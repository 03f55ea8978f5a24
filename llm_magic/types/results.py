"""What was sent, what came of it, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from llm_magic.types.models import Usage
from llm_magic.types.outcomes import Doubt, Outcome
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
    """On the attempt that answered; zero on the others."""
    price_source: str
    ttft_s: float | None
    latency_s: float
    session_id: str
    tags: tuple[str, ...]
    input_price: Decimal | None = None
    """USD per million tokens, as applied: a later change of prices never re-prices history."""
    output_price: Decimal | None = None
    service_tier: str | None = None
    """`batch`, `flex`, `priority`: the tier of service that the provider says it served by; None: the usual one."""
    parent_run_id: str | None = None
    """The run that this one repeats, escalates or is compared with."""
    rating: int | None = None
    """What the user thinks of the answer: 1 good, -1 bad."""
    difficulty: float = 0.0
    """Of the prompt, as it was classified, in logits."""
    reason: Doubt | None = None
    """Why a cheap answer of a cascade was not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the path that a run took: a model that was skipped, failed, or answered."""

    model: str
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteResult:
    """The answer of a run, how it came about, and what it cost."""

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
    """Of the attempt that answered."""
    finish_reason: str
    cost_usd: Decimal
    """Of the whole run: every attempt, failed ones included."""
    cost_estimated: bool
    session_cost_usd: Decimal
    cap_usd: Decimal | None
    """The session's cap at the time; None: none set."""
    baseline_usd: Decimal
    """What the baseline model would have cost for the answer."""
    baseline_model: str
    ttft_s: float | None
    latency_s: float
    data: Any = None
    """With a schema: an instance of its class, or parsed JSON."""
    notes: tuple[str, ...] = ()
    """What the user should know besides: a cap that is nearly reached, a model stepped down to, stale prices."""

    @property
    def savings_usd(self) -> Decimal:
        """Baseline minus cost: negative where routing cost more than the top model alone."""
        return self.baseline_usd - self.cost_usd

    @property
    def cached(self) -> bool:
        """It came from the cache: nothing was sent."""
        return any(attempt.outcome == Outcome.CACHED for attempt in self.attempts)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One column of a comparison."""

    label: str
    """What was asked for: a model's id, or a tier."""
    result: RouteResult | None
    error: str = ""
    """Why there is no result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The same prompt, asked of several models at once. Each answer is a run of its own."""

    columns: tuple[Compared, ...]

    @property
    def results(self) -> tuple[RouteResult, ...]:
        return tuple(column.result for column in self.columns if column.result is not None)

    @property
    def cost_usd(self) -> Decimal:
        """Of the runs that answered."""
        return sum((result.cost_usd for result in self.results), ZERO)
