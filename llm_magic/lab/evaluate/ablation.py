"""What each family of features buys: a head that looks at it alone, across sources and within one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from llm_magic.classify import features_of
from llm_magic.classify.features import FAMILIES, Features, Scales
from llm_magic.classify.heads import DIFFICULTY_SCALES
from llm_magic.lab.evaluate.data import Recorded
from llm_magic.lab.evaluate.metrics import curve, intervals, resampled
from llm_magic.lab.evaluate.report import PAIRS
from llm_magic.lab.fit.adapt import ALPHA
from llm_magic.lab.fit.linear import Array, Matrix, ridge
from llm_magic.lab.fit.train import DIFFICULTY_ALPHA, TRAINING_SOURCES, hardness

PARTS = 3
"""Within a source, a head learns from all but one of so many parts and is judged on the one."""


def variants() -> dict[str, Scales]:
    """What the heads look at, by name."""

    def only(**scales: float) -> Scales:
        return cast("Scales", tuple(scales.get(family, 0.0) for family in FAMILIES))

    return {
        **{f"{family} alone": only(**{family: 1.0}) for family in FAMILIES},
        "structure and details": only(structure=1.0, details=1.0),
        "structure, words and pairs": only(structure=1.0, words=0.4, pairs=0.4),
        "structure and pairs (shipped)": DIFFICULTY_SCALES,
        "everything": only(**dict.fromkeys(FAMILIES, 1.0)),
    }


def ablation(recorded: dict[str, Recorded], resamples: int = 100) -> dict[str, dict[str, dict[str, float | None]]]:
    """APGR, mean over the sources with a weak and a strong model, by what the head looks at. `across`: a ridge on
    how hard prompts are, trained on the other training sources. `within`: a ridge on the gain of the strong model
    over the weak one, trained on two thirds of the same source and judged on the rest."""
    known = {name: each for name, each in recorded.items() if name in PAIRS}
    seen = {name: [features_of(prompt) for prompt in each.prompts] for name, each in known.items()}
    return {label: _judged(known, seen, scales, resamples) for label, scales in variants().items()}


def _judged(
    known: dict[str, Recorded], seen: dict[str, list[Features]], scales: Scales, resamples: int
) -> dict[str, dict[str, float | None]]:
    across: dict[str, Array] = {}
    within: dict[str, Array] = {}
    weights: dict[tuple[str, ...], Array] = {}
    for name, each in known.items():
        weak, strong = PAIRS[name]
        both = np.flatnonzero(np.isfinite(each.of(weak)) & np.isfinite(each.of(strong)))
        own, features = each.take(both), [seen[name][row] for row in both]
        others = tuple(other for other in TRAINING_SOURCES if other in known and other != name)
        if others:
            if others not in weights:
                weights[others] = _hard(known, seen, others, scales)
            score = Matrix.of(features, scales).times(weights[others])
            across[name] = _apgr(own, score, resamples)
        rows = np.arange(len(own))
        inside, outside = rows[rows % PARTS != 0], rows[rows % PARTS == 0]
        gain = (own.of(strong) - own.of(weak))[inside]
        learnt, _ = ridge(Matrix.of([features[row] for row in inside], scales), gain, alpha=ALPHA)
        score = Matrix.of([features[row] for row in outside], scales).times(learnt)
        within[name] = _apgr(own.take(outside), score, resamples)
    return {
        way: intervals(np.mean(list(of.values()), axis=0))[0] for way, of in (("across", across), ("within", within))
    }


def _apgr(recorded: Recorded, score: Array, resamples: int) -> Array:
    weak, strong = map(recorded.of, PAIRS[recorded.source])
    return resampled(
        lambda rows: np.array([curve(score[rows], weak[rows], strong[rows]).apgr]), recorded.groups, resamples=resamples
    )


def _hard(known: dict[str, Recorded], seen: dict[str, list[Features]], sources: Sequence[str], scales: Scales) -> Array:
    matrix = Matrix.of([one for source in sources for one in seen[source]], scales)
    targets = np.concatenate([hardness(known[source].scores) for source in sources])
    return ridge(matrix, targets, alpha=DIFFICULTY_ALPHA)[0]


def ablation_table(report: dict[str, Any]) -> str:
    """The report in lines for people."""
    lines = [f"{'APGR of a head that looks at':30} {'across sources':>22} {'within a source':>22}"]
    for label, of in report.items():
        shown = ("{value:.3f} [{low:.3f}, {high:.3f}]".format(**of[way]) for way in ("across", "within"))
        lines.append(f"{label:30} " + " ".join(f"{each:>22}" for each in shown))
    return "\n".join(lines)
