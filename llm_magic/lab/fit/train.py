"""Training of the shipped weights (`llm-magic train`). Equal data gives equal bytes."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from llm_magic.classify import features_of
from llm_magic.classify.features import BUCKETS, Features
from llm_magic.classify.heads import DIFFICULTY_SCALES, DifficultyHead, Heads
from llm_magic.lab.data import Labeled, Recorded, find_file, read_outcomes, read_tiers
from llm_magic.lab.fit.linear import Array, Matrix, ridge
from llm_magic.lab.fit.train_tiers import fit_tier_head, tier_prompts

# Licensed Apache-2.0 and MIT. Other sources are for evaluation only.
TRAINING_SOURCES = ("fusion", "mmlupro", "routellm", "zeroeval")
DIFFICULTY_ALPHA = 1.0
# A word is known if this many prompts have a word in its bucket: most buckets have one of the many rare words.
MIN_PROMPTS_OF_KNOWN = 3


def train(data: Path) -> bytes:
    """Train on `train_prompts`, `train_outcomes` and `tiers` in a folder, and return the weights file."""
    recorded = read_outcomes(find_file(data, "train_prompts"), find_file(data, "train_outcomes"))
    labeled = tier_prompts(read_tiers(find_file(data, "tiers")), recorded)
    heads = fit_heads([recorded[name] for name in TRAINING_SOURCES if name in recorded], labeled)
    file = io.BytesIO()
    heads.save(file)
    return file.getvalue()


def fit_heads(recorded: Sequence[Recorded], labeled: Labeled) -> Heads:
    """Fit both heads, and one more difficulty head without each source in turn."""
    features = {source.source: [features_of(text) for text in source.prompts] for source in recorded}
    tier_features, tier, temperature = fit_tier_head(labeled)
    counts = np.zeros(BUCKETS, np.intp)
    for prompt in (*tier_features, *itertools.chain.from_iterable(features.values())):
        counts[prompt.word_buckets] += 1
    known = (counts >= MIN_PROMPTS_OF_KNOWN).astype(np.uint8).tobytes()
    return Heads(tier=tier, difficulty=fit_difficulty_heads(recorded, features), temperature=temperature, known=known)


def hardness(scores: Array) -> Array:
    """Return how hard each prompt was: its standardized rank by the mean miss relative to each model's level, averaged
    over all models and over the weaker half."""
    order = np.argsort(np.nanmean(scores, axis=0), kind="stable")
    weaker = scores[:, order[: max(1, len(order) // 2)]]
    misses = (_standardized_misses(scores) + _standardized_misses(weaker)) / 2
    _, group, counts = np.unique(misses.round(9), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - counts / 2)[group]
    return (ranks - ranks.mean()) / (ranks.std() or 1.0)


def _standardized_misses(scores: Array) -> Array:
    answered = np.isfinite(scores)
    levels = np.nanmean(scores, axis=0)
    gaps = np.where(answered, levels - np.where(answered, scores, 0.0), 0.0)
    misses: Array = gaps.sum(axis=1) / np.maximum(1, answered.sum(axis=1))
    return (misses - misses.mean()) / (misses.std() or 1.0)


def fit_difficulty_heads(
    recorded: Sequence[Recorded], features: dict[str, list[Features]]
) -> dict[str, DifficultyHead]:
    """Fit a head on every source, and one without each source. Their common scale gives logits on left-out sources."""
    targets = {source.source: hardness(source.scores) for source in recorded}
    names = list(targets)
    left_out = names if len(names) > 1 else []
    fits = {
        without: _fit_difficulty([name for name in names if name != without], features, targets)
        for without in ("", *left_out)
    }
    unseen: list[tuple[Array, Array]] = []
    for source in recorded:
        if left_out:
            weights, bias = fits[source.source]
            raw = Matrix.from_features(features[source.source], DIFFICULTY_SCALES).times(weights) + bias
            unseen.append((source.scores, raw))
    slope = _logit_slope(unseen)
    return {name: DifficultyHead.quantize(weights, bias).times(slope) for name, (weights, bias) in fits.items()}


def _fit_difficulty(
    names: Sequence[str], features: dict[str, list[Features]], targets: dict[str, Array]
) -> tuple[Array, float]:
    matrix = Matrix.from_features([prompt for name in names for prompt in features[name]], DIFFICULTY_SCALES)
    weights, _ = ridge(matrix, np.concatenate([targets[name] for name in names]), alpha=DIFFICULTY_ALPHA)
    # A bias that gives a typical prompt of a typical source a difficulty of zero.
    levels = [float(Matrix.from_features(features[name], DIFFICULTY_SCALES).times(weights).mean()) for name in names]
    return weights, -float(np.mean(levels))


def _logit_slope(pairs: Sequence[tuple[Array, Array]]) -> float:
    """Return the factor from raw difficulty to logits, for pairs of a source's scores and its raw difficulty.

    The factor is the best slope of a logistic model with one level per model and source: Newton's method on the slope,
    with the levels solved for in every step.
    """
    slope = 1.0
    for _ in range(20):
        gradient = curvature = 0.0
        for scores, raw in pairs:
            for column in scores.T:
                answered = np.isfinite(column)
                correct, hard = column[answered], raw[answered]
                level = _capability_level(correct, slope * hard)
                chance = 1 / (1 + np.exp(slope * hard - level))
                spread = chance * (1 - chance)
                centered = hard - float(spread @ hard) / max(1e-9, float(spread.sum()))
                gradient += float((chance - correct) @ hard) / len(pairs) / scores.shape[1] / len(correct)
                curvature += float(spread @ centered**2) / len(pairs) / scores.shape[1] / len(correct)
        step = gradient / max(1e-9, curvature)
        slope += step
        if abs(step) < 1e-6:
            break
    return max(slope, 0.05)


def _capability_level(correct: Array, hard: Array) -> float:
    level = 0.0
    for _ in range(30):
        chance = 1 / (1 + np.exp(hard - level))
        step = float((correct - chance).sum()) / max(1e-9, float((chance * (1 - chance)).sum()))
        level += max(-2.0, min(2.0, step))
        if abs(step) < 1e-9:
            break
    return max(-6.0, min(6.0, level))


def shipped_bytes() -> bytes:
    return resources.files("llm_magic.classify").joinpath("weights.npz").read_bytes()
