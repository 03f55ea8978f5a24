"""A ledger that another program has locked, or taken away: nothing stands still, nothing is lost, no cap is passed."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path

import pytest

from llm_magic import Ledger, LedgerError, Router, RouteResult
from llm_magic.budget import Cap
from llm_magic.events import RunEnded, RunEvent, TextDelta, Waiting
from llm_magic.execute import RetryPolicy
from llm_magic.ledger import transactions
from llm_magic.testing import FakeClock, ScriptedProvider
from tests.support import builders
from tests.support.builders import attempt, replaced
from tests.support.journal import Journal

CENT = Decimal("0.01")


class Browser:
    """Another program with the ledger's file open."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def lock(self) -> None:
        """Begin to write."""
        self._db.execute("BEGIN IMMEDIATE")

    def release(self) -> None:
        self._db.execute("ROLLBACK")

    def close(self) -> None:
        self._db.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    ledger = Ledger(path, session_id="session")
    yield ledger
    ledger.close()


@pytest.fixture
def browser(path: Path, ledger: Ledger) -> Iterator[Browser]:
    browser = Browser(path)
    yield browser
    browser.close()


class Watched:
    """A run on this loop, stepped by hand."""

    def __init__(self, ours: Router) -> None:
        self.events: list[RunEvent] = []
        self.task = asyncio.create_task(self._run(ours))

    async def _run(self, ours: Router) -> None:
        async with aclosing(ours._run("hello", {})) as events:
            async for event in events:
                self.events.append(event)

    def said(self) -> int:
        return sum(isinstance(event, TextDelta) for event in self.events)

    def waits(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, Waiting)]

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            assert not self.task.done(), self.task
            await asyncio.sleep(0.001)

    @property
    def result(self) -> RouteResult:
        (end,) = (event for event in self.events if isinstance(event, RunEnded))
        return end.result


def patient(ledger: Ledger, journal: Journal) -> Router:
    """A router whose waits take their time, so that there is some to release a lock in."""
    time = FakeClock()

    async def sleep(seconds: float) -> None:
        time.advance(seconds)
        await asyncio.sleep(0.001)

    time.sleep = sleep  # type: ignore[method-assign]
    return builders.router(builders.model("only"), ledger=ledger, providers={"cloud": journal}, clock=time)


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def no_thread(_: threading.Thread) -> None:
    """Fail as `Thread.start` does when the interpreter is about to end."""
    raise RuntimeError("can't start new thread")


async def test_while_one_run_waits_for_the_lock_another_streams_on(ledger: Ledger, browser: Browser) -> None:
    journal = Journal()
    ours = patient(ledger, journal)
    first = Watched(ours)
    await first.until(lambda: bool(journal.waiting))
    browser.lock()
    second = Watched(ours)
    await second.until(lambda: bool(second.waits()))
    assert "ledger.db is locked by another program" in second.waits()[0]
    for said in (1, 2, 3):
        journal.entries[0].next.set_result("chunk")
        await first.until(lambda said=said: first.said() == said)
    assert len(journal.entries) == 1, "nothing is sent without its hold"
    browser.release()
    await second.until(lambda: len(journal.waiting) == 2)
    for entry in journal.entries:
        entry.next.set_result("chunk" if not entry.sent else "end")
    await second.until(lambda: second.said() == 1)
    journal.entries[1].next.set_result("end")
    await asyncio.gather(first.task, second.task)
    assert ledger.held_usd == 0
    assert ledger.spent_usd == sum(entry.billed_usd for entry in journal.entries) > 0


async def test_a_lock_that_is_never_released_ends_the_run_in_time_with_nothing_sent(
    ledger: Ledger, browser: Browser
) -> None:
    cloud = ScriptedProvider()
    policy = RetryPolicy(deadline_s=20)
    ours = builders.router(builders.model("only"), ledger=ledger, providers={"cloud": cloud}, policy=policy)
    browser.lock()
    with pytest.raises(LedgerError, match="is locked by another program: close the program that is writing to it"):
        await ours.route("hello")
    assert cloud.requests == []
    browser.release()
    assert (await ours.route("hello")).text
    assert [row.outcome for row in ledger.rows()] == ["ok"]


async def test_an_answer_is_not_held_up_by_a_lock_and_its_cost_is_written_when_it_is_released(
    ledger: Ledger, browser: Browser
) -> None:
    journal = Journal(("chunk",))
    ours = builders.router(builders.model("only"), ledger=ledger, providers={"cloud": journal})
    run = Watched(ours)
    await run.until(lambda: bool(journal.waiting))
    browser.lock()
    journal.entries[0].next.set_result("end")
    await run.task
    assert run.result.text == "word "
    assert any("locked by another program" in note and "until then it is held" in note for note in run.result.notes)
    assert ledger.transactions.pending
    assert ledger.spent_usd == 0
    assert ledger.held_usd > run.result.cost_usd > 0
    browser.release()
    ledger.close()  # writes what is pending, if the thread has not done so yet
    assert not ledger.transactions.pending
    assert (ledger.spent_usd, ledger.held_usd) == (run.result.cost_usd, 0)


async def test_a_run_that_is_stopped_under_a_lock_ends_at_once_and_is_settled_later(
    ledger: Ledger, browser: Browser
) -> None:
    journal = Journal(("chunk",))
    run = Watched(patient(ledger, journal))
    await run.until(lambda: bool(journal.waiting))
    browser.lock()
    run.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run.task
    assert ledger.held_usd > 0
    browser.release()
    await wait_until(lambda: not ledger.transactions.pending)  # with nothing else to write
    (row,) = ledger.rows()
    assert (row.outcome, row.cost_estimated, ledger.held_usd) == ("cancelled", True, 0)
    assert ledger.spent_usd == row.cost_usd > 0


def test_a_caller_that_does_not_fail_fast_waits_for_the_lock(ledger: Ledger, browser: Browser) -> None:
    browser.lock()
    waiting = threading.Event()
    sleep, time = transactions.time.sleep, transactions.time

    def noted(seconds: float) -> None:
        waiting.set()
        sleep(seconds)

    held: list[object] = []
    thread = threading.Thread(target=lambda: held.append(ledger.hold(attempt(), CENT, ())))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", noted)
        thread.start()
        assert waiting.wait(10)
        assert ledger.spent_usd == 0, "who reads does not wait for who writes"
        browser.release()
        thread.join(10)
    assert len(held) == 1
    assert ledger.held_usd == CENT


def test_fail_fast_does_not_wait_for_the_lock(ledger: Ledger, browser: Browser) -> None:
    browser.lock()
    with ledger.transactions.fail_fast(), pytest.raises(transactions.LedgerLocked):
        ledger.hold(attempt(), CENT, ())
    browser.release()
    with ledger.transactions.fail_fast():
        ledger.hold(attempt(), CENT, ())


def test_closing_writes_what_is_pending(ledger: Ledger, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    hold = ledger.hold(attempt(), CENT, ())
    browser.lock()
    with ledger.transactions.fail_fast(), pytest.raises(LedgerError):
        hold.settle(attempt(cost_usd=CENT / 2))
    browser.release()
    ledger.close()
    assert not ledger.transactions.pending
    assert (ledger.spent_usd, ledger.held_usd) == (CENT / 2, 0)


def test_a_hold_whose_commit_fails_is_released(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reply to a COMMIT may be lost when the database has done it."""
    ledger = Ledger(location, session_id="session")
    commit = ledger.transactions.database.commit
    lost: list[BaseException] = [sqlite3.OperationalError("the reply is lost")]

    def committed() -> None:
        commit()
        if lost:
            raise lost.pop()

    monkeypatch.setattr(ledger.transactions.database, "commit", committed)
    with pytest.raises(LedgerError, match="the reply is lost"):
        ledger.hold(attempt(), CENT, ())
    assert (ledger.held_usd, ledger.rows()) == (0, [])
    lost.append(KeyboardInterrupt())  # it is raised when SQLite comes back
    with pytest.raises(KeyboardInterrupt):
        ledger.hold(attempt(), CENT, ())
    assert (ledger.held_usd, ledger.rows()) == (0, [])
    lost.append(sqlite3.OperationalError("the reply is lost"))
    with pytest.raises(LedgerError, match="the reply is lost"):
        ledger.reserve_all([(attempt(run_id=name), CENT, ()) for name in "ab"])
    assert ledger.held_usd == 0
    with ledger.hold(attempt(), CENT, ()) as hold:
        with pytest.raises(LedgerError, match=r"UNIQUE|unique"):
            ledger.hold(attempt(), CENT, ())  # it was never begun: what it would free is another's
        assert ledger.held_usd == CENT
        hold.settle(attempt())
    ledger.close()


async def test_a_lock_that_is_met_as_a_hold_ends_is_waited_for_too(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a write-ahead log, as on a network's disk, whoever reads may stand in the way of a COMMIT."""
    commit, busy = ledger.transactions.database.commit, sqlite3.OperationalError("database is locked")
    busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
    locked = [busy]

    def committed() -> None:
        if locked:
            raise locked.pop()
        commit()

    monkeypatch.setattr(ledger.transactions.database, "commit", committed)
    result = await builders.router(builders.model("only"), ledger=ledger).route("hello")
    assert [row.outcome for row in ledger.rows()] == ["ok"]
    assert (ledger.spent_usd, ledger.held_usd) == (result.cost_usd, 0)


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_ledger_that_is_taken_away_sends_nothing(path: Path, ledger: Ledger, how: str) -> None:
    cloud = ScriptedProvider()
    ours = builders.router(builders.model("only"), ledger=ledger, providers={"cloud": cloud})
    first = ours.route_sync("hello")
    aside = path.with_name("aside.db")
    path.rename(aside)
    if how == "replaced":
        path.write_bytes(b"")
    with pytest.raises(LedgerError, match=r"ledger\.db was deleted or replaced while it was in use"):
        ours.route_sync("hello")
    assert len(cloud.requests) == 1
    assert ledger.spent_usd == first.cost_usd, "what is spent still counts"
    aside.rename(path)
    ours.route_sync("hello")
    assert ledger.spent_usd == 2 * first.cost_usd


def test_a_ledger_that_is_taken_away_in_mid_answer_loses_no_answer(path: Path, ledger: Ledger) -> None:
    aside = path.with_name("aside.db")

    def reply(_: object) -> builders.Reply:
        path.rename(aside)
        return builders.GOOD

    ours = builders.router(builders.model("only"), ledger=ledger, replies=reply)
    result = ours.route_sync("hello")
    assert result.text == "A scripted answer."
    assert "was deleted or replaced" in result.notes[0]
    assert ledger.transactions.pending
    aside.rename(path)
    ledger.record(attempt(run_id="next"))
    assert (ledger.spent_usd, ledger.held_usd) == (result.cost_usd, 0)


def test_a_closed_ledger_is_not_created_again_if_its_file_is_gone(path: Path, ledger: Ledger) -> None:
    with ledger.hold(attempt(), CENT, ()) as hold:
        hold.settle(attempt(cost_usd=CENT))
    ledger.close()
    path.unlink()
    for ask in (ledger.rows, lambda: ledger.spent_usd):
        with pytest.raises(LedgerError, match="was deleted or replaced"):
            ask()
    assert not path.exists()


def test_a_ledger_in_memory_says_that_it_ended() -> None:
    ledger = Ledger(":memory:")
    ledger.close()
    with pytest.raises(
        LedgerError, match="a ledger in memory ends when it is closed, and a forked process does not have it"
    ):
        ledger.hold(attempt(), CENT, ())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_no_pending_writes_and_waits_for_no_thread_of_its_parent(
    ledger: Ledger, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = ledger.hold(attempt(), CENT, ())
    browser.lock()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with ledger.transactions.fail_fast(), pytest.raises(LedgerError):
            hold.settle(attempt(cost_usd=CENT))
    browser.release()
    locked, done = threading.Event(), threading.Event()

    def lock() -> None:
        with ledger.transactions.reading():
            locked.set()
            done.wait(10)

    thread = threading.Thread(target=lock)
    thread.start()
    locked.wait(10)
    if (child := os.fork()) == 0:
        try:
            os._exit(0 if not ledger.transactions.pending and ledger.held_usd == CENT else 1)
        except BaseException:  # noqa: BLE001 - the child must not go on with the tests
            os._exit(2)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    ledger.close()
    assert ledger.spent_usd == CENT


@pytest.mark.parametrize("name", ["a b.db", "größe.db", "50%25.db", "what?.db", "a#b.db", "'quoted\".db"])
def test_a_ledger_at_a_path_with_odd_characters(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a folder#?%" / name
    for nth in range(2):
        ledger = Ledger(path, session_id="session")
        with ledger.hold(attempt(run_id=str(nth)), CENT, [Cap(scope="session", limit_usd=2 * CENT)]) as hold:
            hold.settle(replaced(attempt(run_id=str(nth)), cost_usd=CENT / 4))
        assert len(ledger.rows()) == nth + 1
        ledger.close()
    assert path.exists()
