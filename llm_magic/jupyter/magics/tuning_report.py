"""What `%route_tune` says: what the ledger has taught, and what that would change on the user's own history."""

from __future__ import annotations

import math

from llm_magic import tuning
from llm_magic.budget import show_usd
from llm_magic.registry import Registry
from llm_magic.routing import Router
from llm_magic.tuning import Evidence, Tuning
from llm_magic.tuning.replay import Replayed, replay
from llm_magic.types import Attempt


def show(router: Router) -> str:
    """Before and after, for a yes: nothing is changed by it."""
    rows = router.ledger.rows()
    now, then = tuning.load(), tuning.tune(rows, router.base_registry)
    if not then:
        taught = "Nothing to learn from yet: rate answers with %route_rate, or escalate what was not good enough"
        return f"{taught}. {_applied(now)}"
    return "\n".join(
        [
            "What your ledger says of each model, and what its expected quality on a typical prompt becomes:",
            "",
            *_changes(rows, router.base_registry, then),
            "",
            *_history(rows, router, then),
            "",
            "This is what is applied."
            if now == then
            else f"Nothing is changed yet. {_applied(now)} %route_tune --apply applies it.",
        ]
    )


def apply(router: Router) -> str:
    """Keep the step and use it from now on."""
    rows = router.ledger.rows()
    then = tuning.tune(rows, router.base_registry)
    if not then:
        return show(router)
    path = tuning.save(then)
    router.retune()
    told = f"Applied from now on, and kept in {path}. %route_tune --reset takes it back."
    return "\n".join([*_changes(rows, router.base_registry, then), "", told])


def _applied(now: Tuning) -> str:
    return "Something else is applied so far." if now else "Nothing is applied so far."


def _changes(rows: list[Attempt], before: Registry, then: Tuning) -> list[str]:
    found = tuning.evidence(rows)
    lines: list[str] = []
    for tier, shift in then.prompts.items():
        level = before.baseline.capability.get(tier, 0.0)
        word = "harder" if shift < 0 else "easier"
        lines.append(
            f"  {tier}: your prompts are {word} than typical ones, {_becomes(level, shift)} for {before.baseline.id}"
        )
    for (model, tier), of in sorted(found.items()):
        if model in before and (shift := then.shift(model, tier)):
            lines.append(
                f"  {model}, {tier}: {_becomes(before[model].capability.get(tier, 0.0), shift)}   ({_why(of)})"
            )
    return lines


def _becomes(level: float, shift: float) -> str:
    return f"{_chance(level):.0%} → {_chance(level + shift):.0%}"


def _why(of: Evidence) -> str:
    return ", ".join(f"{many} {kind}" for kind, many in sorted(of.why.items(), key=lambda each: (-each[1], each[0])))


def _chance(level: float) -> float:
    return 1.0 / (1.0 + math.exp(-level))


def _history(rows: list[Attempt], router: Router, then: Tuning) -> list[str]:
    """How the runs of the ledger would be routed before and after."""
    registries = (router.base_registry, tuning.tuned(router.base_registry, then))
    before, after = (replay(rows, registry, quality=router.quality) for registry in registries)
    was, now = (_by_model(replayed) for replayed in (before, after))
    moved = sum(max(0, many - was.get(model, 0)) for model, many in now.items())
    lines = [
        f"Of your {after.runs:,} answered runs {moved:,} would go elsewhere; all of them would have cost "
        f"{show_usd(before.replayed_usd)} before, {show_usd(after.replayed_usd)} after."
    ]
    for model in sorted({*was, *now}, key=lambda model: -was.get(model, 0)):
        if was.get(model, 0) != now.get(model, 0):
            lines.append(f"  {model}: {was.get(model, 0):,} → {now.get(model, 0):,} runs")
    return lines


def _by_model(replayed: Replayed) -> dict[str, int]:
    """How many runs each model would answer."""
    counts: dict[str, int] = {}
    for (_, model), many in replayed.moved.items():
        counts[model] = counts.get(model, 0) + many
    return counts
