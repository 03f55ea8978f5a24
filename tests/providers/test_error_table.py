"""Error responses of real endpoints and the next step after each, through the SDKs and a server on loopback.

The keys of a row in error_table.toml: `at` is the endpoint. `status`, `headers` and `body` are its response; with
`where = "event"`, the body is an event in a stream that began well. `schema`, `system` and `sends` describe the request:
whether it has a schema, its system prompt, and its parameters. `next` is the next step:

retry: the same model again, after `wait_s`. next candidate: a model of any provider. other provider: a model of
another provider. provider out: no other model of the provider, for `wait_s`. refusal: one other provider, with a
`category`. without: the same model again without `parameter`. limit: the same model again with the output `limit`.
"""

from __future__ import annotations

import json
import threading
import tomllib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llm_magic import ModelSpec, ProviderError, errors
from llm_magic.answers import schema_of
from llm_magic.errors import BadRequest, Refused, Scope
from llm_magic.providers import http
from llm_magic.providers.anthropic import AnthropicProvider
from llm_magic.providers.base import Provider, ProviderRequest
from llm_magic.providers.error_body import parse_body
from llm_magic.providers.error_rules import Failure, error_of
from llm_magic.providers.openai import OpenAIProvider
from llm_magic.providers.refused_parameters import SentRequest
from llm_magic.providers.waits import wait_s
from llm_magic.types import Message, ProviderSpec

ROWS: list[dict[str, Any]] = tomllib.loads((Path(__file__).parent / "error_table.toml").read_text("utf-8"))["row"]
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
SENT = SentRequest(url="", model="m", schema="", output_limit=100, parameters=(), renames={})


class Handler(BaseHTTPRequestHandler):
    """Answers a request for the model NUMBER with that row of the table."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        row = ROWS[int(json.loads(self.rfile.read(int(self.headers["content-length"])))["model"])]
        is_event = row.get("where") == "event"
        body = f"data: {row['body']}\n\n" if is_event else row["body"]
        self.send_response_only(row["status"])
        kind = "text/event-stream" if is_event else "application/json" if row["body"][:1] in '{["' else "text/html"
        for name, value in ({"content-type": kind} | row.get("headers", {})).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients() -> AsyncIterator[None]:
    """Keep the SDKs' clients from row to row, because making one takes longer than a request."""
    yield
    await http.aclose()


def path_of(number: int) -> str:
    """Return the path of an endpoint that has not refused the row's parameter yet."""
    row = ROWS[number]
    same = [
        other for other in ROWS[:number] if (other["at"], other.get("parameter")) == (row["at"], row.get("parameter"))
    ]
    return f"{row['at'].replace(' ', '-')}/{len(same) if 'parameter' in row else 0}"


async def answered_error(address: str, number: int) -> ProviderError:
    row = ROWS[number]
    wire = "anthropic" if row["at"] == "Anthropic" else "openai"
    spec = ProviderSpec(name="x", api=wire, base_url=f"{address}/{path_of(number)}")
    provider = AnthropicProvider(spec, environ={}) if wire == "anthropic" else OpenAIProvider(spec, environ={})
    model = ModelSpec(
        id="m", provider="x", api_model=str(number), context_window=1_000_000, max_output_tokens=8192, params=row.get("sends", {}),
        max_tokens_param=row.get("tokens_param", "max_tokens"),
    )  # fmt: skip
    request = ProviderRequest(
        model=model, messages=(Message(role="user", content="hello"),), max_output_tokens=8192,
        schema=schema_of(SCHEMA) if row.get("schema") else None,
        system=row.get("system"),
    )  # fmt: skip
    with pytest.raises(ProviderError) as caught:
        await read(provider, request)
    return caught.value


async def read(provider: Provider, request: ProviderRequest) -> None:
    async with aclosing(provider.stream(request)) as events:
        async for _ in events:
            pass


def next_step(error: ProviderError) -> str:
    match error:
        case BadRequest(output_limit=int()):
            return "limit"
        case BadRequest(refused_parameter=str(parameter)) if parameter:
            return "without"
        case Refused():
            return "refusal"
        case ProviderError(retryable=True):
            return "retry"
        case _:
            return {
                Scope.MODEL: "next candidate", Scope.REQUEST: "other provider", Scope.PROVIDER: "provider out",
            }[error.scope]  # fmt: skip


@pytest.mark.parametrize("number", range(len(ROWS)), ids=lambda number: f"{ROWS[number]['at']}-{number}")
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.usefixtures("clients")
async def test_each_error_has_its_next_step(address: str, number: int) -> None:
    row = ROWS[number]
    error = await answered_error(address, number)
    assert next_step(error) == row["next"], error
    if "error" in row:
        assert type(error) is getattr(errors, row["error"])
    if "wait_s" in row:
        assert error.retry_after_s == pytest.approx(row["wait_s"])
    if "wait_above_s" in row:
        assert (error.retry_after_s or 0) > row["wait_above_s"]
    for key, name in (("parameter", "refused_parameter"), ("limit", "output_limit"), ("category", "category")):
        if key in row:
            assert getattr(error, name) == row[key]
    assert row.get("message", "") in str(error)
    assert 3 < len(str(error)) < 400
    assert "\n" not in str(error)
    assert error.accepted is (row.get("where") == "event" or isinstance(error, Refused))


def test_the_table_covers_the_endpoints_and_every_next_step() -> None:
    endpoints = Counter(row["at"] for row in ROWS)
    assert len(ROWS) >= 120
    assert len([name for name, count in endpoints.items() if count >= 3]) >= 10
    assert {row["next"] for row in ROWS} == {
        "retry", "next candidate", "other provider", "provider out", "refusal", "without", "limit",
    }  # fmt: skip
    assert all(row["source"] for row in ROWS)


def test_each_body_is_listed_once() -> None:
    counts = Counter(json.dumps([row["at"], row["status"], row["body"], row.get("headers")]) for row in ROWS)
    assert [key for key, count in counts.items() if count > 1] == []


@pytest.mark.parametrize(
    "message",
    [
        "This model always thinks: thinking.type cannot be disabled.",
        "For this model, enable_thinking must be false when streaming is disabled",
        "Tools are not allowed when the model runs with moderation disabled.",
        "This model requires that caching is disabled",
        "Your plan of calls does not support model options: remove `logit_bias`.",
        "Subscriptions to events do not support model overrides",
    ],
)
def test_words_about_an_option_do_not_make_a_model_unavailable(message: str) -> None:
    body = parse_body(json.dumps({"error": {"message": message}}).encode())
    error = error_of(Failure(status=400, body=body, message=message, sent=SENT))
    assert type(error) is BadRequest


ECHOED = "Is the credit balance too low? Invalid API key, jailbreak, prompt is too long, the model is disabled"


@pytest.mark.parametrize(
    "body",
    [
        {"detail": [{"type": "missing", "loc": ["body", "x"], "msg": "Field required", "input": ECHOED}]},
        {"detail": [{"msg": "Value error", "input": {"messages": [{"content": [{"type": "text", "text": ECHOED}]}]}}]},
        {"error": {"message": "bad role", "prompt": [ECHOED]}},
        {"message": str([{"type": "value_error", "loc": ("body", 0), "msg": "bad role", "input": {"name": ECHOED}}])},
        {"message": f"1 validation error\nx\n  Input is bad [type=bool_type, input_value={ECHOED!r}, input_type=str]"},
    ],
)
def test_a_prompt_within_an_error_does_not_count_as_words_of_the_endpoint(body: dict[str, Any]) -> None:
    parsed = parse_body(json.dumps(body).encode())
    error = error_of(Failure(status=400, body=parsed, message=parsed.message, sent=SENT))
    assert type(error) is BadRequest


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ("Usage limit reached for 5 hour. Your limit will reset at {}", "1308"),
        ("[1310][Weekly/Monthly Limit Exhausted. Your limit will reset at {}]", "1310"),
        ("已达到 5 小时的使用上限。您的限额将在 {} 重置。", "429"),
    ],
)
def test_a_reset_of_zhipu_is_in_beijing_time(form: str, code: str) -> None:
    in_two_hours = datetime.now(timezone(timedelta(hours=8))) + timedelta(hours=2)
    message = form.format(f"{in_two_hours:%Y-%m-%d %H:%M:%S}")
    stated = wait_s({}, parse_body(json.dumps({"error": {"code": code, "message": message}}).encode()))
    assert stated == pytest.approx(7200, abs=5)


def test_a_reset_without_a_time_zone_is_in_utc() -> None:
    in_two_hours = datetime.now(UTC) + timedelta(hours=2)
    message = f"You will regain access on {in_two_hours:%Y-%m-%d at %H:%M:%S}"
    assert wait_s({}, parse_body(json.dumps({"message": message}).encode())) == pytest.approx(7200, abs=5)
