"""Errors of endpoints from the wire to the next step: routers on the real providers and servers on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from llm_magic import AllAttemptsFailed, Ledger, ModelSpec, Registry, Router
from llm_magic.execute import RetryPolicy
from llm_magic.testing import FakeClock, scripted_model
from llm_magic.types import ProviderSpec
from tests.support import endpoint_rules
from tests.support.builders import replaced

USAGE = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
OTHER_SCHEMA = {"type": "object", "properties": {"m": {"type": "integer"}}, "required": ["m"]}
NO_CREDIT = {"error": {"message": "Your credit balance is too low to access the API", "type": "invalid_request_error"}}
BAD_REQUEST = {"error": {"message": "images are not enabled", "type": "invalid_request_error"}}
EXTRA_FORBIDDEN = {"type": "extra_forbidden", "msg": "Extra inputs are not permitted"}


@dataclass(kw_only=True)
class Response:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    text: str = "42"
    finish: str = "stop"

    @property
    def content(self) -> bytes:
        if self.body is not None:
            return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()
        chunk = {"model": "m", "choices": [{"index": 0, "delta": {"content": self.text}, "finish_reason": self.finish}]}
        return f"data: {json.dumps(chunk | {'usage': USAGE})}\n\ndata: [DONE]\n\n".encode()

    @property
    def content_type(self) -> str:
        if self.body is None or (isinstance(self.body, str) and self.body.startswith(("data:", "event:"))):
            return "text/event-stream"
        return "text/html" if isinstance(self.body, str) else "application/json"


class Endpoint(ThreadingHTTPServer):
    """A server that gives the scripted responses in turn, then good answers. `requests` has the bodies it received."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.responses: list[Response] = []
        self.requests: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append(body)
        response = self.server.responses.pop(0) if self.server.responses else Response()
        flavor = "anthropic" if self.path.endswith("/messages") else "vllm"
        if response.status == 200 and (refusal := endpoint_rules.refusal_of(flavor, body)) is not None:
            response = Response(status=refusal.status, body=endpoint_rules.error_body(flavor, refusal))
        self.send_response_only(response.status)
        for name, value in ({"content-type": response.content_type} | response.headers).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(response.content)))
        self.end_headers()
        self.wfile.write(response.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoints() -> Iterator[tuple[Endpoint, Endpoint, Endpoint]]:
    with ExitStack() as stack:
        servers = tuple(stack.enter_context(Endpoint()) for _ in range(3))
        for server in servers:
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            stack.callback(server.shutdown)
        yield servers  # type: ignore[misc]


def router(
    endpoints: tuple[Endpoint, ...], clock: FakeClock | None = None, first_wire: str = "openai", **changes: Any
) -> Router:
    """Route to models a1 and a2 of the first endpoint, then to b1 and c1 of the others."""

    def model(model_id: str, fallback_id: str | None) -> ModelSpec:
        spec = scripted_model(model_id, provider=model_id[0], fallback_id=fallback_id, max_output_tokens=8_192)
        return replaced(spec, **(changes if model_id.startswith("a") else {}))

    models = [model("a1", "a2"), model("a2", "b1"), model("b1", "c1"), model("c1", None)]
    wires = {"a": first_wire}
    specs = [
        ProviderSpec(name=name, api=wires.get(name, "openai"), base_url=server.url)
        for name, server in zip("abc", endpoints, strict=True)
    ]
    return Router(
        registry=Registry(models=models, providers=specs),
        ledger=Ledger(":memory:"),
        clock=(clock or FakeClock()).clock(),
        policy=RetryPolicy(),
    )


def story(routed: Router) -> list[tuple[str, str]]:
    return [(row.model, row.outcome) for row in routed.ledger.rows()]


def ask(routed: Router, model: str = "a1", **options: Any) -> Any:
    return routed.route_sync("What is 6 times 7?", model=model, **options)


def test_a_request_that_one_endpoint_rejects_goes_to_another_provider(endpoints: Any) -> None:
    a, b, _ = endpoints
    a.responses = [Response(status=400, body=BAD_REQUEST)]
    routed = router(endpoints)
    result = ask(routed)
    assert story(routed) == [("a1", "bad_request"), ("b1", "ok")]
    assert result.text == "42"
    assert result.notes == ("a1: bad request (HTTP 400: images are not enabled)",)
    assert (len(a.requests), len(b.requests)) == (1, 1)


def test_two_providers_that_reject_a_request_end_the_run_with_both_messages(endpoints: Any) -> None:
    a, b, c = endpoints
    a.responses = [Response(status=422, body={"detail": [{"loc": ["body", "messages"], "msg": "too few"}]})]
    b.responses = [Response(status=400, body="<html><title>Nothing here</title></html>")]
    with pytest.raises(AllAttemptsFailed, match=r"HTTP 422: too few.*HTTP 400: Nothing here"):
        ask(router(endpoints))
    assert c.requests == []


@pytest.mark.parametrize(
    ("body", "slept_s"),
    [
        ([{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "3.5s"}]}}], 3.5),
        ({"error": {"message": "Rate limit reached. Please try again in 7.5s."}}, 7.5),
    ],
)
def test_a_wait_in_the_body_is_kept(endpoints: Any, body: Any, slept_s: float) -> None:
    endpoints[0].responses = [Response(status=429, body=body)]
    time = FakeClock()
    routed = router(endpoints, time)
    ask(routed)
    assert story(routed) == [("a1", "rate_limited"), ("a1", "ok")]
    assert time.sleeps_s == [slept_s]


def test_a_request_above_the_limit_per_minute_is_not_sent_to_the_same_model_again(endpoints: Any) -> None:
    message = "Request too large for m on tokens per min (TPM): Limit 30000, Requested 90000."
    endpoints[0].responses = [Response(status=429, body={"error": {"message": message, "code": "rate_limit_exceeded"}})]
    time = FakeClock()
    routed = router(endpoints, time)
    ask(routed)
    assert story(routed) == [("a1", "rate_limited"), ("a2", "ok")]
    assert time.sleeps_s == []


@pytest.mark.parametrize("status", [400, 402, 403, 429])
def test_missing_credit_passes_the_whole_provider_over_also_in_the_next_run(endpoints: Any, status: int) -> None:
    a, b, _ = endpoints
    a.responses = [Response(status=status, body=NO_CREDIT)]
    routed = router(endpoints)
    ask(routed)
    ask(routed)
    assert story(routed) == [("a1", "payment_required"), ("b1", "ok"), ("b1", "ok")]
    assert (len(a.requests), len(b.requests)) == (1, 2)
    assert "Your credit balance is too low" in routed.plan("x", model="a1").skipped[0].reason


def test_missing_credit_within_a_stream_passes_the_provider_over(endpoints: Any) -> None:
    event = json.dumps({"error": {"code": 402, "message": "Insufficient credits"}})
    endpoints[0].responses = [Response(body=f"data: {event}\n\n")]
    routed = router(endpoints)
    ask(routed)
    assert story(routed) == [("a1", "payment_required"), ("b1", "ok")]


def test_a_parameter_that_an_endpoint_does_not_know_is_left_out_from_then_on(endpoints: Any) -> None:
    detail = [EXTRA_FORBIDDEN | {"loc": ["body", "stream_options", "include_usage"], "input": True}]
    endpoints[0].responses = [Response(status=422, body={"object": "error", "message": {"detail": detail}})]
    routed = router(endpoints)
    result = ask(routed)
    assert story(routed) == [("a1", "bad_request"), ("a1", "ok")]
    assert routed.ledger.rows()[0].cost_usd == 0
    assert result.notes == ("a1: the endpoint does not take 'stream_options'; asked again without it",)
    ask(routed, "a2")
    assert ["stream_options" in request for request in endpoints[0].requests] == [True, False, False]


def test_the_output_limit_gets_its_other_name(endpoints: Any) -> None:
    detail = [EXTRA_FORBIDDEN | {"loc": ["body", "max_completion_tokens"], "input": 8192}]
    endpoints[0].responses = [Response(status=422, body={"detail": detail})]
    ask(router(endpoints, max_tokens_param="max_completion_tokens"))
    first, second = endpoints[0].requests
    assert (first["max_completion_tokens"], second["max_tokens"]) == (8_192, 8_192)
    assert "max_completion_tokens" not in second


def test_a_reasoning_parameter_is_left_out_for_the_model_that_refuses_it(endpoints: Any) -> None:
    message = "Unsupported value: 'reasoning_effort' does not support 'none' with this model."
    error = {"message": message, "param": "reasoning_effort", "code": "unsupported_value"}
    endpoints[0].responses = [Response(status=400, body={"error": error})]
    routed = router(endpoints, params={"reasoning_effort": "none"})
    ask(routed)
    ask(routed, "a2")
    assert [request.get("reasoning_effort") for request in endpoints[0].requests] == ["none", None, "none"]


def test_a_stream_that_a_model_refuses_becomes_an_answer_in_one_piece(endpoints: Any) -> None:
    a, *_ = endpoints
    message = "Your organization must be verified to stream this model."
    whole = {"model": "m", "choices": [{"message": {"content": "42"}, "finish_reason": "stop"}], "usage": USAGE}
    a.responses = [
        Response(status=400, body={"error": {"message": message, "param": "stream", "code": "unsupported_value"}}),
        Response(body=whole),
        Response(body=whole),
    ]
    routed = router(endpoints)
    assert (ask(routed).text, ask(routed).text) == ("42", "42")
    assert [{"stream", "stream_options"} & request.keys() for request in a.requests] == [
        {"stream", "stream_options"}, set(), set(),
    ]  # fmt: skip


def test_a_refused_system_role_becomes_the_start_of_the_prompt(endpoints: Any) -> None:
    a, *_ = endpoints
    a.responses = [Response(status=400, body={"error": {"message": "System role not supported", "code": 400}})]
    result = ask(router(endpoints), system="Answer with a number.")
    assert result.model == "a1"
    assert a.requests[1]["messages"] == [{"role": "user", "content": "Answer with a number.\n\nWhat is 6 times 7?"}]


def test_a_refused_response_format_becomes_words_for_that_schema(endpoints: Any) -> None:
    message = "Invalid schema for response_format 'answer': In context=(), 'additionalProperties' is required."
    endpoints[0].responses = [
        Response(status=400, body={"error": {"message": message, "param": "response_format"}}),
        Response(text='{"n": 1}'),
        Response(text='{"n": 2}'),
        Response(text='{"m": 3}'),
    ]
    routed = router(endpoints)
    assert [ask(routed, schema=schema).data for schema in (SCHEMA, SCHEMA, OTHER_SCHEMA)] == [
        {"n": 1},
        {"n": 2},
        {"m": 3},
    ]
    requests = endpoints[0].requests
    assert ["response_format" in request for request in requests] == [True, False, False, True]
    assert "JSON Schema" in requests[1]["messages"][0]["content"]


def test_an_output_limit_that_is_too_high_is_lowered_to_the_one_that_the_error_names(endpoints: Any) -> None:
    message = (
        "max_tokens is too large: 8192. This model supports at most 4096 completion tokens, whereas you provided 8192."
    )
    endpoints[0].responses = [Response(status=400, body={"error": {"message": message, "param": "max_tokens"}})]
    routed = router(endpoints)
    ask(routed)
    ask(routed)
    assert [request["max_tokens"] for request in endpoints[0].requests] == [8_192, 4_096, 4_096]


def test_a_content_filter_is_billed_shown_with_its_category_and_asked_of_one_other_provider(endpoints: Any) -> None:
    result = {"hate": {"filtered": False}, "violence": {"filtered": True, "severity": "high"}}
    error = {
        "message": "The response was filtered",
        "code": "content_filter",
        "innererror": {"content_filter_result": result},
    }
    a, b, c = endpoints
    a.responses = [Response(status=400, body={"error": error})]
    b.responses = [Response(finish="content_filter")]
    routed = router(endpoints)
    with pytest.raises(AllAttemptsFailed, match=r"\[violence\]"):
        ask(routed)
    assert story(routed) == [("a1", "refused"), ("b1", "refused")]
    assert all(row.cost_usd > 0 for row in routed.ledger.rows())
    assert c.requests == []
    a.responses = [Response(status=400, body={"error": error})]
    with pytest.raises(AllAttemptsFailed, match="no answer after 1 attempt"):
        ask(router(endpoints), on_refusal="stop")


def test_a_refusal_of_claude_is_shown_with_its_category_and_explanation(endpoints: Any) -> None:
    usage = {"input_tokens": 20, "output_tokens": 5}
    message = {"type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    details = {"type": "refusal", "category": "cyber", "explanation": "It could enable harm."}
    delta = {"stop_reason": "refusal", "stop_details": details}
    events = [
        {"type": "message_start", "message": message},
        {"type": "message_delta", "delta": delta, "usage": usage},
        {"type": "message_stop"},
    ]
    endpoints[0].responses = [Response(body="".join(f"data: {json.dumps(event)}\n\n" for event in events))]
    routed = router(endpoints, first_wire="anthropic")
    result = ask(routed)
    assert story(routed) == [("a1", "refused"), ("b1", "ok")]
    assert "refused to answer [cyber: It could enable harm.]" in result.notes[0]
    assert not routed.ledger.rows()[0].cost_estimated


@pytest.mark.parametrize("finish", ["insufficient_system_resource", "error", "abort"])
def test_an_answer_that_the_provider_broke_off_is_billed_as_reported(endpoints: Any, finish: str) -> None:
    endpoints[0].responses = [Response(finish=finish)]
    routed = router(endpoints)
    ask(routed)
    assert story(routed) == [("a1", "stream_broken"), ("a2", "ok")]
    broken = routed.ledger.rows()[0]
    assert (broken.usage.input_tokens, broken.usage.output_tokens, broken.cost_estimated) == (20, 5, False)


@pytest.mark.parametrize(
    ("path", "says"),
    [("/api", "no API at {}/api/chat/completions: check whether base_url lacks '/v1' at its end"),
     ("/api/v1", "no API at {}/api/v1/chat/completions: check whether base_url has a '/v1' too many")],
)  # fmt: skip
@pytest.mark.parametrize("status", [404, 405])
def test_an_unknown_path_is_named_in_the_error(endpoints: Any, status: int, path: str, says: str) -> None:
    a, *_ = endpoints
    a.responses = [Response(status=status, body={"detail": "Not Found"})] * 2
    spec = ProviderSpec(name="a", base_url=f"{a.url}{path}")
    registry = Registry(models=[scripted_model("a1", provider="a")], providers=[spec])
    with pytest.raises(AllAttemptsFailed) as caught:
        ask(Router(registry=registry, ledger=Ledger(":memory:"), clock=FakeClock().clock()))
    assert says.format(a.url) in str(caught.value)


def test_a_page_of_a_proxy_is_shown_by_its_title(endpoints: Any) -> None:
    page = "<html><head><title>502 Bad\nGateway</title></head><body>nginx</body></html>"
    endpoints[0].responses = [Response(status=502, body=page)] * 3
    routed = router(endpoints)
    ask(routed)
    assert [(row.model, row.error) for row in routed.ledger.rows()] == [
        *[("a1", "HTTP 502: 502 Bad Gateway")] * 3,
        ("a2", None),
    ]


@pytest.mark.parametrize(
    "body",
    [
        "x" * 3_000_000,
        json.dumps({"error": {"message": "m" * 3_000_000}}),
        "[" * 100_000,
        json.dumps([{"error": "no"}] * 10_000),
        '{"error": {"message": "\\ud83d half \\u0000"}}',
    ],
    ids=["text", "message", "deep", "long", "surrogate"],
)
def test_a_hostile_error_body_becomes_a_short_message(endpoints: Any, body: str) -> None:
    endpoints[0].responses = [Response(status=400, body=body)]
    routed = router(endpoints)
    ask(routed)
    assert story(routed) == [("a1", "bad_request"), ("b1", "ok")]
    assert len(routed.ledger.rows()[0].error or "") < 400
