"""The figures of the model card that need training anew: the tier head cross-validated, how much words around a prompt
move its tier, and each family of features by itself."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np

from llm_magic.classify import HeadsClassifier
from llm_magic.classify.heads import Heads
from llm_magic.lab.evaluate.ablation import ablation
from llm_magic.lab.evaluate.data import read_outcomes
from llm_magic.lab.evaluate.tiers import cross_validated
from llm_magic.lab.fit.train import found
from llm_magic.lab.fit.train_tiers import read_tiers
from llm_magic.lab.prompts.variants import with_typos

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
        "tiers": cross_validated(read_tiers(found(data, "tiers")), train, heads, resamples),
        "robustness": moved(prompts[:: max(1, len(prompts) // 1_000)], heads),
        "ablation": ablation(train),
    }


def moved(prompts: list[str], heads: Heads | None = None) -> dict[str, float]:
    """The share of prompts whose tier changes: with words before and after that say nothing (the worst of all, and the
    mean), with typos in 2 % of the letters, in capitals and in small letters."""
    chance = random.Random("llm_magic|moved")  # noqa: S311 - for variety, not for secrets
    classify = HeadsClassifier(heads).classify
    plain = [classify(prompt).tier for prompt in prompts]

    def share(texts: list[str]) -> float:
        return float(np.mean([classify(text).tier is not was for text, was in zip(texts, plain, strict=True)]))

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
