"""Training of the tier head: its prompts, their weights, and the scale of its probabilities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_magic.classify import features_of
from llm_magic.classify.features import Features
from llm_magic.classify.heads import TIER_SCALES, TierHead
from llm_magic.lab.data import Labeled, Recorded
from llm_magic.lab.fit.linear import Array, Matrix, softmax
from llm_magic.lab.prompts import NOTEBOOK, OWN_SOURCE_PREFIX, own_prompts
from llm_magic.lab.prompts.composed import composed_prompts
from llm_magic.lab.prompts.tasks import prompts_by_task
from llm_magic.lab.prompts.variants import variants
from llm_magic.types import TaskTier

TIER_ALPHA = 2.0
# The weight of a prompt by its origin. That of a public source is divided by the square root of the number of its
# prompts of the same tier, so that a large source of one style doesn't dominate.
NOTEBOOK_WEIGHT, OWN_WEIGHT, COMPOSED_WEIGHT, PUBLIC_WEIGHT = 1.0, 0.4, 0.1, 0.02
CHANGED_TIER_WEIGHT = 0.5
# COMPLEX weighs 1: the decision rule favors it. Prompts of the others seldom look like those that were seen.
TIER_WEIGHTS = {TaskTier.STANDARD: 1.15, TaskTier.STRUCTURED: 1.2, TaskTier.BULK: 1.5}
# Added to a tier's score, because BULK was found least. In batches of prompts that are left out, the recall of BULK
# rises from .84 to .87, and that of STANDARD falls from .75 to .71.
TIER_OFFSETS = {TaskTier.BULK: 0.45}
CALIBRATION_FOLDS = 3
# All variants of own prompts are trained on, and of other prompts this many, in turn.
VARIANTS_OF_OTHERS = 2

_TIERS = list(TaskTier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """The variants of all training prompts.

    prompt_rows: row of the prompt that each example is a variant of.
    weights: before the tiers are balanced.
    """

    features: tuple[Features, ...]
    tiers: NDArray[np.intp]
    prompt_rows: NDArray[np.intp]
    weights: Array

    @classmethod
    def from_labeled(cls, labeled: Labeled) -> Examples:
        origin_weights = prompt_weights(labeled)
        features: list[Features] = []
        tiers: list[int] = []
        rows: list[int] = []
        weights: list[float] = []
        for row, (prompt, tier) in enumerate(zip(labeled.prompts, labeled.tiers, strict=True)):
            original, *varied = variants(prompt, tier, row)
            if not _is_own(labeled.sources[row]) and varied:
                start = row * VARIANTS_OF_OTHERS % len(varied)
                varied = (varied[start:] + varied[:start])[:VARIANTS_OF_OTHERS]
            examples = [original, *varied]
            weight = float(origin_weights[row]) / len(examples)
            for text, example_tier in examples:
                features.append(features_of(text))
                tiers.append(_TIERS.index(example_tier))
                rows.append(row)
                weights.append(weight * (1.0 if example_tier is tier else CHANGED_TIER_WEIGHT))
        return cls(
            features=tuple(features),
            tiers=np.array(tiers, np.intp),
            prompt_rows=np.array(rows, np.intp),
            weights=np.array(weights),
        )

    def fit(self, included: NDArray[np.bool_]) -> TierHead:
        """Fit a head on the variants of the included prompts (one truth value per prompt)."""
        chosen = np.flatnonzero(included[self.prompt_rows])
        tiers, weights = self.tiers[chosen], self.weights[chosen].copy()
        for index, tier in enumerate(_TIERS):
            total = TIER_WEIGHTS.get(tier, 1.0)
            weights[tiers == index] *= total / max(1e-12, float(weights[tiers == index].sum()))
        matrix = Matrix.from_features([self.features[example] for example in chosen], TIER_SCALES)
        head_weights, bias = softmax(matrix, tiers, len(_TIERS), weight=weights, alpha=TIER_ALPHA)
        return TierHead.quantize(head_weights, bias)

    def fit_calibrated(self, included: NDArray[np.bool_], temperature: float) -> TierHead:
        """Fit a head as `fit` does, divide its scores by the temperature, and add `TIER_OFFSETS`."""
        head = self.fit(included).times(1 / temperature)
        return head.plus([TIER_OFFSETS.get(tier, 0.0) for tier in _TIERS])


def tier_prompts(labeled: Labeled, recorded: Mapping[str, Recorded]) -> Labeled:
    """Combine all that the shipped head is trained on: labeled, own, composed, and recorded prompts."""
    return concatenate(labeled, own_prompts(), composed_prompts(), prompts_by_task(recorded.values()))


def fit_tier_head(labeled: Labeled) -> tuple[Sequence[Features], TierHead, float]:
    """Return the features of the prompts, the calibrated tier head, and its temperature.

    The temperature calibrates the probabilities of own prompts whose source was left out, because a user's prompts are
    not from a known source either.
    """
    examples = Examples.from_labeled(labeled)
    count = len(labeled.prompts)
    originals = np.searchsorted(examples.prompt_rows, np.arange(count))
    names = {name: number for number, name in enumerate(sorted(set(labeled.sources)))}
    folds = np.array([names[source] % CALIBRATION_FOLDS for source in labeled.sources])
    scores = np.zeros((count, len(_TIERS)))
    for fold in range(CALIBRATION_FOLDS):
        head = examples.fit(folds != fold)
        for row in np.flatnonzero(folds == fold):
            scores[row] = head.scores(examples.features[int(originals[row])], TIER_SCALES)
    own = np.array([_is_own(source) for source in labeled.sources])
    own = own if own.any() else ~own
    temperature = _calibrate(scores[own], examples.tiers[originals][own], prompt_weights(labeled)[own])
    features = [examples.features[int(row)] for row in originals]
    return features, examples.fit_calibrated(np.ones(count, np.bool_), temperature), temperature


def fit_without_parts(labeled: Labeled, parts: Sequence[NDArray[np.bool_]], temperature: float) -> Iterator[TierHead]:
    """Yield, for each part (one truth value per prompt), the head that is trained without it."""
    examples = Examples.from_labeled(labeled)
    for part in parts:
        yield examples.fit_calibrated(~part, temperature)


def prompt_weights(labeled: Labeled) -> Array:
    """Return a weight per prompt, by its origin."""
    counts = Counter(zip(labeled.sources, labeled.tiers, strict=True))
    return np.array(
        [
            _origin_weight(source, counts[source, tier])
            for source, tier in zip(labeled.sources, labeled.tiers, strict=True)
        ]
    )


def _origin_weight(source: str, count: int) -> float:
    if not source.startswith(OWN_SOURCE_PREFIX):
        return PUBLIC_WEIGHT * count**-0.5
    if not _is_own(source):
        return COMPOSED_WEIGHT
    return NOTEBOOK_WEIGHT if source.startswith(f"{OWN_SOURCE_PREFIX} {NOTEBOOK}") else OWN_WEIGHT


def _is_own(source: str) -> bool:
    return source.startswith(OWN_SOURCE_PREFIX) and not source.startswith(f"{OWN_SOURCE_PREFIX} composed")


def _calibrate(scores: Array, labels: NDArray[np.intp], weights: Array) -> float:

    def loss(temperature: float) -> float:
        scaled = scores / temperature
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        log_p = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
        return -float(weights @ log_p[np.arange(len(labels)), labels])

    return min((float(value) for value in np.geomspace(0.2, 5.0, 81)), key=loss)


def concatenate(*parts: Labeled) -> Labeled:
    """Concatenate prompts and drop repeated ones. The first part that has a prompt gives its tier and source."""
    rows = {
        text: (tier, source)
        for part in reversed(parts)
        for text, tier, source in zip(part.prompts, part.tiers, part.sources, strict=True)
    }
    return Labeled.from_rows([(text, tier, source) for text, (tier, source) in rows.items()])
