"""Asking two cheap models before a dear one, on recorded outcomes: the answer is kept where the two agree.

The records hold scores, not answers. Two right answers agree; a right and a wrong one do not; how often two wrong ones
are the same is assumed, and bounded by never and always.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_magic.answers.agreement import SAME_MISTAKE
from llm_magic.evaluate.metrics import Array

RIGHT = 0.5
"""The score from which on an answer is right."""


def agreement(one: NDArray[np.floating[Any]], two: NDArray[np.floating[Any]], same_mistake: float) -> Array:
    """The chance, 0..1, that two answers with these scores agree."""
    right, other = one >= RIGHT, two >= RIGHT
    return np.where(right & other, 1.0, np.where(right | other, 0.0, same_mistake))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two cheap models, by their columns, and the models before which they are asked: those that cost more than the
    two together."""

    one: int
    two: int
    before: tuple[int, ...]


def pair(scores: Array, costs: Array, cheap: list[int], strong: int, same_mistake: float = SAME_MISTAKE) -> Pair | None:
    """The cheap models to ask before the strong one: of the pairs with which it is at least as good as alone, the one
    that costs least; else the one with which it is best. None where there are not two."""
    alone = float(scores[:, strong].mean())
    found: list[tuple[bool, float, Pair]] = []
    for one, two in combinations([model for model in cheap if model != strong], 2):
        typical = costs.mean(axis=0)
        before = tuple(int(model) for model in np.flatnonzero(typical > typical[one] + typical[two]))
        each = Pair(one=one, two=two, before=before)
        always = np.full(len(scores), strong)
        got, paid = cascaded(each, always, scores, costs, same_mistake)
        short = float(got.mean()) < alone
        found.append((short, -float(got.mean()) if short else float(paid.mean()), each))
    return min(found, key=lambda each: each[:2])[2] if found else None


def cascaded(
    pair: Pair, chosen: NDArray[np.intp], scores: Array, costs: Array, same_mistake: float
) -> tuple[Array, Array]:
    """What each prompt scores and costs, in expectation, if the model chosen for it is asked only where the two cheap
    ones do not agree, or at once where it is cheap itself."""
    rows = np.arange(len(scores))
    own, own_cost = scores[rows, chosen], costs[rows, chosen]
    agree = agreement(scores[:, pair.one], scores[:, pair.two], same_mistake)
    kept = np.isin(chosen, pair.before)
    got = np.where(kept, agree * scores[:, pair.one] + (1 - agree) * own, own)
    both = costs[:, pair.one] + costs[:, pair.two]
    return got, np.where(kept, both + (1 - agree) * own_cost, own_cost)
