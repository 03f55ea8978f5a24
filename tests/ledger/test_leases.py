"""Leases of holds: renewed while their process runs, and respected by `reconcile`."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path

import pytest

from llm_magic import Ledger
from llm_magic.jupyter.magics import budget
from llm_magic.ledger import owners
from tests.support import builders
from tests.support.builders import attempt

CENT = Decimal("0.01")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def other_space(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """A function after which this process looks as if it were in another PID namespace."""

    def move() -> None:
        monkeypatch.setattr(owners, "pid_space", lambda: "host/boot/2")
        owners.process_name.cache_clear()

    yield move
    monkeypatch.undo()
    owners.process_name.cache_clear()


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "llm_magic leases"]


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_lease_is_renewed_while_its_hold_is_open(path: Path, other_space: Callable[[], None]) -> None:
    with closing(Ledger(path, session_id="session", lease_s=0.6)) as ledger:
        row = attempt(cost_usd=CENT)
        with ledger.hold(row, CENT, []) as hold:
            time.sleep(1.5)
            other_space()
            with closing(Ledger(path, session_id="session")) as other:
                assert other.uncertain() == []
                assert other.reconcile("release") == []
                assert [leased.attempt.run_id for leased in other.leased()] == ["run"]
            hold.settle(row)
        assert ledger.spent_usd == CENT
        wait_until(lambda: not threads())


def test_a_hold_whose_lease_has_ended_can_be_reconciled(path: Path, other_space: Callable[[], None]) -> None:
    now = 1_000_000.0
    with closing(Ledger(path, session_id="session", clock=lambda: now)) as ledger:
        ledger.hold(attempt(), CENT, [])
        other_space()
        with closing(Ledger(path, session_id="session", clock=lambda: now + 901)) as other:
            assert other.leased() == []
            assert [row.run_id for row in other.reconcile("charge")] == ["run"]
            assert (other.spent_usd, other.held_usd) == (CENT, 0)


def test_a_clock_that_jumps_forward_does_not_end_a_lease(path: Path, other_space: Callable[[], None]) -> None:
    now = 1_000_000.0
    with closing(Ledger(path, session_id="session", clock=lambda: now)) as ledger:
        hold = ledger.hold(attempt(), CENT, [])
        now += 86_400
        time.sleep(1.5)
        other_space()
        with closing(Ledger(path, session_id="session", clock=lambda: now)) as other:
            assert other.uncertain() == []
            assert len(other.leased()) == 1
        hold.settle(attempt())


def test_the_thread_ends_with_its_ledger(path: Path) -> None:
    ledger = Ledger(path, session_id="session", lease_s=0.1)
    ledger.hold(attempt(), CENT, [])
    assert len(threads()) == 1
    del ledger
    gc.collect()
    wait_until(lambda: not threads())


def test_one_thread_renews_all_holds_and_closing_ends_it(path: Path) -> None:
    ledger = Ledger(path, session_id="session", lease_s=300)
    for number in range(20):
        ledger.hold(attempt(run_id=f"run{number}"), CENT, [])
    assert len(threads()) == 1
    ledger.close()
    wait_until(lambda: not threads())


def test_a_ledger_in_memory_needs_no_thread() -> None:
    with closing(Ledger(":memory:", session_id="session")) as ledger:
        ledger.hold(attempt(), CENT, [])
        assert threads() == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_renews_its_own_holds_only(path: Path) -> None:
    with closing(Ledger(path, session_id="session", lease_s=300)) as ledger:
        ledger.hold(attempt(run_id="parent"), CENT, [])
        child = os.fork()
        if child == 0:
            code = 1
            with suppress(BaseException):
                inherited = ledger.has_open_holds
                ledger.hold(attempt(run_id="child"), CENT, [])
                code = 0 if not inherited and len(ledger.transactions.continuity.rows.open) == 1 else 2
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert ledger.has_open_holds


def test_reconcile_says_when_each_hold_can_be_reconciled(path: Path, other_space: Callable[[], None]) -> None:
    with closing(Ledger(path, session_id="session", clock=lambda: builders.NOON.timestamp())) as ledger:
        ledger.hold(attempt(run_id="elsewhere"), CENT, [])
        other_space()
        with closing(Ledger(path, session_id="session", clock=lambda: builders.NOON.timestamp())) as other:
            text = budget.reconcile(builders.router(ledger=other), "release")
    assert text.startswith("nothing is uncertain\nleft alone: attempt 1 of run elsewhere, holding $0.01.")
    assert "from 2026-11-24 12:15 UTC (local time: " in text
