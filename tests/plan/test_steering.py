"""What a cap does before it refuses: it tells, asks for less, asks a cheaper model, waits; and what a refusal says."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from llm_magic import Budget, BudgetExceeded, Router, RouteResult, TaskTier, Usage, prices
from llm_magic.budget import Cap, CapWarnings
from llm_magic.events import AttemptStarted, Waiting
from llm_magic.testing import FakeClock, Reply, ScriptedProvider
from tests.support import builders
from tests.support.builders import NOON, model
from tests.support.journal import Journal

CENT = Decimal("0.01")


def reply(output_tokens: int) -> Reply:
    return Reply(usage=Usage(input_tokens=10, output_tokens=output_tokens))


async def test_each_alarm_of_a_cap_is_reported_once() -> None:
    # A run costs $0.01, a tenth of the cap.
    router = builders.router(model("only", price="0/10", max_output_tokens=1_000), replies=[reply(1_000)])
    router.set_budget("0.10")
    notes = [(await router.route("hello")).notes for _ in range(10)]
    assert [bool(messages) for messages in notes] == [number in (5, 8, 10) for number in range(1, 11)]
    assert notes[4] == ("50% of the session's cap of $0.10 is spent",)
    assert notes[7] == ("80% of the session's cap of $0.10 is spent",)
    assert notes[9] == ("100% of the session's cap of $0.10 is spent",)


def test_the_alarms_of_a_day_cap_start_again_each_day() -> None:
    warnings, today = CapWarnings(), Cap(scope="day", limit_usd=CENT)
    warning = warnings.crossed(today, Decimal("0.85"), NOON)
    assert warning is not None
    assert warning.startswith("85% of today's cap (UTC) of $0.01 is spent; it is free again at 2026-11-25 00:00 UTC")
    assert warnings.crossed(today, Decimal("0.90"), NOON) is None
    assert warnings.crossed(today, Decimal("0.49"), NOON + timedelta(days=1)) is None
    assert warnings.crossed(today, Decimal("0.50"), NOON + timedelta(days=1)) is not None


EXPENSIVE = model("strong", price="0/100", tiers=(TaskTier.COMPLEX,))
CHEAP = model("cheap", price="0/1", tiers=(TaskTier.BULK,))


async def test_near_a_cap_a_cheaper_model_steps_in_and_the_run_has_a_note() -> None:
    router = builders.router(EXPENSIVE, CHEAP)
    router.set_budget("0.02")
    plan = router.plan("hello", tier="complex")
    assert [(candidate.model.id, candidate.stepped_down) for candidate in plan.candidates] == [("cheap", True)]
    assert plan.skipped[0].reason == "over budget: up to $0.10, $0.02 left"
    result = await router.route("hello", tier="complex")
    assert result.model == "cheap"
    assert result.notes == ("near the cap: strong would not fit under the cap; asked cheap",)
    assert [(step.model, step.outcome) for step in result.path] == [("strong", "skipped"), ("cheap", "ok")]


async def test_the_output_is_lowered_to_the_minimum_before_a_cheaper_model_is_asked() -> None:
    cloud = ScriptedProvider([reply(5)])
    router = builders.router(EXPENSIVE, CHEAP, providers={"cloud": cloud})
    router.set_budget("0.05")
    result = await router.route("hello", tier="complex")
    assert (result.model, cloud.requests[-1].max_output_tokens) == ("strong", 500)
    assert result.notes == ("near the cap: limited to 500 output tokens of strong",)
    router.set_budget(router.ledger.spent_usd + Decimal("0.0256"))
    result = await router.route("hello", tier="complex")
    assert (result.model, cloud.requests[-1].max_output_tokens) == ("strong", 256)
    router.set_budget(router.ledger.spent_usd + Decimal("0.0255"))
    assert (await router.route("hello", tier="complex")).model == "cheap"
    assert (await router.route("hello", tier="complex", max_output_tokens=20)).model == "strong", (
        "asked for less already"
    )


@pytest.mark.parametrize(
    ("left", "advice"),
    [
        ("0.0001", "cheap would fit with --max-tokens 100. "),
        ("0.000000001", ""),
    ],
)
async def test_a_rejection_has_the_cost_the_headroom_and_advice(left: str, advice: str) -> None:
    cloud = ScriptedProvider()
    router = builders.router(EXPENSIVE, CHEAP, providers={"cloud": cloud})
    router.set_budget(left)
    with pytest.raises(BudgetExceeded) as caught:
        await router.route("hello", tier="complex")
    message = str(caught.value)
    assert message.startswith("over budget: the session's cap of $0.000")
    assert message.endswith(
        " left, and the cheapest candidate, strong, could cost up to $0.10. "
        f"{advice}Raise the cap with %route_budget or --max-cost"
    )
    assert (caught.value.asked_usd, caught.value.left_usd) == (Decimal("0.1"), Decimal(left))
    assert cloud.requests == []


async def test_a_rejection_names_a_cheaper_model_that_only_lacks_its_key() -> None:
    router = builders.router(
        EXPENSIVE,
        model("keyless", provider="other", price="0/1", tiers=(TaskTier.BULK,)),
        providers={"cloud": ScriptedProvider(), "other": ScriptedProvider(unavailable="no OTHER_KEY")},
    )
    router.set_budget("0.005")
    with pytest.raises(BudgetExceeded, match=r"keyless would fit, at up to \$0.001\d*, but: no OTHER_KEY. Raise"):
        await router.route("hello", tier="complex")


class Patient(FakeClock):
    """Waits without growing older."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


async def first_answering(cap: str, journal: Journal) -> tuple[Router, asyncio.Task[RouteResult]]:
    """A run that holds $0.01 of a cap, and goes on only when the journal tells it to."""
    router = builders.router(model("only", price="0/10"), providers={"cloud": journal}, clock=Patient())
    router.set_budget(cap)
    first = asyncio.create_task(router.route("one"))
    while not journal.waiting:
        await asyncio.sleep(0)
    return router, first


async def test_a_run_lowers_its_output_if_another_run_holds_the_rest() -> None:
    journal = Journal()
    router, first = await first_answering("0.015", journal)
    started: list[int] = []
    async with aclosing(router.stream("two")) as events:
        async for event in events:
            if isinstance(event, AttemptStarted):
                started.append(event.candidate.max_output_tokens)
                break
    assert started == [500]
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert router.ledger.held_usd == 0


async def test_a_run_waits_for_money_that_another_run_holds() -> None:
    journal = Journal(("chunk",))
    router, first = await first_answering("0.0101", journal)
    (entry,) = journal.entries
    received: list[object] = []
    async with aclosing(router.stream("two")) as events:
        async for event in events:
            received.append(event)
            if isinstance(event, Waiting):
                entry.next.get_loop().call_soon_threadsafe(entry.next.set_result, "end")
                await first
            if isinstance(event, AttemptStarted):
                break
    assert Waiting(reason="waiting for budget held by other runs") in received
    assert isinstance(received[-1], AttemptStarted)
    assert received[-1].candidate.max_output_tokens == 1_000
    assert router.ledger.held_usd == 0


async def test_a_run_whose_money_was_spent_meanwhile_gets_current_advice() -> None:
    journal = Journal(("all",))
    router, first = await first_answering("0.0102", journal)
    (entry,) = journal.entries

    async def second() -> None:
        async with aclosing(router.stream("two")) as events:
            async for event in events:
                if isinstance(event, Waiting):
                    entry.next.get_loop().call_soon_threadsafe(entry.next.set_result, "end")
                    await first

    with pytest.raises(BudgetExceeded, match=r"\$0.00020 left.*only would fit with --max-tokens 20. Raise") as no:
        await second()
    assert no.value.left_usd == Decimal("0.0002")
    assert len(journal.entries) == 1


async def test_stale_prices_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    router = builders.router(model("only"))
    assert (await router.route("hello")).notes == ()
    monkeypatch.setattr(prices, "catalog_date", lambda: NOON.date() - timedelta(days=61))
    assert (await router.route("hello")).notes == ("the price list is 61 days old: pip install -U genai-prices",)


def test_the_age_of_the_catalog_is_that_of_its_file() -> None:
    assert prices.staleness_warning(datetime.combine(prices.catalog_date(), datetime.min.time(), UTC)) is None
    assert prices.staleness_warning(datetime(2036, 1, 1, tzinfo=UTC)) is not None


def test_a_cap_of_zero_allows_free_models() -> None:
    free = model("free", price="0/0")
    router = builders.router(EXPENSIVE, free, budget=Budget(session_usd=0))
    assert router.route_sync("hello", tier="complex").model == "free"
