"""Random schemas are sent in forms that the endpoints take, and random answers that fit are accepted in any wrapping."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import jsonschema
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llm_magic import Registry
from llm_magic.answers import parse, schema_of
from llm_magic.providers import formats
from llm_magic.providers.base import ProviderRequest
from llm_magic.providers.local.grammar import for_grammar
from llm_magic.types import Message
from tests.support import schema_rules
from tests.support.builders import replaced
from tests.support.fuzzing import examples

CURRENT = Registry.load("current")
Pair = tuple[Any, Any]
"""A schema, and an answer that fits it and has every stated property."""

NAMES = st.sampled_from(["a", "b", "c", "value", "type", "$ref", "ключ", "two words", 'quo"te', "a/b~c"])
TEXTS = st.text(max_size=12)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(10**12), 10**12), st.floats(-1e9, 1e9), TEXTS)
NOTES = st.fixed_dictionaries(
    {}, optional={"title": TEXTS, "description": TEXTS, "examples": st.just([1]), "deprecated": st.just(True)}
)


@st.composite
def texts(draw: st.DrawFn) -> Pair:
    text = draw(TEXTS)
    limits = {"minLength": len(text), "maxLength": len(text) + 5, "pattern": "^[^\\x00]*|(?!x)"}
    chosen = draw(st.sets(st.sampled_from(sorted(limits))))
    assume("pattern" not in chosen or "\0" not in text)
    return {"type": "string", **{key: limits[key] for key in chosen}}, text


@st.composite
def numbers(draw: st.DrawFn) -> Pair:
    kind = draw(st.sampled_from(["integer", "number"]))
    number = draw(st.integers(-(10**12), 10**12) if kind == "integer" else st.floats(-1e9, 1e9))
    limits = {"minimum": number - 1, "maximum": number + 1, "exclusiveMaximum": number + 2}
    return {"type": kind, **{key: limits[key] for key in draw(st.sets(st.sampled_from(sorted(limits))))}}, number


@st.composite
def literals(draw: st.DrawFn) -> Pair:
    value = draw(SCALARS)
    if draw(st.booleans()):
        return {"const": value}, value
    others = draw(st.lists(SCALARS, max_size=3, unique_by=repr))
    return {"enum": [value, *(other for other in others if other != value)]}, value


@st.composite
def arrays(draw: st.DrawFn, parts: st.SearchStrategy[Pair]) -> Pair:
    if draw(st.booleans()):
        pairs = draw(st.lists(parts, min_size=1, max_size=3))
        schema = {"type": "array", "prefixItems": [schema for schema, _ in pairs], "items": False}
        return schema | {"minItems": len(pairs), "maxItems": len(pairs)}, [value for _, value in pairs]
    schema, value = draw(parts)
    count = draw(st.integers(0, 3))
    limits = draw(st.sampled_from([{}, {"minItems": count}, {"maxItems": count + 1}, {"minItems": 0}]))
    return {"type": "array", "items": schema, **limits}, [value] * count


@st.composite
def objects(draw: st.DrawFn, parts: st.SearchStrategy[Pair]) -> Pair:
    pairs = draw(st.dictionaries(NAMES, parts, max_size=4))
    schema: dict[str, Any] = {"type": "object", "properties": {name: pair[0] for name, pair in pairs.items()}}
    schema["required"] = [name for name in pairs if draw(st.integers(0, 3))]
    schema |= draw(st.sampled_from([{}, {}, {"additionalProperties": False}, {"additionalProperties": True}]))
    return schema, {name: pair[1] for name, pair in pairs.items()}


@st.composite
def mappings(draw: st.DrawFn, parts: st.SearchStrategy[Pair]) -> Pair:
    schema, value = draw(parts)
    keys = draw(st.lists(NAMES, max_size=3, unique=True))
    return {"type": "object", "additionalProperties": schema}, dict.fromkeys(keys, value)


@st.composite
def unions(draw: st.DrawFn, parts: st.SearchStrategy[Pair]) -> Pair:
    (one, value), (other, _) = draw(parts), draw(parts)
    return {"anyOf": [one, other]}, value


@st.composite
def annotated(draw: st.DrawFn, parts: st.SearchStrategy[Pair]) -> Pair:
    schema, value = draw(parts)
    if not isinstance(schema, dict):
        return schema, value
    default = {"default": value} if draw(st.booleans()) else {}
    return {**schema, **draw(NOTES), **default}, value


@st.composite
def nullable(draw: st.DrawFn, parts: st.SearchStrategy[Pair]) -> Pair:
    schema, value = draw(parts)
    if not isinstance(schema, dict) or not isinstance(schema.get("type"), str):
        return {"anyOf": [schema, {"type": "null"}]}, value
    return schema | {"type": [schema["type"], "null"]}, draw(st.sampled_from([value, None]))


ANYTHING = st.tuples(st.sampled_from([True, {}]), SCALARS)
PARTS = st.recursive(
    st.one_of(texts(), numbers(), literals(), st.just(({"type": "boolean"}, True)), ANYTHING),
    lambda parts: st.one_of(*(make(parts) for make in (arrays, objects, mappings, unions, annotated, nullable))),
    max_leaves=8,
)


@st.composite
def with_definitions(draw: st.DrawFn, parts: st.SearchStrategy[Pair]) -> Pair:
    """A part of the root moves to a definition, which two properties refer to."""
    schema, value = draw(parts)
    keyword = draw(st.sampled_from(["$defs", "definitions"]))
    ref = {"$ref": f"#/{keyword}/Part"}
    root = {"type": "object", "properties": {"a": ref, "b": ref | {"description": "b"}}, "required": ["a", "b"]}
    return root | {keyword: {"Part": schema}}, {"a": value, "b": value}


ROOTS = st.one_of(objects(PARTS), objects(PARTS), PARTS, with_definitions(PARTS)).filter(
    lambda pair: pair[0] is not True
)


def ask(schema: Any, model_id: str) -> ProviderRequest:
    messages = (Message(role="user", content="Who?"),)
    return ProviderRequest(
        model=replaced(CURRENT[model_id]), messages=messages, max_output_tokens=9, schema=schema_of(schema)
    )


def fits(schema: Any, value: Any) -> bool:
    return jsonschema.Draft202012Validator(schema).is_valid(value)


@settings(max_examples=examples(60))
@given(ROOTS)
def test_gpt_takes_every_schema_and_its_grammar_allows_what_fits(pair: Pair) -> None:
    schema, value = pair
    request = ask(schema, "gpt-6.1-terra")
    sent = formats.for_openai(request).params["response_format"]["json_schema"]
    check = schema_rules.openai_strict if sent["strict"] else schema_rules.openai_loose
    assert check(sent["schema"]) is None
    assert fits(sent["schema"], {"value": value} if formats.is_wrapped(request) else value)


@settings(max_examples=examples(60))
@given(ROOTS)
def test_claude_takes_every_schema_or_is_asked_in_words(pair: Pair) -> None:
    schema, value = pair
    answer_format = formats.for_claude(ask(schema, "claude-sonnet-5-5"), anthropic)
    if answer_format.params:
        sent = answer_format.params["format"]["schema"]
        assert schema_rules.claude(sent) is None
        assert fits(sent, value)
    else:
        assert schema_of(schema).text in answer_format.instruction


@settings(max_examples=examples(60))
@given(ROOTS)
def test_the_embedded_engines_grammar_allows_what_fits(pair: Pair) -> None:
    schema, value = pair
    relaxed = for_grammar(schema_of(schema))
    assert relaxed is not None
    assert fits(relaxed.json_schema, value)


WRAPPINGS = st.sampled_from(
    [
        "{}",
        "\ufeff{}\n",
        "```json\n{}\n```",
        "```\n{}",
        '<think>Perhaps {{"a": 1}}, or [2]?</think>\n{}',
        "<think>First.</think><think>{{</think>```json\n{}\n```\nDone.",
        "Here it is:\n{}\nI hope that this helps!",
        "**Answer**\n\n```json\n{}\n```\n\nThe set {{x, y}} is explained above.",
    ]
)


@settings(max_examples=examples(60))
@given(ROOTS, WRAPPINGS, st.sampled_from([None, 2]), st.booleans())
def test_an_answer_that_fits_is_accepted_in_any_wrapping(
    pair: Pair, wrapping: str, indent: int | None, ensure_ascii: bool
) -> None:
    schema, value = pair
    text = wrapping.format(json.dumps(value, indent=indent, ensure_ascii=ensure_ascii))
    assert parse(text, schema_of(schema)) == value


@settings(max_examples=examples(60))
@given(ROOTS, st.sampled_from([None, 2]))
def test_an_answer_in_an_object_of_its_own_is_accepted_if_the_object_does_not_fit(
    pair: Pair, indent: int | None
) -> None:
    schema, value = pair
    assume(not fits(schema, {"value": value}))
    assert parse(json.dumps({"value": value}, indent=indent), schema_of(schema)) == value
