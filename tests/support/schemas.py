"""Schemas of every kind that users write, and the form in which GPT and Claude are asked for each."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import reduce
from typing import Annotated, Any, Literal

import pydantic


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
        {"type": "array", "items": reduce(
            lambda inner, _: {"type": "array", "items": inner}, range(12), {"type": "integer"})},
        LOOSE,
        FORMAT,
    ),
    "large enum": (object_of(a={"type": "string", "enum": [f"value {n}" for n in range(1_200)]}), LOOSE, FORMAT),
}  # fmt: skip


HARD_TO_COMPILE: dict[str, dict[str, Any]] = {
    "a property that is false": {"type": "object", "properties": {"a": False, "b": {"type": "integer"}}},
    "a long text": object_of(a={"type": "string", "minLength": 20_000}),
    "a long text in an open object": object_of(a={"type": "string", "minLength": 20_000})
    | {"additionalProperties": True},
    "a long list": object_of(a={"type": "array", "items": {"type": "integer"}, "minItems": 100_000}),
    "an empty alternative": object_of(a={"type": "string", "pattern": "^(|a|)*$"}),
    "a long repetition": object_of(a={"type": "string", "pattern": "^a{10000}$"}),
    "bounds beyond 64 bits": object_of(a={"type": "integer", "minimum": -(10**30), "maximum": 10**40}),
    "bounds that exclude each other": object_of(a={"type": "integer", "minimum": 5, "maximum": 1}),
    "a definition within itself": {
        "$defs": {
            "a": {"anyOf": [{"$ref": "#/$defs/b"}, {"type": "integer"}]},
            "b": {"anyOf": [{"$ref": "#/$defs/a"}]},
        },
        **object_of(x={"$ref": "#/$defs/a"}),
    },
}
"""Schemas that the embedded engine refuses as they are."""
