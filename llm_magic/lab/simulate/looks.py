"""Cascades that plans choose for everyday prompts, and what they are expected to cost. Nothing is asked."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llm_magic.classify import classify
from llm_magic.lab.prompts import NotebookPrompt, is_held_out, notebook_prompts
from llm_magic.lab.simulate.thinkers import simulated_context
from llm_magic.plan import make_plan
from llm_magic.plan.acceptance import ASSUMED
from llm_magic.plan.lengths import Unmeasured
from llm_magic.registry import Registry
from llm_magic.types import Plan, Request, TaskTier

Choice = Literal["default", "any"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascades:
    """Share of the prompts by confirmation, and share of the prompts of each tier.

    cost, quality: relative to the same plans without cascades.
    """

    shares: Mapping[str, float]
    tiers: Mapping[TaskTier, float]
    cost: float
    quality: float

    @property
    def share(self) -> float:
        return sum(self.shares.values())


def everyday_prompts() -> list[NotebookPrompt]:
    """Return the held-out prompts of notebooks."""
    return [prompt for prompt in notebook_prompts() if is_held_out(prompt.text)]


def planned(prompts: Sequence[NotebookPrompt], choice: Choice) -> Cascades:
    registry, context = Registry.load("current"), simulated_context(Unmeasured())

    def plan_for(text: str) -> Plan:
        request = Request(prompt=text, cascade=None if choice == "default" else choice)
        return make_plan(request, classify(text), registry, context)

    plans = [plan_for(prompt.text) for prompt in prompts]
    modes = Counter(plan.cascade.mode for plan in plans if plan.cascade is not None)
    labeled = [(plan, prompt.tier) for plan, prompt in zip(plans, prompts, strict=True)]
    leaders = [plan.candidates[0] for plan in plans]
    asked = [plan.cascade or plan.candidates[0] for plan in plans]
    return Cascades(
        shares={mode: count / len(prompts) for mode, count in sorted(modes.items())},
        tiers={
            tier: sum(plan.cascade is not None for plan, label in labeled if label is tier)
            / max(1, sum(label is tier for _, label in labeled))
            for tier in TaskTier
        },
        cost=float(sum(one.expected_usd for one in asked) / sum(one.expected_usd for one in leaders)),
        quality=sum(one.expected_quality for one in asked) / sum(one.expected_quality for one in leaders),
    )


def report() -> tuple[str, dict[str, Any]]:
    prompts = everyday_prompts()
    choices: tuple[Choice, ...] = ("default", "any")
    figures = {choice: planned(prompts, choice) for choice in choices}
    lines = [
        f"Cascades for {len(prompts)} held-out prompts of notebooks, cold, current models; nothing was asked:",
        f"  {'':8}  {'share':>5}  {'cost':>5}  {'quality':>7}  confirmed by",
    ]
    for choice, figure in figures.items():
        modes = ", ".join(f"{mode} {share:.0%}" for mode, share in figure.shares.items())
        lines.append(f"  {choice:8}  {figure.share:>5.0%}  {figure.cost:>5.0%}  {figure.quality:>7.1%}  {modes}")
        lines.append(f"  {'':8}  by tier: {', '.join(f'{tier} {share:.0%}' for tier, share in figure.tiers.items())}")
    lines += [
        "share: prompts with a cascade that is expected to cost at most 80 % of the plan's first candidate at the "
        "requested quality.",
        "cost, quality: of all these prompts, relative to the same plans without cascades.",
        "Assumed, not measured: shares of right and of wrong answers that are accepted: "
        + ", ".join(f"{name} {right:.0%} and {wrong:.0%}" for name, (right, wrong) in ASSUMED.items()),
    ]
    return "\n".join(lines), {choice: dataclasses.asdict(figure) for choice, figure in figures.items()}
