"""Caps, pilots, failures and outages: a column stops cleanly, and loses nothing."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from llm_magic import (
    AuthFailed,
    BudgetExceeded,
    ConnectionFailed,
    Ledger,
    ProviderError,
    Registry,
    Router,
    ServerError,
    StreamBroken,
)
from llm_magic.columns import ColumnPlan
from llm_magic.events import TextDelta
from llm_magic.prices import has_flex
from llm_magic.providers.base import Finished, ProviderRequest, UsageReport
from llm_magic.testing import Failure, FakeClock, Reply, ScriptedProvider
from llm_magic.types import Usage
from tests.support.builders import model, router, scripted

ROW_USD = Decimal("0.00006")


def short(request: Any) -> Reply:
    return Reply(chunks=("fine",), usage=Usage(input_tokens=60, output_tokens=12))


def rows(count: int) -> list[str]:
    return [f"review number {number}" for number in range(count)]


@pytest.mark.parametrize("scope", ["column", "session"])
def test_a_cap_for_half_of_the_rows_is_used_and_not_exceeded(scope: str) -> None:
    ours = router(model("only", price="0.5/2.5"), replies=short)
    count, cap = 1_000, ROW_USD * 500
    if scope == "session":
        ours.set_budget(cap)
    done = ours.map_sync("Topic? {{value}}", over=rows(count), **({"max_cost": cap} if scope == "column" else {}))
    assert ours.ledger.spent_usd <= cap
    assert ours.ledger.spent_usd >= Decimal("0.95") * cap
    assert ours.ledger.held_usd == 0
    report = done.report()
    assert report.answered == ours.ledger.spent_usd / ROW_USD
    assert report.outcomes["not_asked"] == count - report.answered
    assert f"The other {count - report.answered:,} rows would cost about" in report.stopped
    assert len(done.errors) == count - report.answered


def test_a_column_continues_after_the_cap_was_raised() -> None:
    ours = router(model("only", price="0.5/2.5"), replies=short)
    ours.map_sync("Topic? {{value}}", over=rows(400), max_cost=ROW_USD * 200)
    asked = len(scripted(ours).requests)
    plan = ours.plan_map("Topic? {{value}}", over=rows(400))
    assert (plan.answered, plan.to_ask) == (asked, 400 - asked)
    assert plan.is_measured
    assert plan.row.expected_usd == ROW_USD
    done = ours.map_sync("Topic? {{value}}", over=rows(400))
    assert done.report().is_whole
    assert len(scripted(ours).requests) == 400
    assert done.cost_usd == ROW_USD * (400 - asked)
    assert done.frame["route_cost_usd"].sum() == pytest.approx(float(ROW_USD * 400))


def test_a_cap_below_one_row_sends_nothing() -> None:
    ours = router(model("only"), replies=short)
    done = ours.map_sync("{{value}}", over=["x"], max_cost="0.000001")
    assert scripted(ours).requests == []
    assert "cap of this column" in done.report().stopped


def test_a_spent_session_is_refused() -> None:
    ours = router(
        model("only"),
        replies=short,
    )
    ours.set_budget("0.0000001")
    with pytest.raises(BudgetExceeded):
        ours.map_sync("{{value}}", over=["x"])


def test_a_changed_instruction_schema_or_row_is_asked_again() -> None:
    ours = router(model("only"), replies=lambda request: Reply(chunks=('{"a": 1}',)))
    ours.map_sync("Topic? {{value}}", over=["x", "y"], keep=7)
    assert ours.plan_map("Topic? {{value}}", over=["x", "z"]).to_ask == 1
    assert ours.plan_map("Mood? {{value}}", over=["x", "y"]).to_ask == 2
    assert ours.plan_map("Topic? {{value}}", over=["x"], schema={"type": "object"}).to_ask == 1
    assert ours.plan_map("Topic? {{value}}", over=["x"], system="Be brief.").to_ask == 1
    assert ours.plan_map("Topic? {{value}}", over=["x"], tags="other", max_cost=1).to_ask == 0


def test_answers_are_kept_until_the_frame_was_read() -> None:
    ours = router(model("only"), replies=short)
    done = ours.map_sync("{{value}}", over=["x", "y"])
    assert ours.column_store.count() == 2
    assert done.frame["answer"].tolist() == ["fine", "fine"]
    assert ours.column_store.count() == 0
    assert done.frame["answer"].tolist() == ["fine", "fine"]


def test_answers_are_kept_for_days_on_request() -> None:
    clock = FakeClock()
    ours = router(model("only"), replies=short, clock=clock)
    assert len(ours.map_sync("{{value}}", over=["x"], keep=2).frame) == 1
    clock.advance(86_400)
    assert ours.plan_map("{{value}}", over=["x"]).to_ask == 0
    clock.advance(86_400 + 1)
    ours.map_sync("other {{value}}", over=["x"])
    assert ours.plan_map("{{value}}", over=["x"]).to_ask == 1


def test_answers_of_an_incomplete_frame_are_kept() -> None:
    replies = [Reply(chunks=("fine",)), Failure(error=ServerError("HTTP 500: no"))]
    ours = router(model("only"), replies=replies)
    done = ours.map_sync("{{value}}", over=["x", "y"])
    assert done.frame["route_outcome"].tolist() == ["ok", "server_error"]
    assert ours.column_store.count() == 1


def expensive(request: Any) -> Reply:
    return Reply(chunks=("long",), usage=Usage(input_tokens=60, output_tokens=900))


def test_a_pilot_that_costs_more_than_expected_stops_the_column() -> None:
    ours = router(model("only", price="0.5/25"), replies=expensive)
    over = rows(300)
    done = ours.map_sync("In one word: {{value}}", over=over)
    assert len(scripted(ours).requests) == 20
    assert done.report().stopped.startswith("stopped after the pilot: a row costs $")
    positions = [position for position, outcome in enumerate(done.frame["route_outcome"]) if outcome == "ok"]
    assert positions[0] == 0
    assert positions[-1] == 299
    again = ours.map_sync("In one word: {{value}}", over=over)
    assert again.report().is_whole
    assert len(scripted(ours).requests) == 300


@pytest.mark.parametrize("make", [list, iter], ids=["list", "stream"])
@pytest.mark.parametrize("error", [AuthFailed("no such key"), StreamBroken("cut off")], ids=["free", "charged"])
def test_a_pilot_without_any_answer_stops_the_column(make: Any, error: ProviderError) -> None:
    ours = router(model("only"), replies=lambda request: Failure(error=error))
    done = ours.map_sync("{{value}}", over=make(rows(300)))
    assert len({request.messages[-1].content for request in scripted(ours).requests}) == 20
    assert done.report().stopped.startswith("stopped after the pilot: none of its 20 rows has an answer")
    assert done.cost_usd == ours.ledger.spent_usd
    scripted(ours).reply = short
    assert ours.map_sync("{{value}}", over=make(rows(300))).report().is_whole


@pytest.mark.parametrize("make", [list, iter], ids=["list", "stream"])
def test_a_pilot_during_an_outage_does_not_stop_the_column(make: Any) -> None:
    requests = itertools.count()

    def reply(request: Any) -> Reply | Failure:
        return Failure(error=ConnectionFailed("refused")) if next(requests) < 120 else short(request)

    done = router(model("only"), replies=reply).map_sync("{{value}}", over=make(rows(300)))
    assert done.report().stopped == ""
    assert done.report().answered >= 280


@pytest.mark.parametrize("make", [list, iter], ids=["list", "stream"])
@pytest.mark.parametrize("count", [3, 20])
def test_failed_rows_of_a_column_that_is_no_longer_than_its_pilot_do_not_stop_it(make: Any, count: int) -> None:
    done = router(replies=lambda request: Failure(error=AuthFailed("no"))).map_sync("{{value}}", over=make(rows(count)))
    assert (done.report().stopped, done.report().outcomes) == ("", {"auth_failed": count})


def test_the_cost_of_failed_rows_counts_in_the_estimate_after_the_pilot() -> None:
    def reply(request: Any) -> Reply | Failure:
        is_short = int(request.messages[-1].content.split()[-1]) % 2
        return short(request) if is_short else Failure(error=StreamBroken("cut off"))

    ours = router(model("only"), replies=reply)
    done = ours.map_sync("Topic? {{value}}", over=rows(300))
    assert done.report().answered == 10
    assert done.report().stopped.startswith("stopped after the pilot: a row costs $")


def test_a_column_without_a_pilot_does_not_stop_there() -> None:
    ours = router(model("only", price="0.5/25"), replies=expensive)
    assert ours.map_sync("In one word: {{value}}", over=rows(100), pilot=0).report().is_whole


def test_the_first_row_is_sent_alone() -> None:
    in_flight: list[int] = []
    running = 0

    class Counting(ScriptedProvider):
        async def stream(self, request: ProviderRequest) -> AsyncGenerator[Any]:
            nonlocal running
            running += 1
            in_flight.append(running)
            await asyncio.sleep(0.01)
            yield TextDelta(text="fine")
            yield UsageReport(usage=Usage(input_tokens=60, output_tokens=12))
            yield Finished(finish_reason="stop", served_model="only")
            running -= 1

    router(model("only"), providers={"cloud": Counting()}, concurrency=8).map_sync("{{value}}", over=rows(300))
    assert in_flight[:2] == [1, 1]
    assert max(in_flight) == 8


def test_rows_that_fail_do_not_affect_the_others() -> None:
    """3 % are answered 500 for ever, 2 % with invalid JSON."""

    def reply(request: Any) -> Reply | Failure:
        number = int(request.messages[0].content.split()[-1])
        if number % 33 == 5:
            return Failure(error=ServerError("HTTP 500: no"))
        return Reply(
            chunks=("{}" if number % 50 == 7 else '{"label": "fine"}',), usage=Usage(input_tokens=60, output_tokens=12)
        )

    schema = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}
    ours = router(model("only"), replies=reply)
    done = ours.map_sync("{{value}}", over=rows(300), schema=schema)
    frame = done.frame
    bad = [number for number in range(300) if number % 33 == 5]
    invalid = [number for number in range(300) if number % 50 == 7 and number not in bad]
    assert frame.index[frame["route_outcome"] == "server_error"].tolist() == bad
    assert frame.index[frame["route_outcome"] == "invalid"].tolist() == invalid
    assert (frame["route_outcome"] == "ok").sum() == 300 - len(bad) - len(invalid)
    assert frame.loc[frame["route_outcome"] == "ok", "label"].eq("fine").all()
    assert frame["route_cost_usd"].sum() == pytest.approx(float(ours.ledger.spent_usd))


def test_a_column_outlasts_a_provider_that_is_down_for_half_a_minute() -> None:
    clock = FakeClock()
    ours = router(model("only"), clock=clock, replies=lambda request: (
        Failure(error=ConnectionFailed("no connection")) if 0 < clock.monotonic() < 30 else short(request)
    ))  # fmt: skip
    calls = 0

    def reply(request: Any) -> Reply | Failure:
        nonlocal calls
        calls += 1
        if calls == 100:
            clock.advance(1)
        return Failure(error=ConnectionFailed("no connection")) if 1 <= clock.monotonic() < 31 else short(request)

    scripted(ours).reply = reply
    done = ours.map_sync("{{value}}", over=rows(300))
    assert done.report().is_whole
    assert done.frame["route_model"].eq("only").all()


def test_a_full_plan_states_what_the_cap_covers() -> None:
    ours = router(model("only", price="0.5/2.5"), replies=short)
    plan = ours.plan_map("{{value}}", over=[*rows(100), *rows(10), None], max_cost="0.01")
    assert isinstance(plan, ColumnPlan)
    assert (plan.rows, plan.missing, plan.distinct, plan.answered) == (111, 1, 100, 0)
    assert plan.low_usd < plan.expected_usd < plan.worst_usd
    assert plan.left_usd == Decimal("0.01")
    assert plan.covered_rows == int(Decimal("0.01") / plan.row.expected_usd)
    assert scripted(ours).requests == []
    assert ours.ledger.rows() == []


def test_far_longer_rows_are_counted_and_estimated_apart() -> None:
    ours = router(model("only", price="0.5/2.5"), replies=short)
    plain = ours.plan_map("{{value}}", over=rows(500))
    long = ours.plan_map("{{value}}", over=[*rows(499), "long " * 4_000])
    alone = ours.plan_map("{{value}}", over=["long " * 4_000])
    assert (plain.own_plans, long.own_plans) == (0, 1)
    assert "with a plan of its own: 1 row that is far longer" in str(long)
    assert long.expected_usd is not None
    assert float(long.expected_usd) == pytest.approx(
        float(plain.row.expected_usd * 499 + alone.row.expected_usd), rel=0.01
    )


def test_a_plan_without_a_usable_model_states_the_reasons_and_no_cost() -> None:
    text = str(router(model("only")).plan_map("{{value}}", over=rows(3), flex=True))
    assert "no usable model (only has no flex tier" in text
    assert "cost" not in text


def test_a_plan_states_the_cost_on_the_flex_tier() -> None:
    registry = Registry.load()
    with_flex = next(spec for spec in registry if has_flex(spec, datetime.now(UTC)))
    ours = Router(registry=registry, ledger=Ledger(":memory:"), providers={with_flex.provider: ScriptedProvider()})
    plan = ours.plan_map("{{value}}", over=rows(100), model=with_flex.id)
    assert plan.flex is not None
    assert plan.flex.expected_usd < plan.row.expected_usd
    assert "on the flex tier, which is slower" in str(plan)
    assert ours.plan_map("{{value}}", over=rows(100), model=with_flex.id, flex=True).flex is None


def test_a_plan_of_a_stream_states_the_cost_of_a_row() -> None:
    plan = router().plan_map("{{value}}", over=iter(rows(5)))
    assert plan.rows is None
    assert "cost of a row" in str(plan)


def test_a_stop_keeps_what_was_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = router(model("only"), replies=short)

    async def some() -> int:
        count = 0
        async for _ in ours.map("{{value}}", over=rows(200)):
            count += 1
            if count == 50:
                break
        return count

    asyncio.run(some())
    asked = len(scripted(ours).requests)
    assert 50 <= asked < 200
    assert ours.ledger.held_usd == 0
    again = ours.map_sync("{{value}}", over=rows(200))
    assert again.report().is_whole
    cancelled = sum(row.outcome == "cancelled" for row in ours.ledger.rows())
    assert len(scripted(ours).requests) <= 200 + cancelled
    assert pd.notna(again.frame["answer"]).all()
