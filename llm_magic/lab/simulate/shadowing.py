"""The report of `llm-magic simulate --shadow`: what shadow runs teach on simulated models and on recorded outcomes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from llm_magic.answers.agreement import SAME_MISTAKE, SAME_RIGHT
from llm_magic.lab.simulate import comparisons, everyday
from llm_magic.lab.simulate.dataset import shipped_outcomes
from llm_magic.lab.simulate.efforts import Interval, interval_of
from llm_magic.lab.simulate.judges import SimulatedJudge
from llm_magic.lab.simulate.thinkers import World, assumptions
from llm_magic.tuning.acceptance import ASSUMED_ANSWERS
from llm_magic.types import DEFAULT_QUALITY

ORDERS = 20
"""Random orders of the recorded prompts."""
HIGHER_QUALITY = 0.99
DECEIVED = 0.2
_POLICIES = {
    "cold": "cold",
    "lengths_only": f"after {everyday.COMPARISONS} runs, lengths only",
    "learned_alone": f"after {everyday.COMPARISONS} shadow runs, --cascade=off",
    "learned": f"after {everyday.COMPARISONS} shadow runs",
    "learned_worth": f"the same, with --worth {everyday.WORTH_USD}",
    "oracle": "true capabilities known",
}
_REPLAY_KEYS = [field.name for field in dataclasses.fields(comparisons.Replayed) if field.name != "source"]


def report(world: World, *, users: int, seed: int = 0, quality: float = DEFAULT_QUALITY) -> tuple[str, dict[str, Any]]:
    """Return the report as text, and its figures."""
    judge, recorded_judge = (
        SimulatedJudge(deceived=DECEIVED),
        SimulatedJudge(same_right=SAME_RIGHT, same_mistake=SAME_MISTAKE),
    )
    simulated = [everyday.simulate_user(world, (seed, user), judge) for user in range(users)]
    mix = {
        name: {
            key: interval_of([getattr(getattr(user, name), key) for user in simulated])
            for key in ("cost", "quality", "cascaded")
        }
        for name in _POLICIES
    }
    spent = interval_of([user.shadow_share for user in simulated])
    routed = {at: _replayed(at, recorded_judge, seed) for at in (quality, HIGHER_QUALITY)}
    learned = [(user.accepted, user.learned_accepted) for user in simulated]
    off = {
        name: interval_of([shares[position] - true[position] for true, shares in learned])
        for position, name in enumerate(("right", "wrong"))
    }
    lines = [
        *_everyday_lines(world, users, mix, spent, judge),
        f"  shares of right and wrong answers that the judge of cascades accepts, learned minus true: {off['right']}, "
        f"{off['wrong']}",
        "",
        *(line for at, figures in routed.items() for line in _recorded_lines(at, figures)),
        f"  the judge: {recorded_judge.agreement}",
        f"  equal answers need no judge: {SAME_RIGHT:.0%} of two right ones and {SAME_MISTAKE:.0%} of two wrong ones",
    ]
    figures = {
        "everyday": _plain(mix),
        "shadow_share": dataclasses.asdict(spent),
        "recorded": {f"{at:g}": _plain(figures) for at, figures in routed.items()},
    }
    return "\n".join(lines), figures


def _replayed(quality: float, judge: SimulatedJudge, seed: int) -> dict[str, dict[str, Interval]]:
    found: dict[str, dict[str, Interval]] = {}
    for source, outcomes in shipped_outcomes().items():
        replays = [comparisons.replayed(outcomes, quality, judge, seed + order) for order in range(ORDERS)]
        found[source] = {key: interval_of([getattr(replay, key) for replay in replays]) for key in _REPLAY_KEYS}
    return found


def _recorded_lines(quality: float, figures: dict[str, dict[str, Interval]]) -> Iterable[str]:
    yield (
        f"Recorded outcomes: {comparisons.COMPARISONS} comparisons, then the routing of the other prompts at quality "
        f"{quality:g}, relative to the top model alone (95% of {ORDERS} orders):"
    )
    yield from (_routed_line(source, own) for source, own in figures.items())
    yield "  with cascades of two cheap models whose answers must agree, where they pay:"
    yield from (_routed_line(source, own, "cascade_") for source, own in figures.items())


def _everyday_lines(
    world: World, users: int, mix: dict[str, dict[str, Interval]], spent: Interval, judge: SimulatedJudge
) -> Iterable[str]:
    yield f"Shadow runs on simulated models, {users} simulated users. Assumed:"
    yield ""
    yield from (f"  {line}" for line in assumptions(world))
    yield (
        f"  true capabilities differ from the assumed ones by {everyday.MODEL_SPREAD:g} logits for each model and tier "
        f"and by {everyday.PROMPTS_SPREAD:g} for each tier (standard deviations)"
    )
    yield (
        f"  a judge that replies correctly in {judge.right:.0%} of the pairs with one good answer, calls "
        f"{judge.tie_if_equal:.0%} of equal pairs a tie, and names the first answer unread in {judge.first:.0%}"
    )
    yield (
        f"  judges of cascades accept {judge.accepted.right:.0%} of right and {judge.accepted.wrong:.0%} of wrong "
        f"answers, with a spread over users as of {ASSUMED_ANSWERS} answers; {judge.deceived:.0%} of wrong answers "
        "deceive every judge"
    )
    yield ""
    yield "Relative to always asking the top model at its default effort (95% of the users):"
    for name, shown in _POLICIES.items():
        own = mix[name]
        yield f"  {shown:<32} cost {own['cost']}, success {own['quality']}, cascades {own['cascaded']}"
    yield f"  shadow runs cost {spent} of the spending on the runs, of which they are {everyday.SHARE:.0%}"
    yield f"  the judge: {judge.agreement}"


def _routed_line(source: str, figures: dict[str, Interval], prefix: str = "") -> str:
    cost_before, score_before, cost_after, score_after = (figures[prefix + key] for key in _REPLAY_KEYS[:4])
    before, after = f"cost {cost_before}, score {score_before}", f"cost {cost_after}, score {score_after}"
    return f"  {source:<12} before: {before}; after: {after}"


def _plain(table: dict[str, dict[str, Interval]]) -> dict[str, Any]:
    return {name: {key: dataclasses.asdict(value) for key, value in figures.items()} for name, figures in table.items()}
