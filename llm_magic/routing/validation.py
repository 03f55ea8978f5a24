"""Checks of the values of a request. Each returns the value as the request holds it, or raises RequestError."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from typing import Literal, SupportsFloat, cast, get_args

from llm_magic.attachments import attach, images
from llm_magic.errors import InvalidOption, RequestError
from llm_magic.types import (
    RESERVED_TAG_PREFIX,
    Attachment,
    Effort,
    Message,
    OnRefusal,
    SendWhen,
    Shadowing,
    TaskTier,
)

MAX_CHARACTERS = 20_000_000
"""Longer than any context window: rejected before its tokens are counted."""


def text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise RequestError(f"{name} must be text, not {type(value).__name__}")
    if len(value) > MAX_CHARACTERS:
        raise RequestError(f"{name} has {len(value):,} characters, more than any model reads: shorten it")
    if "\0" in value:
        raise RequestError(f"{name} has a NUL byte at character {value.index(chr(0)):,}: remove it")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise RequestError(f"{name} contains a lone surrogate at character {error.start:,}: remove it") from None
    return value


def prompt(value: object) -> str:
    checked = text(value, "the prompt")
    if not checked.strip():
        raise RequestError("the prompt is empty: write what you want to know")
    return checked


def system(value: object) -> str:
    return text(value, "the system prompt")


def attachments(value: Iterable[object]) -> tuple[Attachment, ...]:
    checked = attach(value)
    for attachment in checked:
        text(attachment.text, attachment.name)
        text(attachment.name, "the name of an attachment")
        if attachment.image is not None and (problem := images.problem(attachment.image)):
            raise RequestError(f"the image {attachment.name} {problem}")
    return checked


def history(value: Iterable[Message]) -> tuple[Message, ...]:
    checked = tuple(value)
    for message in checked:
        text(message.content, "the history")
    return checked


def tags(value: str | Iterable[str]) -> tuple[str, ...]:
    """Return one tag or several as a tuple. A tag contains no comma, because the ledger separates tags by commas."""
    checked = (value,) if isinstance(value, str) else tuple(value)
    for tag in checked:
        if "," in text(tag, "the tag") or not tag.strip():
            raise RequestError(f"the tag {tag!r} must be a word without commas")
        if tag.startswith(RESERVED_TAG_PREFIX):
            raise RequestError(
                f"the tag {tag!r} is reserved: choose one that does not begin with {RESERVED_TAG_PREFIX}"
            )
    return checked


def tier(value: TaskTier | str) -> TaskTier:
    try:
        return TaskTier(value)
    except ValueError:
        near = difflib.get_close_matches(str(value).upper(), list(TaskTier), 1)
        hint = f" (did you mean {near[0].lower()}?)" if near else ""
        raise InvalidOption("tier", value, f"one of {', '.join(TaskTier)}{hint}") from None


def when(value: str) -> SendWhen:
    if value not in get_args(SendWhen):
        raise InvalidOption("when", value, f"one of {', '.join(get_args(SendWhen))}")
    return cast("SendWhen", value)


def last_resort(value: str) -> str | None:
    return None if value == "off" else text(value, "last_resort")


def whole_number(text: str) -> int | str:
    """Return the number that an option states, or the text as it is, which the check of the option rejects."""
    try:
        return int(text)
    except ValueError:
        return text


def number(text: str) -> float | str:
    whole = whole_number(text)  # displayed as it was typed: -1, not -1.0
    try:
        return float(text) if isinstance(whole, str) else whole
    except ValueError:
        return text


def quality(value: object) -> float:
    if (
        isinstance(value, bool) or not isinstance(value, SupportsFloat) or not 0 <= float(value) <= 1
    ):  # also rejects NaN
        raise InvalidOption("quality", value, "a share from 0 (the cheapest) to 1 (the best)")
    return float(value)


def effort(value: Effort | str) -> Effort:
    try:
        return Effort(value)
    except ValueError:
        raise InvalidOption("effort", value, f"one of {', '.join(Effort)}") from None


def on_refusal(value: str) -> OnRefusal:
    if value not in get_args(OnRefusal):
        raise InvalidOption("on_refusal", value, f"one of {', '.join(get_args(OnRefusal))}")
    return cast("OnRefusal", value)


def max_output_tokens(value: int) -> int:
    return _positive(value, "max_output_tokens")


def thread_tokens(value: int) -> int:
    return _positive(value, "thread_tokens")


def _positive(value: int, name: Literal["max_output_tokens", "thread_tokens"]) -> int:
    if type(value) is not int or value < 1:
        raise InvalidOption(name, value, "a whole number of at least 1")
    return value


def hedge_s(value: float) -> float:
    if not (type(value) in (int, float) and math.isfinite(value) and value >= 0):
        raise InvalidOption("hedge_s", value, "a number of seconds, zero or more")
    return value


def shadowing(value: float | Shadowing) -> Shadowing:
    settings = value if isinstance(value, Shadowing) else Shadowing(share=value)
    if isinstance(settings.share, bool) or not 0 <= settings.share <= 1:
        raise RequestError(f"shadow = {settings.share!r}: it must be a share of the runs, from 0 to 1")
    try:
        re.compile(settings.never_regex)
    except re.error as error:
        raise RequestError(f"never_regex = {settings.never_regex!r}: {error}") from error
    return settings
