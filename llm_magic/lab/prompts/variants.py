"""Variants of each training prompt: with words around it, typos, long material, or a required answer format."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from typing import Any

from llm_magic.lab.prompts import read_prompt_file
from llm_magic.lab.prompts.composed import with_format
from llm_magic.types import TaskTier

MAX_VARIED_CHARS, MAX_EXTENDED_CHARS = 1_500, 300
# One variant with typos for each.
TYPO_RATES = ((0.02, 0.05, 0.08), (0.04, 0.06), (0.05, 0.07))


@functools.cache
def surroundings() -> dict[str, Any]:
    return read_prompt_file("around")


def variants(text: str, tier: TaskTier, seed: int) -> Iterator[tuple[str, TaskTier]]:
    """Yield the prompt, then its variants, each with its tier. Equal seeds give equal variants."""
    rng = random.Random(f"llm_magic|{seed}")  # noqa: S311 - for variety, not for secrets
    yield text, tier
    if tier in (TaskTier.COMPLEX, TaskTier.STANDARD):
        yield with_format(text, rng), TaskTier.STRUCTURED
    if len(text) > MAX_VARIED_CHARS:
        return
    yield with_words_around(text, rng), tier
    yield with_talk(text, rng.choice(surroundings()["TALK"]), rng), tier
    yield with_talk(text, composed_talk(rng), rng), tier
    for rates in TYPO_RATES:
        yield with_typos(text, rng, rate=rng.choice(rates)), tier
    yield with_flood(text, rng), tier
    if len(text) < MAX_EXTENDED_CHARS:
        yield f"{text}\n\n{rng.choice(surroundings()['MATERIAL']) * rng.choice((1, 4, 20, 100))}", tier


def with_words_around(text: str, rng: random.Random) -> str:
    words = surroundings()
    place = rng.randrange(4)
    before = "" if place == 0 else rng.choice(words["BEFORE"]) if rng.random() < 0.85 else f"{_noise(rng)} "
    after = "" if place == 1 else rng.choice(words["AFTER"]) if rng.random() < 0.85 else f" {_noise(rng)}"
    return f"{before}{text}{after}"


def composed_talk(rng: random.Random) -> str:
    """Compose a sentence about something else, more of them than a list can have."""
    subject, verb, end = (rng.choice(surroundings()[f"TALK_{part}"]) for part in ("SUBJECTS", "VERBS", "ENDS"))
    return f"{subject} {verb}{end}."


def with_talk(text: str, sentence: str, rng: random.Random) -> str:
    """Add a sentence before or behind."""
    space = rng.choice((" ", " ", "\n", "\n\n"))
    return f"{sentence}{space}{text}" if rng.random() < 0.6 else f"{text}{space}{sentence}"


def with_flood(text: str, rng: random.Random) -> str:
    """Add words or bare commands that name another kind of task and ask for nothing."""
    if rng.random() < 0.3:
        flood = " ".join(rng.sample(surroundings()["COMMANDS"], rng.randint(1, 3)))
    else:
        terms = [word for group in rng.sample(surroundings()["FLOOD"], rng.randint(1, 4)) for word in group.split()]
        rng.shuffle(terms)
        flood = " ".join(terms * rng.choice((1, 1, 2, 10, 40)))
        flood = rng.choice((flood.upper(), flood)) + rng.choice(("", ".", "\n", ":", " -"))
    return f"{flood} {text}" if rng.random() < 0.75 else f"{text} {flood}"


def _noise(rng: random.Random) -> str:
    characters = "abcdefghijklmnopqrstuvwxyz0123456789#%&~!?*"
    return " ".join("".join(rng.choices(characters, k=rng.randint(2, 6))) for _ in range(rng.randint(2, 5)))


def with_typos(text: str, rng: random.Random, rate: float = 0.03) -> str:
    """Swap, drop or double letters: a share `rate` of the first 4,000 characters."""
    letters = list(text)
    for _ in range(max(1, round(rate * min(len(letters), 4_000)))):
        index = rng.randrange(len(letters)) if letters else 0
        if not (index < len(letters) and letters[index].isalpha()):
            continue
        kind = rng.randrange(3)
        if kind == 0 and index + 1 < len(letters):
            letters[index], letters[index + 1] = letters[index + 1], letters[index]
        elif kind == 1:
            letters[index] = ""
        else:
            letters[index] *= 2
    return "".join(letters)
