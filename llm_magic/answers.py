"""What an answer must be: the JSON that a schema asks for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from llm_magic.errors import InvalidAnswer, RequestError

_FENCE = re.compile(r"\A\s*```[\w-]*\n(.*)\n\s*```\s*\Z", re.DOTALL)


def parse(text: str, schema: Mapping[str, Any]) -> Any:
    """The answer's JSON, checked against a JSON Schema. A Markdown fence around it is taken off.

    Raises InvalidAnswer, naming the place.
    """
    import jsonschema

    fenced = _FENCE.match(text)
    try:
        data = json.loads(fenced.group(1) if fenced else text)
    except ValueError as error:
        raise InvalidAnswer(f"the answer is not JSON: {error}") from error
    error = next(iter(jsonschema.validators.validator_for(schema)(schema).iter_errors(data)), None)
    if error is not None:
        # Not error.message: it quotes the answer, and the ledger keeps none of it.
        raise InvalidAnswer(f"the answer does not fit the schema: {error.validator!r} fails at {error.json_path}")
    return data


def schema_of(value: Any) -> Mapping[str, Any]:
    """A JSON Schema from a mapping, JSON text, or a Pydantic model class. Raises RequestError."""
    import jsonschema

    if hasattr(value, "model_json_schema"):
        value = value.model_json_schema()
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise RequestError(f"the schema is not JSON: {error}") from error
    if not isinstance(value, Mapping):
        raise RequestError(f"a schema must be a JSON Schema or a Pydantic model, not {type(value).__name__}")
    try:
        jsonschema.validators.validator_for(value).check_schema(value)
    except jsonschema.SchemaError as error:
        raise RequestError(f"not a valid JSON Schema: {error.message}") from error
    return value


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with every object closed to further properties, as the providers' strict modes want it."""
    return _mapped(schema)


def is_strict(schema: Mapping[str, Any]) -> bool:
    """Whether every object of a closed schema requires all of its properties: OpenAI's strict mode takes no other."""
    required = set(schema.get("required", ()))
    if set(schema.get("properties", ())) - required:
        return False
    return all(
        is_strict(part)
        for value in schema.values()
        for part in (value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
        if isinstance(part, dict)
    ) and ("items" not in schema or is_strict(schema["items"]))


def _mapped(value: Any) -> Any:
    if isinstance(value, Mapping):
        mapped = {key: _mapped(part) for key, part in value.items()}
        if mapped.get("type") == "object" and isinstance(mapped.get("properties"), dict):
            mapped.setdefault("additionalProperties", False)
        return mapped
    return [_mapped(part) for part in value] if isinstance(value, list) else value
