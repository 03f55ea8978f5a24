"""Curves of both dials, `--quality` and `--worth`: cost and success relative to always asking the top model."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

import numpy as np

from llm_magic.lab.simulate.dataset import Outcomes, shipped_outcomes
from llm_magic.lab.simulate.efforts import Interval, interval_of
from llm_magic.lab.simulate.everyday import MODEL_SPREAD, PROMPTS_SPREAD, always_top, true_registry
from llm_magic.lab.simulate.lineups import LINEUPS, Lineup
from llm_magic.lab.simulate.simulator import Columns, planned_choices
from llm_magic.lab.simulate.thinkers import Thinkers, World, assumptions, draw_prompts, planning
from llm_magic.registry import Registry
from llm_magic.types import DEFAULT_QUALITY, Candidate

QUALITIES = (0.0, 0.8, 0.85, 0.9, 0.92, 0.94, 0.95, DEFAULT_QUALITY, 0.98, 0.99, 1.0)
_WORTHS_USD = (
    0.0001,
    0.001,
    0.003,
    0.005,
    0.007,
    0.01,
    0.015,
    0.02,
    0.03,
    0.05,
    0.07,
    0.1,
    0.15,
    0.2,
    0.3,
    0.5,
    1,
    2,
    5,
)
WORTHS_USD = tuple(Decimal(str(usd)) for usd in _WORTHS_USD)
TARGETS = (0.99, 0.983, 0.97, 0.95)
RESAMPLES = 200
"""Draws of recorded prompts, each of as many as there are."""
KNOWN, UNKNOWN = "simulated models", "simulated models, other capabilities"

Point = tuple[float, float]
"""Cost and success, relative to always asking the top model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A position of one dial: a quality, or a worth in USD."""

    quality: float | None = None
    worth_usd: Decimal | None = None

    @property
    def dial(self) -> str:
        return "--worth" if self.quality is None else "--quality"

    @property
    def value(self) -> str:
        return f"{self.worth_usd if self.quality is None else self.quality:g}"

    @property
    def is_default(self) -> bool:
        return self.quality == DEFAULT_QUALITY


SETTINGS = (*(Setting(quality=quality) for quality in QUALITIES), *(Setting(worth_usd=usd) for usd in WORTHS_USD))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Cost and success of a setting, relative to always asking the top model.

    lost: success that the default would have had in addition, as a share of its own.
    """

    cost: Interval
    success: Interval
    lost: Interval


Curves = Mapping[str, Mapping[Setting, Figures]]
"""Figures by source and setting."""


def compare_dials(
    world: World, *, users: int, seed: int = 0, settings: Sequence[Setting] = SETTINGS, resamples: int = RESAMPLES
) -> Curves:
    """Return the curves. `settings` has the default among them."""
    default = next(index for index, setting in enumerate(settings) if setting.is_default)
    simulated = [_simulated_user(world, settings, (seed, user)) for user in range(users)]
    points = {name: [user[name] for user in simulated] for name in (KNOWN, UNKNOWN)}
    for source, outcomes in shipped_outcomes().items():
        points[source] = list(_recorded(outcomes, world, settings, resamples, seed))
    return {
        source: {
            setting: Figures(
                cost=interval_of([draw[index][0] for draw in draws]),
                success=interval_of([draw[index][1] for draw in draws]),
                lost=interval_of([1 - draw[index][1] / draw[default][1] for draw in draws]),
            )
            for index, setting in enumerate(settings)
        }
        for source, draws in points.items()
    }


def _simulated_user(world: World, settings: Sequence[Setting], seed: tuple[int, int]) -> dict[str, list[Point]]:
    """Plan each prompt at each setting with the assumed capabilities, and answer it with two sets of true ones."""
    registry = Registry.load("current")
    rng = np.random.default_rng(seed)
    models = {KNOWN: Thinkers(world, registry, rng), UNKNOWN: Thinkers(world, true_registry(registry, rng), rng)}
    prompts = draw_prompts(world, world.prompts, rng)
    top = [always_top(registry)(prompt) for prompt in prompts]
    runs: list[list[Candidate]] = []
    for setting in settings:
        policy = planning(registry, quality=setting.quality or 0.0, worth_usd=setting.worth_usd)
        runs.append([policy(prompt) for prompt in prompts])

    def totals(thinkers: Thinkers, run: Sequence[Candidate]) -> Point:
        played = list(map(thinkers.play, prompts, run))
        return sum(one.usd for one in played), sum(one.success for one in played)

    shares: dict[str, list[Point]] = {}
    for name, thinkers in models.items():
        usd, success = totals(thinkers, top)
        shares[name] = [(cost / usd, good / success) for cost, good in (totals(thinkers, run) for run in runs)]
    return shares


def _recorded(
    outcomes: Outcomes, world: World, settings: Sequence[Setting], resamples: int, seed: int
) -> Iterator[list[Point]]:
    lineup = LINEUPS[outcomes.source]
    rows = np.arange(len(outcomes))
    chosen = [_choices(outcomes, lineup, setting) for setting in settings]
    costs = np.stack([outcomes.costs[rows, columns] for columns in chosen])
    scores = np.stack([outcomes.scores[rows, columns] for columns in chosen])
    top = outcomes.column(lineup.models("top")[0])
    is_routine = np.isin(outcomes.tasks, lineup.routine_tasks)
    pools = np.flatnonzero(is_routine), np.flatnonzero(~is_routine)
    routine = round(world.routine * len(outcomes))
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = np.concatenate([rng.choice(pools[0], routine), rng.choice(pools[1], len(outcomes) - routine)])
        usd = costs[:, drawn].sum(axis=1) / outcomes.costs[drawn, top].sum()
        success = scores[:, drawn].sum(axis=1) / outcomes.scores[drawn, top].sum()
        yield list(zip(usd.tolist(), success.tolist(), strict=True))


def _choices(outcomes: Outcomes, lineup: Lineup, setting: Setting) -> Columns:
    if setting.quality is not None:
        return planned_choices(outcomes, lineup, setting.quality)[0]
    columns = np.array([outcomes.column(model) for model in lineup.models()])
    worth = float(setting.worth_usd or 0) * outcomes.expected_quality()[:, columns]
    return cast("Columns", columns[(worth - outcomes.typical_usd[columns]).argmax(axis=1)])


def cost_at(figures: Mapping[Setting, Figures], dial: str, target: float) -> float | None:
    """Return the lowest cost at a mean success, interpolated between settings, or None if none reaches it."""
    curve = [(own.cost.value, own.success.value) for setting, own in figures.items() if setting.dial == dial]
    costs = [cost for cost, success in curve if success >= target]
    for (cost, success), (next_cost, next_success) in itertools.pairwise(curve):
        if min(success, next_success) < target < max(success, next_success):
            costs.append(cost + (next_cost - cost) * (target - success) / (next_success - success))
    return min(costs, default=None)


def to_text(curves: Curves, world: World, users: int) -> str:
    lines = [f"Both dials, {users} simulated users. Assumed:", ""]
    lines += [f"  {line}" for line in assumptions(world)]
    lines += [
        f'  "{UNKNOWN}": true capabilities differ from the assumed ones by {MODEL_SPREAD:g} logits for',
        f"  each model and tier, and by {PROMPTS_SPREAD:g} for each tier (standard deviations)",
        f"  recorded outcomes: {RESAMPLES} draws of as many prompts as there are, {world.routine:.0%} routine;",
        "  capabilities are fitted to other prompts of the source",
        "",
        "Relative to always asking the top model at its default effort (mean, 95% of the users or draws);",
        "lost: success below the default's, as a share of the default's:",
    ]
    for source, figures in curves.items():
        lines += ["", f"  {source}"]
        for setting, own in figures.items():
            name = f"{setting.dial} {setting.value}{' (default)' if setting.is_default else ''}"
            lines.append(f"    {name:<27} cost {own.cost}, success {own.success}, lost {own.lost}")
        for target in TARGETS:
            shares = (cost_at(figures, dial, target) for dial in ("--quality", "--worth"))
            shown = ["out of reach" if share is None else f"{share:.0%}" for share in shares]
            lines.append(f"    cost at {target:.1%} of the success: --quality {shown[0]}, --worth {shown[1]}")
    return "\n".join(lines)


def to_json(curves: Curves) -> dict[str, Any]:
    return {
        source: [
            {"dial": setting.dial, "value": setting.value, **dataclasses.asdict(own)} for setting, own in rows.items()
        ]
        for source, rows in curves.items()
    }
