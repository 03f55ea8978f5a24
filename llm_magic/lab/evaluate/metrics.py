"""The figures of a router on recorded outcomes.

A router orders prompts by a score, the ones in most need of the strong model first. f is the share sent to it, and

    PGR(f) = (accuracy(f) - weak) / (strong - weak)          the performance gap recovered
    APGR   = the integral of PGR over f from 0 to 1
    CPT(x) = the smallest f with PGR >= x                     the call-performance threshold

as in RouteLLM (Ong et al., 2024). Prompts of equal score are taken in any order: the figures are the expectation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
RESAMPLES = 1_000
Figure = dict[str, float | None]
"""`value`, and `low` and `high` of its 95 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """PGR and the cost at each f = 0, 1/n, ..., 1."""

    share: Array
    pgr: Array
    cost: Array
    """Mean USD a prompt; NaN where costs are unknown."""

    @property
    def apgr(self) -> float:
        return float(np.trapezoid(self.pgr, self.share))

    def threshold(self, pgr: float) -> float:
        """CPT: the smallest share that reaches this PGR."""
        return self._at(self.share, pgr)

    def cost_at(self, pgr: float) -> float:
        """Mean cost where this PGR is first reached."""
        return self._at(self.cost, pgr)

    def _at(self, values: Array, pgr: float) -> float:
        reached = np.flatnonzero(self.pgr >= pgr - 1e-12)
        if not len(reached):
            return float("nan")
        after = int(reached[0])
        if after == 0:
            return float(values[0])
        low, high = self.pgr[after - 1], self.pgr[after]
        part = (pgr - low) / (high - low)
        return float(values[after - 1] + part * (values[after] - values[after - 1]))


def curve(
    score: Array, weak: Array, strong: Array, weak_cost: Array | None = None, strong_cost: Array | None = None
) -> Curve:
    """What sending prompts to the strong model in the order of `score`, highest first, gives."""
    many = len(score)
    order, ends = _order(score)
    gap = float((strong - weak).sum())
    gained = _cumulated((strong - weak)[order], ends)
    if weak_cost is None or strong_cost is None:
        cost = np.full(many + 1, np.nan)
    else:
        cost = (weak_cost.sum() + _cumulated((strong_cost - weak_cost)[order], ends)) / many
    with np.errstate(divide="ignore", invalid="ignore"):
        return Curve(share=np.arange(many + 1) / many, pgr=gained / gap, cost=cost)


def _order(score: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The prompts from the highest score down, and where each run of equal scores ends."""
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    return order, np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) + 1


def _cumulated(gains: Array, ends: NDArray[np.intp]) -> Array:
    """Sums of the first 0, 1, ..., n gains, each run of equal scores spread evenly."""
    sums = np.concatenate([[0.0], np.cumsum(gains)])
    knots = np.concatenate([[0], ends])
    return np.interp(np.arange(len(sums)), knots, sums[knots])


def auc(score: Array, weak: Array, strong: Array) -> float:
    """The chance that a prompt which only the strong model answers has a higher score than one that is not such.

    An answer is right at a score of one half or more. NaN where there are none of one kind.
    """
    needed = (strong >= 0.5) & (weak < 0.5)
    ranks = _mean_ranks(score)
    positive, negative = int(needed.sum()), int((~needed).sum())
    if not positive or not negative:
        return float("nan")
    return float((ranks[needed].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _mean_ranks(score: Array) -> Array:
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def calibration_error(confidence: Array, right: Array, bins: int = 10) -> float:
    """The expected calibration error: over bins of equal width, the mean gap between confidence and share right."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return float(np.abs(np.bincount(place, weights=confidence - right)).sum()) / max(1, len(confidence))


def reliability(confidence: Array, right: Array, bins: int = 10) -> list[dict[str, float]]:
    """Of each bin of equal width that is not empty: how many, their mean confidence and the share that was right."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        {
            "prompts": int((place == each).sum()),
            "confidence": round(float(confidence[place == each].mean()), 6),
            "right": round(float(right[place == each].mean()), 6),
        }
        for each in np.unique(place)
    ]


def resampled(
    figures: Callable[[NDArray[np.intp]], Array], groups: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> Array:
    """Figures (columns) over all rows, in row 0, and over each resample of whole groups of rows, in the others."""
    _, group = np.unique(np.array(groups), return_inverse=True)
    members = np.argsort(group, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(group))])
    chance = np.random.default_rng(seed)
    many = len(starts) - 1
    found = [figures(np.arange(len(groups)))]
    for _ in range(resamples):
        drawn = chance.integers(0, many, many)
        sizes = starts[drawn + 1] - starts[drawn]
        offsets = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        found.append(figures(members[np.repeat(starts[drawn], sizes) + offsets]))
    return np.array(found)


def bootstrap(
    figures: Callable[[NDArray[np.intp]], Array], groups: Sequence[str], *, resamples: int = RESAMPLES
) -> list[Figure]:
    """Each figure over all rows with its 95 % interval, from resampling whole groups of rows."""
    return intervals(resampled(figures, groups, resamples=resamples))


def intervals(drawn: Array) -> list[Figure]:
    """Each column of what `resampled` gives: its first value with the 2.5 % and 97.5 % quantiles of the others,
    `{"value", "low", "high"}`; None where there is no value."""
    return [_interval(column) for column in drawn.T]


def _interval(drawn: Array) -> Figure:
    kept = drawn[1:][np.isfinite(drawn[1:])]
    low, high = np.quantile(kept, [0.025, 0.975]) if len(kept) else (np.nan, np.nan)
    return {
        name: None if not np.isfinite(number) else round(float(number), 6)
        for name, number in (("value", drawn[0]), ("low", low), ("high", high))
    }
