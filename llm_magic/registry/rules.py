"""The rules of `models.toml`: conditions on a request, and what they change. Errors name the file and the key."""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePath
from typing import Any, cast

from llm_magic.errors import RegistryError
from llm_magic.types import TaskTier

# A search takes time of the order of n^(long repetitions + 1), for n = 3,000 characters. `*` and `+` are long, too.
LONG_REPETITION = 20
MAX_LONG_REPETITIONS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """Conditions, all of which must hold. A field that is None is not checked.

    regex: searched in the part of the prompt that the classifier reads, its first 2,000 and its last 1,000 characters.
    min_tokens: o200k_base tokens of the prompt with its attachments.
    """

    regex: re.Pattern[str] | None = None
    tag: str | None = None
    tier: TaskTier | None = None
    min_tokens: int | None = None
    max_tokens: int | None = None

    def __str__(self) -> str:
        return ", ".join(_descriptions(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Then:
    tier: TaskTier | None = None
    model: str | None = None
    quality: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One `[[rules]]` table. `name` is for display (`rule 2 in models.toml`), and `key` for errors (`rules[1]`)."""

    name: str
    key: str
    when: When
    then: Then


def _descriptions(when: When) -> Iterator[str]:
    if when.regex is not None:
        yield f"regex {when.regex.pattern!r}"
    if when.tag is not None:
        yield f"tag {when.tag!r}"
    if when.tier is not None:
        yield f"tier {when.tier}"
    if when.min_tokens is not None:
        yield f"at least {when.min_tokens:,} tokens"
    if when.max_tokens is not None:
        yield f"at most {when.max_tokens:,} tokens"


def parse_rules(value: object, origin: str) -> tuple[Rule, ...]:
    tables = cast("list[object]", value)
    if not isinstance(value, list) or not all(isinstance(table, dict) for table in tables):
        raise RegistryError(f"{origin}: rules must be tables, [[rules]]")
    return tuple(_rule(index, cast("dict[str, object]", table), origin) for index, table in enumerate(tables))


def _rule(index: int, table: Mapping[str, object], origin: str) -> Rule:
    key = f"rules[{index}]"
    where = f"{origin}: {key}"
    if unknown := table.keys() - {"when", "then"}:
        raise RegistryError(f"{where}: unknown key {min(unknown)!r}; known are when and then")
    when = When(**_fields(table, "when", When, where))
    if when.min_tokens is not None and when.max_tokens is not None and when.min_tokens > when.max_tokens:
        raise RegistryError(f"{where}.when.min_tokens = {when.min_tokens} is above max_tokens = {when.max_tokens}")
    return Rule(
        name=f"rule {index + 1} in {PurePath(origin).name}",
        key=key,
        when=when,
        then=Then(**_fields(table, "then", Then, where)),
    )


def _fields(rule: Mapping[str, object], name: str, record: type[When | Then], where: str) -> dict[str, Any]:
    known = [field.name for field in dataclasses.fields(record)]
    where = f"{where}.{name}"
    table = rule.get(name)
    if not isinstance(table, dict) or not table:
        raise RegistryError(f"{where} must be a table with at least one of {', '.join(known)}")
    fields = cast("dict[str, object]", table)
    if unknown := fields.keys() - set(known):
        raise RegistryError(f"{where}: unknown key {min(unknown)!r}; known are {', '.join(known)}")
    return {key: _CONVERTERS[key](value, f"{where}.{key}") for key, value in fields.items()}


def _regex(value: object, where: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(_text(value, where))
    except (re.error, RecursionError, OverflowError) as error:
        raise RegistryError(f"{where} = {value!r} is not a valid regular expression: {error}") from None
    _check_cost(pattern, where)
    return pattern


def _check_cost(pattern: re.Pattern[str], where: str) -> None:
    """Raise RegistryError for a pattern that could stall a cell for minutes, even on the few characters it reads."""
    # The module is private, but only its parser reads exactly what `re` does.
    parsed = importlib.import_module("re._parser").parse(pattern.pattern, pattern.flags)
    depths = list(_long_repetitions(parsed, depth=1))
    if max(depths, default=0) > 1:
        raise RegistryError(
            f"{where} = {pattern.pattern!r} repeats a repetition, as (a+)+ does, which can take exponential time: "
            "leave out the inner or the outer one"
        )
    if len(depths) > MAX_LONG_REPETITIONS:
        raise RegistryError(
            f"{where} = {pattern.pattern!r} has {len(depths)} long repetitions, more than {MAX_LONG_REPETITIONS}: "
            f"limit them, as in .{{0,{LONG_REPETITION}}} instead of .*"
        )


def _long_repetitions(parsed: Any, *, depth: int) -> Iterator[int]:
    """Yield the depth of every long repetition in a tree of `re._parser`, where 2 is one within another."""
    if isinstance(parsed, str | int) or not hasattr(parsed, "__getitem__"):
        return
    parts: list[Any] = list(parsed)
    if len(parts) == 2 and str(parts[0]) in ("MAX_REPEAT", "MIN_REPEAT"):
        _, most, body = parts[1]
        if int(most) > LONG_REPETITION:
            yield depth
            depth += 1
        parts = [body]
    for part in parts:
        yield from _long_repetitions(part, depth=depth)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise RegistryError(f"{where} = {value!r} must be text")
    return value


def _tier(value: object, where: str) -> TaskTier:
    try:
        return TaskTier(value)
    except ValueError:
        raise RegistryError(f"{where} = {value!r} must be one of {', '.join(TaskTier)}") from None


def _tokens(value: object, where: str) -> int:
    if type(value) is not int or value < 0:
        raise RegistryError(f"{where} = {value!r} must be a whole number of zero or more")
    return value


def _quality(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not 0 <= float(value) <= 1:
        raise RegistryError(f"{where} = {value!r} must be a share from 0 (the cheapest) to 1 (the best)")
    return float(value)


_CONVERTERS = {
    "regex": _regex,
    "tag": _text,
    "tier": _tier,
    "min_tokens": _tokens,
    "max_tokens": _tokens,
    "model": _text,
    "quality": _quality,
}
