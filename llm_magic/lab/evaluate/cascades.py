"""Asking two cheap models before a dear one, on recorded outcomes: the answer is kept where the two agree.

The records hold scores, not answers. A right and a wrong answer differ. How often two right ones, and two wrong ones,
are found to be the same is anchored in what full answers gave once (`MEASURED`); the latter is bounded by never and
always, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_magic.answers.agreement import SAME_MISTAKE, SAME_RIGHT
from llm_magic.lab.evaluate.data import Recorded
from llm_magic.lab.evaluate.metrics import Array

STRONG = 3
"""So many of the best models may stand behind two cheap ones."""
RIGHT = 0.5
"""The score from which on an answer is right."""


def agreement(one: NDArray[np.floating[Any]], two: NDArray[np.floating[Any]], same_mistake: float) -> Array:
    """The chance, 0..1, that two answers with these scores agree."""
    right, other = one >= RIGHT, two >= RIGHT
    return np.where(right & other, SAME_RIGHT, np.where(right | other, 0.0, same_mistake))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a cascade over full answers came to: two cheap models asked first, the strong one where they differ."""

    source: str
    one: str
    two: str
    strong: str
    accuracy: float
    cost_share: float
    """Of asking the strong model alone; every call counts."""


MEASURED = Measured(
    source="zeroeval",
    one="gpt-4o-mini-2024-07-18",
    two="deepseek-v2.5-0908",
    strong="claude-3-5-sonnet-20241022",
    accuracy=0.847,
    cost_share=0.46,
)
"""On the train and dev prompts together, where the strong model alone has .844."""


def anchor(*parts: Recorded, measured: Measured = MEASURED) -> dict[str, Any] | None:
    """What recorded scores and costs give for the cascade that was measured on full answers, and with which shares of
    same answers they would give the measured figures. None for another source, or without these models.

    With r and m the shares of same answers among prompts that both cheap models have right and wrong, accuracy and cost
    are linear in r and m: two equations for two shares.
    """
    names = (measured.one, measured.two, measured.strong)
    if any(part.source != measured.source or not set(names) <= set(part.models) for part in parts):
        return None
    columns = [[part.column(name) for name in names] for part in parts]
    scores = np.vstack([part.scores[:, column] for part, column in zip(parts, columns, strict=True)])
    costs = np.vstack([part.costs[:, column] for part, column in zip(parts, columns, strict=True)])
    whole = np.isfinite(scores).all(axis=1) & np.isfinite(costs).all(axis=1)
    scores, costs = scores[whole], costs[whole]
    if not len(scores):
        return None
    got, paid = cascaded(Cascade(one=0, two=1, strong=2), scores, costs, SAME_MISTAKE)
    strong, price = scores[:, 2], float(costs[:, 2].mean())
    right = (scores[:, :2] >= RIGHT).all(axis=1)
    wrong = (scores[:, :2] < RIGHT).all(axis=1)
    effect = np.array([
        [(kind * (scores[:, 0] - strong)).mean() for kind in (right, wrong)],
        [-(kind * costs[:, 2]).mean() / price for kind in (right, wrong)],
    ])  # fmt: skip
    none = np.array([strong.mean(), 1.0 + costs[:, :2].sum(axis=1).mean() / price])
    wanted = np.array([measured.accuracy, measured.cost_share]) - none
    same = np.linalg.lstsq(effect, wanted, rcond=None)[0]
    return {
        "models": list(names),
        "prompts": len(scores),
        "strong_accuracy": round(float(strong.mean()), 6),
        "measured": {"accuracy": measured.accuracy, "cost_share": measured.cost_share},
        "simulated": {
            "accuracy": round(float(got.mean()), 6),
            "cost_share": round(float(paid.mean()) / price, 6),
        },
        "assumed": {"same_right": SAME_RIGHT, "same_mistake": SAME_MISTAKE},
        "would_match": {"same_right": round(float(same[0]), 6), "same_mistake": round(float(same[1]), 6)},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """Two cheap models, and the one that is asked where they differ, by their columns."""

    one: int
    two: int
    strong: int


def cascades(scores: Array, costs: Array, cheap: Sequence[int]) -> tuple[Cascade, ...]:
    """Those worth weighing against the models alone: any two of the cheap models that none of them beats at a lower
    cost, and behind them one of the best `STRONG` models."""
    accuracy, cost = scores.mean(axis=0), costs.mean(axis=0)
    first = [one for one in cheap if not any(accuracy[two] >= accuracy[one] and cost[two] < cost[one] for two in cheap)]
    best = np.argsort(-accuracy, kind="stable")[:STRONG]
    return tuple(
        Cascade(one=one, two=two, strong=int(strong))
        for one, two in combinations(first, 2)
        for strong in best
        if strong not in (one, two)
    )


def cascaded(cascade: Cascade, scores: Array, costs: Array, same_mistake: float) -> tuple[Array, Array]:
    """What each prompt scores and costs, in expectation."""
    agree = agreement(scores[:, cascade.one], scores[:, cascade.two], same_mistake)
    both = costs[:, cascade.one] + costs[:, cascade.two]
    return (
        agree * scores[:, cascade.one] + (1 - agree) * scores[:, cascade.strong],
        both + (1 - agree) * costs[:, cascade.strong],
    )
