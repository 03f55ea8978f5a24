"""Full disks, interrupted requests and failing rows: what was paid for is counted and kept."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
from collections.abc import AsyncGenerator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llm_magic import BudgetExceeded, Ledger, LedgerError
from llm_magic.budget import Cap
from llm_magic.providers.base import ProviderEvent, ProviderRequest
from llm_magic.testing import Reply, ScriptedProvider
from llm_magic.types import Outcome, Usage
from tests.support.builders import attempt, model, router, scripted


def short(request: Any) -> Reply:
    return Reply(chunks=(f"fine, {request.messages[-1].content}",), usage=Usage(input_tokens=60, output_tokens=12))


class HangingProvider(ScriptedProvider):
    """Answers the first rows, and leaves the others without an answer."""

    answered = 1
    hanging = 0

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        if len(self.requests) >= self.answered:
            self.requests.append(request)
            self.hanging += 1
            await asyncio.sleep(600)
        async for event in super().stream(request):
            yield event


def rows(count: int) -> list[str]:
    return [f"review number {number}" for number in range(count)]


def limit_pages(ledger: Ledger, more: int) -> None:
    """Let the database grow by this many pages only, as on a disk that is almost full."""
    with ledger.transactions.reading() as db:
        pages = db.exec_driver_sql("PRAGMA page_count").scalar_one()
        db.exec_driver_sql(f"PRAGMA max_page_count = {pages + more}").close()


@pytest.mark.parametrize("kind", ["list", "stream"])
def test_on_a_full_disk_a_column_stops_and_keeps_what_was_answered(tmp_path: Path, kind: str) -> None:
    ledger = Ledger(tmp_path / "ledger.db", session_id="session")
    ours = router(model("only"), ledger=ledger, replies=short)
    ours.map_sync("Warm-up: {{value}}", over=rows(3))
    limit_pages(ledger, 30)

    def over() -> Any:
        return iter(rows(600)) if kind == "stream" else rows(600)

    column = ours.map("Topic? {{value}}", over=over())
    with pytest.raises(LedgerError, match="full"):
        column.wait()
    asked = len(scripted(ours).requests) - 3
    assert 0 < asked < 600
    assert column.report().answered == asked
    ledger.close()  # the limit of pages ends with the connection
    assert ledger.held_usd == 0
    assert ledger.spent_usd == sum((row.cost_usd for row in ledger.rows()), Decimal(0))
    assert sum(row.outcome == Outcome.OK for row in ledger.rows()) == asked + 3
    done = ours.map_sync("Topic? {{value}}", over=over())
    assert done.report().answered == 600
    assert len(scripted(ours).requests) - 3 <= 600 + 64


def test_a_disk_that_is_full_for_a_moment_loses_no_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db", session_id="session")
    ours = router(model("only"), ledger=ledger, replies=short)
    commit, failures = ledger.transactions.database.commit, iter(range(2))

    def failing() -> None:
        if len(scripted(ours).requests) >= 40 and next(failures, None) is not None:
            raise sqlite3.OperationalError("database or disk is full")
        commit()

    monkeypatch.setattr(ledger.transactions.database, "commit", failing)
    column = ours.map("Topic? {{value}}", over=rows(200))
    with pytest.raises(LedgerError, match="full"):
        column.wait()
    asked = len(scripted(ours).requests)
    assert column.report().answered == asked
    assert ours.map_sync("Topic? {{value}}", over=rows(200)).report().is_whole
    assert len(scripted(ours).requests) == 200
    assert ledger.held_usd == 0


def test_changes_are_written_with_the_holds_that_fit_and_undone_if_none_fits() -> None:
    ledger = Ledger(":memory:", session_id="session")
    cap = Cap(scope="session", limit_usd=Decimal(1))
    with ledger.transactions.writing() as db:
        db.exec_driver_sql("CREATE TABLE notes (text TEXT)").close()

    def hold(run_id: str, usd: int) -> None:
        ledger.hold_all([(attempt(run_id=run_id), Decimal(usd), [cap])], write)

    def write(db: Any) -> None:
        db.exec_driver_sql("INSERT INTO notes VALUES ('x')").close()

    def count() -> int:
        with ledger.transactions.reading() as db:
            return db.exec_driver_sql("SELECT count(*) FROM notes").scalar_one()

    hold("first", 1)
    assert count() == 1
    with pytest.raises(BudgetExceeded):
        hold("second", 1)
    assert count() == 1


@pytest.fixture
def threshold() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield gc.get_threshold()
    gc.set_threshold(*before)


def test_garbage_is_collected_less_often_only_while_a_column_runs(threshold: tuple[int, int, int]) -> None:
    thresholds: list[int] = []

    def reply(request: Any) -> Reply:
        thresholds.append(gc.get_threshold()[0])
        return short(request)

    router(replies=reply).map_sync("{{value}}", over=rows(3))
    assert min(thresholds) > threshold[0]
    assert gc.get_threshold() == threshold


def test_a_collector_that_the_user_has_turned_off_stays_off() -> None:
    before = gc.get_threshold()
    gc.set_threshold(0)
    try:
        seen: list[int] = []

        def reply(request: Any) -> Reply:
            seen.append(gc.get_threshold()[0])
            return short(request)

        router(replies=reply).map_sync("{{value}}", over=rows(2))
        assert set(seen) == {0}
        assert gc.get_threshold()[0] == 0
    finally:
        gc.set_threshold(*before)


def test_a_stream_whose_answers_are_kept_is_read_to_its_end() -> None:
    ours = router(replies=short)
    first = ours.map_sync("{{value}}", over=rows(300))
    done = ours.map_sync("{{value}}", over=iter(rows(320)))
    assert first.report().is_whole
    assert (done.report().answered, done.report().resumed) == (320, 300)
    assert len(scripted(ours).requests) == 320


@pytest.mark.parametrize("kind", ["list", "stream"])
def test_a_stopped_column_costs_what_the_ledger_has_for_its_canceled_rows(kind: str) -> None:
    provider = HangingProvider(short)
    ours = router(model("only"), providers={"cloud": provider})
    over = iter(rows(40)) if kind == "stream" else rows(40)
    column = ours.map("Topic? {{value}}", over=over, pilot=0).start()
    while not provider.hanging:
        column.join(0.01)
    column.cancel()
    assert column.join(30)
    canceled = [row for row in ours.ledger.rows() if row.outcome == Outcome.CANCELLED]
    assert canceled
    assert all(row.cost_usd > 0 for row in canceled)
    assert column.cost_usd == ours.ledger.spent_usd == sum((row.cost_usd for row in ours.ledger.rows()), Decimal(0))
    report = column.report()
    assert (report.outcomes["cancelled"], report.answered, report.cost_usd) == (len(canceled), 1, column.cost_usd)
    assert report.stopped.startswith("stopped by the user")
    frame = column.frame
    assert frame["route_cost_usd"].astype(float).sum() == pytest.approx(float(column.cost_usd))
    assert set(frame["route_error"].dropna()) == {"the column was stopped while this row was in flight"}
    provider.answered = 100
    assert ours.map_sync("Topic? {{value}}", over=rows(40)).report().is_whole
    assert len(provider.requests) == 40 + len(canceled)
