"""The books: exact sums, holds that no one slips past, and rows that outlive a killed process."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_magic import BudgetExceeded, Ledger, LedgerError
from llm_magic.budget import Cap
from llm_magic.ledger import FRAME_DTYPES
from llm_magic.types import Usage
from tests.helpers import attempt, replaced

CENT = Decimal("0.01")
DESIGNED_COLUMNS = [
    "run_id",
    "attempt",
    "started_at",
    "tier",
    "confidence",
    "provider",
    "model",
    "served_model",
    "outcome",
    "error",
    "fallback_from",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_usd",
    "cost_estimated",
    "baseline_usd",
    "price_source",
    "ttft_s",
    "latency_s",
    "session_id",
    "tags",
]


def session_cap(limit: str) -> list[Cap]:
    return [Cap(scope="session", limit_usd=Decimal(limit))]


def test_a_settled_attempt_comes_back_as_it_was() -> None:
    ledger = Ledger(":memory:", session_id="session")
    sent = attempt(outcome="in_flight")
    done = replaced(
        sent, outcome="ok", served_model="cheap-2026", usage=Usage(input_tokens=7, cached_input_tokens=2, output_tokens=3),
        cost_usd=Decimal("0.000000000001"), baseline_usd=Decimal("1.5"), price_source="list", ttft_s=0.5, latency_s=1.5,
        tags=("a", "b"), input_price=Decimal("0.27"), output_price=Decimal("1.10"), cost_estimated=True, error="why",
    )  # fmt: skip
    with ledger.hold(sent, CENT, ()) as hold:
        assert ledger.held_usd == CENT
        assert ledger.rows() == [sent]
        hold.settle(done)
    assert ledger.rows() == [done]
    assert ledger.rows(run_id="run") == [done]
    assert ledger.rows(run_id="other") == []
    assert (ledger.spent_usd, ledger.held_usd) == (Decimal("0.000000000001"), 0)


@given(st.lists(st.decimals(0, 10, places=12), max_size=20))
def test_the_sum_is_exact(costs: list[Decimal]) -> None:
    ledger = Ledger(":memory:", session_id="session")
    for number, cost in enumerate(costs):
        blank = attempt(run_id=str(number))
        with ledger.hold(blank, Decimal(10), ()) as hold:
            hold.settle(replaced(blank, cost_usd=cost))
    assert ledger.spent_usd == sum(costs, Decimal(0))
    ledger.close()


def test_a_hold_that_does_not_fit_is_refused_with_the_numbers_and_leaves_no_row() -> None:
    ledger = Ledger(":memory:", session_id="session")
    with ledger.hold(attempt(run_id="first"), Decimal("0.06"), session_cap("0.10")):
        with pytest.raises(
            BudgetExceeded, match=r"could cost up to USD 0.05, and the session's cap of USD 0.10"
        ) as caught:
            ledger.hold(attempt(run_id="second"), Decimal("0.05"), session_cap("0.10"))
        assert (caught.value.asked_usd, caught.value.left_usd) == (Decimal("0.05"), Decimal("0.04"))
        ledger.hold(attempt(run_id="third"), Decimal("0.04"), session_cap("0.10"))
    assert [row.run_id for row in ledger.rows()] == ["first", "third"]


def test_an_unsettled_hold_is_charged_whole() -> None:
    ledger = Ledger(":memory:", session_id="session")
    with pytest.raises(ZeroDivisionError), ledger.hold(attempt(), CENT, ()):
        raise ZeroDivisionError
    (row,) = ledger.rows()
    assert (row.outcome, row.cost_usd, row.cost_estimated) == ("ZeroDivisionError", CENT, True)
    assert ledger.held_usd == 0


def test_a_free_attempt_is_never_refused() -> None:
    ledger = Ledger(":memory:", session_id="session")
    with ledger.hold(attempt(), Decimal(0), session_cap("0")):
        pass


def test_a_cap_counts_its_own_session_and_run_only(tmp_path: Path) -> None:
    ours, theirs = (Ledger(tmp_path / "ledger.db", session_id=name) for name in ("ours", "theirs"))
    with theirs.hold(attempt(run_id="theirs", session_id="theirs"), Decimal(1), ()):
        assert ours.left_usd(session_cap("1")) == 1
        assert theirs.left_usd(session_cap("1")) == 0
        assert ours.left_usd([Cap(scope="run", limit_usd=Decimal(1))], run_id="theirs") == 0
    assert ours.left_usd(()) is None
    assert theirs.left_usd(session_cap("0.5")) == 0, "a cap set below what is spent leaves nothing, not less"


def test_threads_do_not_slip_past_a_cap(tmp_path: Path) -> None:
    ledgers = [Ledger(tmp_path / "ledger.db", session_id="session") for _ in range(4)]
    admitted: list[int] = []
    start = threading.Barrier(8)

    def ask(number: int) -> None:
        start.wait()
        for nth in range(10):
            try:
                ledgers[number % 4].hold(attempt(run_id=f"{number}-{nth}"), CENT, session_cap("0.25"))
            except BudgetExceeded:
                continue
            admitted.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(admitted) == 25
    assert ledgers[0].held_usd == Decimal("0.25")


KILLED = """
import os, signal, sys
from decimal import Decimal
from llm_magic import Ledger
from tests.helpers import attempt, replaced
ledger = Ledger(sys.argv[1], session_id="session")
for number in range(20):
    blank = attempt(run_id=str(number))
    with ledger.hold(blank, Decimal("0.01"), ()) as hold:
        hold.settle(replaced(blank, cost_usd=Decimal("0.001")))
hold = ledger.hold(attempt(run_id="open", outcome="in_flight"), Decimal("0.5"), ())
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_process_loses_no_settled_row_and_its_hold_stays_charged(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    path = tmp_path / "ledger.db"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert done.returncode == -signal.SIGKILL
    ledger = Ledger(path, session_id="session")
    assert ledger.spent_usd == Decimal("0.020")
    assert ledger.held_usd == Decimal("0.5")
    with pytest.raises(BudgetExceeded):
        ledger.hold(attempt(run_id="next"), Decimal("0.4"), session_cap("0.9"))
    assert list(ledger.to_frame()["outcome"])[-1] == "in_flight"
    much_later = Ledger(path, session_id="session", clock=lambda: 4e9)
    assert list(much_later.to_frame()["outcome"])[-1] == "uncertain"
    assert much_later.held_usd == Decimal("0.5")


def test_the_frame_has_the_designed_columns_with_the_same_types_on_no_rows() -> None:
    ledger = Ledger(":memory:", session_id="session")
    empty = ledger.to_frame()
    assert list(empty.columns)[: len(DESIGNED_COLUMNS)] == DESIGNED_COLUMNS
    with ledger.hold(attempt(), CENT, ()) as hold:
        hold.settle(attempt(cost_usd=Decimal("0.25"), usage=Usage(input_tokens=3)))
    full = ledger.to_frame()
    assert dict(empty.dtypes.astype(str)) == dict(full.dtypes.astype(str)) == FRAME_DTYPES
    assert full.loc[0, "cost_usd"] == 0.25
    assert full.loc[0, "input_tokens"] == 3
    assert full["served_model"].isna().all()


def test_two_processes_may_open_a_new_ledger_at_once(tmp_path: Path) -> None:
    code = "import sys; from llm_magic import Ledger; Ledger(sys.argv[1]).rows()"
    started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "new.db")]) for _ in range(4)]
    assert [process.wait() for process in started] == [0] * 4


def test_where_the_ledger_is(monkeypatch: pytest.MonkeyPatch, clean_environment: Path, tmp_path: Path) -> None:
    assert Ledger().location == ":memory:"
    monkeypatch.setenv("LLM_MAGIC_LEDGER", f"sqlite:///{tmp_path}/other.db")
    assert Ledger().location == f"{tmp_path}/other.db"
    monkeypatch.delenv("LLM_MAGIC_LEDGER")
    assert Ledger().location == str(clean_environment / "ledger.db")
    with pytest.raises(LedgerError, match=r"mysql://\.\.\. is of no known kind"):
        Ledger("mysql://user:secret@host/db")


def test_the_session_is_shared_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Ledger().session_id != Ledger().session_id
    monkeypatch.setenv("LLM_MAGIC_SESSION", "team")
    assert Ledger().session_id == "team"
    assert Ledger(session_id="mine").session_id == "mine"


def test_what_is_no_ledger_is_refused_with_words(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"not a database" * 100)
    with pytest.raises(LedgerError, match="can't be opened: file is not a database"):
        Ledger(garbage)
    newer = tmp_path / "newer.db"
    sqlite3.connect(newer).execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerError, match="has schema 99, this version of llm_magic knows 1"):
        Ledger(newer)
    with pytest.raises(LedgerError, match="can't be opened"):
        Ledger(garbage / "below" / "a" / "file.db")
