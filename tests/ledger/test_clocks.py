"""Caps of a day and a month, with clocks that jump, and the reported time at which they are free again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from llm_magic import Budget, BudgetExceeded, Ledger, Router
from llm_magic.budget import Cap, CapWarnings
from llm_magic.jupyter.magics import budget
from llm_magic.testing import FakeClock, ScriptedProvider
from tests.support import builders
from tests.support.builders import NOON, attempt

CENT = Decimal("0.01")
DAY = Cap(scope="day", limit_usd=CENT)
MONTH = Cap(scope="month", limit_usd=CENT)
CAPS = [DAY, MONTH]


def left(ledger: Ledger, now: datetime) -> list[Decimal]:
    return [headroom.left_usd for headroom in ledger.headroom(CAPS, now=now)]


@pytest.mark.parametrize(
    ("jump", "expected"),
    [
        (timedelta(days=1), [Decimal(0), Decimal(0)]),
        (timedelta(days=2), [CENT, CENT]),
        (timedelta(days=400), [CENT, CENT]),
        (timedelta(days=-1), [CENT, Decimal(0)]),
    ],
)
def test_rows_that_are_dated_after_tomorrow_do_not_count(
    location: str, jump: timedelta, expected: list[Decimal]
) -> None:
    ledger = Ledger(location, session_id="session")
    ledger.record(attempt(started_at=NOON + jump, cost_usd=CENT))
    assert left(ledger, NOON) == expected
    ledger.close()


def test_a_hold_that_is_dated_after_tomorrow_is_not_in_flight_today(location: str) -> None:
    ledger = Ledger(location, session_id="session")
    ledger.hold(attempt(started_at=NOON + timedelta(days=400)), CENT, [])
    assert [room.in_flight_usd for room in ledger.headroom(CAPS, now=NOON)] == [0, 0]
    assert left(ledger, NOON) == [CENT, CENT]
    ledger.close()


def test_a_clock_that_jumped_a_year_and_came_back_does_not_block_the_caps() -> None:
    time = FakeClock(NOON + timedelta(days=365))
    ledger = Ledger(":memory:", session_id="session")
    caps = Budget(day_usd=Decimal(1), month_usd=Decimal(1))
    builders.router(builders.model("only"), ledger=ledger, clock=time, budget=caps).route_sync("hello")
    router = builders.router(builders.model("only"), ledger=ledger, clock=FakeClock(NOON), budget=caps)
    assert [room.left_usd for room in router.headroom([Cap(scope="day", limit_usd=CENT)])] == [CENT]
    router.route_sync("hello")


def test_a_router_judges_caps_by_its_own_clock_in_a_ledger_with_another_one() -> None:
    ledger = Ledger(":memory:", session_id="session", clock=lambda: (NOON - timedelta(days=90)).timestamp())
    router = builders.router(
        builders.model("only", price="1000/5000"),
        ledger=ledger,
        clock=FakeClock(NOON),
        budget=Budget(day_usd=Decimal(9)),
    )
    ledger.record(attempt(started_at=NOON, cost_usd=Decimal(9)))
    with pytest.raises(BudgetExceeded):
        router.route_sync("hello")
    assert [line for line in budget.status_lines(router) if line.startswith("today's cap (UTC) of $9.00: $0 left")]


@pytest.mark.parametrize(("spent", "is_said"), [("0", False), ("0.004", False), ("0.005", True), ("0.01", True)])
def test_the_status_of_a_cap_says_when_it_is_free_again_once_half_of_it_is_used(spent: str, is_said: bool) -> None:
    ledger = Ledger(":memory:", session_id="session")
    caps = Budget(day_usd=CENT, month_usd=CENT)
    router = builders.router(builders.model("only"), ledger=ledger, clock=FakeClock(NOON), budget=caps)
    ledger.record(attempt(started_at=NOON, cost_usd=Decimal(spent)))
    _, *lines = budget.status_lines(router)
    assert ["free again at" in line for line in lines] == [is_said, is_said]


def test_a_router_gives_its_clock_to_the_ledger_that_it_makes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLM_MAGIC_LEDGER", str(tmp_path / "ledger.db"))
    time = FakeClock(NOON)
    router = Router(providers={"cloud": ScriptedProvider()}, clock=time.clock())
    time.advance(5)
    assert router.ledger.clock() == NOON.timestamp() + 5
    router.ledger.close()


def test_a_refused_hold_says_when_the_cap_is_free_again() -> None:
    ledger = Ledger(":memory:", session_id="session")
    with pytest.raises(
        BudgetExceeded, match=r"free again at 2026-11-25 00:00 UTC \(local time: 2026-11-2\d \d\d:\d\d\)"
    ):
        ledger.hold(attempt(), 2 * CENT, [DAY])
    with pytest.raises(BudgetExceeded, match=r"free again at 2026-12-01 00:00 UTC \(local time: "):
        ledger.hold(attempt(), 2 * CENT, [MONTH])
    with pytest.raises(BudgetExceeded) as refused:
        ledger.hold(attempt(), 2 * CENT, [Cap(scope="session", limit_usd=CENT)])
    assert "free again" not in str(refused.value)


def test_a_run_without_a_candidate_says_when_the_cap_is_free_again() -> None:
    router = builders.router(builders.model("only"), budget=Budget(month_usd=Decimal("0.000001")))
    with pytest.raises(BudgetExceeded, match="free again at 2026-12-01 00:00 UTC"):
        router.route_sync("hello")


def test_alarms_say_when_the_cap_is_free_again() -> None:
    december = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
    alarm = CapWarnings().crossed(MONTH, Decimal("0.8"), december)
    assert alarm is not None
    assert alarm.startswith("80% of this month's cap (UTC) of $0.01 is spent; it is free again at 2027-01-01 00:00 UTC")
