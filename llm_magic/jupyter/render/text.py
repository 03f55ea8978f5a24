"""Runs, comparisons and plans as plain text."""

from __future__ import annotations

from llm_magic.budget import show_usd
from llm_magic.jupyter.render.facts import ComparisonFacts, RunFacts, TierFacts, plan_notes, tier_facts
from llm_magic.types import Candidate, Plan, Skipped


def run(facts: RunFacts, answer: str) -> str:
    return "\n".join([*run_lines(facts), "", answer]).rstrip()


def run_lines(facts: RunFacts) -> list[str]:
    lines: list[str] = []
    if facts.tier is not None:
        lines.append(f"{facts.model}  [{_tier(facts.tier)}]")
        lines.append(f"path: {' -> '.join(step.text for step in facts.path)}")
    if facts.ending:
        lines.append(facts.ending)
    if facts.usage:
        lines.append(" | ".join([facts.usage, f"this cell {facts.cost}", *facts.details]))
    return [*lines, *facts.notes, facts.session.text]


def comparison(facts: ComparisonFacts) -> str:
    columns = [f"{column.name}  [{'; '.join(column.lines)}]\n{column.answer_text}".rstrip() for column in facts.columns]
    return "\n\n".join([*columns, " | ".join(facts.footer)])


def plan(plan: Plan) -> str:
    return "\n".join([_tier(tier_facts(plan.classification)), *map(_plan_line, plan.ranked), *plan_notes(plan)])


def printable(text: str) -> str:
    """Remove the control characters that would reach a terminal from a model's text."""
    return "".join(char for char in text if char in "\n\t" or (char >= " " and not "\x7f" <= char <= "\x9f"))


def _tier(tier: TierFacts) -> str:
    return f"{tier.name} {tier.confidence:.2f}: {tier.reasons}"


def _plan_line(entry: Candidate | Skipped) -> str:
    if isinstance(entry, Skipped):
        return f"  – {entry.model.id}: skipped, {entry.reason}"
    costs = " / ".join(show_usd(cost) for cost in (entry.low_usd, entry.expected_usd, entry.worst_usd))
    return f"  → {entry.name}: {costs} (low / expected / worst), quality {entry.expected_quality:.0%}, {entry.why}"
