"""A small head on top of the shipped ones, fitted to the recorded outcomes of one user or one source.

Several views of a prompt (the shipped difficulty, ridge regressions of the gain on structure and on words, the mean
gain of the kind of task that it resembles) are weighted by how well each predicts the gain on held-out prompts.
Without outcomes the result is the shipped difficulty, and with few it stays close to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_magic.classify.features import BUCKETS, Features, Scales, family_scales
from llm_magic.lab.fit.linear import Array, Matrix, ridge

STRUCTURE_SCALES = family_scales(all_pairs=0.4, structure=1.0, details=1.0, ends=0.5)
KIND_SCALES = family_scales(all_words=1.0, all_pairs=0.7, structure=1.0, details=1.0, ends=1.0)
ALL_SCALES = family_scales(
    all_words=1.0, all_pairs=0.7, structure=1.0, details=1.0, ends=1.0, signals=1.0, kinds=0.7, shape=0.7
)
ALPHA = 10.0
# Regularization of the views' weights towards their start, which is the shipped difficulty alone.
STACK_ALPHA = 60.0
FOLDS = 3
VIEWS = 5
SMOOTHING = 0.01
# Factor of the log odds, because features have unit length.
SHARPNESS = 3.0
# Candidate factors of the log odds. Naive Bayes is too certain, because a prompt's words are not independent.
SOFTENING = (1.0, 0.5, 0.25, 0.12, 0.06)
# Number of prompts at which a kind's own mean and the overall mean count equally.
TASK_SHRINK = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KindModel:
    """Naive Bayes model of the kind of task. `labels`: kind of each training prompt."""

    weights: Array
    bias: Array
    labels: NDArray[np.intp]
    scales: Scales

    def probabilities(self, matrix: Matrix) -> Array:
        scores = matrix.times(self.weights) + self.bias
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def expect(self, matrix: Matrix, means: Array) -> Array:
        return self.probabilities(matrix) @ means

    def softened(self, factor: float) -> KindModel:
        return dataclasses.replace(self, weights=self.weights * factor, bias=self.bias * factor)

    def means(self, values: Array, shrink: float) -> Array:
        """Return kinds x columns: means over the training prompts of a kind, shrunk towards the overall mean. NaN is
        ignored."""
        is_known = np.isfinite(values)
        overall = np.nanmean(values, axis=0)
        sums = np.zeros((len(self.bias), values.shape[1]))
        counts = np.zeros_like(sums)
        np.add.at(sums, self.labels, np.where(is_known, values, 0.0))
        np.add.at(counts, self.labels, is_known)
        return (sums + shrink * overall) / (counts + shrink)


def fit_kind_model(features: Sequence[Features], kinds: Sequence[str]) -> KindModel:
    """Fit the kinds of task, with the certainty that suits held-out prompts best."""
    rows = range(len(features))
    losses: Array = np.zeros(len(SOFTENING))
    for fold in range(FOLDS):
        inside = [row for row in rows if row % FOLDS != fold]
        names = sorted({kinds[row] for row in inside})
        held_out = [row for row in rows[fold::FOLDS] if kinds[row] in names]
        if not held_out:
            continue
        model = _naive_bayes(
            Matrix.from_features([features[row] for row in inside], KIND_SCALES),
            [kinds[row] for row in inside],
            KIND_SCALES,
        )
        matrix = Matrix.from_features([features[row] for row in held_out], KIND_SCALES)
        labels = np.array([names.index(kinds[row]) for row in held_out])
        for index, factor in enumerate(SOFTENING):
            correct = model.softened(factor).probabilities(matrix)[np.arange(len(held_out)), labels]
            losses[index] -= float(np.log(np.maximum(correct, 1e-9)).sum())
    model = _naive_bayes(Matrix.from_features(features, KIND_SCALES), kinds, KIND_SCALES)
    return model.softened(SOFTENING[int(np.argmin(losses))])


def _naive_bayes(matrix: Matrix, kinds: Sequence[str], scales: Scales) -> KindModel:
    names = sorted(set(kinds))
    labels = np.array([names.index(kind) for kind in kinds], np.intp)
    membership = np.zeros((len(labels), len(names)))
    membership[np.arange(len(labels)), labels] = 1.0
    sums = matrix.transposed_times(membership)
    total = sums.sum(axis=0) + SMOOTHING * BUCKETS
    weights = SHARPNESS * np.log((sums + SMOOTHING) / total)
    return KindModel(weights=weights, bias=np.log(membership.mean(axis=0)), labels=labels, scales=scales)


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """The fitted predictors of the gain, without the shipped difficulty. `kinds`: with the mean gain of each kind."""

    structure: Array
    words: Array
    misses: Array
    kinds: tuple[KindModel, Array] | None

    @classmethod
    def fit(cls, features: Sequence[Features], weak: Array, gain: Array, kinds: Sequence[str] | None) -> Views:
        structure, words = _matrices(features)
        model = None if kinds is None or len(set(kinds)) < 2 else _naive_bayes(words, kinds, ALL_SCALES)
        return cls(
            structure=ridge(structure, gain, alpha=ALPHA, iterations=25)[0],
            words=ridge(words, gain, alpha=ALPHA, iterations=25)[0],
            misses=ridge(words, 1 - weak, alpha=ALPHA, iterations=25)[0],
            kinds=None if model is None else (model, model.means(gain[:, None], TASK_SHRINK)),
        )

    def predict(self, features: Sequence[Features], difficulty: Array) -> Array:
        """Return prompts x views, with the shipped difficulty as the first view."""
        structure, words = _matrices(features)
        task = np.zeros(words.rows) if self.kinds is None else self.kinds[0].expect(words, self.kinds[1])[:, 0]
        columns = (
            difficulty,
            structure.times(self.structure),
            words.times(self.words),
            words.times(self.misses),
            task,
        )
        return np.stack(columns, axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptedHead:
    """A head that scores prompts by the expected gain of the strong model over the weak one.

    stack: weights of the standardized views.
    """

    views: Views
    level: float
    stack: Array
    means: Array
    spreads: Array

    def scores(self, features: Sequence[Features], difficulty: Array) -> Array:
        views = self.views.predict(features, difficulty)
        return self.level + ((views - self.means) / self.spreads) @ self.stack


def adapt(
    features: Sequence[Features],
    weak: Array,
    strong: Array,
    *,
    difficulty: Array,
    kinds: Sequence[str] | None = None,
) -> AdaptedHead:
    """Fit the gain of the strong model over the weak one, from both models' scores (0..1) on these prompts.

    difficulty: of each prompt, by the shipped head. kinds: the prompts' kinds of task, if known.
    """
    gain: Array = strong - weak
    held_out: Array = np.zeros((len(features), VIEWS))
    for fold in range(FOLDS):
        inside = [row for row in range(len(features)) if row % FOLDS != fold]
        outside = list(range(fold, len(features), FOLDS))
        if not outside or not inside:
            continue
        inside_kinds = None if kinds is None else [kinds[row] for row in inside]
        views = Views.fit([features[row] for row in inside], weak[inside], gain[inside], inside_kinds)
        held_out[outside] = views.predict([features[row] for row in outside], difficulty[outside])
    means: Array = held_out.mean(axis=0)
    spreads: Array = np.maximum(held_out.std(axis=0), 1e-9)
    scaled: Array = (held_out - means) / spreads
    start: Array = np.zeros(VIEWS)
    start[0] = 0.05
    residual: Array = gain - gain.mean() - scaled @ start
    change = np.linalg.solve(scaled.T @ scaled + STACK_ALPHA * np.eye(VIEWS), scaled.T @ residual)
    return AdaptedHead(
        views=Views.fit(features, weak, gain, kinds),
        level=float(gain.mean()),
        stack=start + np.asarray(change, np.float64),
        means=means,
        spreads=spreads,
    )


def _matrices(features: Sequence[Features]) -> tuple[Matrix, Matrix]:
    return Matrix.from_features(features, STRUCTURE_SCALES), Matrix.from_features(features, ALL_SCALES)
