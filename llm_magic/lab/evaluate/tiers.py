"""Evaluation of the tier head on labeled prompts: recall per source, confusion, and calibration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_magic.classify import LinearClassifier
from llm_magic.classify.heads import Heads
from llm_magic.lab.data import Labeled, Recorded
from llm_magic.lab.evaluate.metrics import RESAMPLES, Array, calibration_error, estimates, reliability, resample
from llm_magic.lab.fit.train_tiers import fit_without_parts, tier_prompts
from llm_magic.lab.prompts import NOTEBOOK, NOTEBOOK_BATCHES, OWN_SOURCE_PREFIX, own_prompts
from llm_magic.types import Classification, TaskTier

FOLDS = 5
NOTEBOOK_SOURCES = tuple(f"{OWN_SOURCE_PREFIX} {NOTEBOOK} {batch}" for batch in NOTEBOOK_BATCHES)
NOTEBOOK_PARTS = 3
SUPPORT_SOURCES = (f"{OWN_SOURCE_PREFIX} support", f"{OWN_SOURCE_PREFIX} banking")

_TIERS = list(TaskTier)


def evaluate_tiers(labeled: Labeled, heads: Heads | None = None, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Evaluate the shipped tier head. It may have been trained on these prompts: `cross_validate` avoids that."""
    classifier = LinearClassifier(heads)
    return tier_report(labeled, [classifier.classify(prompt) for prompt in labeled.prompts], resamples)


def cross_validate(
    labeled: Labeled, recorded: Mapping[str, Recorded], heads: Heads, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """Report on tier heads that were not trained on the prompts that they classify.

    `folds` and `source_left_out`: trained without the prompt's fold or source. `support_left_out`: trained without all
    that customers write, and evaluated on it. `held_out`: the given head on own prompts that are never trained on.
    """
    training = tier_prompts(labeled, recorded)
    sources = np.array(training.sources)
    labeled_rows = {prompt: row for row, prompt in enumerate(labeled.prompts)}
    labeled_row = np.array([labeled_rows.get(prompt, -1) for prompt in training.prompts])
    is_labeled = labeled_row >= 0
    splits: dict[str, list[NDArray[np.bool_]]] = {
        "folds": [is_labeled & (labeled_row % FOLDS == fold) for fold in range(FOLDS)],
        "source_left_out": [sources == source for source in dict.fromkeys(labeled.sources)],
        "support_left_out": [np.isin(sources, SUPPORT_SOURCES)],
    }
    fitted = fit_without_parts(training, [part for parts in splits.values() for part in parts], heads.temperature)
    report: dict[str, Any] = {}
    for name, parts in splits.items():
        evaluated = is_labeled | (name == "support_left_out")
        results: dict[int, Classification] = {}
        for part in parts:
            classifier = LinearClassifier(dataclasses.replace(heads, tier=next(fitted)))
            rows: list[int] = np.flatnonzero(part & evaluated).tolist()
            results |= {row: classifier.classify(training.prompts[row]) for row in rows}
        report[name] = tier_report(training.take(list(results)), list(results.values()), resamples)
    report["held_out"] = evaluate_tiers(own_prompts(held_out=True), heads, resamples)
    return report


def evaluate_without_batches(
    labeled: Labeled, recorded: Mapping[str, Recorded], heads: Heads, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """Report on notebook prompts, with heads that were trained without the batches that they classify."""
    training = tier_prompts(labeled, recorded)
    parts = [np.isin(training.sources, NOTEBOOK_SOURCES[start::NOTEBOOK_PARTS]) for start in range(NOTEBOOK_PARTS)]
    results: dict[int, Classification] = {}
    for part, tier in zip(parts, fit_without_parts(training, parts, heads.temperature), strict=True):
        classifier = LinearClassifier(dataclasses.replace(heads, tier=tier))
        rows: list[int] = np.flatnonzero(part).tolist()
        results |= {row: classifier.classify(training.prompts[row]) for row in rows}
    return tier_report(training.take(list(results)), list(results.values()), resamples)


def tier_report(
    labeled: Labeled, classifications: Sequence[Classification], resamples: int = RESAMPLES
) -> dict[str, Any]:
    """Report recall, false alarms (wrongly COMPLEX), calibration and confusion per source, and totals over all."""
    everything = _Results(
        wanted=np.array([_TIERS.index(tier) for tier in labeled.tiers], np.int_),
        predicted=np.array([_TIERS.index(result.tier) for result in classifications], np.int_),
        confidence=np.array([result.confidence for result in classifications]),
    )
    sources: dict[str, Any] = {}
    errors: list[Array] = []
    for source in dict.fromkeys(labeled.sources):
        own = everything.take(np.flatnonzero([name == source for name in labeled.sources]))
        resampled = own.resample(resamples)
        errors.append(resampled[:, -1])
        sources[source] = _source_report(own, resampled)
    *recall, _, falsely_complex, pooled = estimates(everything.resample(resamples))
    return {
        "prompts": len(classifications),
        "sources": sources,
        "recall": {str(tier): estimate for tier, estimate in zip(_TIERS, recall, strict=True)},
        "falsely_complex": falsely_complex,
        "confusion": everything.confusion,
        "calibration_error": {
            "pooled": pooled,
            "mean_of_sources": estimates(np.mean(errors, axis=0)[:, None])[0],
        },
        "reliability": reliability(everything.confidence, everything.correct),
    }


def _source_report(own: _Results, resampled: Array) -> dict[str, Any]:
    *recall, false_alarms, _, error = estimates(resampled)
    return {
        "prompts": len(own.wanted),
        "recall": {
            str(tier): {"prompts": int((own.wanted == index).sum()), **estimate}
            for index, (tier, estimate) in enumerate(zip(_TIERS, recall, strict=True))
            if estimate["value"] is not None
        },
        "false_alarms": None if false_alarms["value"] is None else false_alarms,
        "calibration_error": error,
        "confusion": own.confusion,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Results:
    wanted: NDArray[np.int_]
    predicted: NDArray[np.int_]
    confidence: Array

    def take(self, rows: NDArray[np.intp]) -> _Results:
        return _Results(wanted=self.wanted[rows], predicted=self.predicted[rows], confidence=self.confidence[rows])

    def resample(self, resamples: int) -> Array:
        each_prompt = [f"{row:09}" for row in range(len(self.wanted))]
        return resample(lambda rows: self.take(rows).statistics, each_prompt, resamples=resamples)

    @property
    def correct(self) -> Array:
        return (self.predicted == self.wanted).astype(np.float64)

    @property
    def statistics(self) -> Array:
        """Recall of each tier; prompts falsely classified as COMPLEX, as a share of the other tiers and of all prompts;
        and the calibration error."""
        counts = self._counts()
        totals, others = counts.sum(axis=1), counts[1:].sum()
        with np.errstate(invalid="ignore"):
            return np.array(
                [
                    *(counts.diagonal() / totals),
                    counts[1:, 0].sum() / others,
                    counts[1:, 0].sum() / counts.sum(),
                    calibration_error(self.confidence, self.correct),
                ]
            )

    @property
    def confusion(self) -> dict[str, dict[str, int]]:
        return {
            str(wanted): {str(predicted): int(count) for predicted, count in zip(_TIERS, row, strict=True)}
            for wanted, row in zip(_TIERS, self._counts(), strict=True)
        }

    def _counts(self) -> NDArray[np.int_]:
        size = len(_TIERS)
        return np.bincount(self.wanted * size + self.predicted, minlength=size**2).reshape(size, size)
