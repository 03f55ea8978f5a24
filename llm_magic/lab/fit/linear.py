"""Deterministic fits of linear heads on sparse features: ridge and multinomial logistic regression, with numpy only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_magic.classify.features import BUCKETS, Features, Scales

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Feature vectors of many prompts as a sparse matrix of rows x `BUCKETS`, stored by rows and by columns.

    Only columns with entries are stored: `columns` lists their buckets, and entries refer to positions in it.
    `row_starts` has the index of each row's first entry; no row is empty.
    """

    columns: NDArray[np.int64]
    column_of_entry: NDArray[np.int64]
    values: NDArray[np.float32]
    row_starts: NDArray[np.int64]
    values_by_column: NDArray[np.float32]
    rows_by_column: NDArray[np.int64]
    column_starts: NDArray[np.int64]

    @property
    def rows(self) -> int:
        return len(self.row_starts)

    @classmethod
    def from_features(cls, features: Sequence[Features], scales: Scales) -> Matrix:
        # A prompt without features gets one entry of zero, so that no row is empty.
        empty = np.zeros(1, np.int64), np.zeros(1, np.float32)
        vectors = [_vector(prompt, scales) or empty for prompt in features]
        sizes = np.array([len(buckets) for buckets, _ in vectors])
        columns, column_of_entry = np.unique(np.concatenate([buckets for buckets, _ in vectors]), return_inverse=True)
        by_column = np.argsort(column_of_entry, kind="stable")
        values = np.concatenate([values for _, values in vectors])
        return cls(
            columns=columns,
            column_of_entry=column_of_entry,
            values=values,
            row_starts=np.cumsum(sizes) - sizes,
            values_by_column=values[by_column],
            rows_by_column=np.repeat(np.arange(len(vectors)), sizes)[by_column],
            column_starts=np.searchsorted(column_of_entry[by_column], np.arange(len(columns))),
        )

    def times(self, weights: Array) -> Array:
        """Multiply by weights (BUCKETS, or BUCKETS x classes): one sum per row."""
        return self.times_stored(weights[self.columns])

    def transposed_times(self, residuals: Array) -> Array:
        """Multiply the transpose by residuals (rows, or rows x classes): one sum per bucket."""
        return self.expand(self.transposed_times_stored(residuals))

    def times_stored(self, weights: Array) -> Array:
        return _segment_sums(self.values, weights, self.column_of_entry, self.row_starts)

    def transposed_times_stored(self, residuals: Array) -> Array:
        return _segment_sums(self.values_by_column, residuals, self.rows_by_column, self.column_starts)

    def expand(self, stored: Array) -> Array:
        expanded = np.zeros((BUCKETS, *stored.shape[1:]))
        expanded[self.columns] = stored
        return expanded


def _vector(features: Features, scales: Scales) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
    groups = features.scaled(scales)
    if not groups:
        return None
    return (
        np.concatenate([np.array(buckets, np.int64) for _, buckets in groups]),
        np.repeat(np.array([value for value, _ in groups], np.float32), [len(buckets) for _, buckets in groups]),
    )


# Without BLAS, whose order of summation depends on the processor.
def _dot(first: Array, second: Array) -> float:
    return float((first * second).sum())


def _segment_sums(
    values: NDArray[np.float32], factors: Array, indices: NDArray[np.int64], starts: NDArray[np.int64]
) -> Array:
    # Class by class, which is five times as fast as all classes at once.
    if factors.ndim == 1:
        products = values * np.take(factors.astype(np.float32), indices)
        return np.add.reduceat(products, starts).astype(np.float64)
    return np.stack([_segment_sums(values, column, indices, starts) for column in factors.T], axis=1)


def ridge(
    matrix: Matrix, target: Array, *, weight: Array | None = None, alpha: float = 1.0, iterations: int = 60
) -> tuple[Array, float]:
    """Minimize sum weight (target - x w - b)^2 + alpha |w|^2 by conjugate gradients. Returns w and b."""
    row_weights = np.ones(matrix.rows) if weight is None else weight * (matrix.rows / weight.sum())
    total = float(row_weights.sum())
    column_means = matrix.transposed_times_stored(row_weights) / total
    target_mean = _dot(row_weights, target) / total

    def forward(weights: Array) -> Array:
        return matrix.times_stored(weights) - _dot(column_means, weights)

    def backward(residuals: Array) -> Array:
        scaled = row_weights * residuals
        return matrix.transposed_times_stored(scaled) - column_means * scaled.sum()

    weights = np.zeros(len(matrix.columns))
    gradient = backward(target - target_mean)
    direction = gradient.copy()
    norm = initial_norm = _dot(gradient, gradient)
    for _ in range(iterations):
        if norm <= 1e-10 * initial_norm or norm == 0:
            break
        curved = backward(forward(direction)) + alpha * direction
        step = norm / _dot(direction, curved)
        weights += step * direction
        gradient -= step * curved
        norm, previous_norm = _dot(gradient, gradient), norm
        direction = gradient + (norm / previous_norm) * direction
    return matrix.expand(weights), target_mean - _dot(column_means, weights)


def softmax(
    matrix: Matrix, labels: NDArray[np.int64], classes: int, *, weight: Array, alpha: float = 1.0, iterations: int = 40
) -> tuple[Array, Array]:
    """Fit a multinomial logistic regression by L-BFGS. Returns weights (BUCKETS x classes) and intercepts."""
    stored = len(matrix.columns)
    row_weights = weight * (matrix.rows / weight.sum())
    target = np.zeros((matrix.rows, classes))
    target[np.arange(matrix.rows), labels] = 1.0

    def loss(flat: Array) -> tuple[float, Array]:
        weights = flat.reshape(stored + 1, classes)
        scores = matrix.times_stored(weights[:-1]) + weights[-1]
        scores -= scores.max(axis=1, keepdims=True)
        log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        errors = (np.exp(log_p) - target) * row_weights[:, None]
        gradient = np.empty_like(weights)
        gradient[:-1] = matrix.transposed_times_stored(errors) + alpha * weights[:-1]
        gradient[-1] = errors.sum(axis=0)
        value = -float((row_weights[:, None] * target * log_p).sum()) + 0.5 * alpha * float((weights[:-1] ** 2).sum())
        return value, gradient.ravel()

    solution = minimize(loss, np.zeros((stored + 1) * classes), iterations).reshape(stored + 1, classes)
    return matrix.expand(solution[:-1]), solution[-1]


def minimize(loss: Callable[[Array], tuple[float, Array]], start: Array, iterations: int, memory: int = 8) -> Array:
    """Minimize a smooth convex function by L-BFGS (Nocedal and Wright, algorithm 7.5)."""
    point = start
    value, gradient = loss(point)
    steps: list[tuple[Array, Array, float]] = []
    for _ in range(iterations):
        direction = _two_loop_direction(gradient, steps)
        descent = _dot(gradient, direction)
        if descent > -1e-9 * max(1.0, abs(value)):
            break
        length = 1.0 if steps else 1.0 / max(1.0, _dot(gradient, gradient) ** 0.5)
        for _ in range(30):
            next_value, next_gradient = loss(point + length * direction)
            if next_value <= value + 1e-4 * length * descent:
                break
            length *= 0.5
        else:
            break
        moved, changed = length * direction, next_gradient - gradient
        curvature = _dot(moved, changed)
        if curvature > 1e-12:
            steps = [*steps[-memory + 1 :], (moved, changed, 1.0 / curvature)]
        point, value, gradient = point + moved, next_value, next_gradient
    return point


def _two_loop_direction(gradient: Array, steps: list[tuple[Array, Array, float]]) -> Array:
    direction = -gradient
    shares: list[float] = []
    for moved, changed, inverse in reversed(steps):
        share = inverse * _dot(moved, direction)
        shares.append(share)
        direction = direction - share * changed
    if steps:
        _, changed, inverse = steps[-1]
        direction = direction / (inverse * _dot(changed, changed))
    for (moved, changed, inverse), share in zip(steps, reversed(shares), strict=True):
        direction = direction + (share - inverse * _dot(changed, direction)) * moved
    return direction
