"""Policies of effort compared on simulated models: bill, success and latency, with intervals over simulated users."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from llm_magic.lab.simulate.thinkers import (
    Played,
    Policy,
    Prompt,
    Thinkers,
    TrueLengths,
    World,
    assumptions,
    draw_prompts,
    learn,
    planning,
)
from llm_magic.registry import Registry
from llm_magic.types import Candidate, ModelSpec

USERS = 8
LEARNING_RUNS = 300
TODAY, LOWEST, DEFAULT = "today: no effort", "lowest effort", "default effort, with its cost"
LOWER_QUALITY = 0.95
LOWER = f"llm_magic, cold, --quality {LOWER_QUALITY:g}"
COLD, LEARNED, ORACLE = "llm_magic, cold", f"llm_magic, after {LEARNING_RUNS} runs", "oracle"
_SHOWN = ("usd_per_1000", "of_today", "of_oracle", "success", "success_of_today", "p50_s", "hold_share")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over simulated users, and the interval that contains 95% of them."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Figures of each policy.

    of_today, of_oracle: its bill, as a share. success_of_today: its success, as a share. hold_share: the largest bill,
    as a share of its hold; above 1, a cap could be passed. calibration: bills of the learned policy, as a share of what
    its plans expected.
    """

    world: World
    users: int
    policies: Mapping[str, Mapping[str, Interval]]
    calibration: Interval


def compare(world: World | None = None, *, users: int = USERS, seed: int = 0) -> Comparison:
    world = world or World()
    figures: dict[str, dict[str, list[float]]] = {}
    calibration: list[float] = []
    for user in range(users):
        rng = np.random.default_rng([seed, user])
        registry = Registry.load("current")
        thinkers = Thinkers(world, registry, rng)
        prompts = draw_prompts(world, world.prompts, rng)
        lengths = learn(thinkers, draw_prompts(world, LEARNING_RUNS, rng))
        true_registry = registry.with_models(map(thinkers.true_model, registry))
        runs = {
            TODAY: _run(thinkers, planning(_without_levels(registry)), prompts, "default"),
            LOWEST: _run(thinkers, planning(_without_levels(registry)), prompts, "lowest"),
            DEFAULT: _run(thinkers, planning(_at_default(registry)), prompts),
            COLD: _run(thinkers, planning(registry), prompts),
            LOWER: _run(thinkers, planning(registry, quality=LOWER_QUALITY), prompts),
            LEARNED: _run(thinkers, planning(registry, lengths), prompts),
            ORACLE: _run(thinkers, planning(true_registry, TrueLengths(thinkers)), prompts),
        }
        today, oracle = (_bill(runs[name]) for name in (TODAY, ORACLE))
        success_today = _success(runs[TODAY])
        for name, run in runs.items():
            own = figures.setdefault(name, {key: [] for key in _SHOWN})
            values = (
                1_000 * _bill(run) / len(run),
                _bill(run) / today,
                _bill(run) / oracle,
                _success(run),
                _success(run) / success_today,
                float(np.median([played.seconds for _, played in run])),
                max(played.usd / played.held_usd for _, played in run),
            )
            for key, value in zip(_SHOWN, values, strict=True):
                own[key].append(value)
        expected = sum(float(candidate.expected_usd) for candidate, _ in runs[LEARNED])
        calibration.append(_bill(runs[LEARNED]) / expected)
    return Comparison(
        world=world,
        users=users,
        policies={name: {key: interval_of(values) for key, values in own.items()} for name, own in figures.items()},
        calibration=interval_of(calibration),
    )


def to_text(comparison: Comparison) -> str:
    lines = [f"Effort on simulated models, {comparison.users} simulated users. Assumed:", ""]
    lines += [f"  {line}" for line in assumptions(comparison.world)]
    lines += ["", "Means, with the interval of 95% of the users:", ""]
    for name, figures in comparison.policies.items():
        lines.append(f"  {name}")
        lines.append(f"    bill of 1,000 prompts   ${figures['usd_per_1000']}")
        lines.append(f"    share of today's bill   {figures['of_today']}")
        lines.append(f"    share of the oracle's   {figures['of_oracle']}")
        lines.append(f"    success                 {figures['success']}")
        lines.append(f"    p50 latency, s          {figures['p50_s']}")
        lines.append(f"    largest bill of a hold  {figures['hold_share']}")
    lines += ["", f"Bills of the learned policy, as a share of what was expected: {comparison.calibration}"]
    lines.append("The oracle knows each model's true tokens and gains, and the same classifications.")
    return "\n".join(lines)


def to_json(comparison: Comparison) -> dict[str, Any]:
    return dataclasses.asdict(comparison)


def _run(thinkers: Thinkers, policy: Policy, prompts: list[Prompt], level: str = "") -> list[tuple[Candidate, Played]]:
    played: list[tuple[Candidate, Played]] = []
    for prompt in prompts:
        candidate = policy(prompt)
        effort = None
        if level:
            levels = thinkers.registry[candidate.model.id].effort
            effort = None if levels is None else levels.default if level == "default" else next(iter(levels))
        played.append((candidate, thinkers.play(prompt, candidate, effort)))
    return played


def _bill(run: list[tuple[Candidate, Played]]) -> float:
    return sum(played.usd for _, played in run)


def _success(run: list[tuple[Candidate, Played]]) -> float:
    return sum(played.success for _, played in run) / len(run)


def interval_of(values: list[float]) -> Interval:
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(value=float(np.mean(values)), low=float(low), high=float(high))


def _without_levels(registry: Registry) -> Registry:
    """Return the registry without any level of effort, as before effort was part of a plan."""
    return registry.with_models(dataclasses.replace(model, effort=None) for model in registry)


def _at_default(registry: Registry) -> Registry:
    """Return the registry with each model's default level only."""

    def only_default(model: ModelSpec) -> ModelSpec:
        if model.effort is None:
            return model
        params = {model.effort.default: model.effort.params[model.effort.default]}
        return dataclasses.replace(model, effort=dataclasses.replace(model.effort, params=params))

    return registry.with_models(map(only_default, registry))
