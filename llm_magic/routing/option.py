"""The definition of one option: its check as a keyword, and its form on the line of a magic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llm_magic.routing.notebook import Notebook


def _unchanged(value: object) -> object:
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option: its check as a keyword, and its form on the line of a magic.

    check: returns the value as `Request` holds it, or raises RequestError. field: that of `Request`, if not named like
    the keyword. flag: None for an option that exists as a keyword only. metavar: None for a switch such as `--cache`.
    resolve: turns keyword, parsed text and notebook into the value. bare: value of the flag alone; None: not allowed.
    """

    help: str
    default: str = ""
    check: Callable[[Any], object] = _unchanged
    field: str | None = None
    flag: str | None = None
    metavar: str | None = None
    parse: Callable[[str], object] = str
    resolve: Callable[[str, str, Notebook], object] | None = None
    is_repeatable: bool = False
    bare: object = None

    @property
    def full_help(self) -> str:
        return f"{self.help} Default: {self.default}." if self.default else self.help
