"""Answers whose counts show that a prompt was cut, or that a context window was full."""

from __future__ import annotations

import pytest

from llm_magic import AllAttemptsFailed, Router
from llm_magic.testing import Reply
from llm_magic.types import Usage
from tests.support import builders
from tests.support.builders import model

LONG = "word " * 20_000


def router(usage: Usage, finish_reason: str = "stop", chunks: tuple[str, ...] = ("Paris.",)) -> Router:
    reply = Reply(chunks=chunks, usage=usage, finish_reason=finish_reason)
    return builders.router(model("small", max_output_tokens=8_192), replies=[reply])


@pytest.mark.parametrize("read", [1_100, 2_051, 4_095, 9_000])
def test_a_prompt_that_the_server_cut_is_flagged(read: int) -> None:
    result = router(Usage(input_tokens=read, output_tokens=2)).route_sync(LONG)
    (note,) = result.notes
    assert f"small read {read:,} of about 20," in note
    assert f"state context_window = {read:,} for it in models.toml" in note


@pytest.mark.parametrize("read", [12_000, 20_000, 30_000])
def test_a_count_near_the_estimate_is_not_flagged(read: int) -> None:
    assert router(Usage(input_tokens=read, output_tokens=2)).route_sync(LONG).notes == ()


def test_a_long_schema_that_the_provider_does_not_bill_is_not_doubted() -> None:
    names = [f"the_measured_value_of_sensor_{number}" for number in range(300)]
    schema = {
        "type": "object",
        "properties": {name: {"type": "integer", "description": f"{name}, in volts"} for name in names},
    }
    routed = router(Usage(input_tokens=20, output_tokens=5), chunks=("{}",))
    result = routed.route_sync("Read them.", schema=schema)
    assert routed.plan("Read them.", schema=schema).candidates[0].input_tokens > 5_000
    assert result.notes == ()
    assert not result.cost_estimated
    assert result.usage.input_tokens == 20


def test_a_short_prompt_is_not_flagged() -> None:
    assert router(Usage(input_tokens=20, output_tokens=2)).route_sync("word " * 50).notes == ()


def test_an_answer_cut_far_below_its_limit_is_flagged() -> None:
    result = router(Usage(input_tokens=20_000, output_tokens=1), "length", ("The",)).route_sync(LONG)
    (note,) = result.notes
    assert "small stopped after 1 of 8,192 output tokens: its endpoint's context window was full" in note
    assert "state context_window = 20,001 or max_output_tokens = 1 for it in models.toml" in note


def test_an_answer_cut_between_half_and_all_of_its_limit_is_flagged() -> None:
    usage = Usage(input_tokens=500, output_tokens=6_000)
    (note,) = router(usage, "length", ("word " * 6_000,)).route_sync("word " * 400).notes
    assert "state context_window = 6,500 or max_output_tokens = 6,000 for it in models.toml" in note


@pytest.mark.parametrize("reason", ["model_context_window_exceeded", "context_length_exceeded", "CONTEXT_FULL_LENGTH"])
def test_an_answer_that_a_full_window_ended_by_the_providers_word_is_flagged(reason: str) -> None:
    (note,) = router(Usage(input_tokens=300, output_tokens=8_000), reason, ("word " * 8_000,)).route_sync("Hi").notes
    assert "context window was full after 8,300 tokens of prompt and answer" in note


def test_an_answer_cut_at_its_limit_is_not_flagged() -> None:
    full = router(Usage(input_tokens=20_000, output_tokens=8_192), "length", ("word " * 8_000,))
    assert full.route_sync(LONG).notes == ()


@pytest.mark.parametrize(
    ("usage", "finish_reason", "is_cut_by_endpoint"),
    [
        (Usage(input_tokens=20_000, output_tokens=1), "length", True),
        (Usage(input_tokens=300, output_tokens=8_000), "model_context_window_exceeded", True),
        (Usage(input_tokens=20_000, output_tokens=8_192), "length", False),
        (Usage(input_tokens=2_000, output_tokens=1), "stop", False),
    ],
)
def test_a_result_states_if_its_endpoint_cut_it_off(usage: Usage, finish_reason: str, is_cut_by_endpoint: bool) -> None:
    result = router(usage, finish_reason, ("word",)).route_sync(LONG if usage.input_tokens > 300 else "Hi")
    assert result.cut_by_endpoint is is_cut_by_endpoint


@pytest.mark.parametrize(
    ("usage", "limit", "says"),
    [
        (Usage(input_tokens=4_095, output_tokens=1), 8_192, "context window was full after 4,095 input tokens"),
        (Usage(input_tokens=10, output_tokens=1), 1, "its limit of 1 output token left no text: allow more with"),
        (Usage(input_tokens=10, output_tokens=3), 3, "its limit of 3 output tokens left no text"),
        (Usage(input_tokens=10, output_tokens=800, reasoning_tokens=800), 800, "went into reasoning"),
    ],
)
def test_an_answer_without_text_says_what_used_up_its_tokens(usage: Usage, limit: int, says: str) -> None:
    with pytest.raises(AllAttemptsFailed) as error:
        router(usage, "length", ()).route_sync("hello", max_output_tokens=limit)
    assert says in str(error.value)
