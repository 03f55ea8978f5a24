"""A small head on top of the shipped ones, learned from one user's or one source's own outcomes.

Three views of the same prompts (the shipped difficulty; ridge regressions of the gain on structure and on words; the
mean gain of the kind of task that a prompt looks like) are weighed by how well each foretells the gain of prompts that
it has not seen. With no outcomes it is the shipped difficulty; with few it hardly moves away from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_magic.classify.features import BUCKETS, Features, Scales
from llm_magic.lab.fit.linear import Array, Matrix, ridge

STRUCTURE: Scales = (0.0, 0.4, 1.0, 1.0, 0.5, 0.0)
ALL: Scales = (1.0, 0.7, 1.0, 1.0, 1.0, 0.0)
ALPHA = 10.0
STACK_ALPHA = 20.0
"""How firmly the weights of the views stay where they start: the shipped difficulty alone."""
FOLDS = 3
VIEWS = 5
SMOOTH = 0.01
SHARPNESS = 3.0
"""Features of a prompt are scaled to length one: their log odds count so much."""
SOFTER = (1.0, 0.5, 0.25, 0.12, 0.06)
"""What the log odds may be brought down by, where held-out prompts ask for it: words of one prompt speak for its kind
together, and naive Bayes counts each of them."""
TASK_SHRINK = 20.0
"""A kind of task with so many prompts has a mean half of its own, half of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """Which kind of task a prompt looks like: naive Bayes on its features."""

    weights: Array
    bias: Array
    label: NDArray[np.intp]
    """The kind of each training prompt."""
    scales: Scales = ALL

    def chances(self, matrix: Matrix) -> Array:
        """Per row, the chance of each kind."""
        scores = matrix.times(self.weights) + self.bias
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def expect(self, matrix: Matrix, means: Array) -> Array:
        """Per row, the mean (kinds x anything) that its chances of each kind give."""
        return self.chances(matrix) @ means

    def softened(self, share: float) -> Kinds:
        """The same, less sure of itself: its log odds times this share."""
        return dataclasses.replace(self, weights=self.weights * share, bias=self.bias * share)

    def means(self, values: Array, shrink: float) -> Array:
        """Per kind, the mean of each column over its prompts, drawn towards the mean of all; NaN is left out."""
        there = np.isfinite(values)
        whole = np.nanmean(values, axis=0)
        sums = np.zeros((len(self.bias), values.shape[1]))
        many = np.zeros_like(sums)
        np.add.at(sums, self.label, np.where(there, values, 0.0))
        np.add.at(many, self.label, there)
        return (sums + shrink * whole) / (many + shrink)


def kinds_of(features: Sequence[Features], kinds: Sequence[str]) -> Kinds:
    """Learn to tell the kinds of task apart, and be as sure of it as suits prompts that it has not seen."""
    rows = range(len(features))
    losses: Array = np.zeros(len(SOFTER))
    for part in range(FOLDS):
        inside = [row for row in rows if row % FOLDS != part]
        names = sorted({kinds[row] for row in inside})
        judged = [row for row in rows[part::FOLDS] if kinds[row] in names]
        if not judged:
            continue
        learned = _kinds(Matrix.of([features[row] for row in inside], ALL), [kinds[row] for row in inside])
        matrix = Matrix.of([features[row] for row in judged], ALL)
        place = np.array([names.index(kinds[row]) for row in judged])
        for at, share in enumerate(SOFTER):
            right = learned.softened(share).chances(matrix)[np.arange(len(judged)), place]
            losses[at] -= float(np.log(np.maximum(right, 1e-9)).sum())
    return _kinds(Matrix.of(features, ALL), kinds).softened(SOFTER[int(np.argmin(losses))])


def _kinds(matrix: Matrix, kinds: Sequence[str]) -> Kinds:
    names = sorted(set(kinds))
    label = np.array([names.index(kind) for kind in kinds], np.intp)
    member = np.zeros((len(label), len(names)))
    member[np.arange(len(label)), label] = 1.0
    sums = matrix.transposed_times(member)
    total = sums.sum(axis=0) + SMOOTH * BUCKETS
    weights = SHARPNESS * np.log((sums + SMOOTH) / total)
    return Kinds(weights=weights, bias=np.log(member.mean(axis=0)), label=label)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """Scores prompts by the expected gain of the strong model over the weak one."""

    structure: Array
    words: Array
    misses: Array
    kinds: tuple[Kinds, Array] | None
    """Which kind of task a prompt looks like, and the mean gain of each."""
    level: float
    stack: Array
    """The weights of the views, each in its own standard deviations, and their means."""
    means: Array
    spreads: Array

    def scores(self, features: Sequence[Features], difficulty: Array) -> Array:
        """The expected gain of each prompt: 0..1 where scores are."""
        views = _views(self.structure, self.words, self.misses, self.kinds, _matrices(features), difficulty)
        return self.level + ((views - self.means) / self.spreads) @ self.stack


def adapt(
    features: Sequence[Features],
    weak: Array,
    strong: Array,
    *,
    difficulty: Array,
    kinds: Sequence[str] | None = None,
) -> Adapted:
    """Learn where the strong model gains over the weak one, from what both scored (0..1) on these prompts.

    difficulty: of each prompt, by the shipped head. kinds: of task, by name, where they are known.
    """
    gain: Array = strong - weak
    held_out: Array = np.zeros((len(features), VIEWS))
    for part in range(FOLDS):
        inside = [row for row in range(len(features)) if row % FOLDS != part]
        outside = list(range(part, len(features), FOLDS))
        if not outside or not inside:
            continue
        learned = _learn([features[row] for row in inside], weak[inside], gain[inside], _some(kinds, inside))
        held_out[outside] = _views(*learned, _matrices([features[row] for row in outside]), difficulty[outside])
    means: Array = held_out.mean(axis=0)
    spreads: Array = np.maximum(held_out.std(axis=0), 1e-9)
    scaled: Array = (held_out - means) / spreads
    start: Array = np.zeros(VIEWS)
    start[0] = 0.05
    centred: Array = gain - gain.mean() - scaled @ start
    moved = np.asarray(np.linalg.solve(scaled.T @ scaled + STACK_ALPHA * np.eye(VIEWS), scaled.T @ centred), np.float64)
    structure, words, misses, found = _learn(features, weak, gain, kinds)
    return Adapted(
        structure=structure,
        words=words,
        misses=misses,
        kinds=found,
        level=float(gain.mean()),
        stack=start + moved,
        means=means,
        spreads=spreads,
    )


def _matrices(features: Sequence[Features]) -> tuple[Matrix, Matrix]:
    return Matrix.of(features, STRUCTURE), Matrix.of(features, ALL)


def _some(kinds: Sequence[str] | None, rows: list[int]) -> list[str] | None:
    return None if kinds is None else [kinds[row] for row in rows]


def _learn(
    features: Sequence[Features], weak: Array, gain: Array, kinds: Sequence[str] | None
) -> tuple[Array, Array, Array, tuple[Kinds, Array] | None]:
    structure, words = _matrices(features)
    found = None if kinds is None or len(set(kinds)) < 2 else _kinds(words, kinds)
    return (
        ridge(structure, gain, alpha=ALPHA, iterations=25)[0],
        ridge(words, gain, alpha=ALPHA, iterations=25)[0],
        ridge(words, 1 - weak, alpha=ALPHA, iterations=25)[0],
        None if found is None else (found, found.means(gain[:, None], TASK_SHRINK)),
    )


def _views(
    structure: Array,
    words: Array,
    misses: Array,
    kinds: tuple[Kinds, Array] | None,
    matrices: tuple[Matrix, Matrix],
    difficulty: Array,
) -> Array:
    first, second = matrices
    task = np.zeros(second.rows) if kinds is None else kinds[0].expect(second, kinds[1])[:, 0]
    return np.stack([difficulty, first.times(structure), second.times(words), second.times(misses), task], axis=1)
