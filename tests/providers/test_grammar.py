"""The part of a schema that the grammar of the embedded engine keeps."""

from __future__ import annotations

from typing import Any

import pytest

from llm_magic.answers import schema_of
from llm_magic.providers.local.grammar import for_grammar
from tests.support.schemas import CASES, HARD_TO_COMPILE, object_of


def relaxed(schema: Any) -> dict[str, Any] | None:
    result = for_grammar(schema_of(schema))
    return None if result is None else dict(result.json_schema)


@pytest.mark.parametrize(
    ("part", "left"),
    [
        (True, {}),
        ({"type": "string", "minLength": 20_000, "maxLength": 20}, {"type": "string", "maxLength": 20}),
        ({"type": "string", "minLength": 2}, {"type": "string", "minLength": 2}),
        ({"type": "integer", "minimum": -(10**30), "maximum": 9}, {"type": "integer", "maximum": 9}),
        ({"type": "integer", "minimum": 5, "maximum": 1}, {"type": "integer"}),
        ({"type": "number", "maximum": -1.0}, {"type": "number", "maximum": -1.0}),
        ({"type": "string", "pattern": "^[a-z]+$"}, {"type": "string", "pattern": "^[a-z]+$"}),
        ({"type": "string", "pattern": "^(|a)$"}, {"type": "string"}),
        ({"type": "string", "pattern": "^(?!a)$"}, {"type": "string"}),
        ({"type": "string", "pattern": "a"}, {"type": "string"}),
        ({"type": "array", "items": True, "minItems": 9_999}, {"type": "array", "items": {}}),
        ({"anyOf": [True, {"type": "null"}]}, {"anyOf": [{}, {"type": "null"}]}),
    ],
)
def test_the_rest_of_a_schema_is_kept(part: Any, left: Any) -> None:
    assert relaxed(object_of(a=part)) == object_of(a=left)


def test_a_property_that_never_fits_is_left_out() -> None:
    assert relaxed({"properties": {"a": False, "b": {}}}) == {"properties": {"b": {}}}


def test_a_reference_to_the_root_becomes_one_to_a_definition() -> None:
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    inner = {"type": "object", "properties": {"next": {"$ref": "#/$defs/whole_answer"}}}
    assert relaxed(tree) == {"$ref": "#/$defs/whole_answer", "$defs": {"whole_answer": inner}}


def test_a_definition_that_is_its_own_alternative_has_no_grammar() -> None:
    assert relaxed(HARD_TO_COMPILE["a definition within itself"]) is None
    assert relaxed({"not": {}, "items": False}) is not None
    assert relaxed({"anyOf": [False]}) is None


@pytest.mark.parametrize("name", ["discriminated union", "tree", "mapping", "definitions", "nullable types"])
def test_a_schema_without_obstacles_is_kept_as_it_is(name: str) -> None:
    assert relaxed(CASES[name][0]) == schema_of(CASES[name][0]).json_schema
