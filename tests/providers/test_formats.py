"""The form in which each endpoint is asked for JSON, against the rules of the endpoints."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import anthropic
import pydantic
import pytest

from llm_magic import Registry
from llm_magic.answers import schema_of
from llm_magic.events import TextDelta
from llm_magic.providers import formats
from llm_magic.providers.base import Finished, ProviderEvent, ProviderRequest
from llm_magic.types import Message
from tests.support import schema_rules
from tests.support.builders import replaced

CURRENT = Registry.load("current")


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    name: str | None = None


class Owner(pydantic.BaseModel):
    pet: Cat | Dog = pydantic.Field(discriminator="kind", description="The pet.")


class Bounds(pydantic.BaseModel):
    count: int = pydantic.Field(ge=1, le=10, description="At least one.")
    share: float = pydantic.Field(gt=0, lt=1, multiple_of=0.1)
    word: str = pydantic.Field(min_length=2, max_length=5, pattern="^a+$")
    several: list[int] = pydantic.Field(min_length=3, max_length=4)


class Mapping(pydantic.BaseModel):
    counts: dict[str, int]


class Nested(pydantic.BaseModel):
    by_name: dict[str, list[Cat]]


class Open(pydantic.BaseModel, extra="allow"):
    name: str


class Closed(pydantic.BaseModel, extra="forbid"):
    name: str


class Anything(pydantic.BaseModel):
    value: Any


class Tree(pydantic.BaseModel):
    label: str
    children: list[Tree]


class Chain(pydantic.BaseModel):
    label: str
    next: Chain | None = pydantic.Field(default=None, description="The rest.")


class Described(pydantic.BaseModel):
    home: Cat = pydantic.Field(description="The cat at home.")
    other: Cat


class Values(pydantic.BaseModel):
    price: Decimal = pydantic.Field(max_digits=5, decimal_places=2)
    at: datetime
    day: date
    length: timedelta
    key: uuid.UUID
    pair: tuple[int, str]
    many: tuple[int, ...]
    mixed: Literal["a", 1, None]
    distinct: set[str]
    url: pydantic.HttpUrl
    mail: str = pydantic.Field(json_schema_extra={"format": "email", "examples": ["a@b.c"]})


class Aliases(pydantic.BaseModel):
    first: int = pydantic.Field(alias="The first")
    second: int = pydantic.Field(validation_alias=pydantic.AliasChoices("x", "y"))


@dataclass
class Line:
    price: Decimal
    pets: list[Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]]
    note: str = "none"
    tags: list[str] = field(default_factory=list)


def object_of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


STRICT, LOOSE, WORDS, FORMAT = "strict", "loose", "words", "format"
CASES: dict[str, tuple[Any, str, str]] = {
    "discriminated union": (Owner, STRICT, FORMAT),
    "constraints": (Bounds, STRICT, FORMAT),
    "mapping": (Mapping, LOOSE, WORDS),
    "nested mapping": (Nested, LOOSE, WORDS),
    "extra allowed": (Open, LOOSE, WORDS),
    "extra forbidden": (Closed, STRICT, FORMAT),
    "any value": (Anything, LOOSE, WORDS),
    "tree": (Tree, STRICT, WORDS),
    "chain": (Chain, STRICT, WORDS),
    "described nested model": (Described, STRICT, FORMAT),
    "values": (Values, STRICT, FORMAT),
    "aliases": (Aliases, STRICT, FORMAT),
    "dataclass with a default list": (Line, LOOSE, FORMAT),
    "root list": (pydantic.RootModel[list[int]], STRICT, FORMAT),
    "root union": (pydantic.RootModel[Cat | Dog], STRICT, FORMAT),
    "root literal": (pydantic.RootModel[Literal["a", "b"]], STRICT, FORMAT),
    "root mapping": (pydantic.RootModel[dict[str, int]], LOOSE, WORDS),
    "enum with null": (object_of(a={"type": ["string", "null"], "enum": ["low", "high", None]}), STRICT, FORMAT),
    "enum without a type": (object_of(a={"enum": ["low", 1, None, True]}), STRICT, FORMAT),
    "enum of objects": (object_of(a={"enum": [{"b": 1}]}), LOOSE, WORDS),
    "const": (object_of(a={"const": 1}), STRICT, FORMAT),
    "nullable types": (object_of(a={"type": ["integer", "string", "null"], "minimum": 1}), STRICT, FORMAT),
    "nullable array": (object_of(a={"type": ["array", "null"], "items": {"type": "integer"}}), STRICT, FORMAT),
    "oneOf": (object_of(a={"oneOf": [{"type": "integer"}, {"type": "string", "maxLength": 3}]}), STRICT, FORMAT),
    "allOf": ({"allOf": [object_of(a={"type": "integer"}), object_of(b={"type": "string"})]}, STRICT, FORMAT),
    "allOf of one reference": (
        object_of(a={"allOf": [{"$ref": "#/$defs/n"}], "default": 1}) | {"$defs": {"n": {"type": "integer"}}},
        STRICT,
        FORMAT,
    ),
    "if and then": (object_of(a={"type": "string"}) | {"if": {}, "then": {"required": ["b"]}}, LOOSE, WORDS),
    "not": (object_of(a={"type": "string", "not": {"const": "x"}}), STRICT, FORMAT),
    "patternProperties": ({"type": "object", "patternProperties": {"^x": {}}}, LOOSE, WORDS),
    "free object": ({"type": "object"}, LOOSE, WORDS),
    "free array": (object_of(a={"type": "array"}), LOOSE, WORDS),
    "boolean subschema": (object_of(a=True), LOOSE, WORDS),
    "empty schema": ({}, LOOSE, WORDS),
    "optional property": ({"type": "object", "properties": {"a": {"type": "integer"}}}, LOOSE, FORMAT),
    "optional property with a default": (
        {"type": "object", "properties": {"a": {"type": "integer", "default": 3}}},
        STRICT,
        FORMAT,
    ),
    "root array": ({"type": "array", "items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "number"}}}, STRICT, FORMAT),
    "root reference": ({"$ref": "#/$defs/n", "$defs": {"n": object_of(a={"type": "null"})}}, STRICT, FORMAT),
    "definitions": (
        object_of(a={"$ref": "#/definitions/n"}, b={"$ref": "#/properties/a"})
        | {"definitions": {"n": {"type": "integer", "minimum": 1}}},
        STRICT,
        FORMAT,
    ),
    "reference to the root": (object_of(a={"anyOf": [{"$ref": "#"}, {"type": "null"}]}), STRICT, WORDS),
    "recursive array": ({"type": "array", "items": {"$ref": "#"}}, STRICT, WORDS),
    "tuple of the older drafts": (
        object_of(a={"type": "array", "items": [{"type": "integer"}]})
        | {"$schema": "http://json-schema.org/draft-07/schema#"},
        STRICT,
        FORMAT,
    ),
    "lookahead": (object_of(a={"type": "string", "pattern": "^(?!x).*$"}), STRICT, FORMAT),
    "ECMA names in a pattern": (object_of(a={"type": "string", "pattern": "^a\\b"}), STRICT, FORMAT),
    "custom keywords": (object_of(a={"type": "string", "x-note": "hi", "examples": ["a"]}), STRICT, FORMAT),
    "properties without a type": ({"properties": {"a": {"minimum": 1}}, "required": ["a"]}, STRICT, FORMAT),
    "many optional properties": (
        {"type": "object", "properties": {f"p{n}": {"type": "integer", "default": 1} for n in range(30)}},
        STRICT,
        WORDS,
    ),
    "many unions": (object_of(**{f"p{n}": {"type": ["integer", "null"]} for n in range(20)}), STRICT, WORDS),
    "deep": (
        {"type": "array", "items": __import__("functools").reduce(
            lambda inner, _: {"type": "array", "items": inner}, range(12), {"type": "integer"})},
        LOOSE,
        FORMAT,
    ),
    "large enum": (object_of(a={"type": "string", "enum": [f"value {n}" for n in range(1_200)]}), LOOSE, FORMAT),
}  # fmt: skip


def ask(schema: Any, model_id: str = "gpt-6.1-terra", **fields: Any) -> ProviderRequest:
    return ProviderRequest(
        model=replaced(CURRENT[model_id], **fields),
        messages=(Message(role="user", content="Who?"),),
        max_output_tokens=10,
        schema=schema_of(schema),
    )


@pytest.mark.parametrize("name", CASES)
def test_gpt_is_sent_a_schema_that_it_takes(name: str) -> None:
    schema, mode, _ = CASES[name]
    answer_format = formats.for_openai(ask(schema))
    json_schema = answer_format.params["response_format"]["json_schema"]
    complaint = (schema_rules.openai_strict if mode == STRICT else schema_rules.openai_loose)(json_schema["schema"])
    assert (json_schema["strict"], complaint) == (mode == STRICT, None)
    assert answer_format.instruction == ""


@pytest.mark.parametrize("name", CASES)
def test_claude_is_sent_a_schema_that_it_takes_or_none(name: str) -> None:
    schema, _, mode = CASES[name]
    answer_format = formats.for_claude(ask(schema, "claude-sonnet-5-5"), anthropic)
    if mode == WORDS:
        assert answer_format.params == {}
        assert schema_of(schema).text in answer_format.instruction
    else:
        assert schema_rules.claude(answer_format.params["format"]["schema"]) is None
        assert answer_format.instruction == ""


@pytest.mark.parametrize("schema", [Owner, Bounds, Closed, Described, Aliases, pydantic.RootModel[list[Cat]]])
def test_claude_is_sent_what_its_sdk_makes_of_a_class(schema: type[Any]) -> None:
    sent = formats.for_claude(ask(schema, "claude-sonnet-5-5"), anthropic).params["format"]["schema"]
    assert sent == anthropic.transform_schema(pydantic.TypeAdapter(schema).json_schema())


def test_claude_is_asked_in_words_by_an_sdk_without_schemas() -> None:
    answer_format = formats.for_claude(ask(Closed, "claude-sonnet-5-5"), SimpleNamespace())
    assert (answer_format.params, "JSON Schema" in answer_format.instruction) == ({}, True)


def test_constraints_that_strict_mode_lacks_are_described() -> None:
    params = formats.for_openai(ask(Bounds)).params
    word = params["response_format"]["json_schema"]["schema"]["properties"]["word"]
    assert json.loads(word["description"]) == {"maxLength": 5, "minLength": 2}
    assert word["pattern"] == "^a+$"


def test_a_rewritten_schema_stays_within_what_was_reserved_for_it() -> None:
    names = {"type": "string", "enum": [f"a long name of a value {n}" for n in range(100)]}
    references = {f"p{n}": {"$ref": "#/$defs/names", "description": str(n)} for n in range(100)}
    schema = schema_of(object_of(**references) | {"$defs": {"names": names}})
    params = formats.for_openai(ask(schema)).params
    assert params["response_format"]["json_schema"] == {"name": "answer", "schema": schema.json_schema, "strict": False}


@pytest.mark.parametrize(
    ("json_mode", "schema", "kind", "words"),
    [
        ("schema", Closed, "json_schema", ""),
        ("object", Closed, "json_object", '"name"'),
        ("object", pydantic.RootModel[list[int]], "json_object", '"value"'),
        ("none", pydantic.RootModel[list[int]], None, "JSON"),
    ],
)
def test_the_registrys_json_mode_decides_the_form(json_mode: str, schema: Any, kind: str | None, words: str) -> None:
    request = ask(schema, "deepseek-flash", json_mode=json_mode)
    answer_format = formats.for_openai(request)
    assert answer_format.params.get("response_format", {}).get("type") == kind
    assert words in answer_format.instruction
    assert formats.is_wrapped(request) == (words == '"value"')
    if json_mode == "none":
        assert formats.for_claude(request, anthropic) == answer_format


END = Finished(finish_reason="stop", served_model="m")


async def streamed(*texts: str) -> AsyncGenerator[ProviderEvent]:
    for text in texts:
        yield TextDelta(text=text)
    yield END


@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        (['{"value": [1, 2]}'], "[1, 2]"),
        (list('{ "value" :\n[1, {"a": 2}] } \n'), '[1, {"a": 2}]'),
        (list('{"value": "a } b }"}'), '"a } b }"'),
        (list('{"value": {"value": 1}}'), '{"value": 1}'),
        (['{"value": [1, 2'], "[1, 2"),
        (list("[1, 2]"), "[1, 2]"),
        (list('{"values": [1]}'), '{"values": [1]}'),
        (['{"val'], '{"val'),
        (["Here: ", '{"value": 1}'], 'Here: {"value": 1}'),
    ],
)
async def test_the_object_around_a_wrapped_answer_is_removed(texts: list[str], shown: str) -> None:
    events = [event async for event in formats.unwrapped(streamed(*texts))]
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == shown
    assert all(event.text for event in events if isinstance(event, TextDelta))
    assert events[-1] == END
