"""Validation against JSON Schemas: of the answers, and of the schemas themselves before anything is sent."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, cast

from llm_magic.answers.portable import as_mapping, resolved
from llm_magic.errors import InvalidAnswer, RequestError
from llm_magic.types import Schema

_DATA_KEYWORDS = ("const", "default", "enum", "example", "examples")


def check_schema(json_schema: Mapping[str, Any], *, is_generated: bool = False) -> None:
    """Raise RequestError for a schema that no answer could be validated against.

    A generated schema's patterns are in the syntax of its class, which checks them itself.
    """
    from jsonschema import FormatChecker, SchemaError

    cls = _validator_class(json_schema)
    try:
        cls.check_schema(json_schema, format_checker=FormatChecker([] if is_generated else ["regex"]))
    except SchemaError as error:
        raise RequestError(f"not a valid JSON Schema: {error.message}") from error
    except RecursionError as error:
        raise RequestError("not a valid JSON Schema: it is nested too deeply") from error
    for part in _parts(json_schema):
        if isinstance(part.get("$ref"), str):
            _check_reference(part["$ref"], json_schema)


def find_problem(data: Any, schema: Schema) -> InvalidAnswer | None:
    """Return the first error of an answer. Its message names the place but quotes nothing of the answer."""
    try:
        error = next(_validator(schema.json_schema).iter_errors(data), None)
    except RecursionError:
        return InvalidAnswer("the answer does not fit the schema: its values are nested too deeply")
    if error is None:
        return None
    place = place_of(error.absolute_path, schema.json_schema)
    message = f"the answer does not fit the schema: {error.validator!r} fails at {place}"
    return InvalidAnswer(message, hint=str(error.message)[:500])


def place_of(location: Iterable[str | int], json_schema: Mapping[str, Any]) -> str:
    """Return a JSON path. A key that the schema does not contain is part of the answer, and becomes `*`."""
    known = json.dumps(json_schema)
    steps = (
        f"[{step}]" if isinstance(step, int) else f".{step if json.dumps(step) in known else '*'}" for step in location
    )
    return f"${''.join(steps)}"


def _validator(json_schema: Mapping[str, Any]) -> Any:
    # Without a registry, jsonschema would download what a reference points to.
    registry: Any = importlib.import_module("jsonschema_specifications").REGISTRY
    return _validator_class(json_schema)(json_schema, registry=registry)


def _validator_class(json_schema: Mapping[str, Any]) -> Any:
    from jsonschema.validators import validator_for

    return _exact(cast("Any", validator_for)(json_schema))


@lru_cache(maxsize=16)
def _exact(validator_class: Any) -> Any:
    """Replace `multipleOf`, which rejects 0.07 as a multiple of 0.01, and skip patterns that Python can't compile."""
    from jsonschema import ValidationError, validators

    def multiple_of(validator: Any, divisor: Any, instance: Any, _: object) -> Iterator[Any]:
        if not validator.is_type(instance, "number"):
            return
        quotient = Decimal(str(instance)) / Decimal(str(divisor))
        if quotient.is_finite() and quotient != quotient.to_integral_value():
            yield ValidationError(f"{instance!r} is not a multiple of {divisor}")

    def pattern(validator: Any, expression: str, instance: Any, _: object) -> Iterator[Any]:
        if validator.is_type(instance, "string") and not _matches(expression, instance):
            yield ValidationError(f"{instance!r} does not match {expression!r}")

    return cast("Any", validators).extend(validator_class, {"multipleOf": multiple_of, "pattern": pattern})


def _check_reference(ref: str, json_schema: Mapping[str, Any]) -> None:
    """References by `$anchor` and `$id` are left to the validator; those to other documents are not loaded."""
    target, seen = ref, set[str]()
    while target == "#" or target.startswith("#/"):
        part = resolved(json_schema, target)
        if part is None:
            raise RequestError(f"the schema's reference {ref!r} points to nothing")
        if target in seen:
            raise RequestError(f"the schema's reference {ref!r} points to itself")
        seen.add(target)
        target = as_mapping(part).get("$ref", "")
    if ref.partition("#")[0] and not any("$id" in part for part in _parts(json_schema)):
        raise RequestError(f"the schema's reference {ref!r} points to another document, which is not loaded")


def _matches(expression: str, text: str) -> bool:
    try:
        return re.search(expression, text) is not None
    except re.error:
        return True


def _parts(value: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _parts(item)
    elif isinstance(value, Mapping):
        table = cast("Mapping[str, Any]", value)
        yield table
        for key, item in table.items():
            if key not in _DATA_KEYWORDS:
                yield from _parts(item)
