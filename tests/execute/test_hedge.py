"""Two candidates at once, where the first one's first token is late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from llm_magic import (
    AllAttemptsFailed,
    BadRequest,
    Overloaded,
    ProviderError,
    Refused,
    RequestError,
    Router,
    StreamBroken,
)
from llm_magic.events import Note, RunEnded, TextDelta
from llm_magic.execute import RetryPolicy
from llm_magic.providers.base import Finished, ProviderEvent, ProviderRequest, UsageReport
from llm_magic.testing import Failure, Reply, ScriptedProvider
from llm_magic.types import Usage
from tests.support import builders
from tests.support.builders import Gate, model

BULK = {"tier": "bulk"}


class Late:
    """Sends nothing until `go` is set. closing_turns: the turns of the event loop that closing its stream takes."""

    def __init__(self, *, closing_turns: int = 0) -> None:
        self.go = Gate()
        self.closed = 0
        self.closing_turns = closing_turns

    def unavailable(self) -> None:
        return None

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        try:
            await self.go.wait()
            yield TextDelta(text="late")
            yield UsageReport(usage=Usage(input_tokens=3, output_tokens=1))
            yield Finished(finish_reason="stop", served_model=request.model.api_model)
        finally:
            for _ in range(self.closing_turns):
                await asyncio.sleep(0)
            self.closed += 1


def hedged(late: Late, other: ScriptedProvider | Late, policy: RetryPolicy | None = None) -> Router:
    return builders.router(
        model("first", provider="late", fallback_id="second"),
        model("second", provider="other", tiers=()),
        providers={"late": late, "other": other},
        policy=policy,
    )


def outcomes(router: Router) -> set[tuple[int, str, str, str | None]]:
    return {(row.attempt, row.model, row.outcome, row.fallback_from) for row in router.ledger.rows()}


async def test_the_second_answers_and_the_first_is_cancelled_and_billed() -> None:
    late = Late()
    router = hedged(late, ScriptedProvider())
    result = await router.route("hello", hedge_s=0.01, **BULK)
    assert (result.model, result.text) == ("second", "A scripted answer.")
    assert late.closed == 1
    assert outcomes(router) == {(1, "first", "cancelled", None), (2, "second", "ok", "first")}
    loser = next(row for row in router.ledger.rows() if row.outcome == "cancelled")
    assert loser.error == "another model answered first"
    assert loser.cost_usd > 0
    assert loser.cost_estimated
    assert result.cost_usd == router.ledger.spent_usd == sum(row.cost_usd for row in result.attempts)
    assert router.ledger.held_usd == 0
    assert result.notes == ("first: no token after 0.01 s; asked second too",)
    assert router.circuit(router.registry["first"]).state == "closed"


async def test_the_first_model_answers_if_its_token_arrives_first_after_all() -> None:
    late, slower = Late(), Late()
    router = hedged(late, slower)
    text = ""
    async with aclosing(router.stream("hello", hedge_s=0, **BULK)) as events:
        async for event in events:
            if isinstance(event, Note):
                late.go.set()
            if isinstance(event, TextDelta):
                text += event.text
            if isinstance(event, RunEnded):
                assert event.result.model == "first"
    assert text == "late"
    assert slower.closed == 1
    assert outcomes(router) == {(1, "first", "ok", None), (2, "second", "cancelled", "first")}


async def test_a_first_model_in_time_is_asked_alone() -> None:
    late = Late()
    late.go.set()
    other = ScriptedProvider()
    router = hedged(late, other)
    result = await router.route("hello", hedge_s=30, **BULK)
    assert (result.model, other.requests) == ("first", [])


@pytest.mark.parametrize("error", [Overloaded("x"), BadRequest("x")], ids=lambda error: error.outcome)
async def test_if_the_second_model_fails_the_first_goes_on(error: ProviderError) -> None:
    late = Late()
    router = hedged(late, ScriptedProvider([Failure(error=error)]))
    async with aclosing(router.stream("hello", hedge_s=0, **BULK)) as events:
        async for event in events:
            if router.ledger.rows() and router.ledger.rows()[-1].outcome == error.outcome:
                late.go.set()
            if isinstance(event, RunEnded):
                assert event.result.model == "first"
    assert {row.outcome for row in router.ledger.rows()} == {"ok", error.outcome}
    assert router.ledger.held_usd == 0


class Breaking(Late):
    """Speaks when it is told to, and breaks then."""

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        await self.go.wait()
        yield TextDelta(text="half")
        raise StreamBroken("x")


class Second(Late):
    """Lets the first one speak where it is asked; answers where it is asked again."""

    def __init__(self, first: Late) -> None:
        super().__init__()
        self.first = first

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        self.first.go.set()
        if self.closed:
            self.go.set()
        async with aclosing(super().stream(request)) as events:
            async for event in events:
                yield event


async def test_if_the_first_to_send_a_token_fails_the_other_is_asked_again() -> None:
    breaking = Breaking()
    router = hedged(breaking, Second(breaking))
    result = await router.route("hello", hedge_s=0, **BULK)
    assert (result.model, result.text) == ("second", "late")
    story = [(row.model, row.outcome) for row in sorted(router.ledger.rows(), key=lambda row: row.attempt)]
    assert story == [
        ("first", "stream_broken"), ("second", "cancelled"), ("first", "stream_broken"), ("first", "stream_broken"),
        ("second", "ok"),
    ]  # fmt: skip
    assert router.ledger.held_usd == 0


class SlowToFail(Late):
    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        await self.go.wait()
        raise Overloaded("x")
        yield


@pytest.mark.parametrize("attempts", [1, 2, 3, 4])
async def test_both_models_share_the_limit_on_attempts(attempts: int) -> None:
    slow = SlowToFail()

    def failing(_: ProviderRequest) -> Failure:
        slow.go.set()
        return Failure(error=Overloaded("x"))

    router = hedged(slow, ScriptedProvider(failing), RetryPolicy(attempts=attempts))
    asking = asyncio.create_task(router.route("hello", hedge_s=0, **BULK))
    while attempts == 1 and not router.ledger.rows():
        await asyncio.sleep(0.001)
    if attempts == 1:
        slow.go.set()
    with pytest.raises(AllAttemptsFailed):
        await asking
    assert sorted(row.attempt for row in router.ledger.rows()) == list(range(1, attempts + 1))
    assert router.ledger.held_usd == 0


async def test_a_failure_of_the_last_attempt_does_not_stop_the_other_model() -> None:
    late = Late()
    router = hedged(late, ScriptedProvider([Failure(error=Overloaded("x"))]), RetryPolicy(attempts=2))
    async with aclosing(router.stream("hello", hedge_s=0, **BULK)) as events:
        async for event in events:
            if any(row.outcome == "overloaded" for row in router.ledger.rows()):
                late.go.set()
            if isinstance(event, RunEnded):
                assert event.result.text == "late"
    assert late.closed == 1


async def test_an_error_that_ends_the_run_stops_both_models() -> None:
    late = Late()
    router = hedged(late, ScriptedProvider([Failure(error=Refused("x"))]))
    with pytest.raises(AllAttemptsFailed):
        await router.route("hello", hedge_s=0, on_refusal="stop", **BULK)
    assert late.closed == 1
    assert router.ledger.held_usd == 0


async def test_closing_the_stream_cancels_both_models_and_waits_for_them() -> None:
    late, slower = Late(closing_turns=500), Late(closing_turns=500)
    router = hedged(late, slower)
    async with aclosing(router.stream("hello", hedge_s=0, **BULK)) as events:
        async for event in events:
            if isinstance(event, Note):
                break
    assert late.closed == 1
    assert slower.closed == len(router.ledger.rows()) - 1
    assert all(row.outcome == "cancelled" for row in router.ledger.rows())
    assert router.ledger.held_usd == 0


async def test_the_cap_holds_for_both_models_together() -> None:
    late = Late()
    router = hedged(late, ScriptedProvider([Reply()]))
    worst = router.plan("hello", **BULK).candidates[0].worst_usd
    router.set_budget(worst)
    asking = asyncio.create_task(router.route("hello", hedge_s=0, **BULK))
    while not router.ledger.rows():
        await asyncio.sleep(0.001)
    assert router.ledger.held_usd <= worst
    late.go.set()
    assert (await asking).model == "first", "there is no money for a second one"


@pytest.mark.parametrize("late_s", [-1, float("nan"), float("inf")])
def test_an_invalid_number_of_seconds_is_an_error(late_s: float) -> None:
    with pytest.raises(RequestError, match="hedge_s"):
        builders.router().plan("hello", hedge_s=late_s)
