"""The columns of answers that a table gets: the answer or the fields of its schema, and the facts of each row's run."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, cast

from llm_magic import answers
from llm_magic.columns.libraries import pandas
from llm_magic.columns.records import Record
from llm_magic.errors import InvalidAnswer, RequestError
from llm_magic.types import Schema

FACTS = ("route_model", "route_effort", "route_outcome", "route_error", "route_cost_usd", "route_run_id")
DEFAULT_INTO = "answer"
_DTYPES = {"string": "string", "integer": "Int64", "number": "Float64", "boolean": "boolean"}


def check_answer_names(into: str | None, schema: Schema | None, columns: Sequence[str]) -> None:
    """Raise RequestError if the answers would replace a column of the user's.

    The columns of an earlier answer, which a table has if it also has the facts of its runs, are replaced.
    """
    if into is not None and not into.strip():
        raise RequestError("into must be the name of a column")
    if into in FACTS:
        raise RequestError(f"into = {into!r} is the name of a column that every result has")
    fields = () if schema is None else tuple(_fields(schema.json_schema))
    for name in fields:
        if name in FACTS:
            raise RequestError(f"the schema's field {name!r} is the name of a column that every result has: rename it")
    if FACTS[-1] in columns:
        return
    if into in columns:
        raise RequestError(f"into = {into!r} is a column of the input: choose another name")
    if into is None and not fields and DEFAULT_INTO in columns:
        raise RequestError(f"the input has a column {DEFAULT_INTO!r} already: name another one with into")
    for name in columns:
        if name in fields:
            raise RequestError(f"the schema's field {name!r} is a column of the input: rename one of them")
        if name in FACTS:
            raise RequestError(f"every result has a column {name!r}, and the input has one too: rename it")


class AnswerColumns:
    """Columns of a table, filled row by row."""

    def __init__(self, into: str | None, schema: Schema | None) -> None:
        self._into, self._schema = into, schema
        self._values: list[Any] = []
        self._parsed: dict[int, Any] = {}
        self._facts: dict[str, list[Any]] = {name: [] for name in FACTS}

    def add(self, record: Record, *, is_first: bool, text_id: int) -> None:
        """Add a row. text_id: the same for rows with the same text, which share an object."""
        self._values.append(record.text if self._schema is None else self._parse(record, text_id))
        cost_usd = float(record.cost_usd) if is_first else 0.0
        facts = (record.model, record.effort, record.outcome, record.error, cost_usd, record.run_id)
        for cells, fact in zip(self._facts.values(), facts, strict=True):
            cells.append(None if fact == "" else fact)

    def series(self) -> dict[str, Any]:
        """Return the columns by name, and empty this object, so that each cell is in memory once."""
        values, self._values = self._values, []
        schema = self._schema
        if schema is None:
            columns = {self._into or DEFAULT_INTO: _series(values, "string")}
        else:
            columns = _schema_columns(values, self._into, schema)
        del values
        for name in FACTS:
            columns[name] = _series(self._facts.pop(name), "float64" if name == "route_cost_usd" else "string")
        return columns

    def _parse(self, record: Record, text_id: int) -> Any:
        if text_id not in self._parsed:
            self._parsed[text_id] = parsed(record.text, self._schema)
        return self._parsed[text_id]


def parsed(text: str | None, schema: Schema | None) -> Any:
    if text is None or schema is None:
        return None
    try:
        return answers.parse(text, schema)
    except InvalidAnswer:
        return None


def _schema_columns(values: Sequence[Any], into: str | None, schema: Schema) -> dict[str, Any]:
    fields = _fields(schema.json_schema)
    if not fields:
        kind = _kind(schema.json_schema, schema.json_schema)
        return {into or DEFAULT_INTO: _series([_plain(value) for value in values], _DTYPES.get(kind, "object"))}
    columns = {} if into is None or into in fields else {into: _series(values, "object")}
    for name, kind in fields.items():
        dtype = _DTYPES.get(kind, "object")
        cells = [_field(value, name) for value in values]
        columns[name] = _series(cells if dtype == "object" else [_plain(cell) for cell in cells], dtype)
    return columns


def _series(values: Sequence[Any], dtype: str) -> Any:
    pd = pandas()

    # Python strings are shared with the records. The storage of Arrow would copy them.
    return pd.Series(values, dtype=pd.StringDtype("python") if dtype == "string" else dtype)


def _field(value: Any, name: str) -> Any:
    if value is None:
        return None
    return cast("Mapping[str, Any]", value).get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, enum.Enum) else value


def _fields(schema: Mapping[str, Any]) -> dict[str, str]:
    resolved = _resolved(schema, schema)
    properties = resolved.get("properties")
    if not isinstance(properties, Mapping):
        return {}
    named = cast("Mapping[str, Any]", properties)
    return {name: _kind(field, schema) for name, field in named.items()}


def _kind(field: Any, root: Mapping[str, Any]) -> str:
    """Return the JSON type of a field, or `object` if it has several or is nested."""
    schema = _resolved(field, root)
    kind: Any = schema.get("type")
    if isinstance(kind, list):
        kinds = [name for name in cast("list[Any]", kind) if name != "null"]
        kind = kinds[0] if len(kinds) == 1 else "object"
    options: Any = schema.get("anyOf") or schema.get("oneOf")
    if kind is None and isinstance(options, list):
        kinds = [_kind(option, root) for option in cast("list[Any]", options)]
        others = {name for name in kinds if name != "null"}
        kind = others.pop() if len(others) == 1 else "object"
    listed: Any = schema.get("enum")
    if kind is None and isinstance(listed, list) and all(isinstance(item, str) for item in cast("list[Any]", listed)):
        kind = "string"
    if kind is None and isinstance(schema.get("const"), str):
        kind = "string"
    return kind if isinstance(kind, str) else "object"


def _resolved(field: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    for _ in range(20):
        if not isinstance(field, Mapping):
            return {}
        reference = cast("Mapping[str, Any]", field).get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return cast("Mapping[str, Any]", field)
        field = root
        for step in reference[2:].split("/"):
            field = cast("Any", field).get(step, {}) if isinstance(field, Mapping) else {}
    return {}
