"""Syntax of the code in an answer. It is parsed, and never executed."""

from __future__ import annotations

import ast
import csv
import importlib
import importlib.util
import io
import json
import re
import tomllib
import warnings
from collections.abc import Callable
from typing import Any

_BLOCK = re.compile(r"^```[ \t]*([\w+-]*)[^\n`]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_MAX_CHARACTERS = 100_000
_CELL_MAGIC = re.compile(r"^\s*[%!?]", re.MULTILINE)


def can_parse(language: str) -> bool:
    """True if a parser of this language is installed."""
    return language in _PARSERS and (language != "sql" or importlib.util.find_spec("sqlglot") is not None)


def parses(text: str, *, language: str = "") -> bool | None:
    """Return True if every code block of a known language parses, False if one does not, None without such a block.

    language: of which there must be a block. A text of one block that names no language, or data alone, counts as it.
    """
    blocks = [(name.casefold(), block) for name, block in _BLOCK.findall(text[:_MAX_CHARACTERS])]
    parser = _PARSERS.get(language)
    if parser is not None:
        if not blocks and language in _DATA_LANGUAGES:
            blocks = [(language, text[:_MAX_CHARACTERS])]
        if len(blocks) == 1 and not blocks[0][0]:
            blocks = [(language, blocks[0][1])]
        if not any(_PARSERS.get(name) is parser for name, _ in blocks):
            return None
    results = [_is_valid(_PARSERS[name], block) for name, block in blocks if name in _PARSERS]
    known = [result for result in results if result is not None]
    return all(known) if known else None


def _is_valid(parser: Callable[[str], object], block: str) -> bool | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parser(block)
    except NotImplementedError:
        return None
    except (ValueError, SyntaxError, RecursionError, MemoryError, csv.Error):
        return False
    return True


def _python(block: str) -> None:
    if ">>> " in block or _CELL_MAGIC.search(block):
        raise NotImplementedError("a session or a cell is not a module")
    ast.parse(block)


def _sql(block: str) -> None:
    try:
        sqlglot: Any = importlib.import_module("sqlglot")
    except ImportError:
        raise NotImplementedError("the extra sql is not installed") from None
    try:
        sqlglot.parse(block)
    except sqlglot.errors.SqlglotError as error:
        raise ValueError(str(error)) from error


def _table(block: str) -> None:
    rows = [row for row in csv.reader(io.StringIO(block.strip()), strict=True) if row]
    if len({len(row) for row in rows}) != 1:
        raise ValueError("the rows differ in length")


_PARSERS: dict[str, Callable[[str], object]] = {
    "python": _python,
    "py": _python,
    "python3": _python,
    "json": json.loads,
    "toml": tomllib.loads,
    "sql": _sql,
    "csv": _table,
}
_DATA_LANGUAGES = ("json", "toml", "csv")
