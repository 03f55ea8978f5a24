"""Simulated months under every approach, with intervals, and their JSON form."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from llm_magic.answers.agreement import SAME_RIGHT
from llm_magic.errors import EvaluationError
from llm_magic.lab.simulate.dataset import Outcomes, shipped_outcomes
from llm_magic.lab.simulate.lineups import LINEUPS
from llm_magic.lab.simulate.simulator import (
    BACKOFFS_S,
    FAILED_TRY_S,
    SPEED,
    Month,
    Scenario,
    approaches,
    cascade,
    draw_month,
    summarize,
)

# Claims of "Architecting Cost-Aware LLM Routing Systems for Production Workloads" about its routing: cost saved,
# success of routing and of the top model alone, share of fallbacks, latency as a share of the top model's.
CLAIMED = {
    "cost_saved": 0.70,
    "success": 0.978,
    "top_success": 0.985,
    "fallbacks": 0.024,
    "latency": 0.5,
}
MONTHS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The mean of a metric over simulated months, and the interval that contains 95% of the months."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """The metrics of each approach: the fields of `Month`, and some as shares of the first approach.

    cascade_bounds: the cascade's metrics if two wrong answers `never` or `always` agree.
    """

    source: str
    scenario: Scenario
    months: int
    seed: int
    approaches: Mapping[str, Mapping[str, Spread]]
    cascade_bounds: Mapping[str, Mapping[str, Spread]]


def simulate(
    source: str = "zeroeval",
    scenario: Scenario | None = None,
    *,
    months: int = MONTHS,
    seed: int = 0,
    outcomes: Outcomes | None = None,
) -> Simulated:
    """Simulate months under every approach. Each month resamples the prompts. Equal seeds give equal results.

    source: `zeroeval`, `mmlupro` or `routerbench`. Raises EvaluationError for another one.
    """
    scenario = scenario or Scenario()
    if source not in LINEUPS:
        raise EvaluationError(f"no source {source!r}: choose one of {', '.join(LINEUPS)}")
    outcomes = outcomes or shipped_outcomes()[source]
    lineup, runs = LINEUPS[source], approaches(source)
    rng = np.random.default_rng(seed)
    bounds = {
        "never": dataclasses.replace(scenario, same_mistake=0.0),
        "always": dataclasses.replace(scenario, same_mistake=1.0),
    }
    approach_months: dict[str, list[Month]] = {name: [] for name in runs}
    bound_months: dict[str, list[Month]] = {name: [] for name in bounds}
    for _ in range(months):
        draws = draw_month(outcomes, lineup, scenario, rng)
        for name, run in runs.items():
            approach_months[name].append(summarize(run(outcomes, lineup, scenario, draws), scenario))
        for name, bound in bounds.items():
            bound_months[name].append(summarize(cascade(outcomes, lineup, bound, draws), bound))
    top = next(iter(approach_months.values()))
    return Simulated(
        source=source,
        scenario=scenario,
        months=months,
        seed=seed,
        approaches={name: _spreads(own, top) for name, own in approach_months.items()},
        cascade_bounds={name: _spreads(own, top) for name, own in bound_months.items()},
    )


def _spreads(months: list[Month], top: list[Month]) -> dict[str, Spread]:
    names = [field.name for field in dataclasses.fields(Month)]
    values = {name: np.array([getattr(month, name) for month in months]) for name in names}
    top_values = {name: np.array([getattr(month, name) for month in top]) for name in names}
    values["cost_share"] = values["cost_usd"] / top_values["cost_usd"]
    values["success_share"] = values["success"] / top_values["success"]
    values["latency_share"] = values["p50_s"] / top_values["p50_s"]
    return {
        name: Spread(
            value=round(float(column.mean()), 6),
            low=round(float(np.quantile(column, 0.025)), 6),
            high=round(float(np.quantile(column, 0.975)), 6),
        )
        for name, column in values.items()
    }


def to_json(simulated: Simulated) -> dict[str, Any]:
    return {
        "source": simulated.source,
        "months": simulated.months,
        "seed": simulated.seed,
        "world": dataclasses.asdict(simulated.scenario),
        "approaches": {name: _spreads_to_json(spreads) for name, spreads in simulated.approaches.items()},
        "cascade_if_wrong_answers_are_the_same": {
            name: _spreads_to_json(spreads) for name, spreads in simulated.cascade_bounds.items()
        },
        "claimed": CLAIMED,
        "assumed": {
            "speed": {role: {"first_token_s": first, "tokens_per_s": rate} for role, (first, rate) in SPEED.items()},
            "failed_try_s": FAILED_TRY_S,
            "waits_s": list(BACKOFFS_S),
            "same_right": SAME_RIGHT,
        },
    }


def _spreads_to_json(spreads: Mapping[str, Spread]) -> dict[str, Any]:
    return {name: dataclasses.asdict(spread) for name, spread in spreads.items()}
