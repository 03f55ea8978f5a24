"""`llm-magic train`: the weights in the wheel, from recorded outcomes and tiers. The same data, the same bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from llm_magic.classify import features_of
from llm_magic.classify.features import BUCKETS, Features
from llm_magic.classify.heads import DIFFICULTY_SCALES, Heads, Linear
from llm_magic.errors import EvaluationError
from llm_magic.lab.evaluate.data import Labelled, Recorded, read_outcomes
from llm_magic.lab.fit.linear import Array, Matrix, ridge
from llm_magic.lab.fit.train_tiers import read_tiers, tier_head, tier_prompts

TRAINING_SOURCES = ("fusion", "mmlupro", "routellm", "zeroeval")
"""Whose outcomes the shipped difficulty head sees: Apache-2.0 and MIT. Others are for judging only."""
DIFFICULTY_ALPHA = 1.0


def train(data: Path) -> bytes:
    """The weights file made from `train_prompts`, `train_outcomes` and `tiers` in the folder `data`."""
    prompts, outcomes = found(data, "train_prompts"), found(data, "train_outcomes")
    recorded = read_outcomes(prompts, outcomes)
    labelled = tier_prompts(read_tiers(found(data, "tiers")), recorded)
    heads = fit([recorded[name] for name in TRAINING_SOURCES if name in recorded], labelled)
    file = io.BytesIO()
    heads.save(file)
    return file.getvalue()


def fit(recorded: Sequence[Recorded], labelled: Labelled) -> Heads:
    """Both heads, the difficulty head also without each source in turn."""
    seen = {each.source: [features_of(text) for text in each.prompts] for each in recorded}
    tier_features, tier, temperature = tier_head(labelled)
    known = bytearray(BUCKETS)
    for features in (*tier_features, *(one for many in seen.values() for one in many)):
        for bucket in features.word_buckets:
            known[bucket] = 1
    return Heads(tier=tier, difficulty=difficulty_heads(recorded, seen), temperature=temperature, known=bytes(known))


def hardness(scores: Array) -> Array:
    """How hard each prompt was for the models that answered it: the mean over all of them and over the weaker half,
    turned round and centred, in standard deviations."""
    order = np.argsort(np.nanmean(scores, axis=0), kind="stable")
    weaker = scores[:, order[: max(1, len(order) // 2)]]
    both = []
    for part in (scores, weaker):
        answered = np.isfinite(part)
        levels = np.nanmean(part, axis=0)
        misses = np.where(answered, levels - np.where(answered, part, 0.0), 0.0).sum(axis=1) / np.maximum(
            1, answered.sum(axis=1)
        )
        both.append((misses - misses.mean()) / (misses.std() or 1.0))
    return (both[0] + both[1]) / 2


def difficulty_heads(recorded: Sequence[Recorded], seen: dict[str, list[Features]]) -> dict[str, Linear]:
    """The head trained on every source, and on every source but one; scaled to logits on sources left out."""
    targets = {each.source: hardness(each.scores) for each in recorded}
    names = [each.source for each in recorded]
    left_out = names if len(names) > 1 else []
    raw = {
        without: _difficulty([name for name in names if name != without], seen, targets) for without in ("", *left_out)
    }
    unseen = [
        (each.scores, Matrix.of(seen[each.source], DIFFICULTY_SCALES).times(weights) + bias)
        for each in recorded
        if left_out
        for weights, bias in [raw[each.source]]
    ]
    slope = _slope(unseen)
    return {name: Linear.quantize(weights, bias).times(slope) for name, (weights, bias) in raw.items()}


def _difficulty(
    names: Sequence[str], seen: dict[str, list[Features]], targets: dict[str, Array]
) -> tuple[Array, float]:
    matrix = Matrix.of([one for name in names for one in seen[name]], DIFFICULTY_SCALES)
    weights, _ = ridge(matrix, np.concatenate([targets[name] for name in names]), alpha=DIFFICULTY_ALPHA)
    # Zero is a typical prompt of a typical source.
    levels = [
        float(matrix_scores.mean())
        for matrix_scores in (Matrix.of(seen[name], DIFFICULTY_SCALES).times(weights) for name in names)
    ]
    return weights, -float(np.mean(levels))


def _slope(pairs: Sequence[tuple[Array, Array]]) -> float:
    """What turns a head's score into logits, where it has not seen the source: the best slope of a logistic model
    with a level for each model and source. Newton's method on one number, the levels solved for in turn."""
    slope = 1.0
    for _ in range(20):
        gradient = curvature = 0.0
        for scores, raw in pairs:
            for column in scores.T:
                there = np.isfinite(column)
                right, hard = column[there], raw[there]
                level = _level(right, slope * hard)
                chance = 1 / (1 + np.exp(slope * hard - level))
                spread = chance * (1 - chance)
                centred = hard - float(spread @ hard) / max(1e-9, float(spread.sum()))
                gradient += float((chance - right) @ hard) / len(pairs) / scores.shape[1] / len(right)
                curvature += float(spread @ centred**2) / len(pairs) / scores.shape[1] / len(right)
        step = gradient / max(1e-9, curvature)
        slope += step
        if abs(step) < 1e-6:
            break
    return max(slope, 0.05)


def _level(right: Array, hard: Array) -> float:
    """The capability at which the chances sum to the answers that were right."""
    level = 0.0
    for _ in range(30):
        chance = 1 / (1 + np.exp(hard - level))
        step = float((right - chance).sum()) / max(1e-9, float((chance * (1 - chance)).sum()))
        level += max(-2.0, min(2.0, step))
        if abs(step) < 1e-9:
            break
    return max(-6.0, min(6.0, level))


def shipped_bytes() -> bytes:
    """The weights file in the wheel."""
    return resources.files("llm_magic.classify").joinpath("weights.npz").read_bytes()


def found(folder: Path, name: str) -> Path:
    for ending in (".parquet", ".jsonl", ".jsonl.gz", ".csv", ".csv.gz"):
        if (path := folder / f"{name}{ending}").exists():
            return path
    raise EvaluationError(f"{folder}: no file {name}.parquet, .jsonl or .csv")
