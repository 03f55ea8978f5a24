"""The plan of a column: how many rows there are to ask, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from llm_magic.budget import show_usd
from llm_magic.types import ZERO, Plan
from llm_magic.waiting.off_peak import describe_plan

_SHOWN_REASONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCost:
    low_usd: Decimal
    expected_usd: Decimal
    worst_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnPlan:
    """The rows that a column would ask, and their cost. Pure: making one sends nothing.

    plan: of a typical row. Counts are None for an iterable without a length. missing: rows without a value, which are
    skipped. distinct: different texts. answered: those with a kept answer. own_plans: rows that are far longer than
    the typical one, each with a plan of its own. left_usd: what the tightest cap leaves; None without a cap.
    minutes: at the known limits of the provider; None if none is known. row: cost of one row, as the plans of some rows
    have it, or as the pilot or earlier answers have measured it. flex: the estimate for the flex tier; None without it.
    kept_models: the models of the answers that were kept from before.
    """

    plan: Plan
    rows: int | None
    missing: int | None
    distinct: int | None
    answered: int | None
    own_plans: int
    row: RowCost
    left_usd: Decimal | None
    minutes: float | None
    is_measured: bool = False
    flex: RowCost | None = None
    kept_models: tuple[str, ...] = ()

    @property
    def to_ask(self) -> int | None:
        return None if self.distinct is None or self.answered is None else self.distinct - self.answered

    @property
    def low_usd(self) -> Decimal | None:
        return None if self.to_ask is None else self.row.low_usd * self.to_ask

    @property
    def expected_usd(self) -> Decimal | None:
        return None if self.to_ask is None else self.row.expected_usd * self.to_ask

    @property
    def worst_usd(self) -> Decimal | None:
        return None if self.to_ask is None else self.row.worst_usd * self.to_ask

    @property
    def fits(self) -> bool:
        return self.left_usd is None or self.expected_usd is None or self.expected_usd <= self.left_usd

    @property
    def covered_rows(self) -> int | None:
        if self.left_usd is None or self.to_ask is None:
            return None
        if self.row.expected_usd == 0:
            return self.to_ask
        return min(self.to_ask, int(max(self.left_usd, ZERO) / self.row.expected_usd))

    def __str__(self) -> str:
        return "\n".join(plan_lines(self))


def plan_lines(plan: ColumnPlan) -> list[str]:
    lines: list[str] = []
    if plan.rows is None:
        lines.append("rows: unknown, read as they come")
    else:
        missing = f", {plan.missing:,} without a value" if plan.missing else ""
        lines.append(f"rows: {plan.rows:,}, {plan.distinct:,} distinct{missing}")
        kept = f", by {', '.join(plan.kept_models)}" if plan.kept_models else ""
        lines.append(f"answered already: {plan.answered:,}{kept}; to ask: {plan.to_ask:,}")
    models = " → ".join(candidate.model.id for candidate in plan.plan.candidates)
    lines.append(f"tier: {plan.plan.tier}; models: {models or _without_model(plan.plan)}")
    if plan.own_plans:
        rows = "1 row that is" if plan.own_plans == 1 else f"{plan.own_plans:,} rows that are"
        lines.append(f"with a plan of its own: {rows} far longer")
    if (agreement := _agreement(plan.plan)) is not None:
        lines.append(agreement)
    if plan.to_ask != 0 and (wait := describe_plan(plan.plan, plan.to_ask or 1)):
        lines.append(wait if plan.to_ask else f"{wait}, per row")
    return lines + (_cost_lines(plan) if plan.plan.candidates else [])


def _cost_lines(plan: ColumnPlan) -> list[str]:
    lines: list[str] = []
    basis = "measured" if plan.is_measured else "estimated"
    if plan.expected_usd is None or plan.low_usd is None or plan.worst_usd is None:
        lines.append(
            f"cost of a row ({basis}): {show_usd(plan.row.expected_usd)}, at most {show_usd(plan.row.worst_usd)}"
        )
    else:
        low, worst = show_usd(plan.low_usd), show_usd(plan.worst_usd)
        lines.append(f"cost ({basis}): {show_usd(plan.expected_usd)}, from {low}, at most {worst}")
    if (flex := plan.flex) is not None:
        count = 1 if plan.to_ask is None else plan.to_ask
        low, expected, worst = (show_usd(count * usd) for usd in (flex.low_usd, flex.expected_usd, flex.worst_usd))
        lines.append(f"on the flex tier, which is slower (estimated): {expected}, from {low}, at most {worst}")
    if plan.left_usd is not None:
        covered = plan.covered_rows
        rows = "" if covered is None else f", which covers about {covered:,} of {plan.to_ask:,} rows"
        lines.append(f"left under the cap: {show_usd(max(plan.left_usd, ZERO))}{rows}")
    if plan.minutes is not None:
        lines.append(f"time at the known limits: about {duration_text(60 * plan.minutes)}")
    return lines


def _without_model(plan: Plan) -> str:
    reasons = "; ".join(f"{skipped.model.id} {skipped.reason}" for skipped in plan.skipped[:_SHOWN_REASONS])
    return f"no usable model ({reasons})" if reasons else "no usable model"


def _agreement(plan: Plan) -> str | None:
    if (cascade := plan.cascade) is None:
        return None
    cheap = " and ".join(candidate.model.id for candidate in cascade.cheap)
    return f"cascade: {cheap} first; about {cascade.acceptance_rate:.0%} of the rows end there"


def duration_text(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def row_cost(plans: Sequence[Plan]) -> RowCost:
    leaders = [plan.candidates[0] for plan in plans if plan.candidates]
    if not leaders:
        return RowCost(low_usd=ZERO, expected_usd=ZERO, worst_usd=ZERO)
    count = len(leaders)
    cascades = [plan.cascade for plan in plans]
    expected = [plan.expected_usd or ZERO for plan in plans]
    worst = [
        leader.worst_usd if cascade is None else cascade.worst_usd
        for leader, cascade in zip(leaders, cascades, strict=False)
    ]
    return RowCost(
        low_usd=sum((leader.low_usd for leader in leaders), ZERO) / count,
        expected_usd=sum(expected, ZERO) / count,
        worst_usd=sum(worst, ZERO) / count,
    )


def mixed_cost(typical: RowCost, odd: RowCost, odd_share: float) -> RowCost:
    """Return the mean cost of rows, of which a share is far longer."""
    share = Decimal(repr(odd_share))
    return RowCost(
        low_usd=typical.low_usd * (1 - share) + odd.low_usd * share,
        expected_usd=typical.expected_usd * (1 - share) + odd.expected_usd * share,
        worst_usd=typical.worst_usd * (1 - share) + odd.worst_usd * share,
    )
