from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from llm_magic.types.efforts import Effort
from llm_magic.types.models import Usage
from llm_magic.types.outcomes import Confirmation, CostBasis, Doubt, Outcome, Verdict
from llm_magic.types.shadowing import SHADOW_TAG
from llm_magic.types.tasks import TaskTier

ZERO = Decimal(0)
_REPR_CHARS = 60
STOPPED = "stopped"
"""The finish_reason of a run that the user stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request sent to one provider, as it ended: one row of the ledger.

    Prices are those that were applied, in USD per million tokens, so a later change of prices does not change history.
    `provider_cost_usd` is the cost that the provider states. `cost_low_usd` covers what was reported or counted,
    `cost_high_usd` is the hold; None stands for `cost_usd`.
    `baseline_usd` is zero unless the attempt answered. `comparable` is False for an answer that is expected to be worse
    than what was requested. `difficulty` is in logits; `rating` is 1 (good) or -1 (bad).
    """

    run_id: str
    attempt: int
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
    price_source: str
    ttft_s: float | None
    latency_s: float
    session_id: str
    tags: tuple[str, ...]
    input_price: Decimal | None = None
    output_price: Decimal | None = None
    service_tier: str | None = None
    parent_run_id: str | None = None
    rating: int | None = None
    difficulty: float = 0.0
    reason: Doubt | None = None
    cost_basis: CostBasis = CostBasis.REPORTED
    cost_low_usd: Decimal | None = None
    cost_high_usd: Decimal | None = None
    effort: Effort | None = None
    expected_usd: Decimal = ZERO
    cache_saved_usd: Decimal = ZERO
    """By the provider's prompt cache; negative if a write cost more than the reads saved."""
    provider_cost_usd: Decimal | None = None
    comparable: bool = True
    verdict: Verdict | None = None
    """Set for a shadow answer only."""
    confirmation: Confirmation | None = None
    """Set if it decided about this cheap answer of a cascade."""

    @property
    def is_shadow(self) -> bool:
        """True for a shadow answer and for the requests to its judge."""
        return SHADOW_TAG in self.tags


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """is_configured: False if the model was skipped because its provider can't be used, for example without a key."""

    model: str
    outcome: Outcome
    detail: str = ""
    is_configured: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RouteResult:
    """The answer of a run, its path and its cost.

    usage: of the attempt that answered. baseline_usd: cost of the same answer on the baseline model, or its own cost if
    it is not comparable. cap_usd: the session's cap at the end of the run. data: with a schema, an instance of its
    class, or parsed JSON. cut_by_endpoint: the answer was cut off, but not by the output limit that was requested.
    """

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
    finish_reason: str
    cost_usd: Decimal
    cost_estimated: bool
    session_cost_usd: Decimal
    cap_usd: Decimal | None
    baseline_usd: Decimal
    baseline_model: str
    ttft_s: float | None
    latency_s: float
    data: Any = None
    notes: tuple[str, ...] = ()
    effort: Effort | None = None
    comparable: bool = True
    """False if the answer is expected to be worse than what was requested: then no savings are counted."""
    cut_by_endpoint: bool = False

    @property
    def savings_usd(self) -> Decimal:
        """Baseline minus cost; negative if routing cost more than the baseline model alone."""
        return self.baseline_usd - self.cost_usd

    @property
    def outcome(self) -> Outcome:
        """The outcome of the answer, or else of the last attempt; if nothing was sent, cancelled or skipped."""
        ended = [attempt.outcome for attempt in self.attempts]
        not_sent = Outcome.CANCELLED if self.finish_reason == STOPPED else Outcome.SKIPPED
        return next((outcome for outcome in ended if outcome.is_answer), ended[-1] if ended else not_sent)

    @property
    def cached(self) -> bool:
        return any(attempt.outcome == Outcome.CACHED for attempt in self.attempts)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= _REPR_CHARS else f"{self.text[:_REPR_CHARS]}…"
        return f"RouteResult(model={self.model!r}, text={text!r}, cost_usd={self.cost_usd!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The result of one model or tier, which is the label."""

    label: str
    result: RouteResult | None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Answers of several models to one prompt, each from a run of its own."""

    columns: tuple[Compared, ...]

    @property
    def results(self) -> tuple[RouteResult, ...]:
        return tuple(column.result for column in self.columns if column.result is not None)

    @property
    def cost_usd(self) -> Decimal:
        return sum((result.cost_usd for result in self.results), ZERO)
