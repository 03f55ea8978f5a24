"""Schemas that the embedded engine can compile to a grammar. The answer is checked against the whole schema later."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from llm_magic.answers.portable import Json, as_mapping, resolved
from llm_magic.types import Schema

_ROOT = "whole_answer"
_MAX_REPETITIONS = {"minLength": 1_000, "maxLength": 1_000, "minItems": 500, "maxItems": 500}
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_RANGES = (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems"))
_MAX_BOUND = 2**53
_UNSAFE_PATTERN = re.compile(r"\(\?|\|\||\(\||\|\)|\\[\dbBpP]|\{\d{4,}|\{\d*,\d{4,}|\A(?!\^)|(?<!\$)\Z")
_COMBINED = ("allOf", "anyOf", "oneOf")


class _NoGrammar(Exception):
    pass


def for_grammar(schema: Schema) -> Schema | None:
    """Return the schema without what the engine can't compile, or None if too little is left of it."""
    root = schema.json_schema
    try:
        relaxed = _relaxed(root)
        if _refers_to_root(relaxed):
            definitions = {**as_mapping(relaxed.pop("$defs", {})), _ROOT: relaxed}
            relaxed = {"$ref": f"#/$defs/{_ROOT}", "$defs": definitions}
        _check_loops(relaxed, relaxed, ())
    except _NoGrammar:
        return None
    return replace(schema, json_schema=relaxed)


def _relaxed(value: object) -> Json:
    if value is True:
        return {}
    if not isinstance(value, Mapping):
        raise _NoGrammar
    schema = dict(cast("Mapping[str, Any]", value))
    for key, longest in _MAX_REPETITIONS.items():
        if schema.get(key, 0) > longest:
            del schema[key]
    for key in _BOUNDS:
        if abs(schema.get(key, 0)) > _MAX_BOUND:
            del schema[key]
    for low, high in _RANGES:
        if low in schema and high in schema and schema[low] > schema[high]:
            del schema[low], schema[high]
    if _UNSAFE_PATTERN.search(schema.get("pattern", "^$")):
        del schema["pattern"]
    if "$ref" in schema:
        schema["$ref"] = f"#/$defs/{_ROOT}" if schema["$ref"] == "#" else schema["$ref"]
    if "properties" in schema:
        named = schema["properties"].items()
        schema["properties"] = {name: _relaxed(part) for name, part in named if part is not False}
    for key in ("$defs", "definitions"):
        if key in schema:
            schema[key] = {name: _relaxed(part) for name, part in schema[key].items()}
    for key in (*_COMBINED, "prefixItems"):
        if key in schema:
            schema[key] = [_relaxed(part) for part in schema[key]]
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), Mapping) or schema.get(key) is True:
            schema[key] = _relaxed(schema[key])
    return schema


def _refers_to_root(value: object) -> bool:
    if isinstance(value, list):
        return any(map(_refers_to_root, cast("list[object]", value)))
    schema = as_mapping(value)
    return schema.get("$ref") == f"#/$defs/{_ROOT}" or any(map(_refers_to_root, schema.values()))


def _check_loops(part: object, root: Json, inside: tuple[str, ...]) -> None:
    """Raise _NoGrammar for a definition that is one of its own alternatives: the grammar would not end."""
    schema = as_mapping(part)
    if (ref := schema.get("$ref")) is not None:
        if ref in inside or resolved(root, ref) is None:
            raise _NoGrammar
        _check_loops(resolved(root, ref), root, (*inside, ref))
    for key in _COMBINED:
        for option in schema.get(key, ()):
            _check_loops(option, root, inside)
    if not inside:
        for key in ("$defs", "definitions"):
            for name in as_mapping(schema.get(key)):
                _check_loops({"$ref": f"#/{key}/{name}"}, root, ("",))
