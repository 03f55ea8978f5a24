"""What an answer must be: the JSON that a schema asks for."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any, cast

from llm_magic.errors import InvalidAnswer, RequestError

_FENCE = re.compile(r"\A\s*```[\w-]*\n(.*)\n\s*```\s*\Z", re.DOTALL)


def parse(text: str, schema: Mapping[str, Any]) -> Any:
    """The answer's JSON, checked against a JSON Schema. A Markdown fence around it is taken off.

    Raises InvalidAnswer, naming the place.
    """
    fenced = _FENCE.match(text)
    try:
        data = json.loads(fenced.group(1) if fenced else text)
    except ValueError as error:
        raise InvalidAnswer(f"the answer is not JSON: {error}") from error
    error = next(iter(_validator(schema)(schema).iter_errors(data)), None)
    if error is not None:
        # Not error.message: it quotes the answer, and the ledger keeps none of it.
        raise InvalidAnswer(f"the answer does not fit the schema: {error.validator!r} fails at {error.json_path}")
    return data


def schema_of(value: Any) -> Mapping[str, Any]:
    """A JSON Schema from a mapping, JSON text, a Pydantic model or a dataclass. Raises RequestError."""
    from jsonschema import SchemaError

    if isinstance(value, type) and (hasattr(value, "model_json_schema") or dataclasses.is_dataclass(value)):
        import pydantic  # as both SDKs do

        try:
            value = pydantic.TypeAdapter(value).json_schema()
        except pydantic.errors.PydanticUserError as error:
            raise RequestError(f"no JSON Schema can be made of {value.__name__}: {error.message}") from error
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise RequestError(f"the schema is not JSON: {error}") from error
    if not isinstance(value, Mapping):
        kind = type(cast("object", value)).__name__
        raise RequestError(f"a schema must be a JSON Schema, a Pydantic model or a dataclass, not {kind}")
    schema = cast("Mapping[str, Any]", value)
    try:
        _validator(schema).check_schema(schema)
    except SchemaError as error:
        raise RequestError(f"not a valid JSON Schema: {error.message}") from error
    return schema


def _validator(schema: Mapping[str, Any]) -> Any:
    """The validator class for the schema's dialect."""
    from jsonschema.validators import validator_for

    return cast("Any", validator_for)(schema)


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with every object closed to further properties, as the providers' strict modes want it."""
    return _closed(schema)


def is_strict(schema: Any) -> bool:
    """Whether every object of a closed schema requires all of its properties: OpenAI's strict mode takes no other."""
    if isinstance(schema, list):
        return all(is_strict(part) for part in cast("list[Any]", schema))
    if not isinstance(schema, dict):
        return True
    table = cast("dict[str, Any]", schema)
    properties = table.get("properties")
    if isinstance(properties, dict) and set(cast("dict[str, Any]", properties)) - set(table.get("required", ())):
        return False
    return all(is_strict(part) for part in table.values())


def _closed(value: Any) -> Any:
    if isinstance(value, list):
        return [_closed(part) for part in cast("list[Any]", value)]
    if not isinstance(value, Mapping):
        return value
    table = {key: _closed(part) for key, part in cast("Mapping[str, Any]", value).items()}
    if table.get("type") == "object" and isinstance(table.get("properties"), dict):
        table.setdefault("additionalProperties", False)
    return table
