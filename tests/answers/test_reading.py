"""The JSON in an answer: accepted wherever only one reading is possible."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pydantic
import pytest

from llm_magic import InvalidAnswer
from llm_magic.answers import parse, schema_of
from llm_magic.testing import Reply, ScriptedProvider
from tests.support import builders
from tests.support.builders import model

POINT = schema_of({"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]})
TREE = schema_of({"type": "object", "properties": {"x": {}, "in": {"$ref": "#"}}, "required": ["x"]})
NUMBERS = schema_of({"type": "array", "items": {"type": "integer"}})
WORD = schema_of({"type": "string"})
NUMBER = schema_of({"type": "number"})
ANYTHING = schema_of({})

READ: list[tuple[Any, str, Any]] = [
    (POINT, '{"x": 2}', {"x": 2}),
    (POINT, '\ufeff{"x": 2}', {"x": 2}),
    (POINT, '\ufeff\n ```json\n{"x": 2}\n```', {"x": 2}),
    (POINT, '```json\n{"x": 2}\n```', {"x": 2}),
    (POINT, '```\n{"x": 2}', {"x": 2}),
    (POINT, '```json {"x": 2}```', {"x": 2}),
    (POINT, '~~~json\n{"x": 2}\n~~~', {"x": 2}),
    (POINT, '<think>maybe {"x": 1}</think>{"x": 2}', {"x": 2}),
    (POINT, '<think>maybe {"x": 1}</think>\n<think>no { </think>\n```json\n{"x": 2}\n```', {"x": 2}),
    (POINT, '<thinking>\n{"x": 1}\n</thinking>{"x": 2}', {"x": 2}),
    (POINT, 'maybe {"x": 1}, then\n</think>\n{"x": 2}', {"x": 2}),
    (POINT, 'Here it is:\n```json\n{"x": 2}\n```\nSource: [1]', {"x": 2}),
    (POINT, 'Here it is: {"x": 2}', {"x": 2}),
    (POINT, '{"x": 2} Hope this helps!', {"x": 2}),
    (POINT, '{"x": 2}\n\n**Explanation:** the set {a, b} has [2) elements, see [1] and {"y": 3}.', {"x": 2}),
    (POINT, '{"x": 2}\n{"x": 2}', {"x": 2}),
    (POINT, 'The draft {"x": 1, ...} became {"x": 2}', {"x": 2}),
    (POINT, '\\boxed{{"x": 2}}', {"x": 2}),
    (POINT, '{"x": 2, "html": "</think> {\\"x\\": 1}"}', {"x": 2, "html": '</think> {"x": 1}'}),
    (POINT, '```json\n{"x": 2, "note": "a </think> b"}\n```', {"x": 2, "note": "a </think> b"}),
    (POINT, '{"x": 2, "note": "a\nb"}', {"x": 2, "note": "a\nb"}),
    (POINT, '{"x": 2, "x": 2}', {"x": 2}),
    (POINT, '{"value": {"x": 2}}', {"x": 2}),
    (POINT, 'Done: {"x": 2} where [1, see below', {"x": 2}),
    (TREE, '{"x": 1, "in": {"x": 2}}', {"x": 1, "in": {"x": 2}}),
    (NUMBERS, "[1, 2]", [1, 2]),
    (NUMBERS, 'The list: [1, 2] (from {"x": [3]}).', [1, 2]),
    (NUMBERS, '```json\n{"value": [1, 2]}\n```', [1, 2]),
    (NUMBERS, "[]", []),
    (WORD, '"Paris"', "Paris"),
    (WORD, 'The capital is:\n"Paris"', "Paris"),
    (WORD, '```json\n"Paris"\n```\nHope this helps!', "Paris"),
    (NUMBER, "```\n42\n```", 42),
    (NUMBER, "1e3", 1000.0),
    (ANYTHING, "null", None),
    (ANYTHING, 'It is {"a": [1]}.', {"a": [1]}),
    (POINT, json.dumps('{"x": 1}'), {"x": 1}),
]  # fmt: skip

WHOLE = schema_of({"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]})
AMBIGUOUS = "ambiguous: it has 2 different values that fit the schema"
INVALID: list[tuple[Any, str, str]] = [
    (POINT, 'For example {"x": 1}. The answer: {"x": 2}', AMBIGUOUS),
    (POINT, '```json\n{"x": 1}\n```\nor\n```json\n{"x": 2}\n```', AMBIGUOUS),
    (NUMBERS, "[1, 2] (see [1])", AMBIGUOUS),
    (NUMBER, "1\n2", AMBIGUOUS),
    (POINT, '{"x": NaN}', "it contains NaN, which is not JSON"),
    (POINT, '```json\n{"x": -Infinity}\n```', "it contains -Infinity, which is not JSON"),
    (POINT, 'So: {"x": Infinity}.', "it contains Infinity, which is not JSON"),
    (WHOLE, '{"x": NaN}', "it contains NaN, which is not JSON"),
    (NUMBER, ".5", "the answer is not JSON"),
    (POINT, '{"x": 1e999}', "it contains a number that is too large"),
    (POINT, '{"x": ' + "9" * 5_000 + "}", "it contains a number with too many digits"),
    (POINT, '{"x": 1, "x": 2}', "an object has the same key twice, with different values"),
    (POINT, '{"x": 1, "in": {"a": 1, "a": 2}}', "an object has the same key twice, with different values"),
    (POINT, '{"x": 1', "it ends in the middle of a value"),
    (POINT, '{"x": 1}\n{"x":', "it ends in the middle of a value"),
    (TREE, '{"x": 1, "in": {"x": 2}', "it ends in the middle of a value"),
    (TREE, '{"x": 1, "in": {"x": 2}, y: 3}', "a value has an error in its syntax"),
    (NUMBERS, "{'a': [1, 2]}", "the answer is not JSON"),
    (NUMBERS, "[1, [2, 3]", "it ends in the middle of a value"),
    (POINT, "[" * 100_000, "nested too deeply"),
    (ANYTHING, '{"a":' * 100_000, "nested too deeply"),
    (POINT, "{a" * 100_000, "the answer is not JSON"),
    (POINT, "I can't answer this.", "the answer is not JSON"),
    (POINT, "", "the answer is not JSON"),
    (POINT, '<think>{"x": 1}', "the answer is not JSON"),
    (POINT, '{"y": 1}', "'required' fails at $"),
    (POINT, 'It is {"x": "2"}.', "'type' fails at $.x"),
    (POINT, "[1]", "'type' fails at $"),
    (WORD, "Paris", "the answer is not JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "text", "data"), READ)
def test_the_one_reading_of_an_answer_is_accepted(schema: Any, text: str, data: Any) -> None:
    assert parse(text, schema) == data


@pytest.mark.parametrize(("schema", "text", "reason"), INVALID)
def test_an_answer_without_a_single_valid_reading_is_invalid_and_says_so(schema: Any, text: str, reason: str) -> None:
    with pytest.raises(InvalidAnswer) as caught:
        parse(text, schema)
    assert reason in str(caught.value)


def test_an_instance_is_built_from_the_exact_text_of_its_value() -> None:
    class Price(pydantic.BaseModel):
        amount: Decimal

    text = 'It costs:\n```json\n{"value": {"amount": "0.10000000000000000001"}}\n```'
    assert parse(text, schema_of(Price)).amount == Decimal("0.10000000000000000001")
    assert parse('{"amount": "0.10",\n "note": "a\nb"}', schema_of(Price)).amount == Decimal("0.10")


@pytest.mark.parametrize("wrapping", ["{}", "<think>hm</think>{}", "Here you are:\n```json\n{}\n```", "```json\n{}"])
async def test_text_around_the_json_costs_no_second_request(wrapping: str) -> None:
    scripted = ScriptedProvider([Reply(chunks=(wrapping.format('{"x": 2}'),))])
    router = builders.router(model("only"), providers={"cloud": scripted})
    result = await router.route("Where?", schema=POINT)
    assert (result.data, len(scripted.requests)) == ({"x": 2}, 1)


LABEL: dict[str, Any] = {"type": "string", "enum": ["red", "dark blue"]}


@pytest.mark.parametrize("text", ["dark blue", " dark blue.\n", "**dark blue**", "`dark blue`", "```\ndark blue\n```", "```text\ndark blue", "<think>red?</think>\n\ndark blue", "'dark blue'"])  # fmt: skip
@pytest.mark.parametrize(
    "schema", [LABEL, {"anyOf": [LABEL, {"type": "null"}]}, {"type": "string", "pattern": "^d.*e$"}]
)
def test_a_label_without_quotes_is_accepted(schema: Any, text: str) -> None:
    assert parse(text, schema_of(schema)) == "dark blue"


@pytest.mark.parametrize("text", ["1", "true", "null"])
def test_a_label_that_is_a_number_in_json_is_accepted_without_quotes(text: str) -> None:
    assert parse(text, schema_of({"enum": ["1", "true", "null", "x"]})) == text


@pytest.mark.parametrize(("schema", "text"), [(LABEL, "green"), (LABEL, "red or dark blue"), ({"type": "string"}, "I can't say"), ({"type": "object"}, "red"), ({"type": "string", "minLength": 3}, "I can't say"), ({"type": "string", "maxLength": 20}, "Sorry")])  # fmt: skip
def test_words_that_are_not_a_label_are_invalid(schema: Any, text: str) -> None:
    with pytest.raises(InvalidAnswer, match="is not JSON"):
        parse(text, schema_of(schema))
