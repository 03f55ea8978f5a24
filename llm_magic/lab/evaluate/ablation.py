"""Ablation: how well a head routes if it reads only some families of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from llm_magic.classify import features_of
from llm_magic.classify.features import FAMILIES, Features, Scales, family_scales
from llm_magic.classify.heads import DIFFICULTY_SCALES
from llm_magic.lab.data import Recorded
from llm_magic.lab.evaluate.metrics import Estimate, estimates, resample, routing_curve
from llm_magic.lab.evaluate.report import MODEL_PAIRS
from llm_magic.lab.fit.adapt import ALPHA
from llm_magic.lab.fit.linear import Array, Matrix, ridge
from llm_magic.lab.fit.train import DIFFICULTY_ALPHA, TRAINING_SOURCES, hardness

HOLD_OUT_EVERY = 3


def scale_variants() -> dict[str, Scales]:
    return {
        **{f"{family.replace('_', ' ')} alone": family_scales(**{family: 1.0}) for family in FAMILIES},
        "structure and details": family_scales(structure=1.0, details=1.0),
        "structure, all words and all pairs": family_scales(structure=1.0, all_words=0.4, all_pairs=0.4),
        "structure and all pairs (shipped)": DIFFICULTY_SCALES,
        "everything": family_scales(**dict.fromkeys(FAMILIES, 1.0)),
    }


def run_ablation(recorded: dict[str, Recorded], resamples: int = 100) -> dict[str, dict[str, Estimate]]:
    """Return the APGR of each variant, averaged over the sources with a weak and a strong model.

    `across`: a ridge on hardness, trained on the other training sources. `within`: a ridge on the gain of the strong
    model, trained on two thirds of the same source and evaluated on the rest.
    """
    sources = {name: source for name, source in recorded.items() if name in MODEL_PAIRS}
    features = {name: [features_of(prompt) for prompt in source.prompts] for name, source in sources.items()}
    return {label: _evaluate_scales(sources, features, scales, resamples) for label, scales in scale_variants().items()}


def _evaluate_scales(
    sources: dict[str, Recorded], features: dict[str, list[Features]], scales: Scales, resamples: int
) -> dict[str, Estimate]:
    across: dict[str, Array] = {}
    within: dict[str, Array] = {}
    weights: dict[tuple[str, ...], Array] = {}
    for name, source in sources.items():
        weak, strong = MODEL_PAIRS[name]
        answered = np.flatnonzero(np.isfinite(source.scores_of(weak)) & np.isfinite(source.scores_of(strong)))
        own, own_features = source.take(answered), [features[name][row] for row in answered]
        others = tuple(other for other in TRAINING_SOURCES if other in sources and other != name)
        if others:
            if others not in weights:
                weights[others] = _fit_hardness(sources, features, others, scales)
            score = Matrix.from_features(own_features, scales).times(weights[others])
            across[name] = _apgr(own, score, resamples)
        rows = np.arange(len(own))
        inside, outside = rows[rows % HOLD_OUT_EVERY != 0], rows[rows % HOLD_OUT_EVERY == 0]
        inside_features: list[Features] = [own_features[row] for row in inside]
        outside_features: list[Features] = [own_features[row] for row in outside]
        gain = (own.scores_of(strong) - own.scores_of(weak))[inside]
        fitted, _ = ridge(Matrix.from_features(inside_features, scales), gain, alpha=ALPHA)
        score = Matrix.from_features(outside_features, scales).times(fitted)
        within[name] = _apgr(own.take(outside), score, resamples)
    return {
        label: estimates(np.mean(list(values.values()), axis=0))[0]
        for label, values in (("across", across), ("within", within))
    }


def _apgr(recorded: Recorded, score: Array, resamples: int) -> Array:
    weak, strong = map(recorded.scores_of, MODEL_PAIRS[recorded.source])
    return resample(
        lambda rows: np.array([routing_curve(score[rows], weak[rows], strong[rows]).apgr]),
        recorded.groups,
        resamples=resamples,
    )


def _fit_hardness(
    recorded: dict[str, Recorded], features: dict[str, list[Features]], sources: Sequence[str], scales: Scales
) -> Array:
    matrix = Matrix.from_features([prompt for source in sources for prompt in features[source]], scales)
    targets = np.concatenate([hardness(recorded[source].scores) for source in sources])
    return ridge(matrix, targets, alpha=DIFFICULTY_ALPHA)[0]


def ablation_table(report: dict[str, Any]) -> str:
    lines = [f"{'APGR of a head that reads':30} {'across sources':>22} {'within a source':>22}"]
    for label, result in report.items():
        cells = ("{value:.3f} [{low:.3f}, {high:.3f}]".format(**result[way]) for way in ("across", "within"))
        lines.append(f"{label:30} " + " ".join(f"{cell:>22}" for cell in cells))
    return "\n".join(lines)
