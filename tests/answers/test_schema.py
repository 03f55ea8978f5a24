"""Schemas: what they are made from, what an answer has to fit, and what becomes of its data."""

from __future__ import annotations

import enum
import threading
import typing
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Annotated, Any, NotRequired

import pydantic
import pytest
from typing_extensions import TypedDict

from llm_magic import InvalidAnswer, RequestError
from llm_magic.answers import parse, schema_of
from llm_magic.answers.portable import portable
from llm_magic.testing import Reply, ScriptedProvider
from llm_magic.types import Schema
from tests.support import builders
from tests.support.builders import model


class Person(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(ge=0)

    @pydantic.field_validator("name")
    @classmethod
    def known(cls, name: str) -> str:
        if name != "Ada":
            raise ValueError(f"{name} is not in the list of staff")
        return name


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Line:
    price: Decimal
    color: Color


@dataclass
class Order:
    placed_at: datetime
    due: date
    lines: list[Line]
    prices: dict[str, int] = field(default_factory=dict)


ORDER = """{"placed_at": "2026-11-24T12:00:00Z", "due": "2026-12-01", "lines":
 [{"price": "0.10", "color": "red"}, {"price": 2.5, "color": "blue"}], "prices": {"secret": 3}}"""
ADA, EVE = '{"name": "Ada", "age": 36}', '{"name": "Eve", "age": 36}'


def answering(*texts: str) -> ScriptedProvider:
    return ScriptedProvider([Reply(chunks=(text,)) for text in texts])


def invalid(text: str, schema: Schema) -> InvalidAnswer:
    with pytest.raises(InvalidAnswer) as caught:
        parse(text, schema)
    return caught.value


def test_a_pydantic_model_gives_an_instance() -> None:
    person = parse(f"```json\n{ADA}\n```", schema_of(Person))
    assert person == Person(name="Ada", age=36)
    assert person.model_dump() == {"name": "Ada", "age": 36}


def test_a_dataclass_gives_an_instance_with_converted_fields() -> None:
    order = parse(ORDER, schema_of(Order))
    assert isinstance(order, Order)
    assert order.placed_at.isoformat() == "2026-11-24T12:00:00+00:00"
    assert order.due == date(2026, 12, 1)
    assert order.lines == [Line(Decimal("0.10"), Color.RED), Line(Decimal("2.5"), Color.BLUE)]


def test_a_model_in_strict_mode_still_reads_dates_from_json() -> None:
    class Event(pydantic.BaseModel, strict=True):
        day: date

    assert parse('{"day": "2026-11-24"}', schema_of(Event)).day == date(2026, 11, 24)


@pytest.mark.parametrize("schema", [{"type": "object"}, '{"type": "object"}'])
def test_a_json_schema_gives_plain_data(schema: Any) -> None:
    assert parse(ADA, schema_of(schema)) == {"name": "Ada", "age": 36}


@pytest.mark.parametrize(
    "response_format",
    [
        {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": {"type": "integer"}}},
        {"type": "json_schema", "name": "answer", "schema": {"type": "integer"}},
        {"name": "answer", "description": "A number", "schema": {"type": "integer"}},
        {"type": "json_schema", "schema": {"type": "integer"}},
    ],
)
def test_the_schema_of_a_response_format_is_used(response_format: dict[str, Any]) -> None:
    assert schema_of(response_format).json_schema == {"type": "integer"}


@pytest.mark.parametrize(("key", "ref"), [("a b", "a%20b"), ("a/b", "a~1b"), ("Größe", "Gr%C3%B6%C3%9Fe")])
def test_a_definition_is_sent_under_a_name_that_needs_no_encoding(key: str, ref: str) -> None:
    sent = portable({"$ref": f"#/$defs/{ref}", "$defs": {key: {"type": "integer"}}})
    name = sent["$ref"].removeprefix("#/$defs/")
    assert sent["$defs"] == {name: {"type": "integer"}}
    assert not {"%", "~", " "} & set(name)


def test_a_reference_may_be_percent_encoded() -> None:
    schema = schema_of({"$ref": "#/$defs/a%20b", "$defs": {"a b": {"type": "integer"}}})
    assert parse("7", schema) == 7
    invalid('"x"', schema)


def test_a_schema_is_kept_as_it_is() -> None:
    schema = schema_of(Person)
    assert schema_of(schema) is schema


def test_the_json_schema_is_checked_before_the_instance_is_built() -> None:
    assert str(invalid('{"name": "Ada"}', schema_of(Person))) == (
        "the answer does not fit the schema: 'required' fails at $"
    )


def test_an_error_of_a_validator_names_the_place_and_quotes_nothing() -> None:
    error = invalid(EVE, schema_of(Person))
    assert str(error) == "the answer is not a valid Person: 'value_error' at $.name"
    assert error.hint == "$.name: Value error, Eve is not in the list of staff"
    assert error.__cause__ is None
    assert error.__suppress_context__


def test_a_key_of_the_answer_is_not_quoted() -> None:
    @dataclass
    class Ages:
        by_name: dict[str, int]
        nested: list[dict[str, Decimal]]

        def __post_init__(self) -> None:
            raise KeyError("secret")

    error = invalid('{"by_name": {"secret": 1}, "nested": []}', schema_of(Ages))
    assert str(error) == "the answer is not a valid Ages: a validator raised KeyError"

    class Even(pydantic.BaseModel):
        by_name: dict[str, pydantic.conint(multiple_of=2)]  # type: ignore[valid-type]

        @pydantic.field_validator("by_name", mode="before")
        @classmethod
        def odd(cls, by_name: dict[str, int]) -> dict[str, int]:
            return dict.fromkeys(by_name, 3)

    error = invalid('{"by_name": {"secret": 2}}', schema_of(Even))
    assert str(error) == "the answer is not a valid Even: 'multiple_of' at $.by_name.*"
    assert "secret" not in error.hint


@pytest.mark.parametrize(
    ("kind", "answer", "value"),
    [
        (bool, "true", True),
        (int, "```json\n7\n```", 7),
        (Decimal, '"0.10"', Decimal("0.10")),
        (date, "2026-11-24", date(2026, 11, 24)),
        (timedelta, '"PT90S"', timedelta(seconds=90)),
        (uuid.UUID, "00000000-0000-0000-0000-000000000001", uuid.UUID(int=1)),
        (PurePath, '"a/b"', PurePath("a/b")),
        (typing.NewType("Share", float), "0.5", 0.5),
        (set[int], "[1, 2]", {1, 2}),
        (bool, "True", True),
        (bool, "**false**", False),
        (bool, "<think>It is not.</think>\nFalse.", False),
        (int, "`42`", 42),
        (typing.Literal[1, 2], "**2**", 2),
        (float | None, "Null", None),
        (pydantic.TypeAdapter(bool), "true", True),
        (pydantic.TypeAdapter(list[date]), '["2026-11-24"]', [date(2026, 11, 24)]),
    ],
)
def test_a_plain_type_can_be_a_schema(kind: Any, answer: str, value: object) -> None:
    assert parse(answer, schema_of(kind)) == value
    with pytest.raises(InvalidAnswer):
        parse('{"a": 1}', schema_of(kind))


@pytest.mark.parametrize(
    ("kind", "answer"), [(bool, "yes"), (bool, "True or False"), (int, "NaN"), (float, "Infinity"), (int, "1,000")]
)
def test_a_scalar_in_other_words_is_invalid(kind: Any, answer: str) -> None:
    invalid(answer, schema_of(kind))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "a schema must be a JSON Schema, a Pydantic model or a dataclass, not int"),
        (dict, "a schema must be a JSON Schema, a Pydantic model or a dataclass, not the class dict"),
        (str, "a schema must be a JSON Schema, a Pydantic model or a dataclass, not the class str"),
        (threading.Event, "a schema must be a JSON Schema, a Pydantic model or a dataclass, not the class Event"),
        ("{", "the schema is not JSON"),
        ({"type": "nonsense"}, "not a valid JSON Schema"),
    ],
)
def test_an_unusable_schema_is_a_request_error(value: object, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        schema_of(value)


def test_a_class_with_an_undefined_annotation_is_a_request_error() -> None:
    @dataclass
    class Odd:
        what: Nowhere  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(RequestError, match="no JSON Schema can be made of Odd"):
        schema_of(Odd)


async def test_a_validators_error_is_billed_and_repaired_once_with_its_message() -> None:
    scripted = answering(EVE, ADA)
    router = builders.router(model("only"), providers={"cloud": scripted})
    result = await router.route("Who?", schema=Person)
    assert result.data == Person(name="Ada", age=36)
    first, second = router.ledger.rows()
    assert (first.outcome, second.outcome) == ("invalid", "ok")
    assert first.cost_usd > 0
    assert first.error == "the answer is not a valid Person: 'value_error' at $.name"
    assert "Eve is not in the list of staff" in scripted.requests[1].messages[-1].content
    assert any("Eve is not in the list of staff" in note for note in result.notes)


@pytest.mark.parametrize(
    ("schema", "build"), [(Person, lambda: Person(name="Ada", age=36)), ({}, lambda: {"name": "Ada", "age": 36})]
)
def test_a_cached_answer_is_rebuilt(schema: Any, build: Callable[[], object]) -> None:
    router = builders.router(providers={"cloud": answering(ADA)})
    first, second = (router.route_sync("Who?", schema=schema, cache=True) for _ in range(2))
    assert second.cached
    assert first.data == second.data == build()
    assert first.data is not second.data


def test_a_cached_answer_that_another_class_rejects_is_asked_again() -> None:
    def person(*, youngest: int) -> type[pydantic.BaseModel]:
        class Person(pydantic.BaseModel):
            age: int

            @pydantic.field_validator("age")
            @classmethod
            def check(cls, age: int) -> int:
                assert age >= youngest
                return age

        return Person

    router = builders.router(model("only"), providers={"cloud": answering('{"age": 20}', '{"age": 40}')})
    asked: dict[str, Any] = {"cache": True}
    assert router.route_sync("Who?", schema=person(youngest=18), **asked).data.age == 20
    assert router.route_sync("Who?", schema=person(youngest=30), **asked).data.age == 40


async def test_each_answer_of_a_comparison_is_an_instance() -> None:
    router = builders.router(model("a"), model("b"), providers={"cloud": answering(ADA)})
    compared = await router.compare("Who?", models=["a", "b"], schema=Person)
    assert [result.data for result in compared.results] == [Person(name="Ada", age=36)] * 2


class Point(typing.NamedTuple):
    x: int
    y: int = 0


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Studio(typing.TypedDict, total=False):
    name: typing.Required[str]
    movies: list[Movie]
    rivals: dict[str, Person | None]


class Country(typing.TypedDict):
    studios: Annotated[list[Studio], pydantic.Field(min_length=1)]


@pytest.mark.parametrize(
    ("schema", "text", "data"),
    [
        (Movie, '{"title": "Alien"}', {"title": "Alien"}),
        (list[Movie], '[{"title": "Alien", "year": 1979}]', [{"title": "Alien", "year": 1979}]),
        (Studio, '{"name": "A"}', {"name": "A"}),
        (
            Country,
            '{"studios": [{"name": "A", "movies": [{"title": "Alien"}], "rivals": {"b": null}}]}',
            {"studios": [{"name": "A", "movies": [{"title": "Alien"}], "rivals": {"b": None}}]},
        ),
        (Studio | None, "null", None),
        (dict[str, Decimal], '{"a": "0.1"}', {"a": Decimal("0.1")}),
        (Color | None, '"red"', Color.RED),
        (list[Annotated[int, pydantic.Field(ge=1)]], "[1]", [1]),
        (Color, '"red"', Color.RED),
        (Point, "[1, 2]", Point(1, 2)),
    ],
)
def test_a_type_gives_its_values(schema: Any, text: str, data: object) -> None:
    assert parse(text, schema_of(schema)) == data


def test_a_missing_key_of_a_typed_dict_is_invalid() -> None:
    assert "'required' fails at $.studios[0]" in str(invalid('{"studios": [{}]}', schema_of(Country)))


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"$ref": "#/$defs/missing"}, "points to nothing"),
        ({"properties": {"a": {"$ref": "#/properties/b"}}}, "points to nothing"),
        ({"$ref": "#"}, "points to itself"),
        ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "points to itself"),
        ({"$ref": "https://example.org/schema.json"}, "points to another document"),
        ({"pattern": "(unclosed"}, "is not a 'regex'"),
        ({"patternProperties": {r"\p{L}": {}}}, "is not a 'regex'"),
        ({"const": Decimal(1)}, "can't be written as JSON"),
        ({"maximum": float("inf")}, "can't be written as JSON"),
        ({"const": "\ud800"}, "can't be written as JSON"),
        ('{"maximum": NaN}', "can't be written as JSON"),
    ],
)
def test_a_schema_that_can_check_no_answer_is_rejected_before_anything_is_sent(schema: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        schema_of(schema)


def test_a_schema_keeps_its_content_if_the_callers_dict_changes() -> None:
    mine: dict[str, Any] = {"type": "object", "required": ("a",)}
    schema = schema_of(mine)
    mine.clear()
    assert schema.json_schema == {"type": "object", "required": ["a"]}


def test_a_multiple_of_a_decimal_fraction_is_exact() -> None:
    class Price(pydantic.BaseModel):
        amount: Decimal = pydantic.Field(multiple_of=Decimal("0.01"))

    assert parse('{"amount": 0.07}', schema_of(Price)) == Price(amount=Decimal("0.07"))
    assert parse("0.07", schema_of({"multipleOf": 0.01})) == 0.07
    assert "'multipleOf' fails at $" in str(invalid("0.075", schema_of({"multipleOf": 0.01})))


def test_a_pattern_in_pydantics_syntax_is_checked_by_pydantic() -> None:
    class Name(pydantic.BaseModel):
        name: str = pydantic.Field(pattern=r"^\p{Lu}\p{L}*$")

    assert parse('{"name": "Élan"}', schema_of(Name)).name == "Élan"
    assert "'string_pattern_mismatch' at $.name" in str(invalid('{"name": "élan"}', schema_of(Name)))


def test_a_key_of_a_mapping_is_not_quoted() -> None:
    error = invalid('{"secret": "a"}', schema_of({"additionalProperties": {"type": "integer"}}))
    assert str(error) == "the answer does not fit the schema: 'type' fails at $.*"
    assert error.hint == "'a' is not of type 'integer'"


def test_nested_data_beyond_the_recursion_limit_is_an_invalid_answer() -> None:
    schema = schema_of({"properties": {"a": {"$ref": "#"}}})
    with pytest.raises(InvalidAnswer, match="nested too deeply"):
        parse('{"a":' * 400 + "1" + "}" * 400, schema)
