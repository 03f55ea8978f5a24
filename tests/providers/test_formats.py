"""The form in which each endpoint is asked for JSON, against the rules of the endpoints."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

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
from tests.support.schemas import CASES, STRICT, WORDS, Aliases, Bounds, Cat, Closed, Described, Owner, object_of

CURRENT = Registry.load("current")


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
