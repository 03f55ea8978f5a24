"""The next step after each kind of error: the same model in another form, another provider, or the end of the run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import pytest

from llm_magic import (
    AllAttemptsFailed,
    AuthFailed,
    BadRequest,
    ContextTooLong,
    InvalidOption,
    ModelNotFound,
    PaymentRequired,
    ProviderError,
    RateLimited,
    Refused,
    Router,
    ServerError,
)
from llm_magic.errors import Scope
from llm_magic.events import CandidateSkipped, Note, NoteKind, RunEnded
from llm_magic.execute import RetryPolicy
from llm_magic.providers.base import ProviderRequest
from llm_magic.testing import Failure, FakeClock, Reply, ScriptedProvider
from tests.support import builders
from tests.support.builders import model

A1_FIRST: Mapping[str, Any] = {"model": "a1"}
CHAIN = [
    model("a1", provider="a", fallback_id="a2"),
    model("a2", provider="a", fallback_id="b1", price="2/6"),
    model("b1", provider="b", fallback_id="c1", price="3/7"),
    model("c1", provider="c", price="4/8"),
]

ALONE = model("a1", provider="a")


def chain(answers: Mapping[str, Failure | Reply | list[Failure | Reply]], **parts: Any) -> Router:
    """A router on two models of provider a, and one each of b and c, which are asked in this order."""
    scripts = {name: list(reply) if isinstance(reply, list) else [reply] for name, reply in answers.items()}

    def reply(request: ProviderRequest) -> Failure | Reply:
        script = scripts.get(request.model.id, [Reply()])
        return script.pop(0) if len(script) > 1 else script[0]

    return builders.router(*CHAIN, replies=reply, **parts)


def failure(error: ProviderError) -> Failure:
    return Failure(error=error)


def story(router: Router) -> list[tuple[str, str]]:
    return [(row.model, row.outcome) for row in router.ledger.rows()]


@pytest.mark.parametrize(
    "error",
    [
        BadRequest("no"),
        ModelNotFound("no such page", scope=Scope.REQUEST),
        ContextTooLong("too large", scope=Scope.REQUEST),
    ],
)
async def test_a_rejected_request_goes_to_another_provider(error: ProviderError) -> None:
    router = chain({"a1": failure(error)})
    result = await router.route("hello", **A1_FIRST)
    assert story(router) == [("a1", error.outcome), ("b1", "ok")]
    assert router.ledger.rows()[0].cost_usd == 0
    assert [(step.model, step.detail) for step in result.path][1] == ("a2", "a rejected the request")


async def test_two_providers_that_reject_the_request_end_the_run_with_both_messages() -> None:
    router = chain({"a1": failure(BadRequest("first says")), "b1": failure(BadRequest("second says"))})
    with pytest.raises(AllAttemptsFailed, match=r"first says.*second says") as caught:
        await router.route("hello", **A1_FIRST)
    assert story(router) == [("a1", "bad_request"), ("b1", "bad_request")]
    assert [str(error) for error in caught.value.exceptions] == ["first says", "second says"]


async def test_an_unknown_model_says_nothing_about_the_other_models_of_its_provider() -> None:
    gone = failure(ModelNotFound("gone"))
    router = chain({"a1": gone, "a2": gone, "b1": gone})
    assert (await router.route("hello", **A1_FIRST)).model == "c1"


@pytest.mark.parametrize("error_class", [AuthFailed, PaymentRequired])
async def test_an_account_that_fails_passes_its_provider_over_and_says_why(
    error_class: type[AuthFailed | PaymentRequired],
) -> None:
    router = chain({"a1": failure(error_class("HTTP 400: your credit balance is too low"))})
    async with aclosing(router.stream("hello", **A1_FIRST)) as events:
        seen = [event async for event in events]
    assert story(router) == [("a1", error_class.outcome), ("b1", "ok")]
    notes = [event.message for event in seen if isinstance(event, Note) and event.kind is NoteKind.PASSED_OVER]
    assert notes == [f"a1: {error_class.outcome.words} (HTTP 400: your credit balance is too low)"]
    assert [event.model_id for event in seen if isinstance(event, CandidateSkipped)] == ["a2"]
    (ended,) = (event for event in seen if isinstance(event, RunEnded))
    assert ended.result.notes == tuple(notes)


@pytest.mark.parametrize(("stated_s", "remaining_s"), [(None, 60), (7200.0, 7200)])
async def test_a_provider_without_credit_is_passed_over_in_later_runs_for_as_long_as_it_says(
    stated_s: float | None, remaining_s: int
) -> None:
    time = FakeClock()
    router = chain({"a1": [failure(PaymentRequired("no credit", retry_after_s=stated_s)), Reply()]}, clock=time)
    await router.route("hello", **A1_FIRST)
    skipped = {entry.model.id: entry.reason for entry in router.plan("hello", **A1_FIRST).skipped}
    assert skipped == dict.fromkeys(("a1", "a2"), f"payment required (no credit), {remaining_s} s left")
    assert (await router.route("hello", **A1_FIRST)).model == "b1"
    time.advance(remaining_s + 1)
    assert (await router.route("hello", **A1_FIRST)).model == "a1"


async def test_a_provider_is_asked_again_when_its_credentials_change() -> None:
    class Keyed(ScriptedProvider):
        key = "old"

        def account(self) -> int:
            return hash(self.key)

    keyed = Keyed(lambda _: failure(AuthFailed("bad key")) if keyed.key == "old" else Reply())
    router = builders.router(*CHAIN, providers={"a": keyed, "b": ScriptedProvider(), "c": ScriptedProvider()})
    assert (await router.route("hello", **A1_FIRST)).model == "b1"
    assert (await router.route("hello", **A1_FIRST)).model == "b1"
    assert len(keyed.requests) == 1
    keyed.key = "new"
    assert (await router.route("hello", **A1_FIRST)).model == "a1"


async def test_the_only_provider_is_asked_although_its_account_has_failed() -> None:
    router = builders.router(ALONE, replies=[failure(PaymentRequired("no credit")), Reply()])
    with pytest.raises(AllAttemptsFailed, match="no credit"):
        await router.route("hello")
    assert (await router.route("hello")).model == "a1"


async def test_a_refusal_is_billed_and_goes_to_one_other_provider() -> None:
    refusal = Reply(chunks=("I",), finish_reason="refusal")
    router = chain({"a1": refusal})
    assert (await router.route("hello", **A1_FIRST)).model == "b1"
    assert story(router) == [("a1", "refused"), ("b1", "ok")]
    assert router.ledger.rows()[0].cost_usd > 0
    router = chain({"a1": refusal, "b1": refusal})
    with pytest.raises(AllAttemptsFailed):
        await router.route("hello", **A1_FIRST)
    assert story(router) == [("a1", "refused"), ("b1", "refused")]


async def test_a_refusal_is_shown_with_its_category_beside_the_answer() -> None:
    router = chain({"a1": failure(Refused("HTTP 400: blocked [bio]", category="bio", accepted=True))})
    assert (await router.route("hello", **A1_FIRST)).notes == ("a1: refused (HTTP 400: blocked [bio])",)


async def test_a_content_filter_before_the_answer_is_charged_for_the_input_only() -> None:
    router = chain({"a1": failure(Refused("HTTP 400: Content Exists Risk", accepted=True))})
    await router.route("hello", **A1_FIRST)
    refused = router.ledger.rows()[0]
    assert (refused.usage.input_tokens > 0, refused.usage.output_tokens) == (True, 0)
    assert refused.cost_estimated


async def test_a_refusal_ends_the_run_if_the_user_says_so() -> None:
    answers = {"a1": failure(Refused("no [bio]", category="bio"))}
    for router, options in ((chain(answers), {"on_refusal": "stop"}), (chain(answers, on_refusal="stop"), {})):
        with pytest.raises(AllAttemptsFailed, match=r"no \[bio\]"):
            await router.route("hello", **A1_FIRST, **options)
        assert story(router) == [("a1", "refused")]
    assert (await chain(answers, on_refusal="stop").route("hello", on_refusal="fallback", **A1_FIRST)).model == "b1"
    with pytest.raises(InvalidOption, match="on_refusal = 'maybe' must be one of fallback, stop"):
        router.request("hello", on_refusal="maybe")


async def test_a_refused_parameter_is_left_out_and_the_same_model_asked_again() -> None:
    rejected = failure(BadRequest("unknown field", refused_parameter="stream_options"))
    router = chain({"a1": [rejected, Reply()]})
    result = await router.route("hello", **A1_FIRST)
    assert story(router) == [("a1", "bad_request"), ("a1", "ok")]
    assert router.ledger.rows()[0].cost_usd == 0
    assert result.notes == ("a1: the endpoint does not take 'stream_options'; asked again without it",)
    router = chain({"a1": rejected})
    assert (await router.route("hello", **A1_FIRST)).model == "b1", "once per parameter"
    assert story(router) == [("a1", "bad_request"), ("a1", "bad_request"), ("b1", "ok")]


async def test_an_output_limit_that_is_too_high_is_replaced_by_the_one_that_the_endpoint_names() -> None:
    too_high = failure(BadRequest("at most 400", output_limit=400))
    router = chain({"a1": [too_high, Reply()]})
    result = await router.route("hello", **A1_FIRST)
    provider = router.providers["a"]
    assert isinstance(provider, ScriptedProvider)
    assert [request.max_output_tokens for request in provider.requests] == [1_000, 400]
    assert result.notes == ("a1: the endpoint takes at most 400 output tokens; asked again with that limit",)
    await router.route("hello", **A1_FIRST)
    assert provider.requests[-1].max_output_tokens == 400, "remembered"
    router = chain({"a1": too_high})
    assert (await router.route("hello", **A1_FIRST)).model == "b1", "asked again once"


async def test_a_limit_that_waiting_does_not_cure_is_not_waited_for() -> None:
    time = FakeClock()
    error = RateLimited("request too large", retry_after_s=5, retryable=False, cools_down=False)
    router = chain({"a1": failure(error)}, clock=time)
    assert (await router.route("hello", **A1_FIRST)).model == "a2"
    assert time.sleeps_s == []
    assert str(router.circuit(router.registry["a1"])) == "closed", "a smaller request fits"


async def test_the_advice_of_a_server_to_retry_is_followed() -> None:
    router = chain({"a1": [failure(BadRequest("once more", retryable=True)), Reply()]})
    await router.route("hello", **A1_FIRST)
    assert story(router) == [("a1", "bad_request"), ("a1", "ok")]
    router = chain({"a1": failure(ServerError("gone", retryable=False))})
    await router.route("hello", **A1_FIRST)
    assert story(router) == [("a1", "server_error"), ("a2", "ok")]


async def test_corrections_are_bounded_by_the_number_of_attempts() -> None:
    count = iter(range(100))
    router = builders.router(
        ALONE,
        replies=lambda _: failure(BadRequest("no", refused_parameter=f"p{next(count)}")),
        policy=RetryPolicy(attempts=4),
    )
    with pytest.raises(AllAttemptsFailed, match="after 4 attempts"):
        await router.route("hello")


@pytest.mark.parametrize(
    "reason",
    [
        "insufficient_system_resource", "error", "abort", "aborted", "cancelled", "timeout", "network_error", "tool_calls",
        "pause_turn", "MALFORMED_FUNCTION_CALL", "OTHER", "something_new", "load_shed", "stopped_by_host",
        "<|call|>", "<tool_call>", "prompt_too_long",
    ],
)  # fmt: skip
async def test_an_answer_that_is_not_whole_is_billed_and_the_next_candidate_asked(reason: str) -> None:
    router = chain({"a1": Reply(finish_reason=reason)})
    await router.route("hello", **A1_FIRST)
    assert story(router) == [("a1", "stream_broken"), ("a2", "ok")]
    broken = router.ledger.rows()[0]
    assert broken.cost_usd > 0
    assert not broken.cost_estimated
    assert reason in (broken.error or "")


@pytest.mark.parametrize(
    ("reason", "finish_reason"),
    [
        ("stop", "stop"), ("end_turn", "stop"), ("STOP", "stop"), ("eos", "stop"), ("stop_sequence", "stop"),
        ("stop_str", "stop"), ("stop_token_id", "stop"), ("EOS_TOKEN", "stop"), ("<|endoftext|>", "stop"),
        ("<|im_end|>", "stop"), ("<|eot_id|>", "stop"), ("</s>", "stop"), ("<|return|>", "stop"), ("stopped", "stop"),
        ("StopReason.END_TURN", "stop"), ("STOP_REASON_STOP", "stop"), ("matched_stop", "stop"), ("natural_stop", "stop"),
        ("truncated", "length"), ("stopped_limit", "length"), ("REASON_MAX_CONTEXT", "length"), ("end_of_turn", "stop"), ("output_limit", "length"), ("COMPLETE", "stop"), ("FINISH_REASON_STOP", "stop"), ("length", "length"), ("max_tokens", "length"),
        ("MAX_TOKENS", "length"), ("model_length", "length"), ("model_context_window_exceeded", "length"),
    ],
)  # fmt: skip
async def test_the_words_for_a_whole_or_a_cut_answer_have_one_name(reason: str, finish_reason: str) -> None:
    router = chain({"a1": Reply(finish_reason=reason)})
    assert (await router.route("hello", **A1_FIRST)).finish_reason == finish_reason
    assert story(router) == [("a1", "ok")]


@pytest.mark.parametrize(
    "reason",
    [
        "refusal",
        "content_filter",
        "SAFETY",
        "sensitive",
        "PROHIBITED_CONTENT",
        "RECITATION",
        "guardrail_intervened",
        "ERROR_TOXIC",
        "flagged",
    ],
)
async def test_the_words_for_a_refusal_have_one_name(reason: str) -> None:
    router = chain({"a1": Reply(finish_reason=reason)})
    await router.route("hello", **A1_FIRST)
    assert story(router) == [("a1", "refused"), ("b1", "ok")]


async def test_an_answer_of_tool_calls_alone_is_named_and_billed() -> None:
    router = chain({"a1": Reply(chunks=(), other_content="tool calls")})
    await router.route("hello", **A1_FIRST)
    assert story(router)[0] == ("a1", "empty")
    assert router.ledger.rows()[0].error == "the model returned tool calls without text"
    assert router.ledger.rows()[0].cost_usd > 0


async def test_an_answer_without_text_that_was_cut_at_once_names_the_context_window() -> None:
    usage = builders.Usage(input_tokens=4_095, output_tokens=1)
    router = chain({"a1": Reply(chunks=(), finish_reason="length", usage=usage)})
    await router.route("hello", **A1_FIRST)
    assert router.ledger.rows()[0].error == (
        "the endpoint's context window was full after 4,095 input tokens: shorten the prompt, or enlarge the window"
    )
