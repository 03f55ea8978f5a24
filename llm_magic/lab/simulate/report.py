"""What simulated months came to: as a table, as JSON, as plots; with intervals, and beside what was claimed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llm_magic.answers.agreement import SAME_MISTAKE, SAME_RIGHT
from llm_magic.errors import EvaluationError
from llm_magic.lab.simulate.lineups import CASTS
from llm_magic.lab.simulate.simulator import (
    BACKOFF_S,
    FAILED_S,
    SPEED,
    Month,
    Scenario,
    approaches,
    cascaded,
    draw,
    month,
)
from llm_magic.lab.simulate.table import Outcomes, shipped

CLAIMED = {
    "cost_saved": 0.70,
    "success": 0.978,
    "top_success": 0.985,
    "fallbacks": 0.024,
    "latency": 0.5,
}
"""What "Architecting Cost-Aware LLM Routing Systems for Production Workloads" says of its routing: cost saved, success
of its routing and of the top model alone, share of fallbacks, latency as a share of the top model's."""
MONTHS = 200
"""Simulated, each from a fresh sample of the recorded prompts and with fresh faults: the middle 95 % are the
interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure over simulated months: its mean, and the interval that 95 % of the months fall into."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """The figures of each approach, by name: those of `Month`, and `cost_share` and `success_share` of the first."""

    source: str
    world: Scenario
    months: int
    seed: int
    figures: Mapping[str, Mapping[str, Figure]]
    bounds: Mapping[str, Mapping[str, Figure]]
    """The cascade's, if two wrong answers are `never` or `always` the same."""


def simulate(
    source: str = "zeroeval",
    world: Scenario | None = None,
    *,
    months: int = MONTHS,
    seed: int = 0,
    outcomes: Outcomes | None = None,
) -> Simulated:
    """Play months of requests under every approach. The same seed gives the same figures.

    source: `zeroeval`, `mmlupro` or `routerbench`. Raises EvaluationError for another.
    """
    world = world or Scenario()
    if source not in CASTS:
        raise EvaluationError(f"no source {source!r}: choose one of {', '.join(CASTS)}")
    outcomes = outcomes or shipped()[source]
    cast, plays = CASTS[source], approaches(source)
    chance = np.random.default_rng(seed)
    worlds = {
        "never": dataclasses.replace(world, same_mistake=0.0),
        "always": dataclasses.replace(world, same_mistake=1.0),
    }
    played: dict[str, list[Month]] = {name: [] for name in plays}
    bounds: dict[str, list[Month]] = {name: [] for name in worlds}
    for _ in range(months):
        drawn = draw(outcomes, cast, world, chance)
        for name, play in plays.items():
            played[name].append(month(play(outcomes, cast, world, drawn), world))
        for name, other in worlds.items():
            bounds[name].append(month(cascaded(outcomes, cast, other, drawn), other))
    top = played[next(iter(played))]
    return Simulated(
        source=source,
        world=world,
        months=months,
        seed=seed,
        figures={name: _figures(ours, top) for name, ours in played.items()},
        bounds={name: _figures(ours, top) for name, ours in bounds.items()},
    )


def _figures(ours: list[Month], top: list[Month]) -> dict[str, Figure]:
    names = [part.name for part in dataclasses.fields(Month)]
    values = {name: np.array([getattr(each, name) for each in ours]) for name in names}
    best = {name: np.array([getattr(each, name) for each in top]) for name in names}
    values["cost_share"] = values["cost_usd"] / best["cost_usd"]
    values["success_share"] = values["success"] / best["success"]
    values["latency_share"] = values["p50_s"] / best["p50_s"]
    return {
        name: Figure(
            value=round(float(each.mean()), 6),
            low=round(float(np.quantile(each, 0.025)), 6),
            high=round(float(np.quantile(each, 0.975)), 6),
        )
        for name, each in values.items()
    }


def as_json(simulated: Simulated) -> dict[str, Any]:
    """Everything, for a program: `approaches` by name, each figure with `value`, `low` and `high`; and `claimed`."""
    return {
        "source": simulated.source,
        "months": simulated.months,
        "seed": simulated.seed,
        "world": dataclasses.asdict(simulated.world),
        "approaches": {name: _plain(figures) for name, figures in simulated.figures.items()},
        "cascade_if_wrong_answers_are_the_same": {name: _plain(figures) for name, figures in simulated.bounds.items()},
        "claimed": CLAIMED,
        "assumed": {
            "speed": {role: {"first_token_s": first, "tokens_per_s": rate} for role, (first, rate) in SPEED.items()},
            "failed_try_s": FAILED_S,
            "waits_s": list(BACKOFF_S),
            "same_right": SAME_RIGHT,
        },
    }


def _plain(figures: Mapping[str, Figure]) -> dict[str, Any]:
    return {name: dataclasses.asdict(figure) for name, figure in figures.items()}


def as_text(simulated: Simulated) -> str:
    """The table, and what it rests on."""
    world = simulated.world
    head = (
        "approach",
        "monthly cost",
        "of top",
        "latency p50 (assumed)",
        "success",
        "of top's",
        "answered",
        "fallbacks",
        "escalated",
    )
    rows: list[tuple[str, ...]] = [head]
    for name, of in simulated.figures.items():
        rows.append((
            name,
            _usd(of["cost_usd"]),
            _percent(of["cost_share"]),
            f"{of['p50_s'].value:.1f} s",
            _percent(of["success"]),
            _percent(of["success_share"]),
            f"{of['answered'].value:.2%}",
            f"{of['fallbacks'].value:.2%}",
            f"{of['escalated'].value:.0%}" if of["escalated"].high else "",
        ))  # fmt: skip
    rows.append((
        "claimed for routing",
        "",
        f"{1 - CLAIMED['cost_saved']:.0%}",
        f"{CLAIMED['latency']:.0%} of top",
        f"{CLAIMED['success']:.1%}",
        f"{CLAIMED['success'] / CLAIMED['top_success']:.1%}",
        "",
        f"{CLAIMED['fallbacks']:.1%}",
        "",
    ))  # fmt: skip
    widths = [max(len(row[at]) for row in rows) for at in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    routine = "–".join(f"{share:.0%}" for share in world.routine)
    return "\n".join([
        f"{simulated.source}: {simulated.months} months of {world.days} days of {world.requests} requests, {routine} "
        f"of each day routine ({', '.join(CASTS[simulated.source].routine)}); in brackets where 95 % of the months are",
        "",
        *lines,
        "",
        "Success is the recorded score. "
        f"Faults: {world.faults:.1%} of tries, {world.outages:.1%} of a provider's hours.",
        "Costs are list prices of the day.",
        "No times are recorded: latency is the recorded length at an assumed speed, "
        f"seconds to the first token and tokens a second being {_speeds()};",
        f"a failed try takes {FAILED_S:g} s, the waits behind it {BACKOFF_S[0]:g} and {BACKOFF_S[1]:g} s.",
        f"No answers are recorded: two cheap models are taken to agree in {SAME_RIGHT:.1%} of the cases where both are "
        f"right and {world.same_mistake:.0%} of those where both are wrong, "
        + ("as set." if world.same_mistake != SAME_MISTAKE else "as a cascade over full answers gave."),
        f"If {'; if '.join(_bound(name, of) for name, of in simulated.bounds.items())}.",
    ])  # fmt: skip


def _speeds() -> str:
    return ", ".join(f"{first:g} and {rate:g} ({role})" for role, (first, rate) in SPEED.items())


def _bound(name: str, of: Mapping[str, Figure]) -> str:
    return f"{name}: {_percent(of['cost_share'])} of top's cost, {_percent(of['success'])} success"


def _usd(figure: Figure) -> str:
    return f"USD {figure.value:.2f} ({figure.low:.2f}–{figure.high:.2f})"


def _percent(figure: Figure) -> str:
    return f"{figure.value:.1%} ({figure.low:.1%}–{figure.high:.1%})"


def plot(simulated: Simulated, folder: Path) -> list[Path]:
    """The pictures as PNG files in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for name, picture in pictures(simulated).items():
        paths.append(folder / f"{name}.png")
        picture.savefig(paths[-1], dpi=120, metadata={"Software": None})
    return paths


def pictures(simulated: Simulated) -> dict[str, Any]:
    """Two matplotlib figures: what a month costs, and cost against success. Needs matplotlib (extra `plots`)."""
    try:
        from matplotlib.figure import Figure as Picture
    except ImportError as error:
        raise EvaluationError("plots need matplotlib: pip install 'llm-magic[plots]'") from error
    names = list(simulated.figures)
    costs = [simulated.figures[name]["cost_usd"] for name in names]
    rates = [simulated.figures[name]["success"] for name in names]
    bars = Picture(figsize=(8, 3.6), layout="constrained")
    axes: Any = bars.subplots()
    spread = [[each.value - each.low for each in costs], [each.high - each.value for each in costs]]
    axes.barh(names[::-1], [each.value for each in costs][::-1], xerr=[side[::-1] for side in spread], capsize=3)
    axes.set_xlabel("USD a month")
    axes.set_title(f"{simulated.world.requests} requests a day, {simulated.source}")
    points = Picture(figsize=(6.5, 4.2), layout="constrained")
    axes = points.subplots()
    for name, cost, rate in zip(names, costs, rates, strict=True):
        sides = (
            [[cost.value - cost.low], [cost.high - cost.value]],
            [[rate.value - rate.low], [rate.high - rate.value]],
        )
        axes.errorbar(cost.value, rate.value, xerr=sides[0], yerr=sides[1], fmt="o", capsize=2, label=name)
    axes.set_xlabel("USD a month")
    axes.set_ylabel("success")
    axes.legend(fontsize="small")
    return {"monthly_cost": bars, "cost_and_success": points}
