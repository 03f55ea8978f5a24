"""Schemas, and the validation of answers against them."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from llm_magic.errors import InvalidAnswer, RequestError
from llm_magic.types import Schema

_FENCE = re.compile(r"\A\s*```[\w-]*\n(.*)\n\s*```\s*\Z", re.DOTALL)
_WANTED = "a schema must be a JSON Schema, a Pydantic model or a dataclass"


def schema_of(value: Any) -> Schema:
    """Make a Schema from a JSON Schema (mapping or text), a Pydantic model or a dataclass. Raises RequestError."""
    from jsonschema import SchemaError

    if isinstance(value, Schema):
        return value
    schema = _of_class(value) if isinstance(value, type) else Schema(json_schema=_of_json(value))
    try:
        _validator_class(schema).check_schema(schema.json_schema)
    except SchemaError as error:
        raise RequestError(f"not a valid JSON Schema: {error.message}") from error
    return schema


def parse(text: str, schema: Schema) -> Any:
    """Return an instance of the schema's class, or plain JSON data. A Markdown fence is removed.

    Raises InvalidAnswer, whose message names the place but quotes nothing, since the ledger stores no answers.
    """
    data = parse_json(text, schema)
    return data if schema.build is None else schema.build(_unfenced(text))


def parse_json(text: str, schema: Schema) -> Any:
    """Return the answer as plain JSON data. Raises InvalidAnswer if it does not fit the JSON Schema."""
    try:
        data = json.loads(_unfenced(text))
    except ValueError as error:
        raise InvalidAnswer(f"the answer is not JSON: {error}") from error
    error = next(iter(_validator_class(schema)(schema.json_schema).iter_errors(data)), None)
    if error is not None:
        raise InvalidAnswer(f"the answer does not fit the schema: {error.validator!r} fails at {error.json_path}")
    return data


def _unfenced(text: str) -> str:
    fenced = _FENCE.match(text)
    return fenced.group(1) if fenced else text


def _of_json(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise RequestError(f"the schema is not JSON: {error}") from error
    if not isinstance(value, Mapping):
        kind = type(cast("object", value)).__name__
        raise RequestError(f"{_WANTED}, not {kind}")
    return cast("Mapping[str, Any]", value)


def _of_class(cls: type[Any]) -> Schema:
    import pydantic  # a dependency of both SDKs

    if not (issubclass(cls, pydantic.BaseModel) or dataclasses.is_dataclass(cls)):
        raise RequestError(f"{_WANTED}, not the class {cls.__name__}")
    try:
        adapter = pydantic.TypeAdapter[Any](cls)
        json_schema = adapter.json_schema()
    except (pydantic.errors.PydanticUserError, pydantic.errors.PydanticUndefinedAnnotation) as error:
        raise RequestError(f"no JSON Schema can be made of {cls.__name__}: {error.message}") from error

    def build(text: str) -> Any:
        try:
            return adapter.validate_json(text)
        except pydantic.ValidationError as error:
            problems = error.errors(include_url=False, include_input=False, include_context=False)
            place, problem = _place(problems[0]["loc"], json_schema), problems[0]["type"]
            hint = "; ".join(f"{_place(problem['loc'], json_schema)}: {problem['msg']}" for problem in problems[:5])
            raise InvalidAnswer(
                f"the answer is not a valid {cls.__name__}: {problem!r} at {place}", hint=hint
            ) from None
        except Exception as error:  # noqa: BLE001 - a validator of the user's can raise anything
            problem, hint = type(error).__name__, str(error)
            raise InvalidAnswer(
                f"the answer is not a valid {cls.__name__}: a validator raised {problem}", hint=hint
            ) from None

    return Schema(json_schema=json_schema, build=build)


def _place(location: Iterable[str | int], json_schema: Mapping[str, Any]) -> str:
    """Return a JSON path. A key that the schema does not contain is part of the answer, and becomes `*`."""
    known = json.dumps(json_schema)
    steps = (
        f"[{step}]" if isinstance(step, int) else f".{step if json.dumps(step) in known else '*'}" for step in location
    )
    return f"${''.join(steps)}"


def _validator_class(schema: Schema) -> Any:
    from jsonschema.validators import validator_for

    return cast("Any", validator_for)(schema.json_schema)
