"""Schemas, and the validation of answers against them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, NewType, cast, get_origin

from llm_magic.answers.portable import WRAPPER_KEY, as_mapping
from llm_magic.answers.reading import JsonValue, bare_scalar, bare_text, json_values, member
from llm_magic.answers.validation import check_schema, find_problem, place_of
from llm_magic.errors import InvalidAnswer, RequestError
from llm_magic.types import Schema

_WANTED = "a schema must be a JSON Schema, a Pydantic model or a dataclass"
_VAGUE_TYPES = (object, str, bytes, dict, list, tuple, set, frozenset)


def schema_of(value: Any) -> Schema:
    """Make a Schema from a JSON Schema (mapping or text) or from a type that Pydantic knows: a model, a dataclass, a
    TypedDict, an Enum, a NamedTuple, a date or number, a list, union or other combination of these, or a TypeAdapter.

    Raises RequestError.
    """
    if isinstance(value, Schema):
        return value
    is_type = (
        isinstance(value, type | NewType)
        or type(value).__name__ in ("TypeAdapter", "TypeAliasType")
        or get_origin(value) is not None
    )
    schema = _of_type(value) if is_type else Schema(json_schema=_of_json(value))
    check_schema(schema.json_schema, is_generated=is_type)
    return schema


def parse(text: str, schema: Schema) -> Any:
    """Return an instance of the schema's class, or plain JSON data.

    Reasoning, prose and code fences around the JSON are ignored. Raises InvalidAnswer, whose message names the place
    but quotes nothing, since the ledger stores no answers.
    """
    value = _read(text, schema)
    return value.data if schema.build is None else schema.build(value.text)


def parse_json(text: str, schema: Schema) -> Any:
    """Return the answer as plain JSON data. Raises InvalidAnswer if it does not fit the JSON Schema."""
    return _read(text, schema).data


def _read(text: str, schema: Schema) -> JsonValue:
    fitting: dict[str, JsonValue] = {}
    errors: list[InvalidAnswer] = []
    is_cut = False
    for value in _values(text, schema):
        inner = member(value, WRAPPER_KEY)
        if value.is_broken:
            if _may_be(value.text[0], schema):
                errors.append(InvalidAnswer(f"the answer is not JSON: {value.problem}"))
                is_cut = value.is_cut
        elif (error := find_problem(value.data, schema)) is None:
            fitting[json.dumps(value.data, sort_keys=True)] = value
        elif inner is not None and find_problem(inner.data, schema) is None:
            fitting[json.dumps(inner.data, sort_keys=True)] = inner
        else:
            errors.append(_not_valid(value) if value.problem else error)
    if not fitting:
        label = bare_text(text)
        scalar = bare_scalar(label.data)
        if _is_label(label.data, schema):
            fitting[label.text] = label
        elif scalar is not None and find_problem(scalar.data, schema) is None:
            fitting[scalar.text] = scalar
    if not fitting:
        raise errors[-1] if errors else InvalidAnswer(f"the answer is not JSON: {_syntax_error(text)}")
    if len(fitting) > 1:
        raise InvalidAnswer(f"the answer is ambiguous: it has {len(fitting)} different values that fit the schema")
    (value,) = fitting.values()
    if value.problem:
        raise _not_valid(value)
    if is_cut:
        raise errors[-1]
    return value


def _values(text: str, schema: Schema) -> list[JsonValue]:
    values = json_values(text)
    if len(values) == 1 and isinstance(encoded := values[0].data, str) and find_problem(encoded, schema) is not None:
        return json_values(encoded) or values
    return values


def _not_valid(value: JsonValue) -> InvalidAnswer:
    return InvalidAnswer(f"the answer is not valid JSON: {value.problem}")


def _is_label(text: str, schema: Schema) -> bool:
    return _accepts(schema, text) and not _accepts(schema, "\N{BULLET}" * len(text))


def _accepts(schema: Schema, text: str) -> bool:
    if find_problem(text, schema) is not None:
        return False
    try:
        if schema.build is not None:
            schema.build(json.dumps(text))
    except InvalidAnswer:
        return False
    return True


def _may_be(opening: str, schema: Schema) -> bool:
    kind = schema.json_schema.get("type")
    return kind not in ("object", "array") or kind == {"{": "object", "[": "array"}[opening]


def _syntax_error(text: str) -> str:
    try:
        json.loads(text)
    except ValueError as error:
        return str(error)
    except RecursionError:
        return "its values are nested too deeply"
    return "it contains no value of its own"


def _of_json(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise RequestError(f"the schema is not JSON: {error}") from error
    if not isinstance(value, Mapping):
        kind = type(cast("object", value)).__name__
        raise RequestError(f"{_WANTED}, not {kind}")
    try:
        text = json.dumps(value, default=dict, allow_nan=False, ensure_ascii=False)
        text.encode()  # fails for a lone surrogate, which can't be sent
        return _unwrapped(json.loads(text))
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestError(f"the schema can't be written as JSON: {error}") from error


def _unwrapped(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Take the schema out of a response format of OpenAI or Anthropic."""
    if value.get("type", "json_schema") != "json_schema":
        return value
    table = as_mapping(value.get("json_schema", value))
    is_format = table.keys() <= {"type", "name", "description", "strict", "schema"}
    return as_mapping(table.get("schema")) or value if is_format else value


def _of_type(cls: Any) -> Schema:
    import pydantic  # a dependency of both SDKs

    from llm_magic.answers.typed_dicts import for_pydantic

    name = str(getattr(cls, "__name__", "")) if isinstance(cls, type) else str(cls)
    unusable = RequestError(f"{_WANTED}, not the class {name}")
    if cls in _VAGUE_TYPES:
        raise unusable
    try:
        is_adapter = isinstance(cls, pydantic.TypeAdapter)
        adapter = cast("pydantic.TypeAdapter[Any]", cls) if is_adapter else pydantic.TypeAdapter[Any](for_pydantic(cls))
        json_schema = adapter.json_schema()
    except (pydantic.errors.PydanticUserError, pydantic.errors.PydanticUndefinedAnnotation) as error:
        if isinstance(cls, type) and cls.__mro__[1:] == (object,) and not dataclasses.is_dataclass(cls):
            raise unusable from None
        raise RequestError(f"no JSON Schema can be made of {name}: {error.message}") from error

    def build(text: str) -> Any:
        try:
            return adapter.validate_json(text)
        except pydantic.ValidationError as error:
            problems = error.errors(include_url=False, include_input=False, include_context=False)
            place, problem = place_of(problems[0]["loc"], json_schema), problems[0]["type"]
            hint = "; ".join(f"{place_of(problem['loc'], json_schema)}: {problem['msg']}" for problem in problems[:5])
            raise InvalidAnswer(f"the answer is not a valid {name}: {problem!r} at {place}", hint=hint) from None
        except Exception as error:  # noqa: BLE001 - a validator of the user's can raise anything
            problem, hint = type(error).__name__, str(error)
            raise InvalidAnswer(f"the answer is not a valid {name}: a validator raised {problem}", hint=hint) from None

    return Schema(json_schema=json_schema, build=build)
