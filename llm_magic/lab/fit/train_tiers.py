"""The tier head: what it learns from, how much each prompt counts, and the scale of its chances."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llm_magic.classify import features_of
from llm_magic.classify.features import Features
from llm_magic.classify.heads import TIER_SCALES, Linear
from llm_magic.lab.evaluate.data import TIER_COLUMNS, Labelled, Recorded, table
from llm_magic.lab.fit.linear import Array, Matrix, softmax
from llm_magic.lab.prompts import OWN, own_prompts
from llm_magic.lab.prompts.composed import composed_prompts
from llm_magic.lab.prompts.tasks import prompts_by_task
from llm_magic.lab.prompts.variants import variants
from llm_magic.types import TaskTier

TIER_ALPHA = 1.0
OWN_WEIGHT = 3.0
FORMAT_WEIGHT = 0.5
"""Of a prompt that a demand on the form has given another tier."""
PARTS = 5
"""The prompts are dealt into so many parts, to be left out in turn."""
_TIERS = list(TaskTier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """The variants of all training prompts."""

    features: tuple[Features, ...]
    tiers: NDArray[np.intp]
    rows: NDArray[np.intp]
    """Which prompt each is a variant of."""
    weights: Array
    """How much each counts, before the tiers are balanced."""

    @classmethod
    def of(cls, labelled: Labelled) -> Examples:
        own = balance(labelled)
        features: list[Features] = []
        tiers: list[int] = []
        rows: list[int] = []
        weights: list[float] = []
        for row, (prompt, tier) in enumerate(zip(labelled.prompts, labelled.tiers, strict=True)):
            made = list(variants(prompt, tier, row))
            features += [features_of(text) for text, _ in made]
            tiers += [_TIERS.index(of) for _, of in made]
            rows += [row] * len(made)
            weights += [own[row] / len(made) * (1.0 if of is tier else FORMAT_WEIGHT) for _, of in made]
        return cls(
            features=tuple(features), tiers=np.array(tiers), rows=np.array(rows, np.intp), weights=np.array(weights)
        )

    def fit(self, kept: NDArray[np.bool_]) -> Linear:
        """The head that has seen the prompts that are `kept` only (a truth value for each prompt)."""
        there = np.flatnonzero(kept[self.rows])
        tiers, weight = self.tiers[there], self.weights[there].copy()
        for place in range(len(_TIERS)):
            weight[tiers == place] /= max(1e-12, float(weight[tiers == place].sum()))
        matrix = Matrix.of([self.features[at] for at in there], TIER_SCALES)
        weights, bias = softmax(matrix, tiers, len(_TIERS), weight=weight, alpha=TIER_ALPHA)
        return Linear.quantize(weights, bias)


def tier_prompts(tiers: Labelled, recorded: Mapping[str, Recorded]) -> Labelled:
    """All that the shipped head learns from: prompts with tiers, the project's own, and recorded prompts by task."""
    return joined(tiers, own_prompts(), composed_prompts(), prompts_by_task(recorded.values()))


def tier_head(labelled: Labelled) -> tuple[Sequence[Features], Linear, float]:
    """The tier head with calibrated probabilities, the features of what it saw, and its temperature.

    The temperature is the one at which chances are right on prompts that the head has not seen, of sources that it has.
    """
    examples = Examples.of(labelled)
    many = len(labelled.prompts)
    first = np.searchsorted(examples.rows, np.arange(many))
    part = np.arange(many) % PARTS
    scores = np.zeros((many, len(_TIERS)))
    for number in range(PARTS):
        head = examples.fit(part != number)
        for row in np.flatnonzero(part == number):
            scores[row] = head.scores(examples.features[first[row]], TIER_SCALES)
    temperature = _temperature(scores, examples.tiers[first], balance(labelled))
    return examples.features, examples.fit(np.ones(many, bool)).times(1 / temperature), temperature


def tier_heads(labelled: Labelled, parts: Sequence[NDArray[np.bool_]], temperature: float) -> Iterator[Linear]:
    """For each part (a truth value for each prompt), the head trained without it, for judging on it."""
    examples = Examples.of(labelled)
    for part in parts:
        yield examples.fit(~part).times(1 / temperature)


def balance(labelled: Labelled) -> Array:
    """A weight a prompt, so that a source and tier with many prompts counts as the root of their number; the
    project's own, which have no style in common, for more."""
    keys = list(zip(labelled.sources, labelled.tiers, strict=True))
    many = Counter(keys)
    return np.array([many[key] ** -0.5 * (OWN_WEIGHT if _written(key[0]) else 1.0) for key in keys])


def _written(source: str) -> bool:
    return source.startswith(OWN) and not source.startswith(f"{OWN} composed")


def _temperature(scores: Array, labels: NDArray[np.intp], weight: Array) -> float:
    """What the scores are divided by, so that held-out probabilities are right: the best of a fine grid."""

    def loss(temperature: float) -> float:
        scaled = scores / temperature
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        logs = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
        return -float(weight @ logs[np.arange(len(labels)), labels])

    return min((float(value) for value in np.geomspace(0.2, 5.0, 81)), key=loss)


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
