"""Fitting linear heads on sparse features: ridge and multinomial logistic regression. numpy only, no chance in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_magic.classify.features import BUCKETS, Features, Scales

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Feature vectors of many prompts: a sparse matrix with `BUCKETS` columns, kept by rows and by columns.

    Only the columns that have entries are kept, numbered anew: `place` of each entry, `columns` what they are.
    """

    columns: NDArray[np.int64]
    place: NDArray[np.int64]
    value: NDArray[np.float32]
    starts: NDArray[np.int64]
    """Where each row begins; no row is empty."""
    value_by_column: NDArray[np.float32]
    row_by_column: NDArray[np.int64]
    """The same entries, sorted by column."""
    column_starts: NDArray[np.int64]

    @property
    def rows(self) -> int:
        return len(self.starts)

    @classmethod
    def of(cls, features: Sequence[Features], scales: Scales) -> Matrix:
        # A row of its own for a prompt that has no features at all: one entry of zero.
        vectors = [_vector(each, scales) or (np.zeros(1, np.int64), np.zeros(1, np.float32)) for each in features]
        sizes = np.array([len(index) for index, _ in vectors])
        columns, place = np.unique(np.concatenate([index for index, _ in vectors]), return_inverse=True)
        by_column = np.argsort(place, kind="stable")
        value = np.concatenate([value for _, value in vectors])
        return cls(
            columns=columns,
            place=place,
            value=value,
            starts=np.cumsum(sizes) - sizes,
            value_by_column=value[by_column],
            row_by_column=np.repeat(np.arange(len(vectors)), sizes)[by_column],
            column_starts=np.searchsorted(place[by_column], np.arange(len(columns))),
        )

    def times(self, weights: Array) -> Array:
        """Per row, the sum of its entries times the weights (BUCKETS, or BUCKETS x classes) of their columns."""
        return self.inner(weights[self.columns])

    def transposed_times(self, residuals: Array) -> Array:
        """Per column, the sum of its entries times the residuals (rows, or rows x classes) of their rows."""
        return self.spread(self.outer(residuals))

    def inner(self, weights: Array) -> Array:
        """`times`, for the weights of the kept columns."""
        return _sums(self.value, weights, self.place, self.starts)

    def outer(self, residuals: Array) -> Array:
        """`transposed_times`, for the kept columns."""
        return _sums(self.value_by_column, residuals, self.row_by_column, self.column_starts)

    def spread(self, kept: Array) -> Array:
        """What belongs to the kept columns, in the places of all `BUCKETS`."""
        found = np.zeros((BUCKETS, *kept.shape[1:]))
        found[self.columns] = kept
        return found


def _vector(features: Features, scales: Scales) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
    groups = features.scaled(scales)
    if not groups:
        return None
    return (
        np.concatenate([np.array(buckets, np.int64) for _, buckets in groups]),
        np.repeat(np.array([amount for amount, _ in groups], np.float32), [len(buckets) for _, buckets in groups]),
    )


def _sums(value: NDArray[np.float32], factors: Array, place: NDArray[np.int64], starts: NDArray[np.int64]) -> Array:
    """Of each run of entries, the sum of value times factor. Class by class, which is five times as fast."""
    if factors.ndim == 1:
        return np.add.reduceat(value * np.take(factors.astype(np.float32), place), starts).astype(np.float64)
    return np.stack([_sums(value, column, place, starts) for column in factors.T], axis=1)


def ridge(
    matrix: Matrix, target: Array, *, weight: Array | None = None, alpha: float = 1.0, iterations: int = 60
) -> tuple[Array, float]:
    """Weights and intercept that minimise sum weight (target - x w - b)^2 + alpha |w|^2, by conjugate gradients."""
    own = np.ones(matrix.rows) if weight is None else weight * (matrix.rows / weight.sum())
    total = own.sum()
    centre = matrix.outer(own) / total
    level = float(own @ target) / total

    def forward(weights: Array) -> Array:
        return matrix.inner(weights) - float(centre @ weights)

    def backward(residuals: Array) -> Array:
        scaled = own * residuals
        return matrix.outer(scaled) - centre * scaled.sum()

    weights = np.zeros(len(matrix.columns))
    gradient = backward(target - level)
    direction = gradient.copy()
    norm = start = float(gradient @ gradient)
    for _ in range(iterations):
        if norm <= 1e-10 * start or norm == 0:
            break
        moved = backward(forward(direction)) + alpha * direction
        step = norm / float(direction @ moved)
        weights += step * direction
        gradient -= step * moved
        norm, before = float(gradient @ gradient), norm
        direction = gradient + (norm / before) * direction
    return matrix.spread(weights), level - float(centre @ weights)


def softmax(
    matrix: Matrix, labels: NDArray[np.int64], classes: int, *, weight: Array, alpha: float = 1.0, iterations: int = 40
) -> tuple[Array, Array]:
    """Weights (BUCKETS x classes) and intercepts of a multinomial logistic regression, by L-BFGS."""
    kept = len(matrix.columns)
    own = weight * (matrix.rows / weight.sum())
    wanted = np.zeros((matrix.rows, classes))
    wanted[np.arange(matrix.rows), labels] = 1.0

    def loss(flat: Array) -> tuple[float, Array]:
        weights = flat.reshape(kept + 1, classes)
        scores = matrix.inner(weights[:-1]) + weights[-1]
        scores -= scores.max(axis=1, keepdims=True)
        logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        errors = (np.exp(logs) - wanted) * own[:, None]
        slope = np.empty_like(weights)
        slope[:-1] = matrix.outer(errors) + alpha * weights[:-1]
        slope[-1] = errors.sum(axis=0)
        value = -float((own[:, None] * wanted * logs).sum()) + 0.5 * alpha * float((weights[:-1] ** 2).sum())
        return value, slope.ravel()

    found = minimise(loss, np.zeros((kept + 1) * classes), iterations).reshape(kept + 1, classes)
    return matrix.spread(found[:-1]), found[-1]


def minimise(loss: Callable[[Array], tuple[float, Array]], start: Array, iterations: int, memory: int = 8) -> Array:
    """The place where a smooth convex function is least, by L-BFGS (Nocedal and Wright, algorithm 7.5)."""
    at = start
    value, slope = loss(at)
    steps: list[tuple[Array, Array, float]] = []
    for _ in range(iterations):
        direction = _two_loops(slope, steps)
        fall = float(slope @ direction)
        if fall > -1e-9 * max(1.0, abs(value)):
            break
        length = 1.0 if steps else 1.0 / max(1.0, float(np.sqrt(slope @ slope)))
        for _ in range(30):
            next_value, next_slope = loss(at + length * direction)
            if next_value <= value + 1e-4 * length * fall:
                break
            length *= 0.5
        else:
            break
        moved, changed = length * direction, next_slope - slope
        curvature = float(moved @ changed)
        if curvature > 1e-12:
            steps = [*steps[-memory + 1 :], (moved, changed, 1.0 / curvature)]
        at, value, slope = at + moved, next_value, next_slope
    return at


def _two_loops(slope: Array, steps: list[tuple[Array, Array, float]]) -> Array:
    direction = -slope
    shares: list[float] = []
    for moved, changed, inverse in reversed(steps):
        share = inverse * float(moved @ direction)
        shares.append(share)
        direction = direction - share * changed
    if steps:
        moved, changed, inverse = steps[-1]
        direction = direction / (inverse * float(changed @ changed))
    for (moved, changed, inverse), share in zip(steps, reversed(shares), strict=True):
        direction = direction + (share - inverse * float(changed @ direction)) * moved
    return direction
