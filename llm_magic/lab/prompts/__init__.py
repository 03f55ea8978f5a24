"""The prompts that were written for llm_magic, to train and to evaluate the tier head.

There is one TOML file per tier, with its prompts by kind, and one per batch of notebook prompts, which were labeled
twice. `composed` builds prompts from parts.toml, `variants` varies prompts with around.toml. A fixed share of the
prompts, and all of fresh.toml, is never trained on.
"""

from __future__ import annotations

import functools
import hashlib
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from llm_magic.errors import EvaluationError
from llm_magic.lab.data import Labeled
from llm_magic.types import TaskTier

OWN_SOURCE_PREFIX = "llm_magic"
NOTEBOOK = "notebook"
NOTEBOOK_BATCHES = (
    "terse", "pasted", "office", "research", "engineer", "student", "datascience", "hard", "languages", "chatty",
    "formats", "decoys", "analyst", "mlops", "longpaste", "mixed", "mixed2", "mixed3",
    "survey", "forms", "tiny",
    "retail", "developer", "learning", "operations", "school", "administration", "science", "leisure",
    "brief", "excerpts", "spoken", "code", "borders", "german", "romance", "texts", "data",
)  # fmt: skip
FRESH = "fresh"
HELD_OUT_SHARE = 1 / 6


def has_training_prompts() -> bool:
    """Return True in a source checkout."""
    return resources.files(__name__).joinpath(f"{FRESH}.toml").is_file()


def read_prompt_file(name: str) -> dict[str, Any]:
    """Read one of the TOML files. Raises EvaluationError in an installation from a wheel, which has none of them."""
    try:
        text = resources.files(__name__).joinpath(f"{name}.toml").read_text("utf-8")
    except FileNotFoundError as error:
        raise EvaluationError(
            f"the training prompts (lab/prompts/{name}.toml) are not part of the wheel: "
            "run this in a source checkout of llm_magic"
        ) from error
    return tomllib.loads(text)


def is_held_out(text: str) -> bool:
    """Return True if a prompt is never trained on. This depends on its text alone, so it never changes."""
    digest = hashlib.sha256(f"llm_magic-own-v1|{text}".encode()).digest()
    return int.from_bytes(digest[:4], "big") < HELD_OUT_SHARE * 2**32


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookPrompt:
    """A prompt with the tiers that its author and an independent annotator gave it, and the tier that counts."""

    text: str
    batch: str
    labels: tuple[TaskTier, TaskTier]
    tier: TaskTier


@functools.cache
def notebook_prompts() -> tuple[NotebookPrompt, ...]:
    return tuple(prompt for batch in NOTEBOOK_BATCHES for prompt in _read_batch(batch))


def _read_batch(batch: str) -> Iterator[NotebookPrompt]:
    for row in read_prompt_file(f"{NOTEBOOK}_{batch}")["prompts"]:
        first, second = map(TaskTier, row["labels"])
        yield NotebookPrompt(
            text=row["text"].strip(),
            batch=batch,
            labels=(first, second),
            tier=TaskTier(row.get("tier", first)),
        )


def label_agreement(prompts: Sequence[NotebookPrompt]) -> tuple[float, float]:
    """Return the share of prompts on which the two labelings agree, and Cohen's kappa."""
    pairs = [prompt.labels for prompt in prompts]
    agreed = sum(first is second for first, second in pairs) / len(pairs)
    firsts, seconds = Counter(first for first, _ in pairs), Counter(second for _, second in pairs)
    by_chance = sum(firsts[tier] * seconds[tier] for tier in TaskTier) / len(pairs) ** 2
    return agreed, (agreed - by_chance) / (1 - by_chance)


@functools.cache
def fresh_prompts() -> Labeled:
    """Return prompts that were written after the others, only to evaluate."""
    rows = [
        (text, TaskTier(tier), f"{OWN_SOURCE_PREFIX} {FRESH}")
        for tier, texts in read_prompt_file(FRESH).items()
        for text in texts
    ]
    return Labeled.from_rows(rows)


@functools.cache
def own_prompts(*, held_out: bool = False) -> Labeled:
    rows = [
        (text, tier, f"{OWN_SOURCE_PREFIX} {kind}")
        for tier in TaskTier
        for kind, texts in read_prompt_file(tier.lower()).items()
        for text in map(str.strip, texts)
    ]
    rows += [
        (prompt.text, prompt.tier, f"{OWN_SOURCE_PREFIX} {NOTEBOOK} {prompt.batch}") for prompt in notebook_prompts()
    ]
    return Labeled.from_rows([row for row in rows if is_held_out(row[0]) == held_out])
