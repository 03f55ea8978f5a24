"""Execution: retries, fallbacks, holds, settlement, rows. Time and chance are parameters; nothing sleeps."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_magic import (
    AllAttemptsFailed,
    AuthFailed,
    BadRequest,
    Budget,
    BudgetExceeded,
    ConnectionFailed,
    ContextTooLong,
    EmptyAnswer,
    Ledger,
    ModelNotFound,
    NoCandidate,
    Overloaded,
    PaymentRequired,
    ProtocolError,
    ProviderError,
    RateLimited,
    Refused,
    Registry,
    RequestError,
    Router,
    ServerError,
    StreamBroken,
    TimedOut,
)
from llm_magic.answers import schema_of
from llm_magic.events import AttemptEnded, AttemptStarted, Planned, Progress, RunEnded, TextDelta, Waiting
from llm_magic.execute import Executor, RetryPolicy
from llm_magic.providers.base import Finished, ProviderEvent, ProviderRequest, SignOfLife, thinking
from llm_magic.routing.services import new_services
from llm_magic.testing import Failure, FakeClock, Reply, ScriptedProvider
from llm_magic.types import CostBasis, Usage
from tests.support import builders
from tests.support.builders import NOON, Gate, attempt, model, registry, replaced
from tests.support.fuzzing import examples
from tests.support.providers import Stuck

BULK = {"tier": "bulk"}


def outcomes(router: Router) -> list[tuple[str, str]]:
    return [(row.model, row.outcome) for row in router.ledger.rows()]


async def test_an_answer_with_its_events_its_row_and_its_bill() -> None:
    router = builders.router()
    async with aclosing(router.stream("hello", **BULK)) as events:
        seen = [event async for event in events]
    assert [type(event) for event in seen] == [Planned, AttemptStarted, TextDelta, TextDelta, AttemptEnded, RunEnded]
    result = seen[-1].result  # type: ignore[union-attr]
    assert result.text == "A scripted answer."
    assert result.cost_usd == Decimal("0.0000035")
    assert result.baseline_usd == Decimal("0.00014")
    assert result.savings_usd == result.baseline_usd - result.cost_usd
    assert result.session_cost_usd == router.ledger.spent_usd == result.cost_usd
    assert router.ledger.held_usd == 0
    (row,) = router.ledger.rows()
    assert (row,) == result.attempts
    assert (row.outcome, row.served_model, row.cost_estimated) == ("ok", "cheap", False)


@pytest.mark.parametrize("error", [RateLimited, Overloaded, ServerError, ConnectionFailed, StreamBroken, ProtocolError])
async def test_transient_errors_are_retried_with_full_jitter_then_fall_back(error: type[ProviderError]) -> None:
    time = FakeClock()
    router = builders.router(replies=[*[Failure(error=error("x"))] * 3, Reply()], clock=time)
    result = await router.route("hello", **BULK)
    assert outcomes(router) == [("cheap", error.outcome)] * 3 + [("strong", "ok")]
    assert time.sleeps_s == [0.5, 1.0]
    assert result.model == "strong"
    assert [row.fallback_from for row in router.ledger.rows()] == [None, None, None, "cheap"]
    assert [(step.model, step.outcome) for step in result.path] == outcomes(router)


@pytest.mark.parametrize("error", [ServerError, Overloaded, RateLimited])
async def test_an_error_event_in_an_accepted_stream_is_charged_for_its_input(error: type[ProviderError]) -> None:
    router = builders.router(replies=[Failure(error=error("failed", accepted=True)), Reply()])
    result = await router.route("hello there", tier="BULK")
    first = result.attempts[0]
    assert first.cost_estimated
    assert (first.usage.input_tokens > 0, first.usage.output_tokens) == (True, 0)
    assert first.cost_usd > 0


@pytest.mark.parametrize("error", [AuthFailed, PaymentRequired, ModelNotFound, ContextTooLong])
async def test_lasting_errors_fall_back_at_once_and_are_free(error: type[ProviderError]) -> None:
    time = FakeClock()
    router = builders.router(replies=[Failure(error=error("x")), Reply()], clock=time)
    await router.route("hello", **BULK)
    assert outcomes(router) == [("cheap", error.outcome), ("strong", "ok")]
    assert time.sleeps_s == []
    assert router.ledger.rows()[0].cost_usd == 0


@pytest.mark.parametrize("error", [BadRequest, Refused])
async def test_an_error_that_every_model_would_raise_stops_the_run(error: type[ProviderError]) -> None:
    router = builders.router(replies=[Failure(error=error("because"))])
    with pytest.raises(AllAttemptsFailed, match="because") as caught:
        await router.route("hello", **BULK)
    assert outcomes(router) == [("cheap", error.outcome)]
    assert isinstance(caught.value.exceptions[0], error)
    assert str(caught.value) == caught.value.message


async def test_the_error_of_a_failed_run_names_every_cause() -> None:
    router = builders.router(replies=[Failure(error=ServerError("HTTP 500"))])
    with pytest.raises(
        AllAttemptsFailed, match=r"no answer after 6 attempts: cheap: server error \(HTTP 500\)"
    ) as caught:
        await router.route("hello", **BULK)
    assert len(caught.value.exceptions) == 6
    assert router.ledger.held_usd == 0


async def test_a_short_retry_after_is_waited_out_and_a_long_one_is_not() -> None:
    time = FakeClock()
    router = builders.router(replies=[Failure(error=RateLimited("x", retry_after_s=7)), Reply()], clock=time)
    async with aclosing(router.stream("hello", **BULK)) as events:
        waits = [event async for event in events if isinstance(event, Waiting)]
    assert time.sleeps_s == [7]
    assert (waits[0].seconds, waits[0].reason) == (7, "cheap: rate limited, trying again")
    router = builders.router(
        replies=[Failure(error=RateLimited("x", retry_after_s=259_200)), Reply()], clock=FakeClock()
    )
    assert (await router.route("hello", **BULK)).model == "strong"
    assert outcomes(router) == [("cheap", "rate_limited"), ("strong", "ok")]


async def test_a_failing_model_cools_down_and_recovers() -> None:
    time = FakeClock()
    router = builders.router(replies=[*[Failure(error=Overloaded("x"))] * 3, Reply()], clock=time)
    await router.route("hello", **BULK)
    assert router.plan("hello", **BULK).skipped[0].reason == "cooling down after failures, 30 s left"
    assert (await router.route("hello", **BULK)).model == "strong"
    time.advance(31)
    assert (await router.route("hello", **BULK)).model == "cheap"


async def test_one_number_of_attempts_bounds_the_whole_run() -> None:
    chain = [model(f"m{n}", fallback_id=f"m{n + 1}" if n < 9 else None) for n in range(10)]
    router = builders.router(*chain, replies=[Failure(error=ServerError("x"))], policy=RetryPolicy(attempts=5))
    with pytest.raises(AllAttemptsFailed, match="after 5 attempts"):
        await router.route("hello")
    assert len(router.ledger.rows()) == 5


async def test_one_deadline_bounds_the_whole_run_and_cools_nothing_down() -> None:
    time = FakeClock()
    router = builders.router(replies=[Failure(error=ServerError("x"))], clock=time, policy=RetryPolicy(deadline_s=1.2))
    with pytest.raises(AllAttemptsFailed):
        await router.route("hello", **BULK)
    assert time.monotonic() <= 1.2


async def test_a_stream_that_breaks_is_billed_for_what_arrived_and_started_again() -> None:
    router = builders.router(
        replies=[Failure(error=StreamBroken("x"), chunks=("one two ", "three")), Reply(chunks=("whole",))]
    )
    async with aclosing(router.stream("hello", **BULK)) as events:
        seen = [event async for event in events]
    assert seen[-1].result.text == "whole", "never spliced"  # type: ignore[union-attr]
    broken, whole = router.ledger.rows()
    assert (broken.outcome, broken.cost_estimated, broken.usage.output_tokens) == ("stream_broken", True, 3)
    assert broken.cost_usd > 0
    assert broken.baseline_usd == 0
    assert seen[-1].result.cost_usd == broken.cost_usd + whole.cost_usd  # type: ignore[union-attr]
    assert seen[-1].result.cost_estimated  # type: ignore[union-attr]


async def test_a_stream_without_an_end_is_broken() -> None:
    router = builders.router(replies=[Reply(finish_reason=None), Reply()])
    await router.route("hello", **BULK)
    assert outcomes(router) == [("cheap", "stream_broken"), ("cheap", "ok")]


async def test_an_empty_answer_is_billed_and_the_next_candidate_is_asked() -> None:
    router = builders.router(replies=[Reply(chunks=(" \n",)), Reply()])
    await router.route("hello", **BULK)
    assert outcomes(router) == [("cheap", "empty"), ("strong", "ok")]
    assert router.ledger.rows()[0].cost_usd > 0
    router = builders.router(model("only"), replies=[Reply(chunks=(), finish_reason="length")])
    with pytest.raises(AllAttemptsFailed, match="went into reasoning: allow more with --max-tokens") as caught:
        await router.route("hello")
    assert isinstance(caught.value.exceptions[0], EmptyAnswer)


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


async def test_an_answer_that_does_not_fit_the_schema_is_billed_and_repaired_once() -> None:
    scripted = ScriptedProvider([Reply(chunks=('{"n": "secret"}',)), Reply(chunks=('```json\n{"n": 3}\n```',))])
    router = builders.router(providers={"cloud": scripted})
    result = await router.route("hello", schema=SCHEMA, **BULK)
    assert result.data == {"n": 3}
    assert outcomes(router) == [("cheap", "invalid"), ("cheap", "ok")]
    bad = router.ledger.rows()[0]
    assert bad.cost_usd > 0
    assert bad.error == "the answer does not fit the schema: 'type' fails at $.n"
    first, second = (request.messages for request in scripted.requests)
    assert second[: len(first)] == first
    assert [message.role for message in second] == ["user", "assistant", "user"]
    assert "'type' fails at $.n" in second[-1].content
    (note,) = result.notes
    assert note == f"cheap: {bad.error} ('secret' is not of type 'integer'); asked once to fix it"


async def test_after_a_failed_repair_the_next_candidate_is_asked() -> None:
    bad, good = Reply(chunks=("no JSON",)), Reply(chunks=('{"n": 3}',))
    router = builders.router(replies=[bad, bad, good])
    result = await router.route("hello", schema=SCHEMA, **BULK)
    assert result.data == {"n": 3}
    assert outcomes(router) == [("cheap", "invalid"), ("cheap", "invalid"), ("strong", "ok")]
    router = builders.router(replies=[bad, bad, bad, good])
    with pytest.raises(AllAttemptsFailed):
        await router.route("hello", schema=SCHEMA, **BULK)
    assert outcomes(router) == [("cheap", "invalid"), ("cheap", "invalid"), ("strong", "invalid")], "once in a run"


async def test_a_run_without_a_valid_answer_tells_the_user_what_was_invalid_and_the_ledger_does_not() -> None:
    router = builders.router(model("only"), replies=[Reply(chunks=('{"n": "thr<b>ee"}',))])
    with pytest.raises(AllAttemptsFailed, match="What was invalid: 'thr<b>ee' is not of type 'integer'"):
        await router.route("hello", schema=SCHEMA)
    assert all("thr" not in (row.error or "") for row in router.ledger.rows())


async def test_the_hold_of_a_repair_counts_the_answer_that_it_sends_back() -> None:
    long = "x" * 4_000
    router = builders.router(model("only"), replies=[Reply(chunks=(long,)), Reply(chunks=('{"n": 3}',))])
    holds: list[Decimal] = []
    hold = router.ledger.hold

    def watched(attempt: Any, worst_usd: Decimal, caps: Any) -> Any:
        holds.append(worst_usd)
        return hold(attempt, worst_usd, caps)

    router.ledger.hold = watched  # type: ignore[method-assign]
    await router.route("hello", schema=SCHEMA)
    assert holds[1] - holds[0] >= Decimal(len(long)) / 1_000_000


async def test_a_schema_is_checked_before_it_is_sent_to_the_provider() -> None:
    scripted = ScriptedProvider([Reply(chunks=('{"n": 1}',))])
    router = Router(registry=registry(model("only")), providers={"cloud": scripted}, ledger=Ledger(":memory:"))
    await router.route("hello", schema=SCHEMA)
    assert scripted.requests[0].schema == schema_of(SCHEMA)
    from llm_magic import RequestError

    with pytest.raises(RequestError, match="not a valid JSON Schema"):
        router.plan("hello", schema={"type": "nonsense"})


async def test_no_usage_reported_means_an_estimate_never_zero() -> None:
    router = builders.router(replies=[Reply(usage=None)])
    (row,) = (await router.route("hello", **BULK)).attempts
    assert row.cost_estimated
    assert row.cost_usd > 0
    assert row.usage.output_tokens == 4


async def test_the_cost_is_that_of_the_model_that_served() -> None:
    models = (model("cheap", price="0.1/0.5", fallback_id="strong"), model("strong", price="4/20", tiers=()))
    router = builders.router(
        *models, replies=[Reply(served_model="strong", usage=Usage(input_tokens=1_000_000, output_tokens=5_000))]
    )
    result = await router.route("hello")
    assert (result.model, result.served_model, result.cost_usd) == ("cheap", "strong", Decimal("4.1"))
    assert result.attempts[0].input_price == 4


async def test_closing_the_stream_cancels_upstream_and_settles() -> None:
    stuck = Stuck("one ", "two ")
    router = builders.router(providers={"cloud": stuck})
    async with aclosing(router.stream("hello", **BULK)) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    assert stuck.closed
    (row,) = router.ledger.rows()
    assert (row.outcome, row.cost_estimated) == ("cancelled", True)
    assert row.usage.output_tokens >= 1
    assert router.ledger.held_usd == 0
    assert router.plan("hello", **BULK).candidates[0].model.id == "cheap", "a cancelled model does not cool down"


async def test_canceling_the_task_cancels_upstream_and_settles() -> None:
    stuck = Stuck("one ")
    router = builders.router(providers={"cloud": stuck})
    task = asyncio.create_task(router.route("hello", **BULK))
    while not router.ledger.rows():
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stuck.closed
    assert outcomes(router) == [("cheap", "cancelled")]


@pytest.mark.parametrize(("chunks", "says"), [((), "before the first token"), (("one",), "mid-answer")])
async def test_a_silent_stream_times_out(chunks: tuple[str, ...], says: str) -> None:
    policy = RetryPolicy(first_token_s=0.0, between_tokens_s=0.0, tries=1)
    router = builders.router(model("only"), providers={"cloud": Stuck(*chunks)}, policy=policy)
    with pytest.raises(AllAttemptsFailed, match=says):
        await router.route("hello")
    (row,) = router.ledger.rows()
    assert (row.outcome, row.cost_estimated) == ("timed_out", True)
    assert row.cost_usd > 0


async def test_signs_of_life_restart_the_timeout() -> None:
    class Queued(ScriptedProvider):
        async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
            for _ in range(12):
                await asyncio.sleep(0.1)
                yield SignOfLife()
            yield TextDelta(text="ready")
            yield Finished(finish_reason="stop", served_model="only")

    policy = RetryPolicy(first_token_s=1.0, tries=1)
    router = builders.router(model("only"), providers={"cloud": Queued()}, policy=policy)
    assert (await router.route("hello")).text == "ready"


async def test_a_stream_of_nothing_but_signs_of_life_ends_at_the_deadline_and_is_charged_as_silence() -> None:
    clock = FakeClock()

    class KeptAlive(ScriptedProvider):
        async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
            while True:
                clock.advance(50)
                yield SignOfLife()
                await asyncio.sleep(0)

    only = model("only", tokens_per_s=1.0)
    router = builders.router(only, providers={"cloud": KeptAlive()}, clock=clock, policy=RetryPolicy(deadline_s=600))
    with pytest.raises(AllAttemptsFailed, match="the run's time is up before the first token"):
        await router.route("hello")
    (row,) = router.ledger.rows()
    assert (row.outcome, row.cost_basis) == ("timed_out", CostBasis.ESTIMATED)
    assert 600 <= row.usage.reasoning_tokens <= 700


class Loading:
    """Takes long to load, saying so, then answers."""

    def __init__(self, time: FakeClock) -> None:
        self.time = time

    def unavailable(self) -> None:
        return None

    async def stream(self, request: ProviderRequest):  # type: ignore[no-untyped-def]
        for share in (0.1, 0.9):
            yield Progress(message="loading", fraction=share)
            self.time.advance(1_000)
        yield TextDelta(text="ready")
        yield Finished(finish_reason="stop", served_model="only")


async def test_loading_does_not_count_against_the_deadline() -> None:
    time = FakeClock()
    router = builders.router(
        model("only"), providers={"cloud": Loading(time)}, clock=time, policy=RetryPolicy(deadline_s=60)
    )
    assert (await router.route("hello")).text == "ready"


async def test_every_attempt_of_a_repeated_run_has_the_parent_run_id() -> None:
    router = builders.router(replies=[Failure(error=AuthFailed("no")), Reply()])
    first = await router.route("hello", tier="bulk")
    again = await router.route("hello", tier="complex", parent_run_id=first.run_id)
    parents = {row.run_id: row.parent_run_id for row in router.ledger.rows()}
    assert parents == {first.run_id: None, again.run_id: first.run_id}


async def test_a_request_beyond_the_concurrency_limit_is_queued_and_reported() -> None:
    stuck = Stuck("one ")
    router = Router(
        registry=registry(model("only"), concurrency=1), providers={"cloud": stuck}, ledger=Ledger(":memory:")
    )
    first = router.job("hello")
    while not stuck.stuck.is_set():
        await asyncio.sleep(0.01)
    async with aclosing(router.stream("hello")) as events:
        async for event in events:
            if isinstance(event, Waiting):
                assert event.reason.startswith("queued")
                break
    first.cancel()
    assert first.join(5)
    assert len(router.ledger.rows()) == 1, "what never left the queue is no attempt"


class Busy:
    """Fetches its model for as long as it may, and then answers."""

    def __init__(self) -> None:
        self.go = Gate()
        self.requests = 0

    def unavailable(self) -> None:
        return None

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        self.requests += 1
        yield Progress(message="loading", fraction=0.1)
        await self.go.wait()
        yield TextDelta(text="ready")
        yield Finished(finish_reason="stop", served_model="only")


@pytest.mark.parametrize("in_vain", [True, False])
async def test_a_run_that_is_still_queued_at_its_deadline_sends_nothing(in_vain: bool) -> None:
    busy, time = Busy(), FakeClock()
    policy = RetryPolicy(deadline_s=0.01 if in_vain else 600)
    router = builders.router(model("only"), providers={"cloud": busy}, clock=time, policy=policy, concurrency=1)
    first = router.job("hello")

    async def second() -> None:
        async with aclosing(router.stream("hello")) as events:
            async for event in events:
                if isinstance(event, Waiting) and not in_vain:
                    time.advance(600)
                    busy.go.set()

    with pytest.raises(
        AllAttemptsFailed, match="no answer: the run timed out in the queue for cloud: nothing was sent"
    ) as caught:
        await second()
    assert isinstance(caught.value.exceptions[0], TimedOut)
    busy.go.set()
    assert first.join(5)
    assert busy.requests == 1
    assert outcomes(router) == [("only", "ok")]
    assert router.circuit(router.registry["only"]).state == "closed"


async def test_a_run_that_still_waits_for_budget_at_its_deadline_sends_nothing() -> None:
    scripted = ScriptedProvider()
    router = builders.router(model("only"), providers={"cloud": scripted}, policy=RetryPolicy(deadline_s=0.1))
    worst = router.plan("hello").candidates[0].worst_usd
    router.set_budget(worst)
    other = router.ledger.hold(attempt(session_id=router.ledger.session_id), worst, router.budget.caps(model="only"))
    with pytest.raises(AllAttemptsFailed, match="timed out waiting for budget held by other runs"):
        await router.route("hello")
    assert scripted.requests == []
    other.settle(attempt(session_id=router.ledger.session_id))
    assert (await router.route("hello")).text == "A scripted answer."


async def test_a_run_cap_holds_over_retries_by_lowering_the_output_limit() -> None:
    scripted = ScriptedProvider([Failure(error=StreamBroken("x"), chunks=("word " * 400,))])
    router = builders.router(model("only", price="0/10"), providers={"cloud": scripted})
    with pytest.raises(AllAttemptsFailed, match=r"cap of this run of \$0\.0105 has \$0\.0025 left"):
        await router.route("hello", max_cost="0.0105", max_output_tokens=1_000)
    assert [request.max_output_tokens for request in scripted.requests] == [1_000, 649]
    assert sum(row.cost_usd for row in router.ledger.rows()) <= Decimal("0.0105")


async def test_a_hold_is_made_at_the_price_of_its_hour() -> None:
    hour, held = 12, list[Decimal]()

    def reply(_: ProviderRequest) -> Reply | Failure:
        nonlocal hour
        hour = 7  # the peak
        held.append(router.ledger.held_usd)
        return Failure(error=ServerError("x")) if len(held) == 1 else Reply()

    clock = replaced(FakeClock().clock(), now=lambda: NOON.replace(hour=hour))
    router = Router(
        registry=Registry.load("current"),
        providers={"deepseek": ScriptedProvider(reply)},
        ledger=Ledger(":memory:"),
        clock=clock,
    )
    services = new_services(router.registry, router.providers, router.ledger, RetryPolicy(), clock)
    await router.route("hello", model="deepseek-flash")
    assert held == [held[0], 2 * held[0]]
    hour = 12
    plans = router.plans("hello", models=["deepseek-flash", "deepseek-v4-pro"])
    worst = sum(plan.candidates[0].worst_usd for plan in plans.values())
    router.set_budget(router.ledger.spent_usd + worst)
    hour = 7
    with pytest.raises(BudgetExceeded, match="nothing was sent") as refused:
        list(router.compare_job(plans))
    assert refused.value.asked_usd == 2 * worst
    hour = 12
    plan = router.plan("hello", model="deepseek-v4-pro", cascade="twice", max_output_tokens=300)
    assert plan.cascade is not None
    router.set_budget(None)
    hour = 7
    held.clear()
    async with aclosing(Executor(services).execute(plan, run_id="run", budget=Budget)) as events:
        async for event in events:
            if isinstance(event, AttemptStarted):
                break
    assert router.ledger.held_usd == 0
    assert max(held) == 2 * (plan.cascade.strong.worst_usd + plan.cascade.cheap[0].worst_usd)


async def test_a_lowered_cap_applies_to_a_run_in_progress() -> None:
    def reply(_: ProviderRequest) -> Reply | Failure:
        router.set_budget("0.000001")
        return Failure(error=ServerError("x"))

    scripted = ScriptedProvider(reply)
    router = builders.router(providers={"cloud": scripted}, budget=Budget(session_usd=Decimal(5)))
    with pytest.raises(AllAttemptsFailed, match=r"over budget.*the session's cap of \$0\.0000010"):
        await router.route("hello", **BULK)
    assert len(scripted.requests) == 1


def test_two_caps_that_are_set_concurrently_are_both_set(monkeypatch: pytest.MonkeyPatch) -> None:
    router, real = builders.router(), dataclasses.replace
    together = threading.Barrier(2)

    def replace(*args: Any, **fields: Any) -> Any:
        with suppress(threading.BrokenBarrierError):
            together.wait(0.05)  # both have read, if they can
        return real(*args, **fields)

    monkeypatch.setattr("llm_magic.routing.router.dataclasses", SimpleNamespace(replace=replace))
    with ThreadPoolExecutor() as threads:
        threads.submit(router.set_budget, 1)
        threads.submit(router.set_budget, day_usd=2)
    assert (router.budget.session_usd, router.budget.day_usd) == (1, 2)


async def test_over_budget_is_refused_before_anything_is_sent() -> None:
    scripted = ScriptedProvider()
    router = builders.router(providers={"cloud": scripted})
    router.set_budget("0.0000001")
    with pytest.raises(BudgetExceeded, match="the cheapest candidate, cheap, could cost up to") as caught:
        await router.route("hello", **BULK)
    assert caught.value.scope == "session"
    assert scripted.requests == []
    assert router.ledger.rows() == []


async def test_without_a_usable_model_the_error_has_the_reason_of_each() -> None:
    router = builders.router(providers={"cloud": ScriptedProvider(unavailable="no CLOUD_KEY")})
    with pytest.raises(NoCandidate, match="cheap: no CLOUD_KEY; strong: no CLOUD_KEY"):
        await router.route("hello", **BULK)


WHOLE = Reply(chunks=("as much as allowed",))


def obedient(script: list[Reply | Failure]) -> Callable[[ProviderRequest], Reply | Failure]:
    """The script in turn; WHOLE uses every output token that the request allows, as a provider may."""
    left = list(script)

    def reply(request: ProviderRequest) -> Reply | Failure:
        step = left.pop(0) if len(left) > 1 else left[0]
        return (
            replaced(step, usage=Usage(input_tokens=40, output_tokens=request.max_output_tokens))
            if step is WHOLE
            else step
        )

    return reply


@settings(max_examples=examples(15))
@given(
    cap=st.integers(1, 200),
    runs=st.integers(1, 30),
    script=st.lists(
        st.sampled_from(
            [
                Reply(),
                WHOLE,
                Reply(finish_reason=None),
                Failure(error=RateLimited("x")),
                Failure(error=TimedOut("x")),
                Failure(error=StreamBroken("x"), chunks=("some words ",)),
                Failure(error=AuthFailed("x")),
            ]
        ),
        min_size=1,
        max_size=30,
    ),
)
def test_no_mix_of_runs_and_failures_exceeds_the_cap(cap: int, runs: int, script: list[Reply | Failure]) -> None:
    limit = Decimal(cap) / 2_000
    router = builders.router(replies=obedient(script))
    router.set_budget(limit)
    seen: list[Decimal] = []
    settle = router.ledger.settle

    def watched(row: object) -> None:
        seen.append(router.ledger.spent_usd + router.ledger.held_usd)
        settle(row)  # type: ignore[arg-type]

    router.ledger.settle = watched  # type: ignore[method-assign]

    async def all_at_once() -> None:
        await asyncio.gather(*[router.route("hello") for _ in range(runs)], return_exceptions=True)

    asyncio.run(all_at_once())
    assert all(standing <= limit for standing in seen)
    assert router.ledger.spent_usd <= limit
    assert router.ledger.held_usd == 0
    assert all(row.outcome != "in_flight" for row in router.ledger.rows())


async def test_lone_surrogates_from_a_provider_do_not_prevent_settlement(tmp_path: Path) -> None:
    odd = Reply(served_model="half \ud800 and \0")
    router = builders.router(
        replies=[odd, Failure(error=BadRequest("odd \udfff")), Reply()], ledger=Ledger(tmp_path / "ledger.db")
    )
    assert (await router.route("hello")).text == "A scripted answer."
    with pytest.raises(AllAttemptsFailed):
        await router.route("hello")
    await router.route("hello")
    assert [row.outcome for row in router.ledger.rows()] == ["ok", "bad_request", "ok"]
    assert router.ledger.rows()[0].served_model == "half ? and \ufffd"
    assert router.ledger.held_usd == 0


async def test_an_implausible_usage_report_is_replaced_by_an_estimate() -> None:
    nonsense = Reply(usage=Usage(input_tokens=90_000_000, output_tokens=90_000_000))
    router = builders.router(replies=[nonsense])
    result = await router.route("hello", max_output_tokens=100)
    assert result.cost_estimated
    assert result.cost_usd < Decimal("0.001")


async def test_reasoning_of_a_broken_stream_is_charged() -> None:
    class Thinking(ScriptedProvider):
        async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
            for _ in range(200):
                yield thinking("deep ")
            raise TimedOut("silent")

    router = builders.router(model("only", price="0/1"), providers={"cloud": Thinking()}, policy=RetryPolicy(tries=1))
    with pytest.raises(AllAttemptsFailed):
        await router.route("hello")
    (row,) = router.ledger.rows()
    assert row.usage.output_tokens == row.usage.reasoning_tokens >= 200
    assert row.cost_estimated


async def test_a_broken_stream_is_charged_for_its_schema_too() -> None:
    wide = {"type": "object", "properties": {f"field_{number}": {"type": "string"} for number in range(200)}}
    broken = Reply(chunks=("{",), usage=None, finish_reason=None)
    router = builders.router(model("only", price="1/0"), replies=[broken], policy=RetryPolicy(tries=1))
    assert router.plan("hello", schema=wide).candidates[0].input_tokens > 1_500
    with pytest.raises(AllAttemptsFailed):
        await router.route("hello", schema=wide)
    assert router.ledger.rows()[0].usage.input_tokens > 1_500


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_output_tokens": 100.5}, "must be a whole number"),
        ({"max_output_tokens": "100"}, "must be a whole number"),
        ({"tags": (1,)}, "the tag must be text, not int"),
        ({"tags": ("half \ud800",)}, "lone surrogate"),
        ({"hedge_s": "soon"}, "must be a number of seconds"),
    ],
)
def test_an_option_of_the_wrong_type_is_an_error(options: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        builders.router().request("hello", **options)


@pytest.mark.parametrize("prompt", [None, b"hello", 7])
def test_a_prompt_of_the_wrong_type_is_an_error(prompt: Any) -> None:
    with pytest.raises(RequestError, match="the prompt must be text, not "):
        builders.router().route_sync(prompt)


def test_one_tag_may_be_a_string_and_options_with_a_request_are_rejected() -> None:
    router = builders.router()
    request = router.request("hello", tags="batch")
    assert request.tags == ("batch",)
    with pytest.raises(RequestError, match="takes no max_cost with a Request"):
        router.route_sync(request, max_cost=1)
