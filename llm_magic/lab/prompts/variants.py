"""What the tier head sees of each training prompt besides the prompt: the same between words that say nothing, with
typos, before long material; and, now of another tier, with a demand on the form of its answer."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from typing import Any

from llm_magic.lab.prompts import read
from llm_magic.lab.prompts.composed import with_format
from llm_magic.types import TaskTier

WHOLE, SHORT = 1_500, 300
"""Characters up to which a prompt is varied at all, and up to which material is put behind it."""


@functools.cache
def around() -> dict[str, Any]:
    return read("around")


def variants(text: str, tier: TaskTier, seed: int) -> Iterator[tuple[str, TaskTier]]:
    """The prompt first, then what is made of it, each with its tier. The same seed, the same variants."""
    chance = random.Random(f"llm_magic|{seed}")  # noqa: S311 - for variety, not for secrets
    yield text, tier
    if tier in (TaskTier.COMPLEX, TaskTier.STANDARD):
        yield with_format(text, chance), TaskTier.STRUCTURED
    if len(text) > WHOLE:
        return
    yield with_words_around(text, chance), tier
    yield (with_typos(text, chance) if seed % 2 else with_words_around(text, chance)), tier
    if len(text) < SHORT:
        yield f"{text}\n\n{chance.choice(around()['MATERIAL']) * chance.choice((1, 4, 20, 100))}", tier


def with_words_around(text: str, chance: random.Random) -> str:
    """The text with words, or signs by chance, before it, behind it, or both."""
    words = around()
    place = chance.randrange(4)
    before = "" if place == 0 else chance.choice(words["BEFORE"]) if chance.random() < 0.85 else f"{_signs(chance)} "
    after = "" if place == 1 else chance.choice(words["AFTER"]) if chance.random() < 0.85 else f" {_signs(chance)}"
    return f"{before}{text}{after}"


def _signs(chance: random.Random) -> str:
    """A few short words of letters, digits and signs that mean nothing."""
    return " ".join(
        "".join(chance.choices("abcdefghijklmnopqrstuvwxyz0123456789#%&~!?*", k=chance.randint(2, 6)))
        for _ in range(chance.randint(2, 5))
    )


def with_typos(text: str, chance: random.Random, rate: float = 0.03) -> str:
    """The text with letters swapped, dropped or doubled: a share `rate` of the first few thousand characters."""
    letters = list(text)
    for _ in range(max(1, round(rate * min(len(letters), 4_000)))):
        at = chance.randrange(len(letters)) if letters else 0
        if not (at < len(letters) and letters[at].isalpha()):
            continue
        kind = chance.randrange(3)
        if kind == 0 and at + 1 < len(letters):
            letters[at], letters[at + 1] = letters[at + 1], letters[at]
        elif kind == 1:
            letters[at] = ""
        else:
            letters[at] *= 2
    return "".join(letters)
