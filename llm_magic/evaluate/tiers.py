"""The tier head judged on prompts with known tiers: recall per source, confusion, calibration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from llm_magic.classify import classify
from llm_magic.classify.heads import Heads
from llm_magic.evaluate.data import Labelled, Recorded
from llm_magic.evaluate.metrics import RESAMPLES, bootstrap, calibration_error
from llm_magic.evaluate.prompts import OWN, own_prompts
from llm_magic.evaluate.train_tiers import tier_heads, tier_prompts
from llm_magic.types import Classification, TaskTier


def judged(labelled: Labelled, found: Sequence[Classification], resamples: int = RESAMPLES) -> dict[str, Any]:
    """Per source: recall of each of its tiers, the share of false alarms (called COMPLEX, and not), calibration error.
    Over all: the confusion matrix, as counts of wanted and found, and the calibration error."""
    sources: dict[str, Any] = {}
    for source in dict.fromkeys(labelled.sources):
        rows = [row for row, each in enumerate(labelled.sources) if each == source]
        sources[source] = _source([labelled.tiers[row] for row in rows], [found[row] for row in rows], resamples)
    confusion = {
        str(wanted): {
            str(got): sum(tier is wanted and each.tier is got for tier, each in zip(labelled.tiers, found, strict=True))
            for got in TaskTier
        }
        for wanted in TaskTier
    }
    errors = [each["calibration_error"] for each in sources.values()]
    confidence, right = _confidence(labelled.tiers, found)
    return {
        "prompts": len(found),
        "sources": sources,
        "confusion": confusion,
        "calibration_error": {
            "pooled": round(calibration_error(confidence, right), 6),
            "mean_of_sources": round(float(np.mean(errors)), 6),
        },
    }


def _source(tiers: list[TaskTier], found: list[Classification], resamples: int) -> dict[str, Any]:
    groups = tuple(map(str, range(len(tiers))))
    recall: dict[str, Any] = {}
    for tier in TaskTier:
        hits = np.array([each.tier is tier for each, wanted in zip(found, tiers, strict=True) if wanted is tier], float)
        if len(hits):
            (interval,) = bootstrap(
                lambda rows, hits=hits: hits[rows].mean(keepdims=True), groups[: len(hits)], resamples=resamples
            )
            recall[str(tier)] = {"prompts": len(hits), **interval}
    alarms = [
        each.tier is TaskTier.COMPLEX
        for each, wanted in zip(found, tiers, strict=True)
        if wanted is not TaskTier.COMPLEX
    ]
    confidence, right = _confidence(tiers, found)
    return {
        "prompts": len(tiers),
        "recall": recall,
        "false_alarms": round(float(np.mean(alarms)), 6) if alarms else None,
        "calibration_error": round(calibration_error(confidence, right), 6),
    }


def _confidence(tiers: Sequence[TaskTier], found: Sequence[Classification]) -> tuple[Any, Any]:
    confidence = np.array([each.confidence for each in found])
    return confidence, np.array([each.tier is tier for each, tier in zip(found, tiers, strict=True)], float)


def evaluate_tiers(labelled: Labelled, heads: Heads | None = None, resamples: int = RESAMPLES) -> dict[str, Any]:
    """The shipped tier head on these prompts. It may have been trained on them: `cross_validated` has not."""
    return judged(labelled, [classify(prompt, heads=heads) for prompt in labelled.prompts], resamples)


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
            own = dataclasses.replace(heads, tier=next(fitted))
            rows: list[int] = np.flatnonzero(part & wanted).tolist()
            found |= {row: classify(everything.prompts[row], heads=own) for row in rows}
        report[name] = judged(everything.take(list(found)), list(found.values()), resamples)
    report["held_out"] = evaluate_tiers(own_prompts(judged=True), heads, resamples)
    return report


def tiers_table(report: dict[str, Any]) -> str:
    """The report in lines for people."""
    lines: list[str] = []
    for source, of in report["sources"].items():
        recall = "  ".join(
            f"{tier} {each['value']:.3f} [{each['low']:.3f}, {each['high']:.3f}] of {each['prompts']}"
            for tier, each in of["recall"].items()
        )
        alarms = "" if of["false_alarms"] is None else f"  falsely COMPLEX {of['false_alarms']:.3f}"
        lines.append(f"{source}: recall {recall}{alarms}  calibration error {of['calibration_error']:.3f}")
    lines.append("wanted \\ found  " + " ".join(f"{tier:>10}" for tier in TaskTier))
    for wanted, row in report["confusion"].items():
        lines.append(f"{wanted:14} " + " ".join(f"{many:10,}" for many in row.values()))
    error = report["calibration_error"]
    lines.append(f"calibration error: {error['pooled']:.3f} pooled, {error['mean_of_sources']:.3f} mean of sources")
    return "\n".join(lines)
