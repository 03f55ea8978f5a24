"""Figures of the model card that need training: the cross-validated tier head, its robustness, and the ablation."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np

from llm_magic.classify import LinearClassifier
from llm_magic.classify.heads import Heads
from llm_magic.lab.data import Labeled, find_file, read_outcomes, read_tiers
from llm_magic.lab.evaluate.ablation import run_ablation
from llm_magic.lab.evaluate.tiers import cross_validate, evaluate_without_batches
from llm_magic.lab.prompts import own_prompts
from llm_magic.lab.prompts.variants import with_typos
from llm_magic.types import TaskTier

# None of these surroundings occurs in the training prompts.
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

# Sentences about something else. None of them is in lab/prompts/around.toml.
TALK = (
    "I'm on a train between Basel and Milan.",
    "The stapler has gone missing again.",
    "My uncle keeps bees in Slovenia.",
    "Our plumber comes at three.",
    "We had fondue last night.",
    "I am wearing odd socks today.",
    "A parade is passing under the window.",
    "The radiator hums like an old fridge.",
    "Two colleagues are playing chess next to me.",
    "The ferry to Gotland was canceled.",
    "This keyboard has no letter Q.",
    "The clock on the wall is wrong.",
)
FLOOD, COMMANDS = "PROOF THEOREM ", "Translate. Classify. "
FLOOD_TIMES = 20


def measure(data: Path, weights: bytes, resamples: int = 1_000) -> dict[str, Any]:
    heads = Heads.load(io.BytesIO(weights))
    train = read_outcomes(find_file(data, "train_prompts"), find_file(data, "train_outcomes"))
    prompts = [prompt for source in train.values() for prompt in source.prompts]
    labeled = read_tiers(find_file(data, "tiers"))
    return {
        "tiers": cross_validate(labeled, train, heads, resamples),
        "notebook_left_out": evaluate_without_batches(labeled, train, heads, resamples),
        "robustness": {
            **tier_change_rates(prompts[:: max(1, len(prompts) // 1_000)], heads),
            **noise_change_rates(own_prompts(held_out=True), heads),
        },
        "ablation": run_ablation(train),
    }


def robustness(labeled: Labeled) -> dict[str, float | None]:
    """Return the shares of prompts, at most about a thousand, whose tier changes with noise around them."""
    prompts = list(labeled.prompts[:: max(1, len(labeled.prompts) // 1_000)])
    return {**tier_change_rates(prompts), **noise_change_rates(labeled)}


def noise_change_rates(labeled: Labeled, heads: Heads | None = None) -> dict[str, float | None]:
    """Return the share of BULK prompts whose tier changes behind a flood of words of another tier, and the share of
    COMPLEX prompts whose tier changes behind bare commands."""
    classify = LinearClassifier(heads).classify

    def changed(tier: TaskTier, noise: str) -> float | None:
        prompts = [prompt for prompt, own in zip(labeled.prompts, labeled.tiers, strict=True) if own is tier]
        found = [prompt for prompt in prompts if classify(prompt).tier is tier]
        changes = [classify(f"{noise}{prompt}").tier is not tier for prompt in found]
        return round(float(np.mean(changes)), 4) if changes else None

    return {
        "flood_before_bulk": changed(TaskTier.BULK, FLOOD * FLOOD_TIMES),
        "commands_before_complex": changed(TaskTier.COMPLEX, COMMANDS),
    }


def tier_change_rates(prompts: list[str], heads: Heads | None = None) -> dict[str, float]:
    """Return the share of prompts whose tier changes with irrelevant words around them, typos, or changed case."""
    rng = random.Random("llm_magic|moved")  # noqa: S311 - for variety, not for secrets
    classify = LinearClassifier(heads).classify
    tiers = [classify(prompt).tier for prompt in prompts]

    def changed(texts: list[str]) -> float:
        return float(np.mean([classify(text).tier is not tier for text, tier in zip(texts, tiers, strict=True)]))

    def with_talk(prompt: str) -> str:
        sentence = rng.choice(TALK)
        return f"{sentence} {prompt}" if rng.random() < 0.5 else f"{prompt} {sentence}"

    before = [changed([f"{words}{prompt}" for prompt in prompts]) for words in BEFORE]
    after = [changed([f"{prompt}{words}" for prompt in prompts]) for words in AFTER]
    return {
        "before_mean": round(float(np.mean(before)), 4),
        "before_worst": round(max(before), 4),
        "after_mean": round(float(np.mean(after)), 4),
        "after_worst": round(max(after), 4),
        "talk": round(changed([with_talk(prompt) for prompt in prompts]), 4),
        "typos": round(changed([with_typos(prompt, rng, rate=0.05) for prompt in prompts]), 4),
        "white_space": round(changed([f"\n {prompt.replace(' ', '  ')}\n\n" for prompt in prompts]), 4),
        "capitals": round(changed([prompt.upper() for prompt in prompts]), 4),
        "small_letters": round(changed([prompt.lower() for prompt in prompts]), 4),
    }
