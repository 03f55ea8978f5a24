"""Plans in words, for notebooks and the command line."""

from __future__ import annotations

from llm_magic.budget import extra_line, short_usd, show_usd
from llm_magic.types import Candidate, Cascade, Plan, Skipped
from llm_magic.waiting.off_peak import describe_plan


def plan_text(plan: Plan) -> str:
    known = plan.classification
    tier = f"{known.tier} {known.confidence:.2f}: {'; '.join(known.reasons)}"
    return "\n".join([tier, *map(_entry, plan.ranked), *plan_notes(plan)])


def _entry(entry: Candidate | Skipped) -> str:
    if isinstance(entry, Skipped):
        return f"  – {entry.model.id}: skipped, {entry.reason}"
    costs = " / ".join(show_usd(cost) for cost in (entry.low_usd, entry.expected_usd, entry.worst_usd))
    return f"  → {entry.name}: {costs} (low / expected / worst), quality {entry.expected_quality:.0%}, {entry.why}"


def plan_notes(plan: Plan) -> list[str]:
    if plan.cascade is not None:
        cascade = [_cascade(plan.cascade)]
    else:
        cascade = [f"no cascade: {plan.no_cascade}"] if plan.no_cascade else []
    wait = describe_plan(plan)
    return [*map(extra_line, plan.extras), *cascade, *([wait] if wait else []), _budget_after(plan)]


def _cascade(cascade: Cascade) -> str:
    names = " and ".join(candidate.name for candidate in cascade.cheap)
    condition = {
        "agree": "if they agree",
        "twice": "if they agree",
        "look": "if its form is valid",
        "schema": "if it fits the schema",
        "check": "if the check accepts it",
        "judge": f"if {cascade.judge.model.id if cascade.judge else ''} finds it good",
    }[cascade.mode]
    return (
        f"cascade: {names} first, kept {condition} (about {cascade.acceptance_rate:.0%}), else "
        f"{cascade.strong.name}: {short_usd(cascade.expected_usd)} expected, "
        f"{short_usd(cascade.worst_usd)} at worst, quality {cascade.expected_quality:.0%}; {cascade.why}"
    )


def _budget_after(plan: Plan) -> str:
    baseline = f"on {plan.baseline_model.id} alone: {short_usd(plan.baseline_usd)} expected"
    if plan.left_usd is None:
        return f"no cap is set; {baseline}; nothing was sent"
    if plan.expected_usd is None:
        return f"{short_usd(plan.left_usd)} left: no model fits; {baseline}; nothing was sent"
    after = plan.left_usd - plan.expected_usd
    return f"{short_usd(plan.left_usd)} left, {short_usd(after)} expected after; {baseline}; nothing was sent"
