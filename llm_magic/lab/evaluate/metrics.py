"""Metrics of a router on recorded outcomes.

A router orders prompts by a score, highest need of the strong model first. With f the share sent to that model:

    PGR(f) = (accuracy(f) - weak) / (strong - weak)          performance gap recovered
    APGR   = the integral of PGR over f from 0 to 1
    CPT(x) = the smallest f with PGR >= x                     call-performance threshold

as in RouteLLM (Ong et al., 2024). Equal scores may come in any order: the metrics are expectations over it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

RESAMPLES = 1_000

# `value`, and `low` and `high` of its 95% interval. None: undefined.
Estimate = dict[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """PGR and cost at each share 0, 1/n, ..., 1 of prompts sent to the strong model.

    cost: mean USD per prompt. NaN: unknown.
    """

    share: Array
    pgr: Array
    cost: Array

    @property
    def apgr(self) -> float:
        return float(np.trapezoid(self.pgr, self.share))

    def threshold(self, pgr: float) -> float:
        """CPT: the smallest share that reaches this PGR."""
        return self._interpolate(self.share, pgr)

    def cost_at(self, pgr: float) -> float:
        return self._interpolate(self.cost, pgr)

    def _interpolate(self, values: Array, pgr: float) -> float:
        reached = np.flatnonzero(self.pgr >= pgr - 1e-12)
        if not len(reached):
            return float("nan")
        after = int(reached[0])
        if after == 0:
            return float(values[0])
        low, high = self.pgr[after - 1], self.pgr[after]
        part = (pgr - low) / (high - low)
        return float(values[after - 1] + part * (values[after] - values[after - 1]))


def routing_curve(
    score: Array, weak: Array, strong: Array, weak_cost: Array | None = None, strong_cost: Array | None = None
) -> Curve:
    count = len(score)
    order, run_ends = _descending(score)
    gap = float((strong - weak).sum())
    gained = _cumulative((strong - weak)[order], run_ends)
    if weak_cost is None or strong_cost is None:
        cost = np.full(count + 1, np.nan)
    else:
        cost = (weak_cost.sum() + _cumulative((strong_cost - weak_cost)[order], run_ends)) / count
    with np.errstate(divide="ignore", invalid="ignore"):
        return Curve(share=np.arange(count + 1) / count, pgr=gained / gap, cost=cost)


def _descending(score: Array) -> tuple[Rows, Rows]:
    """Return the rows by descending score, and where each run of equal scores ends."""
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    return order, np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) + 1


def _cumulative(gains: Array, run_ends: Rows) -> Array:
    """Sum the first 0, 1, ..., n gains, with each run of equal scores spread evenly."""
    sums = np.concatenate([[0.0], np.cumsum(gains)])
    knots = np.concatenate([[0], run_ends])
    return np.interp(np.arange(len(sums)), knots, sums[knots])


def auc(score: Array, weak: Array, strong: Array) -> float:
    """Return the probability that a prompt which needs the strong model scores higher than one that does not.

    A prompt needs the strong model if only that one is right, i.e. scores 0.5 or more. NaN: one group is empty.
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


def calibration_error(confidence: Array, correct: Array, bins: int = 10) -> float:
    """Return the expected calibration error: the mean gap between confidence and accuracy over bins of equal width."""
    bin_of_row = _bins(confidence, bins)
    return float(np.abs(np.bincount(bin_of_row, weights=confidence - correct)).sum()) / max(1, len(confidence))


def reliability(confidence: Array, correct: Array, bins: int = 10) -> list[dict[str, float]]:
    bin_of_row = _bins(confidence, bins)
    return [
        {
            "prompts": int((bin_of_row == number).sum()),
            "confidence": round(float(confidence[bin_of_row == number].mean()), 6),
            "right": round(float(correct[bin_of_row == number].mean()), 6),
        }
        for number in np.unique(bin_of_row)
    ]


def _bins(confidence: Array, bins: int) -> NDArray[np.int_]:
    return np.minimum((confidence * bins).astype(int), bins - 1)


def resample(
    statistics: Callable[[Rows], Array], groups: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> Array:
    """Compute statistics (columns) over all rows (row 0) and over resamples of whole groups of rows (the others)."""
    _, group = np.unique(np.array(groups), return_inverse=True)
    members = np.argsort(group, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(group))])
    rng = np.random.default_rng(seed)
    count = len(starts) - 1
    results = [statistics(np.arange(len(groups)))]
    for _ in range(resamples):
        drawn = rng.integers(0, count, count)
        sizes = starts[drawn + 1] - starts[drawn]
        offsets = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        results.append(statistics(members[np.repeat(starts[drawn], sizes) + offsets]))
    return np.array(results)


def bootstrap(
    statistics: Callable[[Rows], Array], groups: Sequence[str], *, resamples: int = RESAMPLES
) -> list[Estimate]:
    """Estimate each statistic over all rows, with intervals from resampling whole groups of rows."""
    return estimates(resample(statistics, groups, resamples=resamples))


def estimates(resampled: Array) -> list[Estimate]:
    """Summarize each column of `resample`: its first value, and the 2.5 % and 97.5% quantiles of the others."""
    return [_estimate(column) for column in resampled.T]


def _estimate(column: Array) -> Estimate:
    finite = column[1:][np.isfinite(column[1:])]
    low, high = np.quantile(finite, [0.025, 0.975]) if len(finite) else (np.nan, np.nan)
    return {
        name: None if not np.isfinite(number) else round(float(number), 6)
        for name, number in (("value", column[0]), ("low", low), ("high", high))
    }
