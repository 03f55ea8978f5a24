"""Conversion of attempts to rows of the ledger, and back."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from llm_magic.ledger.columns import COLUMNS
from llm_magic.types import Attempt, Usage

Row = Mapping[Any, Any]
"""A row by its columns' names, as SQLAlchemy returns it."""

_WRITTEN = tuple((column.sql_name, column.path, column.kind) for column in COLUMNS if column.path is not None)
_NAMES = tuple(name for name, _, _ in _WRITTEN)
_values = attrgetter(*(path for _, path, _ in _WRITTEN))
_ENCODERS = tuple((index, kind.encode) for index, (_, _, kind) in enumerate(_WRITTEN) if kind.encode is not None)
_USAGE = tuple((path.removeprefix("usage."), name) for name, path, _ in _WRITTEN if path.startswith("usage."))
_READ = tuple((path, name, kind.decode) for name, path, kind in _WRITTEN if not path.startswith("usage."))


def to_row(attempt: Attempt) -> dict[str, Any]:
    """Return the columns of an attempt, without those of its hold."""
    values = list(_values(attempt))
    for index, encode in _ENCODERS:
        values[index] = encode(values[index])
    return dict(zip(_NAMES, values, strict=True))


def from_row(row: Row) -> Attempt:
    fields = {field: row[name] if decode is None else decode(row[name]) for field, name, decode in _READ}
    return Attempt(**fields, usage=Usage(**{field: row[name] for field, name in _USAGE}))
