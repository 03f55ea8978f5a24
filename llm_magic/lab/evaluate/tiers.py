"""The tier head judged on prompts with known tiers: recall per source, confusion, calibration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_magic.classify import HeadsClassifier
from llm_magic.classify.heads import Heads
from llm_magic.lab.evaluate.data import Labelled, Recorded
from llm_magic.lab.evaluate.metrics import RESAMPLES, Array, calibration_error, intervals, reliability, resampled
from llm_magic.lab.fit.train_tiers import tier_heads, tier_prompts
from llm_magic.lab.prompts import OWN, own_prompts
from llm_magic.types import Classification, TaskTier

_TIERS = list(TaskTier)


def judged(labelled: Labelled, found: Sequence[Classification], resamples: int = RESAMPLES) -> dict[str, Any]:
    """Per source: recall of each of its tiers, the share of false alarms (called COMPLEX, and not), calibration error,
    confusion. Over all: the confusion matrix, as counts of wanted and found, calibration error and reliability."""
    all_of = _Found(
        wanted=np.array([_TIERS.index(tier) for tier in labelled.tiers], int),
        got=np.array([_TIERS.index(each.tier) for each in found], int),
        confidence=np.array([each.confidence for each in found]),
    )
    sources: dict[str, Any] = {}
    errors: list[Array] = []
    for source in dict.fromkeys(labelled.sources):
        of = all_of.take(np.flatnonzero([each == source for each in labelled.sources]))
        drawn = resampled(lambda rows, of=of: of.take(rows).figures, of.numbered, resamples=resamples)
        *recall, false_alarms, error = intervals(drawn)
        errors.append(drawn[:, -1])
        sources[source] = {
            "prompts": len(of.wanted),
            "recall": {
                str(tier): {"prompts": int((of.wanted == place).sum()), **figure}
                for place, (tier, figure) in enumerate(zip(_TIERS, recall, strict=True))
                if figure["value"] is not None
            },
            "false_alarms": None if false_alarms["value"] is None else false_alarms,
            "calibration_error": error,
            "confusion": of.confusion,
        }
    pooled = resampled(lambda rows: all_of.take(rows).figures[-1:], all_of.numbered, resamples=resamples)
    return {
        "prompts": len(found),
        "sources": sources,
        "confusion": all_of.confusion,
        "calibration_error": {
            "pooled": intervals(pooled)[0],
            "mean_of_sources": intervals(np.mean(errors, axis=0)[:, None])[0],
        },
        "reliability": reliability(all_of.confidence, all_of.right),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Of each prompt: the place of the tier that it has, of the one that was found, and how surely."""

    wanted: NDArray[np.int_]
    got: NDArray[np.int_]
    confidence: Array

    def take(self, rows: NDArray[np.intp]) -> _Found:
        return _Found(wanted=self.wanted[rows], got=self.got[rows], confidence=self.confidence[rows])

    @property
    def right(self) -> Array:
        return (self.got == self.wanted).astype(float)

    @property
    def numbered(self) -> list[str]:
        """Every prompt a group of its own, to resample."""
        return [f"{row:09}" for row in range(len(self.wanted))]

    @property
    def figures(self) -> Array:
        """Recall of each tier, the share of the others that was called COMPLEX, the calibration error."""
        counts = self._counts()
        many, others = counts.sum(axis=1), counts[1:].sum()
        with np.errstate(invalid="ignore"):
            return np.array(
                [
                    *(counts.diagonal() / many),
                    counts[1:, 0].sum() / others,
                    calibration_error(self.confidence, self.right),
                ]
            )

    @property
    def confusion(self) -> dict[str, dict[str, int]]:
        return {
            str(wanted): {str(got): int(many) for got, many in zip(_TIERS, row, strict=True)}
            for wanted, row in zip(_TIERS, self._counts(), strict=True)
        }

    def _counts(self) -> NDArray[np.int_]:
        many = len(_TIERS)
        return np.bincount(self.wanted * many + self.got, minlength=many**2).reshape(many, many)


def evaluate_tiers(labelled: Labelled, heads: Heads | None = None, resamples: int = RESAMPLES) -> dict[str, Any]:
    """The shipped tier head on these prompts. It may have been trained on them: `cross_validated` has not."""
    classifier = HeadsClassifier(heads)
    return judged(labelled, [classifier.classify(prompt) for prompt in labelled.prompts], resamples)


FOLDS = 5
SUPPORT = (f"{OWN} support", f"{OWN} banking")
"""What customers write, among the project's own prompts."""


def cross_validated(
    labelled: Labelled, recorded: Mapping[str, Recorded], heads: Heads, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """The tier head trained without the fold that a prompt is in (`folds`), and without the source that it is from
    (`source_left_out`), with all else that it learns from. `support_left_out`: on all that customers write, having
    seen none of it. `held_out`: the head as it is, on those of the project's own prompts that are never trained on."""
    everything = tier_prompts(labelled, recorded)
    sources = np.array(everything.sources)
    place = {prompt: row for row, prompt in enumerate(labelled.prompts)}
    at = np.array([place.get(prompt, -1) for prompt in everything.prompts])
    ways = {
        "folds": [(at >= 0) & (at % FOLDS == part) for part in range(FOLDS)],
        "source_left_out": [sources == each for each in dict.fromkeys(labelled.sources)],
        "support_left_out": [np.isin(sources, SUPPORT)],
    }
    fitted = tier_heads(everything, [part for parts in ways.values() for part in parts], heads.temperature)
    report: dict[str, Any] = {}
    for name, parts in ways.items():
        wanted = (at >= 0) | (name == "support_left_out")
        found: dict[int, Classification] = {}
        for part in parts:
            classifier = HeadsClassifier(dataclasses.replace(heads, tier=next(fitted)))
            rows: list[int] = np.flatnonzero(part & wanted).tolist()
            found |= {row: classifier.classify(everything.prompts[row]) for row in rows}
        report[name] = judged(everything.take(list(found)), list(found.values()), resamples)
    report["held_out"] = evaluate_tiers(own_prompts(judged=True), heads, resamples)
    return report
