"""Evidence in the ledger about the models: ratings, escalations and schema failures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from llm_magic.registry import Registry
from llm_magic.registry.capability import strength
from llm_magic.types import Attempt, Doubt, Outcome, TaskTier

DIFFICULTY_BIN_LOGITS = 0.25
UNRATED_GOOD_WEIGHT = 0.1

_HARDEST_FIRST = list(TaskTier)
_BAD = (Doubt.CHECK_FAILED, Doubt.MALFORMED, Doubt.JUDGED_BAD)

ModelTier = tuple[str, TaskTier]


class Signal(StrEnum):
    RATED_GOOD = "rated good"
    RATED_BAD = "rated bad"
    ESCALATED = "escalated"
    INVALID = "invalid"
    CHECK_FAILED = "check failed"
    UNRATED = "unrated"

    @property
    def good_and_bad_weight(self) -> tuple[float, float]:
        match self:
            case Signal.RATED_GOOD:
                return 1.0, 0.0
            case Signal.UNRATED:
                return UNRATED_GOOD_WEIGHT, 0.0
            case _:
                return 0.0, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The evidence about one model in one tier.

    weights: good and bad weight, by difficulty in steps of DIFFICULTY_BIN_LOGITS and assumed capability step of the
    effort, both in logits. counts: signals of each kind.
    """

    weights: Mapping[tuple[float, float], tuple[float, float]] = dataclasses.field(
        default_factory=dict[tuple[float, float], tuple[float, float]]
    )
    counts: Mapping[Signal, int] = dataclasses.field(default_factory=dict[Signal, int])

    @property
    def good(self) -> float:
        return sum(good for good, _ in self.weights.values())

    @property
    def bad(self) -> float:
        return sum(bad for _, bad in self.weights.values())

    @property
    def explicit_count(self) -> int:
        return sum(count for signal, count in self.counts.items() if signal != Signal.UNRATED)

    def add(self, signal: Signal, difficulty: float, effort_step: float = 0.0) -> Evidence:
        key = (binned(difficulty), effort_step)
        good, bad = self.weights.get(key, (0.0, 0.0))
        more_good, more_bad = signal.good_and_bad_weight
        return Evidence(
            weights={**self.weights, key: (good + more_good, bad + more_bad)},
            counts={**self.counts, signal: self.counts.get(signal, 0) + 1},
        )


def collect(rows: Iterable[Attempt], registry: Registry) -> dict[ModelTier, Evidence]:
    """Collect the evidence about each model in each tier.

    A rating overrides other evidence about a run. A run with a child (`parent_run_id`) of a harder tier, or of the same
    tier by a better model or at a higher effort, was escalated; a repeat by the same model says nothing. Runs of one
    comparison are not evidence about each other. Rows of ledgers older than the column `reason` do not tell why an
    answer was superseded, so they give no evidence.
    """
    attempts = list(rows)
    strengths = {model.id: strength(model) for model in registry}
    answers = {row.run_id: row for row in attempts if row.outcome == Outcome.OK}
    children: dict[str, list[Attempt]] = {}
    for row in answers.values():
        if row.parent_run_id in answers:
            children.setdefault(row.parent_run_id, []).append(row)
    collected: dict[ModelTier, Evidence] = {}
    for row in attempts:
        signal = _signal(row, children.get(row.run_id, []), strengths)
        if signal is not None:
            key = (row.model, row.tier)
            collected[key] = collected.get(key, Evidence()).add(signal, row.difficulty, effort_step(row, registry))
    return collected


def _signal(row: Attempt, children: list[Attempt], strengths: Mapping[str, tuple[float, ...]]) -> Signal | None:
    if row.outcome == Outcome.INVALID:
        return Signal.INVALID
    if row.outcome == Outcome.SUPERSEDED and row.reason in _BAD:
        return Signal.CHECK_FAILED
    if row.outcome != Outcome.OK:
        return None
    if row.rating is not None:
        return Signal.RATED_GOOD if row.rating > 0 else Signal.RATED_BAD
    ended = row.started_at + timedelta(seconds=row.latency_s)
    later = [child for child in children if child.started_at >= ended]
    if any(_is_step_up(row, child, strengths) for child in later):
        return Signal.ESCALATED
    return None if any(child.model == row.model for child in later) else Signal.UNRATED


def binned(difficulty: float) -> float:
    return round(difficulty / DIFFICULTY_BIN_LOGITS) * DIFFICULTY_BIN_LOGITS


def effort_step(row: Attempt, registry: Registry) -> float:
    """Return the capability that a registry assumes of the effort, compared with the default one, in logits."""
    levels = registry[row.model].effort if row.model in registry else None
    if levels is None or row.effort is None or row.effort not in levels.params:
        return 0.0
    return levels.capability_steps[row.effort].get(row.tier, 0.0)


def _is_step_up(row: Attempt, child: Attempt, strengths: Mapping[str, tuple[float, ...]]) -> bool:
    if child.tier is not row.tier:
        return _HARDEST_FIRST.index(child.tier) < _HARDEST_FIRST.index(row.tier)
    if child.model == row.model:
        return row.effort is not None and child.effort is not None and child.effort.rank > row.effort.rank
    return strengths.get(child.model, ()) > strengths.get(row.model, ()) if row.model in strengths else False
