"""Places where a ledger can't be, or is only with care: folders, network drives, poolers, full temporary folders."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from llm_magic import Ledger, LedgerError
from llm_magic.errors import LLMMagicError
from llm_magic.home import home
from llm_magic.ledger import file_check, opening, sqlite
from tests.support import postgres
from tests.support.builders import attempt

CENT = Decimal("0.01")


def pay(ledger: Ledger, run_id: str = "run") -> None:
    row = attempt(run_id=run_id, cost_usd=CENT, session_id=ledger.session_id)
    with ledger.hold(row, CENT, []) as hold:
        hold.settle(row)


def test_a_folder_as_the_ledger_is_an_error_that_names_a_file(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"can't be opened: it is a folder. Give a file in it, such as .*ledger\.db"):
        Ledger(tmp_path).rows()


def test_a_ledger_below_a_file_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match="file is a file, not a folder"):
        Ledger(tmp_path / "file" / "ledger.db").rows()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize("address", ["{}", "sqlite:///{}"])
def test_a_pipe_as_the_ledger_is_refused_at_once_and_left_as_it_is(tmp_path: Path, address: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    pipe.chmod(0o666)
    with pytest.raises(LedgerError, match="pipe can't be opened: it is a pipe or a device"):
        Ledger(address.format(pipe)).rows()
    assert pipe.stat().st_mode & 0o777 == 0o666


@pytest.mark.parametrize("below", ["", "sub", "sub/sub"])
def test_a_file_as_the_home_is_an_error_that_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LLM_MAGIC_HOME", str(tmp_path / "file" / below))
    with pytest.raises(LLMMagicError, match=r"LLM_MAGIC_HOME is .* but .*file is a file: give the path of a folder"):
        home()


def test_a_drive_that_refuses_the_write_ahead_log_gets_a_rollback_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(sqlite3.Connection):
        def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
            if "= WAL" in statement:
                error = sqlite3.OperationalError("locking protocol")
                error.sqlite_errorcode = sqlite3.SQLITE_PROTOCOL
                raise error
            return super().execute(statement, *values)

    real = sa.create_engine
    monkeypatch.setattr(
        sqlite.sa,
        "create_engine",
        lambda url, **options: real(
            url, **{**options, "connect_args": {**options["connect_args"], "factory": Refusing}}
        ),
    )
    path = tmp_path / "ledger.db"
    for session in ("one", "two"):
        ledger = Ledger(path, session_id=session)
        pay(ledger, session)
        assert ledger.spent_usd == CENT
        ledger.close()
    assert not path.with_name("ledger.db-wal").exists()


def test_an_inode_number_that_the_drive_changes_is_not_a_replaced_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger(path, session_id="s")
    pay(ledger)
    real_stat, real_fstat = os.stat, os.fstat

    def renumbered(status: os.stat_result) -> os.stat_result:
        fields = list(status)
        fields[1] += 1_000
        times = {f"st_{name}time_ns": getattr(status, f"st_{name}time_ns") for name in "amc"}
        return os.stat_result(fields, times)

    monkeypatch.setattr(file_check.os, "fstat", lambda descriptor: renumbered(real_fstat(descriptor)))
    monkeypatch.setattr(file_check.os, "stat", lambda path, **how: renumbered(real_stat(path, **how)))
    pay(ledger, "again")
    assert ledger.spent_usd == 2 * CENT
    monkeypatch.undo()
    path.rename(tmp_path / "moved.db")
    Ledger(path, session_id="s").rows()
    with pytest.raises(LedgerError, match=r"deleted or replaced .* network drive"):
        pay(ledger, "third")


def test_a_run_needs_no_folder_for_temporary_files(tmp_path: Path) -> None:
    code = (
        "import tempfile\n"
        "def no(*_): raise FileNotFoundError('No usable temporary directory found')\n"
        "tempfile.gettempdir = tempfile.gettempdirb = tempfile.TemporaryDirectory = tempfile.mkdtemp = no\n"
        "from llm_magic import Ledger\nfrom llm_magic.testing import scripted_router\n"
        f"ledger = Ledger({str(tmp_path / 'ledger.db')!r})\n"
        "print(scripted_router(ledger=ledger, replies=['Bonjour']).route_sync('Translate: ' + 'hello ' * 50_000).text)"
    )
    missing = str(tmp_path / "missing")
    environment = {**os.environ, "TMPDIR": missing, "LLM_MAGIC_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "Bonjour\n", done.stderr
    assert Path(tempfile.gettempdir()).exists()


# PostgreSQL.


def test_the_users_own_options_in_the_address_are_kept(postgres_server: str) -> None:
    address = postgres.new_database(postgres_server)
    engine = sa.create_engine(sa.make_url(address).set(drivername="postgresql+psycopg"))
    with engine.begin() as db:
        db.execute(sa.text("CREATE SCHEMA notes"))
    ledger = Ledger(f"{address}{'&' if '?' in address else '?'}options=-csearch_path%3Dnotes")
    pay(ledger)
    with engine.begin() as db:
        schemas = db.execute(sa.text("SELECT DISTINCT schemaname FROM pg_tables WHERE tablename LIKE '%attempt%'"))
        assert set(schemas.scalars()) == {"notes"}
    ledger.close()
    engine.dispose()


def test_no_startup_parameter_is_sent_that_a_pooler_refuses(postgres_server: str) -> None:
    address = postgres.new_database(postgres_server)
    database = opening.open_database(address)
    db = database.begin()
    assert db.execute(sa.text("SELECT current_setting('lock_timeout')")).scalar() == "50ms"
    driver: Any = db.connection.driver_connection
    assert "options" not in driver.info.get_parameters()
    assert driver.prepare_threshold is None
    database.commit()
    db = database.begin(to_read=True)
    assert db.execute(sa.text("SELECT current_setting('lock_timeout')")).scalar() == "50ms"
    database.rollback()
    database.close()


def test_a_parameter_that_a_pooler_refuses_is_an_error_that_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Any) -> None:
        raise sa.exc.ProgrammingError("", {}, Exception("unsupported startup parameter: search_path"))

    monkeypatch.setattr(opening.PostgreSQLDatabase, "begin", refuse)
    with pytest.raises(LedgerError, match="PgBouncer refuses it: list it in the pooler's ignore_startup_parameters"):
        opening.open_database("postgresql://localhost/x?options=-csearch_path%3Dnotes")


def test_a_locked_out_network_drive_is_named_as_a_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Any) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(opening.SQLiteDatabase, "begin", refuse)
    with pytest.raises(LedgerError, match="point LLM_MAGIC_LEDGER at a file on a local disk"):
        opening.open_database(str(tmp_path / "ledger.db"))
