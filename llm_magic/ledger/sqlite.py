"""A ledger in SQLite."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import sqlite

from llm_magic.errors import LedgerError
from llm_magic.ledger import file_mode
from llm_magic.ledger.database import OPENING_TIMEOUT_S
from llm_magic.ledger.file_check import FileCheck

_BUSY_TIMEOUT_S = 0.001
"""Maximum wait of a statement while another process writes. A transaction of llm_magic takes a fraction of it."""


class SQLiteDatabase:
    """One connection that stays open: taking one from a pool and returning it takes longer than a hold."""

    dialect = "sqlite"

    def __init__(self, url: sa.URL) -> None:
        self.location = url.database or ":memory:"
        self._url = url
        if self.location.startswith("file:") and "uri" not in url.query:
            raise LedgerError(
                f"the ledger {self.location!r} is a file: address: append ?uri=true, or give the path alone"
            )
        self._file = FileCheck(self.location)
        self._was_opened = False
        self._start()

    def _start(self) -> None:
        self._pid = os.getpid()
        self._engine = _create_engine(self._url)
        self._connection: sa.Connection | None = None
        self._driver: sqlite3.Connection | None = None

    @property
    def in_memory(self) -> bool:
        return self._was_opened and not self._file.path

    def begin(self, *, to_read: bool = False) -> sa.Connection:
        db, driver = self._connected()
        if driver.in_transaction:
            self.rollback()  # after an interrupt
        if self._file.check(to_read=to_read):
            driver.execute("PRAGMA shrink_memory")  # drops cached pages, which may be of another file's content
        if to_read:
            driver.execute("BEGIN")
            try:
                driver.execute("SELECT 1 FROM sqlite_schema").fetchone()  # takes the lock for reading
            except BaseException:
                self.rollback()
                raise
        else:
            driver.execute("BEGIN IMMEDIATE")
        return db

    def commit(self) -> None:
        assert self._driver is not None, "a transaction has begun"
        self._driver.execute("COMMIT")

    def rollback(self) -> None:
        if self._driver is not None:
            with suppress(sqlite3.Error):  # a full disk has ended the transaction already
                self._driver.execute("ROLLBACK")

    def run(self, db: sa.Connection, statement: sa.Executable, parameters: Mapping[str, Any]) -> Any:  # noqa: ARG002
        """Execute a statement on the driver's own connection: through SQLAlchemy, a hold takes twice as long."""
        assert self._driver is not None, "a transaction has begun"
        text, values = _compiled(statement, tuple(parameters))
        return self._driver.execute(text, values(parameters))

    @contextmanager
    def separate_connection(self) -> Generator[sa.Connection]:
        self._file.check()
        engine = _create_engine(self._url)
        try:
            with engine.connect() as db:
                db.exec_driver_sql(f"PRAGMA busy_timeout = {OPENING_TIMEOUT_S * 1_000:.0f}").close()
                yield db
        finally:
            engine.dispose()

    def vacuum(self) -> bool:
        """Move deletions from the write-ahead log into the file, and truncate the log."""
        return self._connected()[1].execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = self._driver = None
        self._engine.dispose()
        self._file.close()

    def _connected(self) -> tuple[sa.Connection, sqlite3.Connection]:
        if self._pid != os.getpid():
            self._start()
        if self._connection is None or self._driver is None:
            if self.in_memory:
                raise LedgerError(
                    "a ledger in memory ends when it is closed, and a forked process does not have it: "
                    "point LLM_MAGIC_LEDGER at a file"
                )
            if not self._was_opened and not self.location.startswith(("file:", ":memory:")):
                file_mode.prepare(Path(self.location), create="mode" not in self._url.query)
            path = self._file.path or ("" if self.location.startswith(("file:", ":memory:")) else self.location)
            self._file.open(path)
            self._connection = self._engine.connect()
            driver: Any = self._connection.connection.driver_connection
            self._driver = driver
            if not self._was_opened:
                self._file.open(file := driver.execute("PRAGMA database_list").fetchone()[2])
                if file and not path:
                    file_mode.prepare(Path(file), create=False)  # the address of a file
                self._file.check_whole(driver)
                self._was_opened = True
            return self._connection, driver
        return self._connection, self._driver


@lru_cache(maxsize=64)
def _compiled(statement: Any, given: tuple[str, ...]) -> tuple[str, Callable[[Mapping[str, Any]], Sequence[Any]]]:
    """Return a statement's text, and a function from the given parameters to its values in order."""
    compiled = statement.compile(dialect=sqlite.dialect(), column_keys=list(given))
    names, defaults = tuple(compiled.positiontup), compiled.params
    if len(names) < 2:
        return str(compiled), lambda parameters: [parameters.get(name, defaults[name]) for name in names]
    values = itemgetter(*names)
    if set(names) <= set(given):
        return str(compiled), values
    return str(compiled), lambda parameters: values({**defaults, **parameters})


def _create_engine(url: sa.URL) -> sa.Engine:
    """Create an engine with one connection, which any thread may use in turn."""
    engine = sa.create_engine(
        url,
        poolclass=sa.pool.StaticPool,
        isolation_level="AUTOCOMMIT",
        connect_args={"check_same_thread": False, "timeout": OPENING_TIMEOUT_S},
    )

    @event.listens_for(engine, "connect")
    def configure(db: Any, _: Any) -> None:  # pyright: ignore[reportUnusedFunction] - SQLAlchemy calls it
        try:
            _configure(db)
        except BaseException:
            db.close()  # some versions of SQLAlchemy leave it open, and its log beside the file
            raise

    return engine


def _configure(db: Any) -> None:
    try:
        db.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
        # A network drive without shared memory: a rollback journal is slower, and as safe.
        db.execute("PRAGMA journal_mode = DELETE")
    db.execute("PRAGMA temp_store = MEMORY")  # the folder for temporary files may be full or read-only
    # NORMAL loses nothing when a process is killed. Only a power failure can take the last commits.
    db.execute("PRAGMA synchronous = NORMAL")
    # A checkpoint takes as long as a hundred holds. At most 16 MB of log are kept between two.
    db.execute("PRAGMA wal_autocheckpoint = 4000")
    # Tags differ by case, as in PostgreSQL.
    db.execute("PRAGMA case_sensitive_like = ON")
    # Purged texts are overwritten, not only unlinked.
    db.execute("PRAGMA secure_delete = ON")
    db.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_S * 1_000:.0f}")
