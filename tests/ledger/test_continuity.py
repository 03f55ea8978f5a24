"""Settlements whose rows are gone, and ledgers that were restored to an earlier state."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from llm_magic import BudgetExceeded, Ledger, LedgerError
from llm_magic.budget import Cap
from llm_magic.jupyter.magics import budget
from llm_magic.ledger.own_rows import OwnRows
from llm_magic.ledger.rows import to_row
from llm_magic.types import Outcome
from tests.support import builders
from tests.support.builders import attempt, replaced

CENT = Decimal("0.01")
CAPS = (Cap(scope="session", limit_usd=Decimal(100)),)


@pytest.fixture(params=["file", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The location of an empty ledger outside this process."""
    if request.param == "postgresql":
        from tests.support import postgres

        return postgres.new_database(request.getfixturevalue("postgres_server"))
    return str(tmp_path / "ledger.db")


@pytest.fixture
def new_ledger() -> Iterator[Callable[..., Ledger]]:
    opened: list[Ledger] = []

    def open_ledger(location: object) -> Ledger:
        opened.append(Ledger(str(location), session_id="session"))
        return opened[-1]

    yield open_ledger
    for ledger in opened:
        ledger.close()


def pay(ledger: Ledger, *numbers: int, usd: Decimal = CENT) -> None:
    for number in numbers:
        row = attempt(run_id=f"run{number}", cost_usd=usd)
        with ledger.hold(replaced(row, outcome=Outcome.IN_FLIGHT, cost_usd=Decimal(0)), 2 * usd, CAPS) as hold:
            hold.settle(row)


def execute(location: str, *statements: str) -> None:
    """Run statements as another program does."""
    if "://" in location:
        import psycopg

        with psycopg.connect(location, autocommit=True) as db:
            for statement in statements:
                db.execute(statement)  # pyright: ignore[reportArgumentType, reportCallIssue]
        return
    with closing(sqlite3.connect(location)) as db:
        db.executescript(";".join(statements))


def backup(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def run_notices(ledger: Ledger, run_id: str) -> list[str]:
    return ledger.notices.of_run(run_id, after=0)


def test_a_settlement_whose_row_was_deleted_is_written_again(location: str, new_ledger: Callable[..., Ledger]) -> None:
    ledger = new_ledger(location)
    row = attempt(cost_usd=CENT, tags=("draft",), parent_run_id="parent")
    with ledger.hold(row, 2 * CENT, CAPS) as hold:
        execute(location, "DELETE FROM llm_magic_attempts")
        hold.settle(row)
    assert ledger.rows() == [row]
    assert (ledger.spent_usd, ledger.held_usd) == (CENT, 0)
    assert any("was gone" in text for text in run_notices(ledger, "run"))
    assert not any("was gone" in text for text in run_notices(ledger, "another"))


def test_releasing_a_row_that_was_deleted_changes_nothing(location: str, new_ledger: Callable[..., Ledger]) -> None:
    ledger = new_ledger(location)
    reservation = ledger.reserve(attempt(), CENT, CAPS)
    execute(location, "DELETE FROM llm_magic_attempts")
    reservation.release()
    assert ledger.rows() == []
    assert ledger.held_usd == 0


def test_each_hold_increases_the_generation(location: str, new_ledger: Callable[..., Ledger]) -> None:
    pay(new_ledger(location), 1, 2)
    pay(new_ledger(location), 3)
    with new_ledger(location).transactions.reading() as db:
        (state,) = db.exec_driver_sql("SELECT ledger_id, generation FROM llm_magic_about").all()
    assert len(state[0]) == 32
    assert state[1] == 3


def test_a_refused_hold_does_not_increase_the_generation(location: str, new_ledger: Callable[..., Ledger]) -> None:
    ledger = new_ledger(location)
    with pytest.raises(BudgetExceeded):
        ledger.hold(attempt(), Decimal(101), CAPS)
    with ledger.transactions.reading() as db:
        assert db.exec_driver_sql("SELECT generation FROM llm_magic_about").scalar_one() == 0


def test_everything_counts_after_a_backup_was_restored_in_place(
    tmp_path: Path, new_ledger: Callable[..., Ledger]
) -> None:
    path, copy = tmp_path / "ledger.db", tmp_path / "copy.db"
    ledger = new_ledger(path)
    pay(ledger, *range(7))
    backup(path, copy)
    pay(ledger, *range(7, 30))
    backup(copy, path)
    assert ledger.spent_usd == 30 * CENT
    assert len(ledger.rows()) == 30
    (warning,) = ledger.warnings
    assert "it counts 7 holds, this process knows of 30" in warning
    assert "23 rows" in warning
    pay(ledger, 30)
    assert ledger.spent_usd == 31 * CENT
    assert len(ledger.warnings) == 1


def test_a_hold_counts_what_a_restored_ledger_has_lost(tmp_path: Path, new_ledger: Callable[..., Ledger]) -> None:
    path, copy = tmp_path / "ledger.db", tmp_path / "copy.db"
    ledger = new_ledger(path)
    backup(path, copy)
    pay(ledger, *range(10))
    backup(copy, path)
    with pytest.raises(BudgetExceeded) as refused:
        ledger.hold(attempt(run_id="next"), CENT, [Cap(scope="session", limit_usd=10 * CENT)])
    assert refused.value.left_usd == 0
    assert new_ledger(path).spent_usd == 10 * CENT


def test_holds_in_flight_are_written_again_and_settled(tmp_path: Path, new_ledger: Callable[..., Ledger]) -> None:
    path, copy = tmp_path / "ledger.db", tmp_path / "copy.db"
    ledger = new_ledger(path)
    pay(ledger, 1)
    backup(path, copy)
    pay(ledger, 2)
    open_row = attempt(run_id="open", cost_usd=CENT)
    hold = ledger.hold(replaced(open_row, cost_usd=Decimal(0)), 5 * CENT, CAPS)
    backup(copy, path)
    assert (ledger.spent_usd, ledger.held_usd) == (2 * CENT, 5 * CENT)
    hold.settle(open_row)
    assert (ledger.spent_usd, ledger.held_usd) == (3 * CENT, 0)


def test_a_row_that_was_open_in_the_backup_is_settled_again(tmp_path: Path, new_ledger: Callable[..., Ledger]) -> None:
    path, copy = tmp_path / "ledger.db", tmp_path / "copy.db"
    ledger = new_ledger(path)
    row = attempt(cost_usd=CENT)
    hold = ledger.hold(replaced(row, cost_usd=Decimal(0)), 5 * CENT, CAPS)
    backup(path, copy)
    hold.settle(row)
    backup(copy, path)
    assert (ledger.spent_usd, ledger.held_usd) == (CENT, 0)


def test_every_process_writes_its_rows_again_whichever_notices_first(
    tmp_path: Path, new_ledger: Callable[..., Ledger]
) -> None:
    path, copy = tmp_path / "ledger.db", tmp_path / "copy.db"
    first, second = new_ledger(path), new_ledger(path)
    pay(first, 1)
    backup(path, copy)
    pay(first, 2, 3)
    pay(second, 4, 5)
    backup(copy, path)
    pay(first, 6, 7, 8, 9, 10)  # the generation is larger than the one that `second` knows
    pay(second, 11)
    assert first.spent_usd == 11 * CENT
    assert first.warnings
    assert second.warnings


def test_another_ledger_in_the_same_file_is_noticed(tmp_path: Path, new_ledger: Callable[..., Ledger]) -> None:
    path, other = tmp_path / "ledger.db", tmp_path / "other.db"
    ledger = new_ledger(path)
    pay(ledger, 1)
    pay(new_ledger(other), *range(10, 20))
    backup(other, path)
    assert ledger.spent_usd == 11 * CENT
    assert len(ledger.rows()) == 11
    assert len(ledger.warnings) == 1


def test_rows_that_a_database_lost_are_written_again(location: str, new_ledger: Callable[..., Ledger]) -> None:
    ledger = new_ledger(location)
    pay(ledger, *range(30))
    execute(
        location,
        "DELETE FROM llm_magic_attempts WHERE run_id IN ('run27', 'run28', 'run29')",
        "UPDATE llm_magic_about SET generation = 27",
    )
    pay(ledger, 30)
    assert ledger.spent_usd == 31 * CENT
    assert any("restored to an earlier state" in text for text in run_notices(ledger, "run30"))


def test_a_ledger_that_lost_all_of_its_rows_is_noticed_once(location: str, new_ledger: Callable[..., Ledger]) -> None:
    ledger = new_ledger(location)
    pay(ledger, 1, 2, 3)
    execute(location, "DELETE FROM llm_magic_attempts", "DELETE FROM llm_magic_about", "DELETE FROM llm_magic_totals")
    pay(ledger, 4, 5)
    assert ledger.spent_usd == 5 * CENT
    (warning,) = ledger.warnings
    assert "it counts 0 holds, this process knows of 3" in warning
    assert new_ledger(location).spent_usd == 5 * CENT


def test_a_ledger_without_its_version_is_not_opened(location: str, new_ledger: Callable[..., Ledger]) -> None:
    new_ledger(location).close()
    execute(location, "DELETE FROM llm_magic_about")
    with pytest.raises(LedgerError, match="llm_magic_about is empty: restore a backup"):
        _ = new_ledger(location).spent_usd


def test_ratings_survive_a_restoration_that_lost_nothing(location: str, new_ledger: Callable[..., Ledger]) -> None:
    ledger = new_ledger(location)
    pay(ledger, 1)
    ledger.rate("run1", 1)
    execute(location, "UPDATE llm_magic_about SET generation = 0")
    assert [row.rating for row in ledger.rows()] == [1]
    assert ledger.warnings


def test_a_rating_that_was_lost_is_given_again(tmp_path: Path, new_ledger: Callable[..., Ledger]) -> None:
    path, copy = tmp_path / "ledger.db", tmp_path / "backup.db"
    ledger = new_ledger(path)
    pay(ledger, 1)
    backup(path, copy)
    ledger.rate("run1", -1)
    pay(ledger, 2)
    backup(copy, path)
    pay(ledger, 3)
    assert [row.rating for row in ledger.rows()] == [-1, None, None]


def test_the_run_and_the_budget_say_that_the_ledger_was_restored(tmp_path: Path) -> None:
    path, copy = tmp_path / "ledger.db", tmp_path / "copy.db"
    with closing(Ledger(path, session_id="session")) as ledger:
        router = builders.router(builders.model("only"), ledger=ledger)
        backup(path, copy)
        router.route_sync("hello")
        paid = ledger.spent_usd
        backup(copy, path)
        result = router.route_sync("hello again")
        assert any("restored to an earlier state" in note for note in result.notes)
        assert not any("restored" in note for note in router.route_sync("and again").notes)
        assert ledger.spent_usd > paid
        assert any("restored to an earlier state" in line for line in budget.status_lines(router))


@pytest.mark.parametrize(
    "deletion",
    ["DELETE FROM llm_magic_attempts WHERE run_id <> 'run5'", "DELETE FROM llm_magic_attempts WHERE run_id = 'run3'"],
)
def test_rows_that_were_deleted_before_the_latest_one_are_written_again(
    location: str, new_ledger: Callable[..., Ledger], deletion: str
) -> None:
    ledger = new_ledger(location)
    pay(ledger, 1, 2, 3, 4, 5)
    execute(location, deletion)
    with pytest.raises(BudgetExceeded):
        ledger.hold(attempt(run_id="next", outcome=Outcome.IN_FLIGHT), CENT, [Cap(scope="session", limit_usd=5 * CENT)])
    pay(ledger, 6)
    assert ledger.spent_usd == 6 * CENT
    assert len(ledger.warnings) == 1
    assert "or rows were deleted" in ledger.warnings[0]


def test_rows_of_other_sessions_may_be_deleted(location: str, new_ledger: Callable[..., Ledger]) -> None:
    ledger = new_ledger(location)
    ledger.record(attempt(run_id="old", session_id="other", cost_usd=CENT))
    pay(ledger, 1)
    execute(location, "DELETE FROM llm_magic_attempts WHERE session_id = 'other'")
    pay(ledger, 2)
    assert [row.run_id for row in ledger.rows()] == ["run1", "run2"]
    assert not ledger.warnings


def test_a_row_that_is_settled_again_is_not_taken_for_a_deleted_one(new_ledger: Callable[..., Ledger]) -> None:
    ledger = new_ledger(":memory:")
    pay(ledger, 1, 2)
    for number, cost_usd in ((3, CENT), (4, CENT / 2)):
        ledger.settle(attempt(run_id="run1", cost_usd=cost_usd))
        pay(ledger, number)
    assert not ledger.warnings


def test_the_latest_rows_are_kept_up_to_a_limit() -> None:
    rows = OwnRows(max_rows=20, chunk_rows=5)
    for number in range(33):
        rows.add(to_row(attempt(run_id=f"run{number}", cost_usd=CENT)) | {"held_pusd": 0, "lease_until": None})
    assert [row["run_id"] for row in rows] == [f"run{number}" for number in range(10, 33)]


def test_a_settled_row_that_was_released_is_forgotten() -> None:
    rows = OwnRows(chunk_rows=2)
    for number in range(3):
        rows.add(to_row(attempt(run_id=f"run{number}")) | {"held_pusd": 0, "lease_until": None})
    rows.remove(("run0", 1))
    rows.remove(("run2", 1))
    assert [row["run_id"] for row in rows] == ["run1"]
