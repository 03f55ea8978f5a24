"""The loopback server refuses what real endpoints refuse, and takes what llm_magic sends to each of them."""

from __future__ import annotations

import base64
import json
import struct
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from llm_magic import Registry, providers
from llm_magic.answers import schema_of
from llm_magic.events import TextDelta
from llm_magic.providers.anthropic import AnthropicProvider
from llm_magic.providers.base import Finished, ProviderRequest, UsageReport
from llm_magic.providers.openai import OpenAIProvider
from llm_magic.types import Image, Message, ProviderSpec
from tests.support import builders, endpoint_rules, loopback
from tests.support.builders import model, replaced

CURRENT = Registry.load("current")
HI = [{"role": "user", "content": "Say hi, as JSON."}]
MODELS = {"anthropic": "claude-opus-5-5", "openai": "gpt-6.1-sol", "deepseek": "deepseek-v4-pro"}


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(9)


def body_of(flavor: str, **changes: Any) -> dict[str, Any]:
    """A request that the endpoint takes, changed; `...` removes a parameter."""
    limit = "max_completion_tokens" if flavor == "openai" else "max_tokens"
    body = {"model": MODELS.get(flavor, "some-model"), "messages": HI, limit: 100, "stream": True} | changes
    return {name: value for name, value in body.items() if value is not ...}


def messages_of(*roles: str) -> list[dict[str, str]]:
    return [{"role": role, "content": "Say hi, as JSON."} for role in roles]


def claude_image(data: bytes, kind: str = "image/png") -> list[dict[str, Any]]:
    source = {"type": "base64", "media_type": kind, "data": base64.b64encode(data).decode()}
    return [{"role": "user", "content": [{"type": "image", "source": source}, {"type": "text", "text": "What?"}]}]


def gpt_image(data: bytes, kind: str = "image/png", **more: str) -> list[dict[str, Any]]:
    image = {"url": f"data:{kind};base64,{base64.b64encode(data).decode()}", **more}
    return [{"role": "user", "content": [{"type": "image_url", "image_url": image}, {"type": "text", "text": "What?"}]}]


def claude_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"format": {"type": "json_schema", "schema": schema}}


def gpt_format(schema: dict[str, Any], *, strict: bool = True) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": strict}}


def object_of(part: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": part}, "required": ["a"], "additionalProperties": False, **more}


LONG = [{"role": "user", "content": "a " * 1_050_001}]
CACHED = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("anthropic", {"stream_options": {}}, "stream_options: Extra inputs are not permitted"),
    ("anthropic", {"max_completion_tokens": 9}, "Extra inputs are not permitted"),
    ("anthropic", {"max_tokens": ...}, "max_tokens: Field required"),
    ("anthropic", {"max_tokens": 200_000}, "200000 > 128000, which is the maximum allowed number of output tokens"),
    ("anthropic", {"messages": LONG}, "prompt is too long: 1050001 tokens > 1000000 maximum"),
    ("anthropic", {"temperature": 0}, "`temperature` is deprecated for this model"),
    ("anthropic", {"top_k": 5, "model": "claude-opus-4-7"}, "`top_k` is deprecated"),
    ("anthropic", {"thinking": {"type": "disabled"}}, "thinking.type.disabled"),
    ("anthropic", {"thinking": {"type": "enabled", "budget_tokens": 9}}, "thinking.type.enabled"),
    ("anthropic", {"thinking": {"type": "disabled"}, "model": "claude-sonnet-5-5"}, "thinking.type.disabled"),
    (
        "anthropic",
        {"thinking": {"type": "disabled"}, "model": "claude-haiku-5-5", "output_config": {"effort": "max"}},
        "thinking can't be disabled",
    ),
    ("anthropic", {"thinking": {"type": "adaptive", "display": "full"}}, "thinking.display"),
    ("anthropic", {"output_config": {"effort": "none"}}, "output_config.effort"),
    ("anthropic", {"output_config": claude_format(object_of({"type": "integer", "minimum": 1}))}, "minimum"),
    ("anthropic", {"output_config": claude_format({"type": "object", "properties": {}})}, "additionalProperties"),
    ("anthropic", {"output_config": claude_format(object_of({"type": ["string", "null"]}))}, "type"),
    ("anthropic", {"output_config": claude_format(object_of({"$ref": "#"}))}, "Circular reference"),
    ("anthropic", {"output_config": claude_format(object_of({"oneOf": [{"type": "null"}]}))}, "type None"),
    ("anthropic", {"output_config": {"format": {"type": "json_object"}}}, "output_config.format"),
    ("anthropic", {"messages": messages_of("system", "user")}, 'Unexpected role "system"'),
    ("anthropic", {"messages": messages_of("assistant", "user")}, "first message"),
    ("anthropic", {"messages": messages_of("user", "assistant")}, "prefill"),
    ("anthropic", {"messages": [{"role": "user", "content": ""}]}, "non-empty content"),
    ("anthropic", {"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]}, "non-whitespace"),
    ("anthropic", {"messages": [{"role": "user", "content": [CACHED] * 5}]}, "A maximum of 4 blocks"),
    ("anthropic", {"messages": claude_image(png(8_001, 10))}, "8000 pixels"),
    ("anthropic", {"messages": claude_image(png(0, 10))}, "Could not process image"),
    ("anthropic", {"messages": claude_image(b"BM", "image/bmp")}, "media_type"),
    ("anthropic", {"service_tier": "flex"}, "service_tier"),
    ("openai", {"top_k": 5}, "Unknown parameter: 'top_k'."),
    ("openai", {"messages": []}, "Missing required parameter: 'messages'."),
    ("openai", {"max_tokens": 9}, "Use 'max_completion_tokens' instead"),
    ("openai", {"max_completion_tokens": 200_000}, "supports at most 128000 completion tokens"),
    ("openai", {"messages": LONG}, "context_length_exceeded"),
    ("openai", {"temperature": 0}, "'temperature' does not support 0"),
    ("openai", {"logprobs": True}, "'logprobs' is not supported"),
    ("openai", {"reasoning_effort": "none"}, "'reasoning_effort' does not support 'none'"),
    ("openai", {"reasoning_effort": "minimal", "model": "gpt-6.2-sol"}, "does not support 'minimal'"),
    ("openai", {"verbosity": "tiny"}, "Invalid value: 'tiny'"),
    ("openai", {"service_tier": "turbo"}, "Invalid value: 'turbo'"),
    ("openai", {"stream": False, "stream_options": {}}, "only allowed when 'stream' is enabled"),
    ("openai", {"prompt_cache_options": {}, "model": "gpt-5.5"}, "'prompt_cache_options' is not supported"),
    ("openai", {"messages": messages_of("robot")}, "Invalid value: 'robot'"),
    ("openai", {"messages": [{"role": "user", "content": None}]}, "expected a string, got null"),
    ("openai", {"messages": gpt_image(png(0, 1))}, "does not represent a valid image"),
    ("openai", {"messages": gpt_image(b"BM", "image/bmp")}, "unsupported image"),
    ("openai", {"messages": gpt_image(png(1, 1), detail="max")}, "detail"),
    ("openai", {"messages": messages_of("user", "user"), "response_format": {"type": "x"}}, "type"),
    (
        "openai",
        {"messages": [{"role": "user", "content": "hi"}], "response_format": {"type": "json_object"}},
        "must contain the word 'json'",
    ),
    ("openai", {"response_format": gpt_format({"type": "array", "items": {"type": "null"}})}, "'type: \"object\"'"),
    ("openai", {"response_format": gpt_format({"anyOf": []}, strict=False)}, "'type: \"object\"'"),
    ("openai", {"response_format": gpt_format(object_of({"type": "string"}, required=[]))}, "'required'"),
    ("openai", {"response_format": gpt_format({"type": "object", "properties": {}})}, "'additionalProperties'"),
    ("openai", {"response_format": gpt_format(object_of({"type": "string", "default": ""}))}, "'default'"),
    ("openai", {"response_format": gpt_format(object_of({"type": "string", "minLength": 1}))}, "'minLength'"),
    ("openai", {"response_format": gpt_format(object_of({"oneOf": [{"type": "null"}]}))}, "must have a 'type' key"),
    ("openai", {"response_format": gpt_format(object_of({"type": "string", "pattern": "(?!a)"}))}, "lookaround"),
    ("openai", {"response_format": gpt_format(object_of({"$ref": "#", "description": "x"}))}, "$ref cannot have"),
    ("openai", {"response_format": gpt_format(object_of({"type": "array"}))}, "missing items"),
    ("azure", {"model": "gpt-6.1-sol", "max_tokens": 9}, "Use 'max_completion_tokens' instead"),
    ("deepseek", {"response_format": gpt_format(object_of({"type": "null"}))}, "response_format type is unavailable"),
    (
        "deepseek",
        {"messages": [{"role": "user", "content": "hi"}], "response_format": {"type": "json_object"}},
        "must contain the word 'json'",
    ),
    ("deepseek", {"max_tokens": 400_000}, "the valid range of max_tokens is [1, 393216]"),
    ("deepseek", {"messages": LONG}, "maximum context length is 1000000 tokens"),
    ("deepseek", {"reasoning_effort": "tiny"}, "unknown variant `tiny`"),
    ("deepseek", {"thinking": {"type": "adaptive"}}, "unknown variant `adaptive`"),
    ("deepseek", {"messages": gpt_image(png(1, 1))}, "unknown variant `image_url`"),
    ("mistral", {"stream_options": {"include_usage": True}}, "extra_forbidden"),
    ("mistral", {"max_completion_tokens": 9}, "extra_forbidden"),
    ("mistral", {"messages": messages_of("user", "assistant")}, "Expected last role User or Tool"),
    ("groq", {"top_k": 5}, "property 'top_k' is unsupported"),
    ("groq", {"messages": [{**HI[0], "reasoning_content": "hm"}]}, "property 'reasoning_content' is unsupported"),
    ("groq", {"response_format": gpt_format(object_of({"type": "null"}))}, "does not support streaming"),
    ("gemini", {"frequency_penalty": 1}, 'Unknown name "frequency_penalty": Cannot find field.'),
    ("xai", {"stop": ["a"]}, "Argument not supported on this model: stop"),
    ("openrouter", {"model": ...}, "Missing required parameter: 'model'"),
    ("together", {"messages": []}, "Missing required parameter: 'messages'"),
    ("vllm", {"stream": False, "stream_options": {}}, "only allowed when 'stream' is enabled"),
    ("ollama", {"messages": []}, "Missing required parameter: 'messages'"),
    ("azure", {"prompt_cache_options": {}}, "Unknown parameter: 'prompt_cache_options'"),
    ("azure", {"service_tier": "flex"}, "Invalid value: 'flex'"),
    ("groq", {"service_tier": "default"}, "service_tier must be one of"),
    ("vllm", {"model": "own-4k", "max_tokens": 4_096}, "(4096 > 4096 - 4)"),
    ("together", {"model": "own-4k", "max_tokens": 4_096}, "`max_new_tokens` must be <= 4097"),
    ("nvidia", {"stream_options": {}}, "extra_forbidden"),
    ("cerebras", {"reasoning_effort": "none"}, "Input should be 'low', 'medium' or 'high'"),
    ("lmstudio", {"response_format": {"type": "json_object"}}, "must be 'json_schema' or 'text'"),
]  # fmt: skip


@pytest.mark.parametrize(("flavor", "changes", "message"), REFUSED)
def test_an_endpoint_refuses_what_the_real_one_refuses(flavor: str, changes: dict[str, Any], message: str) -> None:
    assert endpoint_rules.refusal_of(flavor, body_of(flavor)) is None
    refusal = endpoint_rules.refusal_of(flavor, body_of(flavor, **changes))
    assert refusal is not None
    assert message in f"{refusal.message} {refusal.code}"


def test_each_rule_states_its_source_and_refuses_something() -> None:
    refusing = {
        (flavor, next(r.name for r in endpoint_rules.RULES[flavor] if r.check(body_of(flavor, **changes))))
        for flavor, changes, _ in REFUSED
    }
    refusing |= {(flavor, "required parameters") for flavor in endpoint_rules.RULES}
    for flavor in (
        "anthropic",
        "openai",
        "deepseek",
        "mistral",
        "groq",
        "gemini",
        "xai",
        "vllm",
        "together",
        "nvidia",
        "cerebras",
        "lmstudio",
    ):
        own = {rule.name for rule in endpoint_rules.RULES[flavor]} - {"roles and content", "the word JSON", "schemas"}
        assert {name for name in own if (flavor, name) not in refusing} == set()
    assert all(rule.source for rules in endpoint_rules.RULES.values() for rule in rules)
    assert endpoint_rules.RULES.keys() == loopback.PATHS.keys()


SHAPES = {
    "anthropic": {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}, "request_id": "req_1"},
    "openai": {"error": {"message": "no", "type": "invalid_request_error", "param": "a", "code": "c"}},
    "gemini": [{"error": {"code": 400, "message": "no", "status": "c"}}],
    "xai": {"code": "c", "error": "no"},
    "openrouter": {"error": {"code": 400, "message": "no"}, "user_id": "user_1"},
    "vllm": {"error": {"message": "no", "type": "BadRequestError", "param": "a", "code": 400}},
}


@pytest.mark.parametrize("flavor", SHAPES)
def test_each_endpoint_has_its_own_shape_of_errors(flavor: str) -> None:
    refusal = endpoint_rules.Refusal(message="no", code="c", param="a")
    assert endpoint_rules.error_body(flavor, refusal) == SHAPES[flavor]


def test_a_test_chooses_an_endpoint_by_its_name() -> None:
    with loopback.mistral() as server:
        headers = {"Authorization": f"Bearer {loopback.KEY}"}
        url = f"{server.base_url}/chat/completions"
        refused = httpx.post(url, json=body_of("mistral", stream_options={}), headers=headers, trust_env=False)
        taken = httpx.post(url, json=body_of("mistral", stream=False), headers=headers, trust_env=False)
    assert (refused.status_code, refused.json()["message"]["detail"][0]["type"]) == (422, "extra_forbidden")
    assert taken.json()["choices"][0]["message"]["content"] == "The answer is 42."
    assert [entry.status for entry in server.journal] == [422, 200]


PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
}
IMAGE = Image(media_type="image/png", data=png(10, 10))
ASKED: dict[str, dict[str, Any]] = {
    "plain": {},
    "system prompt": {"system": "Be brief."},
    "conversation": {
        "messages": tuple(Message(role=role, content="Who?") for role in ("user", "assistant", "user")),
        "in_conversation": True,
    },
    "watched": {"shows_thinking": True},
    "image": {"messages": (Message(role="user", content="What?", images=(IMAGE,)),)},
    "schema": {"schema": schema_of(PERSON)},
    "list": {"schema": schema_of({"type": "array", "items": PERSON})},
    "mapping": {"schema": schema_of({"type": "object", "additionalProperties": {"type": "integer"}})},
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("model_id", [model.id for model in CURRENT if model.provider != "local"])
async def test_every_shipped_model_is_sent_what_its_endpoint_takes(model_id: str, asked: str) -> None:
    model = CURRENT[model_id]
    fields = ASKED[asked]
    if asked == "image" and not model.image_tokens:
        pytest.skip("reads no images")
    base = {"messages": (Message(role="user", content="Who?"),), "max_output_tokens": model.max_output_tokens}
    with loopback.running() as server:
        spec: ProviderSpec = CURRENT.providers[model.provider]
        wire = AnthropicProvider if spec.api == "anthropic" else OpenAIProvider
        provider = wire(spec, environ=server.environment())
        for effort in (None, *(model.effort.params if model.effort else ())):
            request = ProviderRequest(model=model, effort=effort, **{**base, **fields})
            async with aclosing(provider.stream(request)) as stream:
                events = [event async for event in stream]
            assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "The answer is 42."
            assert isinstance(events[-1], Finished)
            assert any(isinstance(event, UsageReport) and event.final for event in events)
        await providers.aclose()


UNASKED: dict[str, dict[str, Any]] = {
    "anthropic": {"thinking": {"type": "disabled"}},
    "openai": {"reasoning_effort": "none"},
}


@pytest.mark.parametrize(
    "model_id", [model.id for model in CURRENT if model.effort and "none" not in model.effort.params]
)
def test_a_model_without_the_level_none_refuses_it(model_id: str) -> None:
    flavor = CURRENT[model_id].provider
    assert endpoint_rules.refusal_of(flavor, body_of(flavor, model=model_id)) is None
    assert endpoint_rules.refusal_of(flavor, body_of(flavor, model=model_id, **UNASKED[flavor])) is not None


@pytest.mark.parametrize(
    "flavor", [flavor for flavor in loopback.PATHS if flavor not in ("anthropic", "deepseek", "mistral", "nvidia")]
)
async def test_a_plain_request_is_taken_by_every_endpoint_with_openais_wire(flavor: str) -> None:
    with loopback.running() as server:
        spec = ProviderSpec(name="own", base_url=server.url_of(flavor), api_key_env="OWN_KEY")
        provider = OpenAIProvider(spec, environ={"OWN_KEY": loopback.KEY})
        model = replaced(CURRENT["deepseek-flash"], id="some-model", api_model="some-model", params={})
        request = ProviderRequest(model=model, messages=(Message(role="user", content="Who?"),), max_output_tokens=10)
        async with aclosing(provider.stream(request)) as stream:
            events = [event async for event in stream]
        assert isinstance(events[-1], Finished)
        await providers.aclose()


@pytest.mark.parametrize("flavor", ["vllm", "together"])
@pytest.mark.parametrize("words", [1, 2_000])
def test_the_output_limit_leaves_room_for_the_prompt(flavor: str, words: int) -> None:
    with loopback.running() as server:
        spec = ProviderSpec(name="own", base_url=server.url_of(flavor), api_key_env="OWN_KEY")
        provider = OpenAIProvider(spec, environ={"OWN_KEY": loopback.KEY})
        own = model("own-4k", provider="own", context_window=4_096, max_output_tokens=4_096)
        result = builders.router(own, providers={"own": provider}).route_sync("word " * words)
    assert result.text == "The answer is 42."
    assert [entry.status for entry in server.journal] == [200]


ADA = '{"name": "Ada", "age": 36}'


@pytest.mark.parametrize(
    "schema", [PERSON, PERSON | {"additionalProperties": True}, {"type": "array", "items": PERSON}]
)
@pytest.mark.parametrize("flavor", [flavor for flavor in loopback.PATHS if flavor != "anthropic"])
def test_a_schema_is_answered_by_every_endpoint_with_openais_wire(flavor: str, schema: dict[str, Any]) -> None:
    answer = ADA if schema["type"] == "object" else f"[{ADA}]"
    with loopback.running() as server:
        spec = ProviderSpec(name="own", base_url=server.url_of(flavor), api_key_env="OWN_KEY")
        provider = OpenAIProvider(spec, environ={"OWN_KEY": loopback.KEY})
        router = builders.router(model("own-model", provider="own"), providers={"own": provider})
        server.script("own-model", loopback.Answer(chunks=tuple(answer)))
        result = router.route_sync("Who?", schema=schema)
        again = router.route_sync("And who?", schema=schema)
    assert result.data == again.data == json.loads(answer)
    statuses = [entry.status for entry in server.journal]
    assert statuses[statuses.index(200) :] == [200, 200], "what was refused is not sent again"
