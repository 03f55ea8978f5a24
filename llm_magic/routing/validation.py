"""What a request may hold. Each check gives the value back as it is used, or raises RequestError, naming the fault."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llm_magic.errors import RequestError
from llm_magic.types import TaskTier

MAX_CHARACTERS = 20_000_000
"""Longer than any context window: refused before it is counted."""


def text(value: object, what: str) -> str:
    """Text that can be sent."""
    if not isinstance(value, str):
        raise RequestError(f"{what} must be text, not {type(value).__name__}")
    if len(value) > MAX_CHARACTERS:
        raise RequestError(f"{what} has {len(value):,} characters, more than any model reads: shorten it")
    if "\0" in value:
        raise RequestError(f"{what} has a NUL byte at character {value.index(chr(0)):,}: remove it")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise RequestError(
            f"{what} has half of a character (a lone surrogate) at character {error.start:,}: remove it"
        ) from None
    return value


def prompt(value: object) -> str:
    found = text(value, "the prompt")
    if not found.strip():
        raise RequestError("the prompt is empty: write what you want to know")
    return found


def tags(value: str | Sequence[str]) -> tuple[str, ...]:
    """One tag or several, each without commas."""
    found = (value,) if isinstance(value, str) else tuple(value)
    for tag in found:
        if "," in text(tag, "the tag") or not tag.strip():
            raise RequestError(f"the tag {tag!r} must be a word without commas")
    return found


def tier(value: TaskTier | str) -> TaskTier:
    try:
        return TaskTier(value)
    except ValueError:
        raise RequestError(f"no tier {value!r}: choose one of {', '.join(TaskTier)}") from None


def quality(value: float) -> float:
    """A share, 0..1."""
    if isinstance(value, bool) or not 0 <= value <= 1:  # also not a number
        raise RequestError(f"quality = {value!r} must be a share from 0 (the cheapest) to 1 (the best)")
    return float(value)


def output_tokens(value: int) -> int:
    if type(value) is not int or value < 1:
        raise RequestError(f"max_output_tokens = {value!r} must be a whole number of at least 1")
    return value


def hedge_s(value: float) -> float:
    """Seconds."""
    if not (type(value) in (int, float) and math.isfinite(value) and value >= 0):
        raise RequestError(f"hedge_s = {value!r} must be seconds, zero or more")
    return value
