"""Arrow columns of Python values: as JSON texts if the values have no type in common, also between parts of a table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from llm_magic.columns.libraries import arrow

_KIND = b"llm_magic"
"""Metadata of fields whose type is that of the values in one part of a table."""
_INFERRED, _JSON = b"inferred", b"json"


def inferred(name: str, values: Sequence[Any]) -> tuple[Any, Any]:
    """Return the field and the array of values, None for missing ones."""
    pa = arrow()
    try:
        array, kind = pa.array(values), _INFERRED
    except (pa.ArrowException, OverflowError):
        array, kind = pa.array(_json_texts(values), pa.string()), _JSON
    return pa.field(name, array.type, metadata={_KIND: kind}), array


def common_schema(tables: Iterable[Any]) -> Any:
    """Return the schema of all parts of a table."""
    remaining = iter(tables)
    schema = next(remaining).schema
    if any(_kind(field) for field in schema):
        for table in remaining:
            schema = arrow().schema(map(_common, schema, table.schema), schema.metadata)
    return schema


def in_schema(tables: Iterable[Any], schema: Any) -> Iterator[Any]:
    """Yield tables with the types of the common schema of all, and without the metadata of their fields."""
    for table in tables:
        columns = map(_column, table.schema, table.columns, schema)
        yield arrow().table(list(columns), schema=plain_schema(schema))


def plain_schema(schema: Any) -> Any:
    return arrow().schema([field.with_metadata(None) if _kind(field) else field for field in schema], schema.metadata)


def _common(one: Any, other: Any) -> Any:
    pa = arrow()
    if not _kind(one):
        return one
    if _JSON not in (_kind(one), _kind(other)):
        try:
            first, second = (pa.schema([field.with_metadata(None)]) for field in (one, other))
            merged = pa.unify_schemas([first, second], promote_options="permissive").field(0)
            return merged.with_metadata({_KIND: _INFERRED})
        except (pa.ArrowException, TypeError):
            pass
    return pa.field(one.name, pa.string(), metadata={_KIND: _JSON})


def _column(own: Any, column: Any, field: Any) -> Any:
    pa = arrow()
    if own.equals(field, check_metadata=True):
        return column
    if _kind(field) == _JSON:
        return pa.array(_json_texts(column.to_pylist()), pa.string())
    return pa.array(column.to_pylist(), field.type)


def _kind(field: Any) -> bytes | None:
    return None if field.metadata is None else field.metadata.get(_KIND)


def _json_texts(values: Iterable[Any]) -> list[str | None]:
    return [None if value is None else json.dumps(value, default=plain) for value in values]


def plain(cell: object) -> object:
    """Return what JSON can have of a cell."""
    convert = getattr(cell, "tolist", None)
    return str(cell) if convert is None else convert()
