"""The books: exact sums, holds that no one slips past, and rows that outlive a killed process."""

from __future__ import annotations

import dataclasses
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from decimal import Context, Decimal, localcontext
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_magic import BudgetExceeded, Ledger, LedgerError, RouteResult
from llm_magic.budget import Cap
from llm_magic.ledger import queries
from llm_magic.ledger.columns import COLUMNS, FRAME_DTYPES, to_usd
from llm_magic.testing import ScriptedProvider
from llm_magic.types import Attempt, Doubt, Outcome, Usage
from tests.support.builders import NOON, attempt, replaced, router

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


@pytest.fixture
def new_ledger(location: str) -> Iterator[Callable[..., Ledger]]:
    """Opens the ledger of one location, in each kind of database."""
    opened: list[Ledger] = []

    def open_ledger(**parts: Any) -> Ledger:
        opened.append(Ledger(location, **parts))
        return opened[-1]

    yield open_ledger
    for ledger in opened:
        ledger.close()


def left(ledger: Ledger, caps: list[Cap], run_id: str = "") -> list[Decimal]:
    return [room.left_usd for room in ledger.headroom(caps, run_id)]


def session_cap(limit: str) -> list[Cap]:
    return [Cap(scope="session", limit_usd=Decimal(limit))]


def test_a_settled_attempt_comes_back_as_it_was() -> None:
    ledger = Ledger(":memory:", session_id="session")
    sent = attempt(outcome=Outcome.IN_FLIGHT)
    done = replaced(
        sent, outcome=Outcome.OK, served_model="cheap-2026", usage=Usage(input_tokens=7, cached_input_tokens=2, output_tokens=3),
        cost_usd=Decimal("0.000000000001"), baseline_usd=Decimal("1.5"), price_source="list", ttft_s=0.5, latency_s=1.5,
        tags=("a", "b"), input_price=Decimal("0.27"), output_price=Decimal("1.10"), cost_estimated=True, error="why",
        reason=Doubt.CHECK_FAILED,
    )  # fmt: skip
    with ledger.hold(sent, CENT, ()) as hold:
        assert ledger.held_usd == CENT
        assert ledger.rows() == [sent]
        hold.settle(done)
    assert ledger.rows() == [done]
    assert ledger.rows(run_id="run") == [done]
    assert ledger.rows(run_id="other") == []
    assert (ledger.spent_usd, ledger.held_usd) == (Decimal("0.000000000001"), 0)


@given(st.integers(-(10**30), 10**30))
def test_pico_dollars_in_usd_are_exact_in_any_context_and_short(pico: int) -> None:
    with localcontext(prec=3):
        usd = to_usd(pico)
    assert usd.scaleb(12, Context(prec=50)) == pico
    assert not ("." in f"{usd:f}" and f"{usd:f}".endswith("0"))


def test_money_has_no_trailing_zeros() -> None:
    ledger = Ledger(":memory:")
    assert (str(ledger.spent_usd), str(ledger.held_usd)) == ("0", "0")
    with ledger.hold(replaced(attempt(), session_id=ledger.session_id), Decimal("0.00906"), ()):
        assert str(ledger.held_usd) == "0.00906"
    assert str(ledger.spent_usd) == "0.00906"


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
        with pytest.raises(BudgetExceeded, match=r"could cost up to \$0.05, and the session's cap of \$0.10") as caught:
            ledger.hold(attempt(run_id="second"), Decimal("0.05"), session_cap("0.10"))
        assert (caught.value.asked_usd, caught.value.left_usd) == (Decimal("0.05"), Decimal("0.04"))
        ledger.hold(attempt(run_id="third"), Decimal("0.04"), session_cap("0.10"))
    assert [row.run_id for row in ledger.rows()] == ["first", "third"]


def test_an_unsettled_hold_is_charged_whole() -> None:
    ledger = Ledger(":memory:", session_id="session")
    with pytest.raises(ZeroDivisionError), ledger.hold(attempt(), CENT, ()):
        raise ZeroDivisionError
    (row,) = ledger.rows()
    assert (row.outcome, row.error, row.cost_usd, row.cost_estimated) == ("error", "ZeroDivisionError", CENT, True)
    assert ledger.held_usd == 0


def test_a_free_attempt_is_never_refused() -> None:
    ledger = Ledger(":memory:", session_id="session")
    with ledger.hold(attempt(), Decimal(0), session_cap("0")):
        pass


def test_a_cap_counts_its_own_session_and_run_only(tmp_path: Path) -> None:
    ours, theirs = (Ledger(tmp_path / "ledger.db", session_id=name) for name in ("ours", "theirs"))
    with theirs.hold(attempt(run_id="theirs", session_id="theirs"), Decimal(1), ()):
        assert left(ours, session_cap("1")) == [1]
        assert left(theirs, session_cap("1")) == [0]
        run_cap = Cap(scope="run", limit_usd=Decimal(1))
        assert left(ours, [*session_cap("1"), run_cap], run_id="theirs") == [1, 0]
        (room,) = theirs.headroom(session_cap("1"))
        assert (room.in_flight_usd, room.reachable_usd, room.used_share) == (1, 1, 0), "it may come back"
    assert ours.headroom(()) == []
    (room,) = theirs.headroom(session_cap("0.5"))
    assert (room.left_usd, room.reachable_usd, room.used_share) == (Decimal("-0.5"), 0, 2)


@pytest.mark.parametrize(
    ("cap", "counted"),
    [
        (Cap(scope="model", limit_usd=Decimal(1), key="cheap"), {"cheap", "tagged", "yesterday", "last month"}),
        (Cap(scope="model", limit_usd=Decimal(1), key="che_p"), set()),
        (Cap(scope="tag", limit_usd=Decimal(1), key="one"), {"tagged"}),
        (Cap(scope="tag", limit_usd=Decimal(1), key="on"), set()),
        (Cap(scope="tag", limit_usd=Decimal(1), key="o%"), set()),
        (Cap(scope="day", limit_usd=Decimal(1)), {"cheap", "strong", "tagged", "theirs"}),
        (Cap(scope="month", limit_usd=Decimal(1)), {"cheap", "strong", "tagged", "theirs", "yesterday"}),
    ],
)
def test_a_cap_counts_the_rows_of_its_scope(new_ledger: Callable[..., Ledger], cap: Cap, counted: set[str]) -> None:
    ledger = new_ledger(session_id="session", clock=lambda: NOON.timestamp())
    spent = {
        "cheap": attempt(), "strong": attempt(model="strong"), "tagged": attempt(tags=("two", "one")),
        "theirs": attempt(session_id="theirs", model="strong"), "yesterday": attempt(started_at=NOON - timedelta(days=1)),
        "last month": attempt(started_at=NOON - timedelta(days=30)),
    }  # fmt: skip
    for number, (name, blank) in enumerate(spent.items()):
        blank = replaced(blank, run_id=name)
        with ledger.hold(blank, Decimal("0.1"), ()) as hold:
            hold.settle(replaced(blank, cost_usd=Decimal(10) ** -(number + 1)))
    expected = sum((Decimal(10) ** -(number + 1) for number, name in enumerate(spent) if name in counted), Decimal(0))
    assert left(ledger, [cap]) == [1 - expected]


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
from llm_magic.testing import ScriptedProvider
from tests.support.builders import attempt, replaced
from llm_magic.types import Outcome
ledger = Ledger(sys.argv[1], session_id="session")
for number in range(20):
    blank = attempt(run_id=str(number))
    with ledger.hold(blank, Decimal("0.01"), ()) as hold:
        hold.settle(replaced(blank, cost_usd=Decimal("0.001")))
hold = ledger.hold(attempt(run_id="open", outcome=Outcome.IN_FLIGHT), Decimal("0.5"), ())
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_process_loses_no_settled_row_and_its_hold_stays_charged(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent.parent
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
    assert list(ledger.to_frame()["outcome"])[-1] == "uncertain"
    ((lost, held),) = ledger.uncertain()
    assert (lost.run_id, lost.outcome, held) == ("open", "uncertain", Decimal("0.5"))


@pytest.mark.parametrize(("how", "spent"), [("charge", "0.5"), ("release", "0")])
def test_an_uncertain_hold_is_closed_only_on_the_users_word(
    new_ledger: Callable[..., Ledger], monkeypatch: pytest.MonkeyPatch, how: str, spent: str
) -> None:
    ledger = new_ledger(session_id="session")
    monkeypatch.setattr("llm_magic.ledger.owners.process_name", lambda pid: "elsewhere 1 1.0")
    ledger.hold(attempt(outcome=Outcome.IN_FLIGHT), Decimal("0.5"), ())
    assert ledger.uncertain() == [], "a process on another machine has its lease"
    assert ledger.reconcile("charge") == []
    ledger.clock = lambda: time.time() + 10_000
    assert list(ledger.to_frame()["outcome"]) == ["uncertain"]
    assert (ledger.spent_usd, ledger.held_usd) == (0, Decimal("0.5"))
    (closed,) = ledger.reconcile(how)  # type: ignore[arg-type]
    assert (closed.outcome, closed.cost_estimated, closed.cost_usd) == ("uncertain", True, Decimal(spent))
    assert (ledger.spent_usd, ledger.held_usd) == (Decimal(spent), 0)
    assert ledger.uncertain() == []
    assert ledger.reconcile("charge") == []


def test_a_hold_of_a_living_process_is_in_flight(new_ledger: Callable[..., Ledger]) -> None:
    ledger = new_ledger(session_id="session", clock=lambda: 4e9)
    ledger.hold(attempt(outcome=Outcome.IN_FLIGHT), CENT, ())
    assert ledger.uncertain() == []
    assert list(ledger.to_frame()["outcome"]) == ["in_flight"]


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


def test_every_field_of_an_attempt_is_a_column() -> None:
    fields = {field.name for field in dataclasses.fields(Attempt)} - {"usage"}
    fields |= {f"usage.{field.name}" for field in dataclasses.fields(Usage)}
    assert {column.path for column in COLUMNS if column.path} == fields
    assert all(column.nullable or column.default for column in COLUMNS if column.since > 1), "for rows of older ledgers"


def test_two_processes_may_open_a_new_ledger_at_once(tmp_path: Path) -> None:
    code = "import sys; from llm_magic import Ledger; Ledger(sys.argv[1]).rows()"
    started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "new.db")]) for _ in range(4)]
    assert [process.wait() for process in started] == [0] * 4


def test_the_location_comes_from_the_argument_the_environment_or_home(
    monkeypatch: pytest.MonkeyPatch, clean_environment: Path, tmp_path: Path
) -> None:
    assert Ledger().location == ":memory:"
    monkeypatch.setenv("LLM_MAGIC_LEDGER", f"sqlite:///{tmp_path}/other.db")
    assert Ledger().location == f"{tmp_path}/other.db"
    monkeypatch.delenv("LLM_MAGIC_LEDGER")
    assert Ledger().location == str(clean_environment / "ledger.db")
    with pytest.raises(LedgerError, match=r"mysql://\.\.\. is not of a supported kind"):
        Ledger("mysql://user:secret@host/db")


@pytest.mark.parametrize("location", ["file:ledger.db", "file:/tmp/ledger.db", "sqlite:///file:ledger.db"])
def test_a_file_address_is_not_taken_for_a_path(location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LedgerError, match=r"is a file: address: .*uri=true"):
        Ledger(location)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "location",
    [
        "postgresql:/localhost/x", "postgresql//localhost/x", "postgres:x", "sqlite:x.db", "mysql:x", ":MEMORY:",
        "postgresql+psycopg2:localhost", "host=localhost dbname=x", "user=me dbname=x",
    ],
)  # fmt: skip
def test_a_misspelled_address_is_not_taken_for_a_path(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LedgerError, match=r"is neither a file's path nor an address: give .*\./ before a name"):
        Ledger(location)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("location", "reason"), [("x" * 300, "File name too long"), ("a\0b", "null byte")])
def test_a_name_that_no_file_can_have_is_a_ledger_error(location: str, reason: str) -> None:
    with pytest.raises(LedgerError, match=f"can't be opened: .*{reason}"):
        Ledger(location)


def test_a_driver_in_an_address_is_ignored(tmp_path: Path) -> None:
    Ledger(f"sqlite+pysqlite:///{tmp_path}/ledger.db").close()
    assert (tmp_path / "ledger.db").exists()


def test_a_password_with_an_unescaped_at_sign_is_not_shown() -> None:
    with pytest.raises(LedgerError, match="more than one @: write %40") as error:
        Ledger("postgresql://user:pa@sesame@localhost:1/x")
    assert "sesame" not in str(error.value)


def test_a_sqlite_uri_creates_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Ledger(f"sqlite:///file:{tmp_path}/ledger.db?uri=true").close()
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.db"]


def test_the_session_is_shared_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Ledger().session_id != Ledger().session_id
    monkeypatch.setenv("LLM_MAGIC_SESSION", "team")
    assert Ledger().session_id == "team"
    assert Ledger(session_id="mine").session_id == "mine"


VERSION_1 = """
CREATE TABLE attempts (
    run_id TEXT NOT NULL, attempt INTEGER NOT NULL, started_at_us INTEGER NOT NULL,
    tier TEXT NOT NULL, confidence REAL NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, served_model TEXT,
    outcome TEXT NOT NULL, error TEXT, fallback_from TEXT,
    input_tokens INTEGER NOT NULL, cached_input_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL,
    cost_pusd INTEGER NOT NULL, cost_estimated INTEGER NOT NULL, baseline_pusd INTEGER NOT NULL,
    price_source TEXT NOT NULL, input_price TEXT, output_price TEXT,
    ttft_s REAL, latency_s REAL NOT NULL, session_id TEXT NOT NULL, tags TEXT NOT NULL,
    held_pusd INTEGER NOT NULL, lease_until REAL,
    PRIMARY KEY (run_id, attempt)
);
CREATE INDEX attempts_of_session ON attempts (session_id, cost_pusd, held_pusd);
INSERT INTO attempts VALUES ('old', 1, 1764072000000000, 'BULK', 0.5, 'openai', 'gpt', 'gpt', 'ok', NULL, NULL,
    10, 1, 0, 5, 0, 2500000, 0, 5000000, 'models.toml', '1', '5', 0.5, 1.5, 'session', 'a,b', 0, NULL);
PRAGMA user_version = 1;
"""


def test_an_older_ledger_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as db:
        db.executescript(VERSION_1)
    db.close()
    for _ in range(2):
        ledger = Ledger(path, session_id="session")
        (row,) = ledger.rows()
        assert (row.run_id, row.tags, row.cost_usd) == ("old", ("a", "b"), Decimal("0.0000025"))
        assert (row.cost_estimated, row.input_price) == (False, 1)
        assert ledger.spent_usd == Decimal("0.0000025")
        ledger.close()


def test_a_ledger_from_before_difficulties_gets_them(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    ledger = Ledger(path)
    with ledger.hold(attempt(difficulty=0.5), CENT, ()) as hold:
        hold.settle(attempt(difficulty=0.5))
    ledger.close()
    with sqlite3.connect(path) as db:
        db.execute("ALTER TABLE llm_magic_attempts DROP COLUMN difficulty")
        db.execute("UPDATE llm_magic_about SET version = 3")
    db.close()
    for _ in range(2):
        ledger = Ledger(path)
        assert [row.difficulty for row in ledger.rows()] == [0.0]
        ledger.close()


def test_a_ledger_without_reasons_gets_the_column(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    ledger = Ledger(path)
    ledger.record(attempt())
    ledger.close()
    with sqlite3.connect(path) as db:
        db.execute("ALTER TABLE llm_magic_attempts DROP COLUMN reason")
        db.execute("UPDATE llm_magic_about SET version = 5")
    db.close()
    for _ in range(2):
        ledger = Ledger(path)
        assert [row.reason for row in ledger.rows()] == [None]
        assert ledger.to_frame()["reason"].isna().all()
        ledger.close()


def test_a_reason_that_a_newer_version_wrote_is_read_as_none() -> None:
    ledger = Ledger(":memory:")
    ledger.record(attempt(reason="unheard_of"))
    assert [row.reason for row in ledger.rows()] == [None]


def test_a_file_that_is_not_a_usable_ledger_is_refused(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"not a database" * 100)
    with pytest.raises(LedgerError, match="can't be opened: file is not a database"):
        Ledger(garbage)
    newer = tmp_path / "newer.db"
    Ledger(newer).close()
    with sqlite3.connect(newer) as db:
        db.execute("UPDATE llm_magic_about SET version = 99")
    with pytest.raises(LedgerError, match="has schema 99, this version of llm_magic knows"):
        Ledger(newer)
    with pytest.raises(LedgerError, match="can't be opened"):
        Ledger(garbage / "below" / "a" / "file.db")


def test_a_truncated_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger(path, session_id="session")
    for number in range(300):
        with ledger.hold(attempt(run_id=str(number)), CENT, ()) as hold:
            hold.settle(attempt(run_id=str(number), cost_usd=CENT))
    ledger.close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(LedgerError, match=r"ledger\.db can't be opened: .* malformed. Move it away"):
        Ledger(path)


def test_a_read_only_ledger_sends_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    # The mode of a file does not bind root; a database that is opened for reading only binds everybody.
    ledger = Ledger(f"sqlite:///file:{path}?mode=ro&uri=true", session_id="session")
    ours = router(ledger=ledger, providers={"cloud": (cloud := ScriptedProvider())})
    with pytest.raises(LedgerError, match="readonly database"):
        ours.route_sync("hello")
    assert cloud.requests == []


def test_on_a_full_disk_a_run_is_refused_before_money_is_spent(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db", session_id="session")
    ours = router(ledger=ledger, providers={"cloud": (cloud := ScriptedProvider())})
    ours.set_budget(1)
    with ledger.transactions.reading() as db:
        pages = db.exec_driver_sql("PRAGMA page_count").scalar_one()
        db.exec_driver_sql(f"PRAGMA max_page_count = {pages}").close()

    answers: list[RouteResult] = []

    def until_it_is_full() -> None:
        for _ in range(1_000):
            answers.append(ours.route_sync("hello"))

    with pytest.raises(LedgerError, match="database or disk is full"):
        until_it_is_full()
    assert len(cloud.requests) == len(ledger.rows()) == len(answers) > 0, "what was paid for was given"
    ledger.close()
    answers.append(ours.route_sync("hello"))  # opened anew, without that limit
    assert ledger.held_usd == 0
    assert ledger.spent_usd == sum(each.cost_usd for each in answers)


def test_a_failed_settlement_is_reported_and_written_with_the_next_write(
    new_ledger: Callable[..., Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = new_ledger(session_id="session")
    ours = router(ledger=ledger)
    run = ledger.transactions.database.run
    broken = [True]

    def failing(db: Any, statement: Any, parameters: Any) -> Any:
        if statement is queries.SETTLE_IF and broken:
            raise sqlite3.OperationalError("database or disk is full")
        return run(db, statement, parameters)

    monkeypatch.setattr(ledger.transactions.database, "run", failing)
    result = ours.route_sync("hello")
    assert result.text == "A scripted answer."
    assert result.notes[0].endswith(
        "database or disk is full. The cost is written as soon as possible; until then it is held"
    )
    assert (ledger.spent_usd, len(ledger.rows())) == (0, 1)
    assert ledger.held_usd > result.cost_usd > 0
    broken.clear()
    ours.route_sync("hello")
    assert (ledger.spent_usd, ledger.held_usd) == (2 * result.cost_usd, 0)


def test_a_failed_release_is_written_with_the_next_write(
    new_ledger: Callable[..., Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = new_ledger(session_id="session")
    run = ledger.transactions.database.run
    broken = [True]

    def failing(db: Any, statement: Any, parameters: Any) -> Any:
        if statement is queries.DELETE and broken:
            raise sqlite3.OperationalError("database is locked")
        return run(db, statement, parameters)

    monkeypatch.setattr(ledger.transactions.database, "run", failing)
    reserve = ledger.reserve(attempt(), CENT, ())
    with pytest.raises(LedgerError, match="locked"):
        reserve.release()
    assert ledger.held_usd == CENT
    broken.clear()
    with ledger.hold(attempt(run_id="next"), CENT, ()) as hold:
        assert ledger.held_usd == CENT, "the one that was given up is gone"
        hold.settle(attempt(run_id="next"))
    assert ledger.held_usd == 0


def test_tags_differ_by_case(new_ledger: Callable[..., Ledger]) -> None:
    ledger = new_ledger(session_id="session")
    with ledger.hold(attempt(tags=("PROD",)), CENT, ()) as hold:
        hold.settle(attempt(tags=("PROD",), cost_usd=CENT))
    assert left(ledger, [Cap(scope="tag", limit_usd=CENT, key=key) for key in ("prod", "PROD")]) == [CENT, 0]


@pytest.mark.parametrize("position", [0, 1, 2])
def test_each_of_several_caps_can_refuse_a_hold(position: int) -> None:
    scopes: list[Literal["run", "session", "day"]] = ["run", "session", "day"]
    caps = [
        Cap(scope=scope, limit_usd=Decimal("0.001") if number == position else Decimal(1))
        for number, scope in enumerate(scopes)
    ]
    with closing(Ledger(":memory:", session_id="session")) as ledger:
        with pytest.raises(BudgetExceeded) as refused:
            ledger.hold(attempt(), Decimal("0.01"), caps)
        assert refused.value.scope == scopes[position]
        assert ledger.held_usd == 0
