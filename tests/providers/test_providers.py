"""The providers, with the real SDKs, against a server that speaks their APIs."""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import Iterator
from contextlib import aclosing
from decimal import Decimal
from typing import Any

import pytest

from llm_magic import (
    AuthFailed,
    BadRequest,
    ConnectionFailed,
    ContextTooLong,
    ModelNotFound,
    Overloaded,
    PaymentRequired,
    ProtocolError,
    ProviderError,
    RateLimited,
    Refused,
    Registry,
    ServerError,
    StreamBroken,
    Usage,
    providers,
)
from llm_magic.answers import schema_of
from llm_magic.events import TextDelta
from llm_magic.providers import http
from llm_magic.providers.anthropic import AnthropicProvider
from llm_magic.providers.base import (
    Finished,
    Provider,
    ProviderEvent,
    ProviderRequest,
    RequestSent,
    UsageReport,
    thinking,
)
from llm_magic.providers.openai import OpenAIProvider
from llm_magic.providers.payload import clean_text
from llm_magic.types import Message
from tests.support import loopback
from tests.support.builders import replaced
from tests.support.loopback import KEY, Answer, Broken, Fault

ARTICLE = Registry.load("article")
MODELS = ("claude-opus-4-7", "gpt-5.5", "deepseek-v3")


@pytest.fixture(scope="module")
def running() -> Iterator[loopback.Server]:
    with loopback.running() as server:
        yield server


@pytest.fixture
async def server(running: loopback.Server) -> Any:
    running.scripts.clear()
    running.journal.clear()
    yield running
    await providers.aclose()


WIRES = {"anthropic": AnthropicProvider, "openai": OpenAIProvider}


def connect(environ: dict[str, str]) -> dict[str, Provider]:
    """Make the article profile's providers, with keys and addresses from `environ`."""
    specs = [spec for spec in ARTICLE.providers.values() if spec.api in WIRES]
    return {spec.name: WIRES[spec.api](spec, environ=environ) for spec in specs}


def connected(server: loopback.Server, **more: str) -> dict[str, Provider]:
    return connect(server.environment() | more)


def ask(model_id: str, **fields: Any) -> ProviderRequest:
    asked = ProviderRequest(
        model=ARTICLE[model_id], messages=(Message(role="user", content="What is it?"),), max_output_tokens=100
    )
    if "schema" in fields:
        fields["schema"] = schema_of(fields["schema"])
    return replaced(asked, **fields)


async def events_of(provider: Provider, request: ProviderRequest) -> list[ProviderEvent]:
    async with aclosing(provider.stream(request)) as events:  # type: ignore[type-var]
        return [event async for event in events]


async def answered(server: loopback.Server, request: ProviderRequest) -> list[ProviderEvent]:
    return await events_of(connected(server)[request.model.provider], request)


@pytest.mark.parametrize("model_id", MODELS)
async def test_an_answer_streams_with_its_usage_normalized(server: loopback.Server, model_id: str) -> None:
    server.script(model_id, Answer(cached=2, written=1, reasoning=3))
    events = await answered(server, ask(model_id, system="Be brief."))
    (entry,) = server.journal
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["The ", "answer ", "is ", "42."]
    *_, report, finished = events
    assert isinstance(report, UsageReport)
    assert report.final
    assert report.usage == Usage(
        input_tokens=entry.input, cached_input_tokens=2, cache_write_tokens=1, output_tokens=7, reasoning_tokens=3
    )
    assert finished == Finished(finish_reason="stop", served_model=model_id)
    assert entry.body["stream"] is True
    assert entry.key.startswith(loopback.KEY)


async def test_the_input_of_claude_is_known_before_its_text(server: loopback.Server) -> None:
    sent, first, *_ = await answered(server, ask("claude-opus-4-7"))
    assert sent == RequestSent()
    assert isinstance(first, UsageReport)
    assert not first.final
    assert first.usage.input_tokens == server.journal[0].input


async def test_parameters_have_the_names_that_the_model_takes(server: loopback.Server) -> None:
    for model_id in MODELS:
        await answered(server, ask(model_id, system="Be brief."))
    claude, gpt, deepseek = (entry.body for entry in server.journal)
    assert (claude["max_tokens"], claude["system"]) == (100, "Be brief.")
    assert gpt["max_completion_tokens"] == 100
    assert "max_tokens" not in gpt
    assert deepseek["max_tokens"] == 100
    assert gpt["messages"][0] == {"role": "system", "content": "Be brief."}
    assert not {"temperature", "top_p"} & (claude.keys() | gpt.keys() | deepseek.keys())


async def test_stated_parameters_are_sent_as_they_are(server: loopback.Server) -> None:
    model = replaced(ARTICLE["deepseek-v3"], params={"seed": 7}, api_model="deepseek-chat")
    await answered(server, ask("deepseek-v3", model=model))
    assert (server.journal[0].body["seed"], server.journal[0].model) == (7, "deepseek-chat")


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


async def test_a_schema_is_sent_in_the_form_that_each_endpoint_supports(server: loopback.Server) -> None:
    for model_id in MODELS:
        await answered(server, ask(model_id, schema=SCHEMA))
    claude, gpt, deepseek = (entry.body for entry in server.journal)
    closed = SCHEMA | {"additionalProperties": False}
    assert claude["output_config"] == {"format": {"type": "json_schema", "schema": closed}}
    assert gpt["response_format"]["json_schema"] == {"name": "answer", "schema": closed, "strict": True}
    assert deepseek["response_format"] == {"type": "json_object"}
    assert "JSON Schema" in deepseek["messages"][0]["content"]
    await answered(server, ask("gpt-5.5", schema=SCHEMA, model=replaced(ARTICLE["gpt-5.5"], json_mode="none")))
    assert "response_format" not in server.journal[-1].body


@pytest.mark.parametrize("model_id", MODELS)
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(status=400), BadRequest),
        (Fault(status=422), BadRequest),
        (Fault(status=400, message="prompt is too long: 210000 tokens > 200000 maximum"), ContextTooLong),
        (Fault(status=400, message="too much", code="context_length_exceeded"), ContextTooLong),
        (Fault(status=413), ContextTooLong),
        (Fault(status=400, code="content_filter"), Refused),
        (Fault(status=401), AuthFailed),
        (Fault(status=403), AuthFailed),
        (Fault(status=402), PaymentRequired),
        (Fault(status=429, code="insufficient_quota"), PaymentRequired),
        (Fault(status=404), ModelNotFound),
        (Fault(status=408), ServerError),
        (Fault(status=409), ServerError),
        (Fault(status=429), RateLimited),
        (Fault(status=500), ServerError),
        (Fault(status=503), ServerError),
        (Fault(status=529, code="overloaded_error"), Overloaded),
        (Broken(how="html"), ProtocolError),
        (Broken(how="malformed"), ProtocolError),
        (Broken(how="cut"), StreamBroken),
    ],
)
async def test_every_fault_becomes_a_typed_error(
    server: loopback.Server, model_id: str, fault: Fault | Broken, error: type[ProviderError]
) -> None:
    server.script(model_id, fault)
    with pytest.raises(error) as caught:
        await answered(server, ask(model_id))
    assert type(caught.value) is error
    assert len(server.journal) == 1, "the SDKs' own retries are off"
    if isinstance(fault, Fault):
        assert str(caught.value).startswith(f"HTTP {fault.status}: ")


@pytest.mark.parametrize(("model_id", "error"), [("claude-opus-4-7", Overloaded), ("gpt-5.5", ServerError)])
async def test_an_error_event_within_a_stream_becomes_a_typed_error(
    server: loopback.Server, model_id: str, error: type[ProviderError]
) -> None:
    server.script(model_id, Broken(how="error", chunks=()))
    with pytest.raises(error) as caught:
        await answered(server, ask(model_id))
    assert caught.value.accepted


@pytest.mark.parametrize("model_id", MODELS)
async def test_a_cleanly_truncated_stream_has_no_finish(server: loopback.Server, model_id: str) -> None:
    server.script(model_id, Broken(how="truncated"))
    events = await answered(server, ask(model_id))
    assert not [event for event in events if isinstance(event, Finished)]
    assert not [event for event in events if isinstance(event, UsageReport) and event.final]


@pytest.mark.parametrize(("model_id", "finish"), [("claude-opus-4-7", "refusal"), ("gpt-5.5", "content_filter")])
async def test_refusals_of_all_providers_have_one_name(server: loopback.Server, model_id: str, finish: str) -> None:
    server.script(model_id, Answer(finish=finish))
    assert (await answered(server, ask(model_id)))[-1] == Finished(finish_reason="refusal", served_model=model_id)


@pytest.mark.parametrize("model_id", MODELS)
async def test_truncation_has_one_name_for_all_providers(server: loopback.Server, model_id: str) -> None:
    server.script(model_id, Answer(finish="length"))
    assert (await answered(server, ask(model_id)))[-1] == Finished(finish_reason="length", served_model=model_id)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "259200"}, 259_200),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("model_id", MODELS[:2])
async def test_retry_after_is_read_as_seconds(
    server: loopback.Server, model_id: str, headers: dict[str, str], seconds: float | None
) -> None:
    server.script(model_id, Fault(status=429, headers=headers))
    with pytest.raises(RateLimited) as caught:
        await answered(server, ask(model_id))
    assert caught.value.retry_after_s == seconds


@pytest.mark.parametrize("model_id", MODELS)
async def test_closing_the_iterator_cancels_the_request_upstream(server: loopback.Server, model_id: str) -> None:
    import threading

    server.script(model_id, Answer(gate=threading.Event()))
    provider = connected(server)[ARTICLE[model_id].provider]
    async with aclosing(provider.stream(ask(model_id))) as events:  # type: ignore[type-var]
        async for event in events:
            if isinstance(event, TextDelta):
                break
    await asyncio.to_thread(server.wait_until, lambda: server.journal[0].ended == "disconnected")


async def test_a_refused_connection_names_the_url(server: loopback.Server) -> None:
    for name, model_id in (("ANTHROPIC", "claude-opus-4-7"), ("OPENAI", "gpt-5.5")):
        connections = connected(server, **{f"{name}_BASE_URL": "http://127.0.0.1:9"})
        with pytest.raises(ConnectionFailed, match=r"no connection to http://127.0.0.1:9"):
            await events_of(connections[ARTICLE[model_id].provider], ask(model_id))


async def test_an_unknown_host_names_the_url(server: loopback.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(host: object, *rest: object, **more: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for name, model_id in (("ANTHROPIC", "claude-opus-4-7"), ("OPENAI", "gpt-5.5")):
        connections = connected(server, **{f"{name}_BASE_URL": "http://nowhere.invalid"})
        with pytest.raises(ConnectionFailed, match=r"no connection to http://nowhere.invalid"):
            await events_of(connections[ARTICLE[model_id].provider], ask(model_id))


async def test_a_server_without_tls_names_the_url(server: loopback.Server) -> None:
    for name, model_id in (("ANTHROPIC", "claude-opus-4-7"), ("OPENAI", "gpt-5.5")):
        address = server.url.replace("http://", "https://")
        connections = connected(server, **{f"{name}_BASE_URL": address})
        with pytest.raises(ConnectionFailed, match=rf"no connection to {address}: ConnectError"):
            await events_of(connections[ARTICLE[model_id].provider], ask(model_id))
    assert server.journal == []


@pytest.mark.parametrize("model_id", MODELS)
async def test_an_endpoint_that_does_not_stream_is_read_whole(server: loopback.Server, model_id: str) -> None:
    server.script(model_id, Answer(whole=True, cached=2, reasoning=3))
    events = await answered(server, ask(model_id))
    assert [event for event in events if isinstance(event, TextDelta)] == [TextDelta(text="The answer is 42.")]
    report, finished = events[-2:]
    entry = server.journal[0]
    counted = Usage(input_tokens=entry.input, cached_input_tokens=2, output_tokens=7, reasoning_tokens=3)
    assert report == UsageReport(usage=counted)
    assert finished == Finished(finish_reason="stop", served_model=model_id)


async def test_a_key_is_read_at_each_use_and_never_shown(server: loopback.Server) -> None:
    environ = server.environment()
    key = environ.pop("OPENAI_API_KEY")
    provider = connect(environ)["openai"]
    assert provider.unavailable() == "no OPENAI_API_KEY"
    environ["OPENAI_API_KEY"] = key
    assert provider.unavailable() is None
    environ["OPENAI_API_KEY"] = "sk-a-wrong-secret"
    with pytest.raises(AuthFailed, match=r"HTTP 401: bad key \[key\]") as caught:
        await events_of(provider, ask("gpt-5.5"))
    assert "sk-a-wrong-secret" not in str(caught.value)


async def test_concurrent_requests_on_one_client_are_all_answered(server: loopback.Server) -> None:
    connections = connected(server)
    for _ in range(3):
        answers = await asyncio.gather(
            *[events_of(connections["anthropic"], ask("claude-opus-4-7")) for _ in range(30)]
        )
        assert all(isinstance(events[-1], Finished) for events in answers)
    assert len(server.journal) == 90


def test_each_loop_has_its_own_client(running: loopback.Server) -> None:
    connections = connected(running)

    async def once() -> ProviderEvent:
        try:
            return (await events_of(connections["openai"], ask("gpt-5.5")))[-1]
        finally:
            await providers.aclose()

    running.scripts.clear()
    for _ in range(3):
        assert isinstance(asyncio.run(once()), Finished)


def test_the_loopback_server_bills_by_its_own_prices() -> None:
    server = loopback.Server()
    entry = loopback.Entry(api="openai", model="x", body={}, key="", input=1_000_000)
    server.bill(entry, 1_000_000)
    assert entry.cost_usd == Decimal(6)


@pytest.mark.parametrize("junk", [-1, "many", 1.5, True, 10**15, None, [], {"a": 1}])
@pytest.mark.parametrize("model_id", MODELS)
async def test_invalid_counts_are_ignored(server: loopback.Server, model_id: str, junk: object) -> None:
    server.script(model_id, Answer(junk=junk))
    events = await answered(server, ask(model_id))
    assert not [event for event in events if isinstance(event, UsageReport) and event.final]
    assert isinstance(events[-1], Finished)


@pytest.mark.parametrize("model_id", MODELS)
async def test_thinking_is_reported_as_progress(server: loopback.Server, model_id: str) -> None:
    server.script(model_id, Answer(thoughts=2))
    events = await answered(server, ask(model_id))
    assert events.count(thinking("hmm")) == 2
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "The answer is 42."


@pytest.mark.parametrize("key", ["sk-planted\n", " sk-planted "])
def test_space_around_a_key_is_stripped(key: str) -> None:
    spec = ARTICLE.providers["openai"]
    assert http.key_problem(spec, {"OPENAI_API_KEY": key}) is None
    assert http.resolve_endpoint(spec, {"OPENAI_API_KEY": key}).api_key == "sk-planted"


@pytest.mark.parametrize("key", ["schlüssel", "sk-one\nsk-two"])
def test_a_key_that_is_invalid_in_a_header_is_reported(key: str) -> None:
    assert http.key_problem(ARTICLE.providers["openai"], {"OPENAI_API_KEY": key}) == (
        "OPENAI_API_KEY contains characters that are invalid in an API key"
    )
    assert http.key_problem(ARTICLE.providers["openai"], {"OPENAI_API_KEY": "  "}) == "no OPENAI_API_KEY"


@pytest.mark.parametrize(
    "url", ["localhost:1234/v1", "htp://x/v1", "http://[::1/v1", "http://", "http://x:port", "/v1"]
)
def test_a_url_variable_that_is_not_a_url_is_reported(url: str) -> None:
    for name in ("openai", "anthropic"):
        spec = ARTICLE.providers[name]
        variable = f"{name.upper()}_BASE_URL"
        provider = {"openai": OpenAIProvider, "anthropic": AnthropicProvider}[name]
        environ = {f"{name.upper()}_API_KEY": "key", variable: url}
        assert provider(spec, environ=environ).unavailable() == f"{variable} is not an http(s) URL"
        for valid in ("", " ", "http://127.0.0.1:8080/v1", "HTTPS://x.example", "http://user:p%40@[::1]:80/"):
            assert provider(spec, environ=environ | {variable: valid}).unavailable() is None


@pytest.mark.parametrize(("name", "path"), [("openai", "chat/completions"), ("anthropic", "messages")])
def test_the_parameters_of_a_base_url_are_sent_with_each_request(name: str, path: str) -> None:
    base_url = f" https://host.azure.com/openai/deployments/own/v1/{path}?api-version=2024-10-21&a=%20#part "
    spec = replaced(ARTICLE.providers[name], base_url=base_url, base_url_env=None)
    endpoint = http.resolve_endpoint(spec, {spec.api_key_env or "": KEY})
    sdk = importlib.import_module(name)
    client = http.make_client(sdk, {"openai": "AsyncOpenAI", "anthropic": "AsyncAnthropic"}[name], endpoint)
    assert dict(client.default_query) == {"api-version": "2024-10-21", "a": " "}
    assert str(client.base_url).rstrip("/").startswith("https://host.azure.com/openai/deployments/own")
    assert client.default_headers["api-key"] == KEY
    assert "api-version" not in endpoint.display_url


async def test_an_invalid_base_url_is_a_failed_connection(server: loopback.Server) -> None:
    connections = connected(server, ANTHROPIC_BASE_URL="http://[oops")
    with pytest.raises(ConnectionFailed):
        await events_of(connections["anthropic"], ask("claude-opus-4-7"))


async def test_a_password_in_a_base_url_is_never_shown(server: loopback.Server) -> None:
    connections = connected(server, OPENAI_BASE_URL="http://bob:hunter2secret@127.0.0.1:9/v1")
    with pytest.raises(ConnectionFailed, match=r"no connection to http://127\.0\.0\.1:9/v1") as caught:
        await events_of(connections["openai"], ask("gpt-5.5"))
    assert "hunter2secret" not in f"{caught.value!r} {caught.value.__cause__!r}"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("plain", "plain"),
        ("\ud83d\ude00", "😀"),
        ("half \ud83d!", "half \ufffd!"),
        ("a\0b", "a\ufffdb"),
        ("ü\0", "ü\ufffd"),
    ],
)
def test_nul_and_lone_surrogates_are_replaced(given: str, kept: str) -> None:
    assert clean_text(given) == kept


@pytest.mark.parametrize(
    "value",
    ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 01 Jan 2026 00:00:00 +99999999999999", "²", "9" * 400],
)
async def test_an_invalid_retry_after_is_ignored(server: loopback.Server, value: str) -> None:
    server.script("gpt-5.5", Fault(status=429, headers={"retry-after": value}))
    with pytest.raises(RateLimited) as caught:
        await answered(server, ask("gpt-5.5"))
    assert caught.value.retry_after_s is None


@pytest.mark.parametrize(
    ("model_id", "params"),
    [
        ("gpt-5.5", {"num_ctx": 8_192, "chat_template_kwargs": {"thinking": True}}),
        ("claude-opus-4-7", {"speed": "fast", "inference_geo": "us"}),
    ],
)
async def test_parameters_unknown_to_the_sdk_are_sent(
    server: loopback.Server, model_id: str, params: dict[str, Any]
) -> None:
    model = replaced(ARTICLE[model_id], params=params)
    own = connected(server, OPENAI_BASE_URL=server.url_of("vllm"))
    await events_of(own[model.provider], ask(model_id, model=model, schema=SCHEMA))
    body = server.journal[-1].body
    assert {name: body[name] for name in params} == params
    assert "output_config" in body or "response_format" in body


async def test_the_service_tier_is_default_unless_a_model_states_another(server: loopback.Server) -> None:
    await answered(server, ask("gpt-5.5"))
    assert server.journal[-1].body["service_tier"] == "default"
    await answered(server, ask("gpt-5.5", model=replaced(ARTICLE["gpt-5.5"], params={"service_tier": "flex"})))
    assert server.journal[-1].body["service_tier"] == "flex"
    await answered(server, ask("deepseek-v3"))
    assert "service_tier" not in server.journal[-1].body


@pytest.mark.parametrize(
    ("name", "given", "used"),
    [
        ("openai", "https://api.openai.com", "https://api.openai.com/v1"),
        ("openai", "https://api.openai.com/", "https://api.openai.com/v1"),
        ("openai", "https://api.openai.com/v1/", "https://api.openai.com/v1"),
        ("openai", "https://api.openai.com/v1/v1", "https://api.openai.com/v1"),
        ("openai", "https://api.openai.com/v1/chat/completions", "https://api.openai.com/v1"),
        ("openai", "https://api.openai.com/v1/responses", "https://api.openai.com/v1"),
        ("openai", "https://api.openai.com/v1/completions/", "https://api.openai.com/v1"),
        ("openai", "https://api.openai.com/v1/models", "https://api.openai.com/v1"),
        ("openai", "https://api.openai.com/v1/v1/chat/completions", "https://api.openai.com/v1"),
        ("openai", "https://api.openai.com//v1//", "https://api.openai.com/v1"),
        ("openai", "https://gateway.example/v1/messages", "https://gateway.example/v1"),
        ("openai", "https://x.services.ai.azure.com/models", "https://x.services.ai.azure.com/models"),
        ("openai", "https://gateway.example/api/paas/v4", "https://gateway.example/api/paas/v4"),
        ("openai", "http://localhost:11434", "http://localhost:11434/v1"),
        ("openai", "https://x.azure.com/openai/v1/chat/completions/", "https://x.azure.com/openai/v1"),
        ("openai", "https://gateway.example/openai", "https://gateway.example/openai"),
        ("deepseek", "https://api.deepseek.com", "https://api.deepseek.com"),
        ("deepseek", "https://api.deepseek.com/v1", "https://api.deepseek.com/v1"),
        ("anthropic", "https://api.anthropic.com/v1", "https://api.anthropic.com"),
        ("anthropic", "https://api.anthropic.com/v1/messages", "https://api.anthropic.com"),
        ("anthropic", "https://gateway.example/anthropic/v1/", "https://gateway.example/anthropic"),
        ("anthropic", "https://gateway.example/v1/chat/completions", "https://gateway.example"),
        ("anthropic", "https://gateway.example//v1/v1/", "https://gateway.example"),
    ],
)
def test_a_base_url_with_too_much_or_too_little_of_its_path_is_fixed(name: str, given: str, used: str) -> None:
    assert http.api_url("AsyncAnthropic" if name == "anthropic" else "AsyncOpenAI", given) == used


async def test_a_base_url_without_its_version_reaches_the_server(server: loopback.Server) -> None:
    for name, path, model_id in (
        ("OPENAI", "openai/v1/chat/completions", "gpt-5.5"),
        ("ANTHROPIC", "anthropic/v1", "claude-opus-4-7"),
    ):
        connections = connected(server, **{f"{name}_BASE_URL": f"{server.url}/{path}"})
        assert isinstance((await events_of(connections[ARTICLE[model_id].provider], ask(model_id)))[-1], Finished)
