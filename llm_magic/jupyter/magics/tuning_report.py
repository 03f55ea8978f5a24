"""The text of `%route_tune`: the learned shifts, their effect on the user's own history, and the shadow runs."""

from __future__ import annotations

import math
from collections.abc import Iterator

from llm_magic import tuning
from llm_magic.budget import show_usd
from llm_magic.registry import Registry
from llm_magic.routing import Router
from llm_magic.tuning import Acceptance, EffortSteps, Tuning
from llm_magic.tuning.acceptance import assumed, confirmed_runs, is_accepted
from llm_magic.tuning.comparisons import Comparisons, Judging
from llm_magic.tuning.evidence import Evidence, collect
from llm_magic.tuning.replay import Replayed, replay
from llm_magic.types import Attempt, Confirmation, TaskTier, Verdict

_SDS_OF_95 = 1.96


def preview(router: Router) -> str:
    rows = router.ledger.rows()
    applied, learned = tuning.load(), tuning.tune(rows, router.base_registry)
    shadows = list(_shadow_lines(tuning.comparisons_of(rows, router.base_registry)))
    if not learned:
        hint = "Nothing to learn from yet: rate answers with %route_rate, or escalate what was not good enough"
        return "\n".join([f"{hint}. {_applied(applied)}", *shadows])
    return "\n".join(
        [
            "What your ledger says about each model, and what its expected quality on a typical prompt becomes:",
            "",
            *_changes(rows, router.base_registry, learned),
            "",
            *shadows,
            *_effect_on_history(rows, router, learned),
            "",
            "This is what is applied."
            if applied == learned
            else f"{_applied(applied)} %route_tune --apply applies this.",
        ]
    )


def apply(router: Router) -> str:
    rows = router.ledger.rows()
    learned = tuning.tune(rows, router.base_registry)
    if not learned:
        return preview(router)
    path = tuning.save(learned)
    router.retune()
    note = f"Applied from now on, and saved in {path}. %route_tune --reset undoes it."
    return "\n".join([*_changes(rows, router.base_registry, learned), "", note])


def _applied(applied: Tuning) -> str:
    return "Another change is applied so far." if applied else "Nothing is applied yet."


def _changes(rows: list[Attempt], before: Registry, learned: Tuning) -> list[str]:
    lines: list[str] = []
    for tier, shift in learned.prompts.items():
        level = before.baseline.capability.get(tier, 0.0)
        word = "harder" if shift < 0 else "easier"
        change = f"{_chance(level):.0%} → {_chance(level + shift):.0%}"
        lines.append(f"  {tier}: your prompts are {word} than typical ones, {change} for {before.baseline.id}")
    evidence = collect(rows, before)
    pairings = tuning.comparisons_of(rows, before).counts
    compared = {(model, pairing.tier) for pairing in pairings for model in (pairing.shown, pairing.shadow)}
    for model, tier in sorted(learned.widths):
        if learned.shift(model, tier):
            without_answers = (
                "compared in shadow runs" if (model, tier) in compared else "assumed like others, no answers yet"
            )
            signals = _signals(evidence.get((model, tier), Evidence())) or without_answers
            lines.append(f"  {model}, {tier}: {_becomes(model, tier, before, learned)}   ({signals})")
    if any(row.effort is not None for row in rows):
        lines.append(_effort_line(learned.effort))
    runs = confirmed_runs(rows)
    for kind, found in learned.acceptance.items():
        accepted, answers = sum(map(is_accepted, runs[kind])), len(runs[kind])
        is_used = kind is Confirmation.JUDGE and found.is_measured(kind)
        lines.append(
            f"  {_CONFIRMATIONS[kind]}: {accepted:,} of {answers:,} accepted; {_accepted(assumed(kind), found)}"
            + "; once applied, plans use them without --cascade" * is_used
        )
    return lines


_CONFIRMATIONS = {
    Confirmation.AGREE: "agreement of two models",
    Confirmation.TWICE: "agreement of two answers of one model",
    Confirmation.CHECK: "checks",
    Confirmation.JUDGE: "judges of cascades",
    Confirmation.CODE: "looks at code",
    Confirmation.DATA: "looks at data",
    Confirmation.LABEL: "looks at labels",
    Confirmation.NUMBER: "looks at numbers",
}


def _accepted(before: Acceptance, after: Acceptance) -> str:
    intervals = zip(before.interval(_SDS_OF_95), after.interval(_SDS_OF_95), strict=True)
    shares = zip(("right", "wrong"), before.shares, after.shares, intervals, strict=True)
    return ", ".join(
        f"{name} answers {was:.0%} → {now:.0%} (95% interval: {_range(*earlier)} → {_range(*later)})"
        for name, was, now, (earlier, later) in shares
    )


def _range(low: float, high: float) -> str:
    return f"{low:.0%} to {high:.0%}"


def _effort_line(learned: EffortSteps) -> str:
    """Return the change of the gain per level of effort, as a multiple of the assumed one."""
    was = _factors(EffortSteps())
    if not learned:
        return (
            f"  effort: the evidence at levels other than the default is too little to change the assumed gain ({was})"
        )
    change = f"{learned.factor:.0%} of the assumed one"
    return f"  effort: the gain per level becomes {change} (95% interval: {was} → {_factors(learned)})"


def _factors(steps: EffortSteps) -> str:
    return _range(*steps.interval(_SDS_OF_95))


def _becomes(model: str, tier: TaskTier, before: Registry, learned: Tuning) -> str:
    level, shift = before[model].capability.get(tier, 0.0), learned.shift(model, tier)
    was = _interval(level, tuning.prior_width(model, before))
    now = _interval(level + shift, learned.widths[model, tier])
    return f"{_chance(level):.0%} → {_chance(level + shift):.0%} (95% interval: {was} → {now})"


def _interval(level: float, width: float) -> str:
    low, high = (_chance(level + sign * _SDS_OF_95 * width) for sign in (-1, 1))
    return _range(low, high)


def _signals(evidence: Evidence) -> str:
    by_count = sorted(evidence.counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {signal}" for signal, count in by_count)


def _chance(level: float) -> float:
    return 1.0 / (1.0 + math.exp(-level))


def _shadow_lines(comparisons: Comparisons) -> Iterator[str]:
    """Yield what shadow runs have cost and found, and how far each judge can be relied on."""
    if not comparisons.answers:
        return
    counts = [f"{comparisons.verdicts.get(verdict, 0):,} {verdict}" for verdict in Verdict]
    answers = f"{comparisons.answers:,} answer{'s' * (comparisons.answers != 1)}"
    yield (
        f"Shadow runs: {answers} for {show_usd(comparisons.usd)}. Compared with the answer you saw: "
        f"{', '.join(counts)}; {comparisons.mechanical:,} of them without a judge."
    )
    for model, judging in sorted(comparisons.judges.items()):
        yield f"  {model} {_judged(judging)}"
    yield ""


def _judged(judging: Judging) -> str:
    missing = f"gave no readable verdict on {_pairs(judging.without_verdict)}"
    if not judging.comparisons:
        return f"{missing}, and the estimates stay as they were"
    share = judging.inconsistent / judging.comparisons
    text = f"judged {_pairs(judging.comparisons)} and contradicted itself in {judging.inconsistent:,} ({share:.0%})"
    text = f"{missing}, {text}" if judging.without_verdict else text
    if judging.never_decides:
        return f"{text}, and preferred an answer in {judging.decided:,}: its verdicts are not used"
    if not judging.weight:
        return f"{text}: its verdicts are not used, and the estimates stay as they were"
    return f"{text}: its verdicts count {judging.weight:.0%}"


def _pairs(count: int) -> str:
    return f"{count:,} pair{'s' * (count != 1)}"


def _effect_on_history(rows: list[Attempt], router: Router, learned: Tuning) -> list[str]:
    registries = (router.base_registry, tuning.apply_tuning(router.base_registry, learned))
    before, after = (replay(rows, registry, quality=router.quality) for registry in registries)
    was, now = (_runs_by_model(replayed) for replayed in (before, after))
    moved = sum(max(0, runs - was.get(model, 0)) for model, runs in now.items())
    answered = f"{after.runs:,} answered run{'s' * (after.runs != 1)}"
    lines = [
        f"Of your {answered} {moved:,} would go elsewhere; in total they would have cost "
        f"{show_usd(before.replayed_usd)} before, {show_usd(after.replayed_usd)} after."
    ]
    for model in sorted({*was, *now}, key=lambda model: -was.get(model, 0)):
        if was.get(model, 0) != now.get(model, 0):
            lines.append(
                f"  {model}: {was.get(model, 0):,} → {now.get(model, 0):,} run{'s' * (now.get(model, 0) != 1)}"
            )
    return lines


def _runs_by_model(replayed: Replayed) -> dict[str, int]:
    counts: dict[str, int] = {}
    for (_, model), runs in replayed.moved.items():
        counts[model] = counts.get(model, 0) + runs
    return counts
