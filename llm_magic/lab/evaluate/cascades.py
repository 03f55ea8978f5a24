"""Simulated cascades on recorded outcomes: two cheap models first, and a strong one if their answers differ.

The records hold scores, not answers. A correct and a wrong answer differ. How often two correct answers, and two wrong
ones, count as the same is anchored in one measurement on full answers (`MEASURED`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_magic.answers.agreement import SAME_MISTAKE, SAME_RIGHT
from llm_magic.lab.data import Recorded
from llm_magic.lab.evaluate.metrics import Array

MAX_BACKUP_MODELS = 3
MIN_CORRECT_SCORE = 0.5


def agreement_probability(one: NDArray[np.floating[Any]], two: NDArray[np.floating[Any]], same_mistake: float) -> Array:
    one_correct, two_correct = one >= MIN_CORRECT_SCORE, two >= MIN_CORRECT_SCORE
    return np.where(
        one_correct & two_correct, SAME_RIGHT, np.where(one_correct | two_correct, 0.0, same_mistake)
    ).astype(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCascade:
    """A cascade that was run on full answers. `cost_share`: cost of all calls, relative to the strong model alone."""

    source: str
    one: str
    two: str
    strong: str
    accuracy: float
    cost_share: float


# On the train and dev prompts together. The strong model alone has an accuracy of .844 there.
MEASURED = MeasuredCascade(
    source="zeroeval",
    one="gpt-4o-mini-2024-07-18",
    two="deepseek-v2.5-0908",
    strong="claude-3-5-sonnet-20241022",
    accuracy=0.847,
    cost_share=0.46,
)


def anchor(*parts: Recorded, measured: MeasuredCascade = MEASURED) -> dict[str, Any] | None:
    """Compare the measured cascade with its simulation, and solve for the agreement rates that reproduce it.

    Let r and m be the rates of agreement among prompts that both cheap models answer correctly and wrongly. Accuracy
    and cost are linear in r and m: two equations for two rates. Returns None for another source or other models.
    """
    names = (measured.one, measured.two, measured.strong)
    if any(part.source != measured.source or not set(names) <= set(part.models) for part in parts):
        return None
    columns = [[part.column(name) for name in names] for part in parts]
    scores = np.vstack([part.scores[:, column] for part, column in zip(parts, columns, strict=True)])
    costs = np.vstack([part.costs[:, column] for part, column in zip(parts, columns, strict=True)])
    complete = np.isfinite(scores).all(axis=1) & np.isfinite(costs).all(axis=1)
    scores, costs = scores[complete], costs[complete]
    if not len(scores):
        return None
    score, cost = expected_outcome(CascadeColumns(one=0, two=1, strong=2), scores, costs, SAME_MISTAKE)
    strong_cost = float(costs[:, 2].mean())
    rates = _matching_rates(scores, costs, measured)
    return {
        "models": list(names),
        "prompts": len(scores),
        "strong_accuracy": round(float(scores[:, 2].mean()), 6),
        "measured": {"accuracy": measured.accuracy, "cost_share": measured.cost_share},
        "simulated": {
            "accuracy": round(float(score.mean()), 6),
            "cost_share": round(float(cost.mean()) / strong_cost, 6),
        },
        "assumed": {"same_right": SAME_RIGHT, "same_mistake": SAME_MISTAKE},
        "would_match": {"same_right": round(float(rates[0]), 6), "same_mistake": round(float(rates[1]), 6)},
    }


def _matching_rates(scores: Array, costs: Array, measured: MeasuredCascade) -> Array:
    strong, strong_cost = scores[:, 2], float(costs[:, 2].mean())
    both_correct = (scores[:, :2] >= MIN_CORRECT_SCORE).all(axis=1)
    both_wrong = (scores[:, :2] < MIN_CORRECT_SCORE).all(axis=1)
    effect = np.array([
        [(group * (scores[:, 0] - strong)).mean() for group in (both_correct, both_wrong)],
        [-(group * costs[:, 2]).mean() / strong_cost for group in (both_correct, both_wrong)],
    ])  # fmt: skip
    without_agreement = np.array([strong.mean(), 1.0 + costs[:, :2].sum(axis=1).mean() / strong_cost])
    wanted = np.array([measured.accuracy, measured.cost_share]) - without_agreement
    return np.asarray(np.linalg.lstsq(effect, wanted, rcond=None)[0], np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeColumns:
    """A cascade by the columns of its models: two cheap ones, and the one that is asked if they differ."""

    one: int
    two: int
    strong: int


def candidate_cascades(scores: Array, costs: Array, cheap: Sequence[int]) -> tuple[CascadeColumns, ...]:
    """Pair the cheap models that no cheaper one equals, each pair with one of the best models behind it."""
    accuracy, cost = scores.mean(axis=0), costs.mean(axis=0)
    undominated = [
        one for one in cheap if not any(accuracy[two] >= accuracy[one] and cost[two] < cost[one] for two in cheap)
    ]
    best = np.argsort(-accuracy, kind="stable")[:MAX_BACKUP_MODELS]
    return tuple(
        CascadeColumns(one=one, two=two, strong=int(strong))
        for one, two in combinations(undominated, 2)
        for strong in best
        if strong not in (one, two)
    )


def expected_outcome(cascade: CascadeColumns, scores: Array, costs: Array, same_mistake: float) -> tuple[Array, Array]:
    agree = agreement_probability(scores[:, cascade.one], scores[:, cascade.two], same_mistake)
    cheap_cost = costs[:, cascade.one] + costs[:, cascade.two]
    return (
        agree * scores[:, cascade.one] + (1 - agree) * scores[:, cascade.strong],
        cheap_cost + (1 - agree) * costs[:, cascade.strong],
    )
