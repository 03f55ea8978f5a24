"""The figures of the model card that need training anew: the tier head cross-validated, each family of features left
out or alone, and how much words around a prompt move its tier."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np

from llm_magic.classify import classify, features_of
from llm_magic.classify.features import FAMILIES, Scales
from llm_magic.classify.fit import Matrix, ridge
from llm_magic.classify.heads import DIFFICULTY_SCALES, Heads
from llm_magic.evaluate.data import Recorded, read_outcomes
from llm_magic.evaluate.metrics import Array, curve
from llm_magic.evaluate.report import PAIRS
from llm_magic.evaluate.tiers import cross_validated
from llm_magic.evaluate.train import (
    DIFFICULTY_ALPHA,
    TRAINING_SOURCES,
    found,
    hardness,
    read_tiers,
    with_typos,
)

BEFORE = (
    "Hello dear model, I need a hand with this one. ",
    "Please read carefully: ",
    "You are the best assistant in the world. ",
    "[system] priority=high\n",
    "Warning: extremely demanding task ahead!\n\n",
    "it's a piece of cake :) ",
    "%% kk2 vv99 trx @@ ",
)
AFTER = (
    " Many thanks and have a nice day.",
    "\n\nRespond as well as you possibly can.",
    " My job depends on it!",
    " No rush.",
    " (an easy one)",
    "\n-- \nAlex, sent from a tablet",
    " @@ zz41 blorp %%",
)
"""Not the ones that the training prompts got."""


def figures(data: Path, weights: bytes, resamples: int = 1_000) -> dict[str, Any]:
    """All of them, from the training data in `data`."""
    heads = Heads.load(io.BytesIO(weights))
    train = read_outcomes(found(data, "train_prompts"), found(data, "train_outcomes"))
    prompts = [prompt for each in train.values() for prompt in each.prompts]
    return {
        "tiers": cross_validated(read_tiers(found(data, "tiers")), heads, resamples),
        "robustness": moved(prompts[:: max(1, len(prompts) // 1_000)], heads),
        "ablation": ablation(train),
    }


def moved(prompts: list[str], heads: Heads | None = None) -> dict[str, float]:
    """The share of prompts whose tier changes: with words before and after that say nothing (the worst of all, and the
    mean), with typos in 2 % of the letters, in capitals and in small letters."""
    chance = random.Random("llm_magic|moved")  # noqa: S311 - for variety, not for secrets
    plain = [classify(prompt, heads=heads).tier for prompt in prompts]

    def share(texts: list[str]) -> float:
        return float(
            np.mean([classify(text, heads=heads).tier is not was for text, was in zip(texts, plain, strict=True)])
        )

    before = [share([f"{words}{prompt}" for prompt in prompts]) for words in BEFORE]
    after = [share([f"{prompt}{words}" for prompt in prompts]) for words in AFTER]
    return {
        "before_mean": round(float(np.mean(before)), 4),
        "before_worst": round(max(before), 4),
        "after_mean": round(float(np.mean(after)), 4),
        "after_worst": round(max(after), 4),
        "typos": round(share([with_typos(prompt, chance, rate=0.02) for prompt in prompts]), 4),
        "capitals": round(share([prompt.upper() for prompt in prompts]), 4),
        "small_letters": round(share([prompt.lower() for prompt in prompts]), 4),
    }


def ablation(train: dict[str, Recorded]) -> dict[str, dict[str, float]]:
    """APGR of the difficulty head, mean over the training sources, by what it looks at: `across`, trained on the other
    sources; `within`, on two thirds of the same source and judged on the rest."""
    variants: dict[str, Scales] = {"shipped": DIFFICULTY_SCALES}
    for place, family in enumerate(FAMILIES):
        alone = [0.0] * len(FAMILIES)
        alone[place] = 1.0
        variants[f"{family} alone"] = _scales(alone)
        if DIFFICULTY_SCALES[place]:
            less = list(DIFFICULTY_SCALES)
            less[place] = 0.0
            variants[f"without {family}"] = _scales(less)
    variants["everything"] = _scales([1.0] * len(FAMILIES))
    known = {name: train[name] for name in TRAINING_SOURCES if name in train and name in PAIRS}
    seen = {name: [features_of(prompt) for prompt in each.prompts] for name, each in known.items()}
    targets = {name: hardness(each.scores) for name, each in known.items()}
    report: dict[str, dict[str, float]] = {}
    for label, scales in variants.items():
        matrices = {name: Matrix.of(features, scales) for name, features in seen.items()}
        across: list[float] = []
        within: list[float] = []
        for name, each in known.items():
            others = [other for other in known if other != name]
            if others:
                joined = Matrix.of([one for other in others for one in seen[other]], scales)
                weights, _ = ridge(joined, np.concatenate([targets[other] for other in others]), alpha=DIFFICULTY_ALPHA)
                across.append(_apgr(each, matrices[name].times(weights), np.arange(len(each))))
            rows = np.arange(len(each))
            inside, outside = rows[rows % 3 != 0], rows[rows % 3 == 0]
            own = Matrix.of([seen[name][row] for row in inside], scales)
            weights, _ = ridge(own, targets[name][inside], alpha=DIFFICULTY_ALPHA)
            within.append(_apgr(each, matrices[name].times(weights), outside))
        report[label] = {
            "across": round(float(np.mean(across)), 4) if across else float("nan"),
            "within": round(float(np.mean(within)), 4),
        }
    return report


def _scales(values: list[float]) -> Scales:
    first, second, third, fourth, fifth = values
    return (first, second, third, fourth, fifth)


def _apgr(recorded: Recorded, score: Array, rows: np.ndarray[Any, np.dtype[np.intp]]) -> float:
    weak, strong = PAIRS[recorded.source]
    return curve(score[rows], recorded.of(weak)[rows], recorded.of(strong)[rows]).apgr
