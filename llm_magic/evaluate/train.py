"""`llm-magic train`: the weights in the wheel, from recorded outcomes and tiers. The same data, the same bytes."""

from __future__ import annotations

import functools
import io
import random
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llm_magic.classify import features_of
from llm_magic.classify.features import BUCKETS, Features
from llm_magic.classify.fit import Array, Matrix, ridge, softmax
from llm_magic.classify.heads import DIFFICULTY_SCALES, TIER_SCALES, Heads, Linear
from llm_magic.errors import EvaluationError
from llm_magic.evaluate.data import TIER_COLUMNS, Recorded, read_outcomes, table
from llm_magic.types import TaskTier

TRAINING_SOURCES = ("fusion", "mmlupro", "routellm", "zeroeval")
"""Whose outcomes the shipped difficulty head sees: Apache-2.0 and MIT. Others are for judging only."""
TIER_PROMPT_SOURCES = {"bfcl": TaskTier.STRUCTURED}
"""Sources of outcomes whose prompts (not outcomes) the tier head sees, and their tier."""
DIFFICULTY_ALPHA = 1.0
TIER_ALPHA = 1.0
OWN = "llm_magic"
OWN_WEIGHT = 3.0
FOLDS = 5
_TIERS = list(TaskTier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Prompts with their tiers."""

    prompts: tuple[str, ...]
    tiers: tuple[TaskTier, ...]
    sources: tuple[str, ...]

    def take(self, rows: Sequence[int]) -> Labelled:
        return Labelled(
            prompts=tuple(self.prompts[row] for row in rows),
            tiers=tuple(self.tiers[row] for row in rows),
            sources=tuple(self.sources[row] for row in rows),
        )


def train(data: Path) -> bytes:
    """The weights file made from `train_prompts`, `train_outcomes` and `tiers` in the folder `data`."""
    prompts, outcomes = found(data, "train_prompts"), found(data, "train_outcomes")
    recorded = read_outcomes(prompts, outcomes)
    labelled = joined(
        read_tiers(found(data, "tiers")),
        own_prompts(),
        *(_all_of(tier, recorded[name]) for name, tier in TIER_PROMPT_SOURCES.items() if name in recorded),
    )
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
        for bucket in features.words:
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
    return {name: Linear.of(weights, bias).times(slope) for name, (weights, bias) in raw.items()}


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


def tier_head(labelled: Labelled) -> tuple[list[Features], Linear, float]:
    """The tier head with calibrated probabilities, the features of the prompts that it saw, and its temperature."""
    features = [[features_of(text) for text in varied(prompt, row)] for row, prompt in enumerate(labelled.prompts)]
    rows = np.arange(len(labelled.prompts))
    held_out = np.zeros((len(rows), len(_TIERS)))
    for part in range(FOLDS):
        inside, outside = rows[rows % FOLDS != part], rows[rows % FOLDS == part]
        if len(inside) and len(outside):
            head = _tier_head(labelled, features, inside)
            held_out[outside] = np.stack([head.scores(features[row][0], TIER_SCALES) for row in outside])
    labels = np.array([_TIERS.index(tier) for tier in labelled.tiers])
    temperature = _temperature(held_out, labels, balance(labelled))
    head = _tier_head(labelled, features, rows).times(1 / temperature)
    return [one for many in features for one in many], head, temperature


def tier_heads(labelled: Labelled, parts: Sequence[Sequence[str]], temperature: float) -> Iterator[Linear]:
    """For each part of the prompts, the head trained without them, for judging on them."""
    features = [[features_of(text) for text in varied(prompt, row)] for row, prompt in enumerate(labelled.prompts)]
    for part in parts:
        held_out = set(part)
        rows = np.array([row for row, prompt in enumerate(labelled.prompts) if prompt not in held_out], np.intp)
        yield _tier_head(labelled, features, rows).times(1 / temperature)


def _tier_head(labelled: Labelled, features: list[list[Features]], rows: NDArray[np.intp]) -> Linear:
    own = balance(labelled)
    flat = [(one, row) for row in rows for one in features[row]]
    weights, bias = softmax(
        Matrix.of([one for one, _ in flat], TIER_SCALES),
        np.array([_TIERS.index(labelled.tiers[row]) for _, row in flat]),
        len(_TIERS),
        weight=np.array([own[row] / len(features[row]) for _, row in flat]),
        alpha=TIER_ALPHA,
    )
    return Linear.of(weights, bias)


def balance(labelled: Labelled) -> Array:
    """A weight a prompt, so that a source and tier with many prompts counts as the root of their number; the
    project's own, which have no style in common, for more."""
    keys = list(zip(labelled.sources, labelled.tiers, strict=True))
    many = Counter(keys)
    return np.array([many[key] ** -0.5 * (OWN_WEIGHT if key[0] == OWN else 1.0) for key in keys])


def _temperature(scores: Array, labels: NDArray[np.intp], weight: Array) -> float:
    """What the scores are divided by, so that held-out probabilities are right: the best of a fine grid."""

    def loss(temperature: float) -> float:
        scaled = scores / temperature
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        logs = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
        return -float(weight @ logs[np.arange(len(labels)), labels])

    return min((float(value) for value in np.geomspace(0.2, 5.0, 81)), key=loss)


def varied(text: str, seed: int) -> Iterator[str]:
    """The prompt, then copies of it with words around it that say nothing, with typos, and before long material."""
    chance = random.Random(f"llm_magic|{seed}")  # noqa: S311 - for variety, not for secrets
    own = _own()
    yield text
    if len(text) > 1_500:
        return
    yield f"{chance.choice(own['BEFORE'])}{text}{chance.choice(own['AFTER'])}"
    yield with_typos(text, chance)
    if len(text) < 300:
        yield f"{text}\n\n{chance.choice(own['MATERIAL']) * chance.choice((1, 4, 20, 100))}"


def with_typos(text: str, chance: random.Random, rate: float = 0.03) -> str:
    """The text with letters swapped, dropped or doubled: a share `rate` of the first few thousand characters."""
    letters = list(text)
    for _ in range(max(1, round(rate * min(len(letters), 4_000)))):
        at = chance.randrange(len(letters)) if letters else 0
        if not (at < len(letters) and letters[at].isalpha()):
            continue
        kind = chance.randrange(3)
        if kind == 0 and at + 1 < len(letters):
            letters[at], letters[at + 1] = letters[at + 1], letters[at]
        elif kind == 1:
            letters[at] = ""
        else:
            letters[at] *= 2
    return "".join(letters)


@functools.cache
def _own() -> dict[str, list[str]]:
    return tomllib.loads(resources.files("llm_magic.evaluate").joinpath("prompts.toml").read_text("utf-8"))


def own_prompts() -> Labelled:
    """The prompts that the project wrote itself."""
    own = _own()
    rows = [(text, tier) for tier in TaskTier for text in own[tier]]
    return Labelled(
        prompts=tuple(text for text, _ in rows),
        tiers=tuple(tier for _, tier in rows),
        sources=(OWN,) * len(rows),
    )


def shipped_bytes() -> bytes:
    """The weights file in the wheel."""
    return resources.files("llm_magic.classify").joinpath("weights.npz").read_bytes()


def read_tiers(path: Path) -> Labelled:
    """The prompts of a tiers file that have a tier."""
    frame = table(path, TIER_COLUMNS)
    frame = frame[frame["tier"].notna()]
    return Labelled(
        prompts=tuple(map(str, frame["prompt"])),
        tiers=tuple(TaskTier(tier) for tier in frame["tier"]),
        sources=tuple(map(str, frame["source"])),
    )


def joined(*parts: Labelled) -> Labelled:
    """One after the other, a prompt that was there before left out."""
    rows = {
        text: (tier, source)
        for part in reversed(parts)
        for text, tier, source in zip(part.prompts, part.tiers, part.sources, strict=True)
    }
    return Labelled(
        prompts=tuple(rows), tiers=tuple(tier for tier, _ in rows.values()), sources=tuple(s for _, s in rows.values())
    )


def _all_of(tier: TaskTier, recorded: Recorded) -> Labelled:
    many = len(recorded.prompts)
    return Labelled(prompts=recorded.prompts, tiers=(tier,) * many, sources=(recorded.source,) * many)


def found(folder: Path, name: str) -> Path:
    for ending in (".parquet", ".jsonl", ".jsonl.gz", ".csv", ".csv.gz"):
        if (path := folder / f"{name}{ending}").exists():
            return path
    raise EvaluationError(f"{folder}: no file {name}.parquet, .jsonl or .csv")
