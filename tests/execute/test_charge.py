"""Charges of attempts whose usage the provider did not report, or did not report credibly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from decimal import Decimal
from typing import Any

import pytest

from llm_magic import AllAttemptsFailed, Budget, Router
from llm_magic.errors import ProviderError, ServerError, StreamBroken, TimedOut
from llm_magic.events import AttemptStarted, Progress, TextDelta
from llm_magic.execute import RetryPolicy
from llm_magic.providers.base import Finished, ProviderEvent, ProviderRequest, RequestSent, UsageReport, thinking
from llm_magic.testing import FakeClock
from llm_magic.types import Attempt, CostBasis, Outcome, Usage
from tests.support import builders
from tests.support.builders import model

LIMIT = 1_000
WORDS = "word " * 40
Script = Callable[[ProviderRequest], AsyncGenerator[ProviderEvent]]


class Provider:
    """A provider made of one async generator function."""

    def __init__(self, script: Script, *, announces_sending: bool = False) -> None:
        self.stream = script
        self.announces_sending = announces_sending
        self.preparing = 0

    def unavailable(self) -> None:
        return None


def routed(script: Script, *, clock: FakeClock | None = None, announces: bool = False, **fields: Any) -> Router:
    specs = [model("m", price="1/10", max_output_tokens=LIMIT, **fields)]
    provider = Provider(script, announces_sending=announces)
    return builders.router(
        *specs, providers={"cloud": provider}, clock=clock or FakeClock(), policy=RetryPolicy(tries=1)
    )


async def row_after_stop(router: Router, *, at: type = AttemptStarted) -> Attempt:
    """Start a run, stop it at the first event of a kind, and return its row."""
    async with aclosing(router.stream("hello", cascade=False)) as events:
        async for event in events:
            if isinstance(event, at):
                await asyncio.sleep(0.05)
                break
    (row,) = router.ledger.rows()
    assert router.ledger.held_usd == 0
    return row


def thinks(clock: FakeClock, seconds: float, *then: ProviderEvent) -> Script:
    """A script that is silent for some seconds, then yields events, then waits forever."""

    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        clock.advance(seconds)
        for event in then:
            yield event
        await asyncio.Event().wait()

    return script


async def test_a_stop_during_unseen_reasoning_is_charged_the_hold_if_no_pace_is_known() -> None:
    clock = FakeClock()
    row = await row_after_stop(routed(thinks(clock, 40), clock=clock))
    assert (row.outcome, row.cost_basis, row.cost_estimated) == (Outcome.CANCELLED, CostBasis.HELD, True)
    assert row.cost_usd == row.cost_high_usd
    assert row.cost_usd >= Decimal(LIMIT) * 10 / 1_000_000
    assert row.cost_low_usd is not None
    assert 0 < row.cost_low_usd < row.cost_usd


async def test_a_stated_pace_bounds_the_charge_by_the_time_that_has_passed() -> None:
    clock = FakeClock()
    row = await row_after_stop(routed(thinks(clock, 4), clock=clock, tokens_per_s=50.0))
    assert row.cost_basis is CostBasis.ESTIMATED
    assert (row.usage.output_tokens, row.usage.reasoning_tokens) == (200, 200)
    clock = FakeClock()
    row = await row_after_stop(routed(thinks(clock, 4_000), clock=clock, tokens_per_s=50.0))
    assert row.usage.output_tokens == LIMIT
    assert row.cost_usd <= (row.cost_high_usd or 0)


async def test_the_pace_is_learned_from_answers_whose_usage_was_reported() -> None:
    clock = FakeClock()

    async def answers(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        clock.advance(2)
        yield TextDelta(text=WORDS)
        yield UsageReport(usage=Usage(input_tokens=10, output_tokens=100))
        yield Finished(finish_reason="stop", served_model="m")

    router = routed(answers, clock=clock)
    for _ in range(5):
        await router.route("hello", cascade=False)
    assert router.ledger.paces.read("m") == 62.5  # 100 tokens in 2 s, and a quarter more
    assert router.ledger.paces.read("another") is None
    router.providers["cloud"].stream = thinks(clock, 4)  # type: ignore[method-assign]
    async with aclosing(router.stream("hello", cascade=False)) as events:
        async for event in events:
            if isinstance(event, AttemptStarted):
                await asyncio.sleep(0.05)
                break
    row = router.ledger.rows()[-1]
    assert (row.cost_basis, row.usage.output_tokens) == (CostBasis.ESTIMATED, 250)


@pytest.mark.parametrize(("queued_s", "written_s", "tokens_per_s"), [(2, 1, 100), (2, 0.1, 100 / 2.1), (0, 2, 50)])
async def test_a_queue_before_the_first_token_does_not_slow_the_learned_pace(
    queued_s: float, written_s: float, tokens_per_s: float
) -> None:
    clock = FakeClock()

    async def answers(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        clock.advance(queued_s)
        yield TextDelta(text="word ")
        clock.advance(written_s)
        yield TextDelta(text=WORDS)
        yield UsageReport(usage=Usage(input_tokens=10, output_tokens=100))
        yield Finished(finish_reason="stop", served_model="m")

    router = routed(answers, clock=clock)
    for _ in range(5):
        await router.route("hello", cascade=False)
    assert router.ledger.paces.read("m") == pytest.approx(1.25 * tokens_per_s)


@pytest.mark.parametrize("is_summary", [False, True])
async def test_a_report_that_leaves_out_the_reasoning_that_was_shown_is_doubted(is_summary: bool) -> None:
    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        yield thinking("step " * 500, is_summary=is_summary)
        yield TextDelta(text=WORDS)
        yield UsageReport(usage=Usage(input_tokens=10, output_tokens=41))
        yield Finished(finish_reason="stop", served_model="m")

    (row,) = (await routed(script).route("hello", cascade=False)).attempts
    assert (row.cost_basis, row.usage.output_tokens >= 540) == (CostBasis.COUNTED, True)


async def test_a_stream_that_fails_after_a_summary_of_its_reasoning_is_charged_for_the_summary() -> None:
    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        yield thinking("step " * 50, is_summary=True)
        raise StreamBroken("broken", accepted=True)

    router = routed(script)
    with pytest.raises(AllAttemptsFailed):
        await router.route("hello", cascade=False)
    (row,) = router.ledger.rows()
    assert 50 <= row.usage.reasoning_tokens <= 55


async def test_text_without_a_silence_before_it_is_charged_by_the_text() -> None:
    row = await row_after_stop(routed(thinks(FakeClock(), 0, TextDelta(text=WORDS))), at=TextDelta)
    assert row.cost_basis is CostBasis.COUNTED
    assert 40 <= row.usage.output_tokens <= 45


async def test_silence_before_the_text_is_charged_at_the_pace_of_the_text() -> None:
    clock = FakeClock()

    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        clock.advance(3)
        for _ in range(4):
            yield TextDelta(text="word " * 10)
            clock.advance(1)
        await asyncio.Event().wait()

    row = await row_after_stop(routed(script, clock=clock), at=TextDelta)
    assert row.cost_basis is CostBasis.ESTIMATED
    assert row.usage.output_tokens > 40


async def test_reasoning_that_is_shown_is_counted_and_not_estimated_again() -> None:
    row = await row_after_stop(routed(thinks(FakeClock(), 0, thinking(WORDS), TextDelta(text="So"))), at=TextDelta)
    assert row.cost_basis is CostBasis.COUNTED
    assert 40 <= row.usage.reasoning_tokens < row.usage.output_tokens <= 48


async def test_a_text_is_never_charged_for_more_tokens_than_the_limit_that_was_sent() -> None:
    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        yield TextDelta(text="word " * 5 * LIMIT)
        raise StreamBroken("reset")

    router = routed(script)
    with pytest.raises(AllAttemptsFailed):
        await router.route("hello", cascade=False)
    (row,) = router.ledger.rows()
    assert row.usage.output_tokens == LIMIT
    assert row.cost_usd <= (row.cost_high_usd or 0)


@pytest.mark.parametrize("announces", [False, True])
async def test_a_timeout_before_the_first_token_is_charged_and_not_retried_on_the_same_model(announces: bool) -> None:
    asked: list[str] = []

    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        asked.append(request.model.id)
        yield RequestSent()
        if request.model.id == "second":
            yield TextDelta(text="yes")
            yield UsageReport(usage=Usage(input_tokens=10, output_tokens=1))
            yield Finished(finish_reason="stop", served_model="second")
            return
        raise TimedOut("no event for 300 s")

    specs = [model("first", price="1/10", fallback_id="second"), model("second", price="2/20", tiers=())]
    provider = Provider(script, announces_sending=announces)
    router = builders.router(*specs, providers={"cloud": provider}, clock=FakeClock())
    result = await router.route("hello", cascade=False)
    assert asked == ["first", "second"]
    assert result.attempts[0].cost_basis is CostBasis.HELD


async def test_a_stop_before_the_request_left_is_free() -> None:
    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        await asyncio.Event().wait()
        yield RequestSent()

    row = await row_after_stop(routed(script, announces=True))
    assert (row.outcome, row.cost_usd, row.cost_estimated) == (Outcome.CANCELLED, 0, False)


@pytest.mark.parametrize("was_written", [False, True])
@pytest.mark.parametrize("in_one_piece", [False, True])
async def test_a_timeout_or_a_stop_before_the_request_was_written_is_free(
    was_written: bool, in_one_piece: bool
) -> None:
    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        yield RequestSent(in_one_piece=in_one_piece, was_written=lambda: was_written)
        yield Progress(message="waiting", done=True)
        if request.messages[-1].content == "time out":
            raise TimedOut("silent")
        await asyncio.Event().wait()

    router = routed(script, announces=True)
    await row_after_stop(router, at=Progress)
    with pytest.raises(AllAttemptsFailed):
        await router.route("time out", cascade=False)
    assert {(row.outcome, row.cost_usd > 0) for row in router.ledger.rows()} == {
        (Outcome.CANCELLED, was_written),
        (Outcome.TIMED_OUT, was_written),
    }
    assert router.ledger.held_usd == 0


async def test_a_provider_is_prepared_before_money_is_held() -> None:
    router = routed(thinks(FakeClock(), 0))
    held: list[Decimal] = []

    async def prepare() -> None:
        held.append(router.ledger.held_usd)

    router.providers["cloud"].prepare = prepare  # type: ignore[attr-defined]
    await row_after_stop(router)
    assert held == [0]


async def test_the_loser_of_a_hedge_is_charged_for_what_it_may_have_reasoned() -> None:
    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        if request.model.id == "first":
            await asyncio.Event().wait()
        yield TextDelta(text="yes")
        yield UsageReport(usage=Usage(input_tokens=10, output_tokens=1))
        yield Finished(finish_reason="stop", served_model="second")

    specs = [model("first", price="1/10", fallback_id="second"), model("second", price="2/20", tiers=())]
    router = builders.router(*specs, providers={"cloud": Provider(script)}, clock=FakeClock())
    result = await router.route("hello", cascade=False, hedge_s=0.0)
    loser = next(attempt for attempt in result.attempts if attempt.model == "first")
    assert (loser.outcome, loser.cost_basis) == (Outcome.CANCELLED, CostBasis.HELD)


@pytest.mark.parametrize(
    ("reported", "believed"),
    [
        (Usage(input_tokens=10, output_tokens=0), False), (Usage(input_tokens=10, output_tokens=3), False),
        (Usage(input_tokens=10, output_tokens=12), True), (Usage(input_tokens=10, output_tokens=120), True),
        (Usage(input_tokens=10**7, output_tokens=40), False), (Usage(input_tokens=10, output_tokens=10**7), False),
    ],
)  # fmt: skip
async def test_a_report_that_does_not_fit_the_text_is_doubted_and_noted(reported: Usage, believed: bool) -> None:
    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        yield TextDelta(text=WORDS)
        yield UsageReport(usage=reported)
        yield Finished(finish_reason="stop", served_model="m")

    result = await routed(script).route("hello", cascade=False)
    (row,) = result.attempts
    assert row.cost_estimated is not believed
    assert any("the provider reported" in note for note in result.notes) is not believed
    if not believed:
        assert 40 <= row.usage.output_tokens <= 45


FIFTEEN = "The sky is blue because air scatters the short waves of sunlight more than others."
PARTS_OF_WORDS = "வானம் நீலமாக இருப்பதற்குக் காரணம் சூரிய ஒளி வளிமண்டலத்தில் சிதறுவதே"


@pytest.mark.parametrize(
    ("text", "reported", "believed"),
    [
        (FIFTEEN, 1, False), (FIFTEEN, 3, False), (FIFTEEN, 5, True), (FIFTEEN, 40, True), ("Yes.", 1, True),
        ("one two three", 1, True), ("one two three four five six", 1, False), ("one", 0, False),
        # As other tokenizers count: DeepSeek V3, Mistral's Tekken, cl100k_base.
        ("\\" * 1000, 32, True), ("·" * 1000, 125, True), ("あ" * 1000, 500, True), ("==>" * 80, 120, True),
        ("." + " \n" * 80, 21, True), ("." + "\xa0" * 80, 6, True), ("哈哈" * 80, 40, True), ("-" * 1000, 1, True),
        ("天空为什么是蓝色的？因为阳光穿过大气层时" * 10, 90, True), ("天空为什么是蓝色的？因为阳光穿过大气层时" * 10, 20, False),
        (PARTS_OF_WORDS, 9, True), (PARTS_OF_WORDS, 2, False), ("😀👍🏽🎉🇩🇪" * 10, 40, True), ("😀👍🏽🎉🇩🇪" * 10, 9, False),
    ],
)  # fmt: skip
async def test_an_output_of_fewer_tokens_than_any_tokenizer_makes_of_the_text_is_doubted(
    text: str, reported: int, believed: bool
) -> None:
    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        yield TextDelta(text=text)
        yield UsageReport(usage=Usage(input_tokens=10, output_tokens=reported))
        yield Finished(finish_reason="stop", served_model="m")

    (row,) = (await routed(script).route("hello", cascade=False)).attempts
    assert (row.cost_basis is CostBasis.REPORTED) is believed


@pytest.mark.parametrize(
    ("prompt", "reported", "believed"),
    [
        ("word " * 200, 199, True), ("word " * 200, 60, True), ("word " * 200, 15, False), ("word " * 200, 3, False),
        ("hello", 1, True), ("hello", 500, True), ("hello", 0, False), ("-" * 5_000, 60, True),
        ("word " * 20_000, 2_000, True), ("word " * 20_000, 990, False),
    ],
)  # fmt: skip
async def test_an_input_of_fewer_tokens_than_any_tokenizer_makes_of_the_prompt_is_doubted(
    prompt: str, reported: int, believed: bool
) -> None:
    """A prompt that the endpoint cut to its context window is not: the endpoint did not read the rest."""

    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        yield TextDelta(text="yes")
        yield UsageReport(usage=Usage(input_tokens=reported, output_tokens=1))
        yield Finished(finish_reason="stop", served_model="m")

    (row,) = (await routed(script).route(prompt, cascade=False)).attempts
    assert (row.cost_basis is CostBasis.REPORTED) is believed


@pytest.mark.parametrize(
    "impossible",
    [
        Usage(input_tokens=20, output_tokens=-40),
        Usage(input_tokens=20, output_tokens=40, cached_input_tokens=21),
        Usage(input_tokens=20, output_tokens=40, cached_input_tokens=11, cache_write_tokens=10),
        Usage(input_tokens=20, output_tokens=40, cached_input_tokens=-1),
        Usage(input_tokens=20, output_tokens=40, cache_write_tokens=5, cache_write_1h_tokens=6),
        Usage(input_tokens=20, output_tokens=40, reasoning_tokens=-1),
        Usage(input_tokens=20, output_tokens=40, reasoning_tokens=41),
        Usage(input_tokens=20, output_tokens=40, reasoning_tokens=10**9),
    ],
)
async def test_a_report_with_impossible_parts_is_doubted(impossible: Usage) -> None:
    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        yield TextDelta(text="word")
        yield UsageReport(usage=impossible)
        yield Finished(finish_reason="stop", served_model="m")

    (row,) = (await routed(script).route("hello", cascade=False)).attempts
    assert row.cost_basis is CostBasis.COUNTED
    assert row.cost_usd > 0


@pytest.mark.parametrize(("reasoning", "charged"), [(100, 140), (10**9, LIMIT)])
async def test_reasoning_above_the_output_is_charged_in_addition_up_to_the_limit(reasoning: int, charged: int) -> None:
    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        yield TextDelta(text="word")
        yield UsageReport(usage=Usage(input_tokens=20, output_tokens=40, reasoning_tokens=reasoning))
        yield Finished(finish_reason="stop", served_model="m")

    result = await routed(script).route("hello", cascade=False)
    (row,) = result.attempts
    assert (row.usage.output_tokens, row.cost_basis, row.cost_estimated) == (charged, CostBasis.COUNTED, True)
    assert row.cost_usd <= (row.cost_high_usd or 0)
    assert "more reasoning than output tokens" in result.notes[0]


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        (Usage(input_tokens=0, output_tokens=77), {"output_tokens": 77}),
        (Usage(input_tokens=10**9, output_tokens=77), {"output_tokens": 77}),
        (Usage(input_tokens=12, output_tokens=10**9), {"input_tokens": 12}),
        (Usage(input_tokens=12, output_tokens=77, cached_input_tokens=50), {"input_tokens": 12, "output_tokens": 77}),
    ],
)
async def test_the_credible_half_of_a_doubted_report_is_kept(reported: Usage, expected: dict[str, int]) -> None:
    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        yield TextDelta(text=WORDS)
        yield UsageReport(usage=reported)
        yield Finished(finish_reason="stop", served_model="m")

    (row,) = (await routed(script).route("hello", cascade=False)).attempts
    assert row.cost_estimated
    assert {name: getattr(row.usage, name) for name in expected} == expected
    assert row.usage.input_tokens > 0
    assert row.usage.output_tokens >= 40


async def test_an_input_of_a_few_tokens_beside_a_long_prompt_is_doubted() -> None:
    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        yield TextDelta(text="yes")
        yield UsageReport(usage=Usage(input_tokens=3, output_tokens=1))
        yield Finished(finish_reason="stop", served_model="m")

    result = await routed(script).route("word " * 200, cascade=False)
    assert result.cost_estimated
    assert result.usage.input_tokens >= 200


async def test_an_answer_without_a_usage_report_is_charged_by_its_text() -> None:
    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        yield TextDelta(text=WORDS)
        yield Finished(finish_reason="stop", served_model="m")

    (row,) = (await routed(script).route("hello", cascade=False)).attempts
    assert row.cost_basis is CostBasis.COUNTED
    assert 40 <= row.usage.output_tokens <= 45


@pytest.mark.parametrize("cap", ["0.000093", "0.0005", "0.002"])
async def test_near_a_cap_the_limit_that_was_sent_bounds_an_answer_without_usage(cap: str) -> None:
    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        yield TextDelta(text="word " * 3 * request.max_output_tokens)
        yield Finished(finish_reason="stop", served_model="m")

    specs = [model("m", price="0.01/0.05", max_output_tokens=LIMIT, token_ratio=2.9)]
    router = builders.router(*specs, providers={"cloud": Provider(script)}, budget=Budget(session_usd=Decimal(cap)))
    await router.route("hello", cascade=False)
    assert router.ledger.spent_usd <= Decimal(cap)


@pytest.mark.parametrize("error", [TimedOut("silent"), StreamBroken("reset")])
async def test_an_error_after_sending_without_any_event_is_charged_the_hold(error: ProviderError) -> None:
    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        if request.max_output_tokens:
            raise error
        yield RequestSent()

    router = routed(script)
    with pytest.raises(AllAttemptsFailed):
        await router.route("hello", cascade=False)
    assert {row.cost_basis for row in router.ledger.rows()} == {CostBasis.HELD}


@pytest.mark.parametrize("silent_s", [1, 4])
async def test_silence_after_text_is_charged_at_the_models_pace_also_before_a_sign_of_life(silent_s: int) -> None:
    clock = FakeClock()

    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        yield TextDelta(text=WORDS)
        clock.advance(silent_s)
        yield Progress(message="waiting", done=True)
        await asyncio.Event().wait()

    row = await row_after_stop(routed(script, clock=clock, tokens_per_s=50.0), at=Progress)
    assert row.cost_basis is CostBasis.ESTIMATED
    assert 40 + 50 * silent_s <= row.usage.output_tokens <= 45 + 50 * silent_s


@pytest.mark.parametrize("ends", ["stopped", "broken", "error event", "without usage"])
async def test_reasoning_between_two_parts_of_the_text_is_charged(ends: str) -> None:
    clock = FakeClock()

    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        for _ in range(3):
            yield TextDelta(text="word " * 10)
            clock.advance(0.1)
        clock.advance(3)
        yield TextDelta(text="word " * 10)
        if ends == "without usage":
            yield Finished(finish_reason="stop", served_model="m")
            return
        if ends != "stopped":
            raise StreamBroken("broken", accepted=ends == "error event")
        yield Progress(message="waiting", done=True)
        await asyncio.Event().wait()

    router = routed(script, clock=clock, tokens_per_s=50.0)
    if ends == "stopped":
        row = await row_after_stop(router, at=Progress)
    else:
        with suppress(AllAttemptsFailed):
            await router.route("hello", cascade=False)
        (row,) = router.ledger.rows()
    assert row.cost_basis is CostBasis.ESTIMATED
    assert 40 + 140 <= row.usage.output_tokens <= 40 + 160


@pytest.mark.parametrize(
    ("silent_s", "tokens_per_s", "expected"), [(0, 50.0, 0), (0.2, 50.0, 0), (4, 50.0, 200), (4, None, 0)]
)
async def test_an_error_event_after_a_silence_is_charged_at_the_pace_of_the_model(
    silent_s: float, tokens_per_s: float | None, expected: int
) -> None:
    clock = FakeClock()

    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        clock.advance(silent_s)
        raise ServerError("overloaded", accepted=True)
        yield

    router = routed(script, clock=clock, tokens_per_s=tokens_per_s)
    with pytest.raises(AllAttemptsFailed):
        await router.route("hello", cascade=False)
    (row,) = router.ledger.rows()
    assert (row.usage.output_tokens, row.cost_estimated) == (expected, True)


@pytest.mark.parametrize(("is_whole", "limit"), [(True, 110), (False, 170)])
async def test_a_text_that_came_in_bursts_is_not_taken_for_one_with_reasoning_between_them(
    is_whole: bool, limit: int
) -> None:
    clock = FakeClock()

    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        for _ in range(8):
            yield TextDelta(text="word " * 10)
            clock.advance(1)
        if not is_whole:
            raise StreamBroken("broken")
        yield Finished(finish_reason="stop", served_model="m")

    router = routed(script, clock=clock)
    with suppress(AllAttemptsFailed):
        await router.route("hello", cascade=False)
    (row,) = router.ledger.rows()
    assert 80 <= row.usage.output_tokens <= limit


async def test_a_summary_of_the_reasoning_does_not_replace_the_estimate_of_it() -> None:
    clock = FakeClock()
    script = thinks(clock, 4, thinking("It adds.", is_summary=True))
    row = await row_after_stop(routed(script, clock=clock, tokens_per_s=50.0), at=Progress)
    assert (row.cost_basis, row.usage.reasoning_tokens) == (CostBasis.ESTIMATED, 200)


@pytest.mark.parametrize(("step_s", "in_flight"), [(0.2, 1), (0.01, 11), (0.0001, 41)])
async def test_text_in_flight_is_charged_when_a_stream_is_closed(step_s: float, in_flight: int) -> None:
    clock = FakeClock()

    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        for number in range(40):
            clock.advance(step_s if number else 0)
            yield TextDelta(text="word ")
        yield Progress(message="waiting", done=True)
        await asyncio.Event().wait()

    row = await row_after_stop(routed(script, clock=clock), at=Progress)
    assert row.cost_basis is CostBasis.ESTIMATED
    assert row.usage.output_tokens == 41 + in_flight


@pytest.mark.parametrize(("unread_share", "charged"), [(0.0, 41), (0.5, 62), (1e9, LIMIT)])
async def test_text_that_had_arrived_unread_is_charged_up_to_the_limit(unread_share: float, charged: int) -> None:
    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        yield RequestSent(unread_share=lambda: unread_share)
        yield TextDelta(text=WORDS)
        yield Progress(message="waiting", done=True)
        await asyncio.Event().wait()

    row = await row_after_stop(routed(script, announces=True), at=Progress)
    assert row.usage.output_tokens == charged
    assert row.cost_usd <= (row.cost_high_usd or 0)


async def test_thinking_tags_are_found_in_an_event_of_thousands_of_pieces() -> None:
    pieces = ("<think>", *(["hm "] * 3_000), "</think>", "Paris", ".")

    async def script(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        yield TextDelta(text="".join(pieces), pieces=pieces)
        yield Finished(finish_reason="stop", served_model="m")

    result = await routed(script).route("hello", cascade=False)
    assert result.text == "Paris."
