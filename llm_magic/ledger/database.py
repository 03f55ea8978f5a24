"""The databases under the ledger."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError

from llm_magic.errors import LedgerError
from llm_magic.ledger import migrations

_HOLDS_LOCK = sa.select(sa.func.pg_advisory_xact_lock(0x11_3A_61_C0))
"""In PostgreSQL, holds are made one at a time under an advisory lock."""
_OPENING_S = 5.0
"""How long to wait for another process while a database is opened."""
_BUSY_S = 0.001
"""How long SQLite stands still for another process's transaction: ours take a fraction of it."""
_LOCK_S = 0.05
"""The same in PostgreSQL, where they queue, and go over a network."""
_LOCK_NOT_AVAILABLE = "55P03"
"""PostgreSQL's code for a lock that did not come in time."""


class Database:
    """A database at a location, with its tables in place; opened again after a fork. For one thread at a time.

    SQLite is spoken to over one connection that stays open: to fetch one from a pool, and to give it back, takes longer
    than a hold.
    """

    def __init__(self, location: str) -> None:
        self._url, self.shown = _url(location)
        self._is_file = self._url.drivername == "sqlite"
        self._path, self._identity = "", (0, 0)
        """Of SQLite's file, once it has been opened: where it is, and its device and inode."""
        self._is_open = False
        self._pid = 0
        self._open()
        try:
            if self._is_file and self._url.database not in (None, "", ":memory:"):
                Path(str(self._url.database)).parent.mkdir(parents=True, exist_ok=True)
            self._prepare()
        except DBAPIError as error:
            raise _unusable(self.shown, error.orig) from error
        except (OSError, sqlite3.Error) as error:
            raise _unusable(self.shown, error) from error

    def _open(self) -> None:
        self._pid = os.getpid()
        self._engine = _sqlite(self._url) if self._is_file else _postgres(self._url)
        self._kept: sa.Connection | None = None
        self._raw: sqlite3.Connection | None = None
        """The driver's connection under the kept one."""

    def _prepare(self) -> None:
        db = self._connect()
        until = time.monotonic() + _OPENING_S
        while True:
            try:
                self.begin()
                break
            except (DBAPIError, sqlite3.Error) as error:
                if not is_locked(error) or time.monotonic() > until:
                    raise
                time.sleep(_BUSY_S)
        try:
            migrations.prepare(db, self.shown)
            self.commit()
        except BaseException:
            self.rollback()
            raise
        if self._raw is not None:
            self._path = self._raw.execute("PRAGMA database_list").fetchone()[2]
            self._identity = _identity(self._path)
        self._is_open = True

    @property
    def in_memory(self) -> bool:
        return self._is_file and not self._path

    @property
    def dialect(self) -> str:
        return self._engine.dialect.name

    def _connect(self) -> sa.Connection:
        if self._pid != os.getpid():
            self._open()
        if self._kept is None:
            if self._is_open and self.in_memory:
                raise LedgerError(
                    "a ledger in memory ends when it is closed, and no forked process has it: "
                    "point LLM_MAGIC_LEDGER at a file"
                )
            self._check()
            self._kept = self._engine.connect()
            if self._is_file:
                driver: Any = self._kept.connection.driver_connection
                self._raw = driver
        return self._kept

    def _check(self) -> None:
        """Raise LedgerError where the file that was opened is no longer there: what is written would be lost."""
        if self._identity != (0, 0) and _identity(self._path) != self._identity:
            raise LedgerError(
                f"the ledger {self.shown} was deleted or replaced while it was in use, and nothing is sent without it: "
                "put it back where it was, or restart the kernel to begin with what is there"
            )

    def begin(self, *, to_read: bool = False) -> sa.Connection:
        """Begin a transaction in which no other thread, process or machine holds or settles; or one for reading only.

        It has to be ended by `commit` or `rollback`. Raises what `is_locked` tells where another process stands in the
        way.
        """
        db = self._connect()
        if self._raw is not None and self._raw.in_transaction:
            self.rollback()  # an interrupt came in between
        if self._raw is None:
            db.begin()
            if not to_read:
                try:
                    db.execute(_HOLDS_LOCK)
                except BaseException:
                    self.rollback()
                    raise
        elif to_read:
            self._raw.execute("BEGIN")
            try:
                self._raw.execute("SELECT 1 FROM sqlite_schema").fetchone()  # takes the lock that reading needs
            except BaseException:
                self.rollback()
                raise
        else:
            self._check()
            self._raw.execute("BEGIN IMMEDIATE")
        return db

    @contextmanager
    def aside(self) -> Generator[sa.Connection]:
        """A connection of its own, from any thread, for what takes long."""
        self._check()
        engine = _sqlite(self._url) if self._is_file else _postgres(self._url)
        try:
            with engine.connect() as db:
                if self._is_file:
                    db.exec_driver_sql(f"PRAGMA busy_timeout = {_OPENING_S * 1_000:.0f}").close()
                yield db
        finally:
            engine.dispose()

    def commit(self) -> None:
        if self._raw is not None:
            self._raw.execute("COMMIT")
            return
        assert self._kept is not None, "begun before"
        self._kept.commit()
        self._give_back()

    def rollback(self) -> None:
        if self._raw is not None:
            with suppress(sqlite3.Error):  # a full disk ends the transaction by itself
                self._raw.execute("ROLLBACK")
        elif self._kept is not None:
            with suppress(DBAPIError):
                self._kept.rollback()
            self._give_back()

    def _give_back(self) -> None:
        """A server's connection goes back to the pool, which looks whether it is alive before it is used again."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def run(self, db: sa.Connection, statement: sa.Executable, parameters: Mapping[str, Any]) -> Any:
        """Execute a statement and return its cursor.

        In SQLite this goes past SQLAlchemy, which writes the statement once, to the driver: with it, a hold and its
        settlement take twice as long.
        """
        if self._raw is None:
            return db.execute(statement, parameters)
        text, names, defaults = _as_text(statement, tuple(parameters))
        values = [parameters[name] if name in parameters else defaults[name] for name in names]
        return self._raw.execute(text, values)

    def vacuum(self) -> bool:
        """Bring deletions from SQLite's log into its file, and empty the log; False where somebody is reading from it.

        PostgreSQL's own vacuum does so later.
        """
        self._connect()
        return self._raw is None or self._raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = self._raw = None
        self._engine.dispose()


def is_locked(error: BaseException) -> bool:
    """Whether a database's error says that another process stands in the way."""
    if isinstance(error, DBAPIError):
        error = error.orig or error
    if isinstance(error, sqlite3.OperationalError):
        code = getattr(error, "sqlite_errorcode", 0)  # one that the driver found itself has none
        return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return getattr(error, "sqlstate", None) == _LOCK_NOT_AVAILABLE


def _identity(path: str) -> tuple[int, int]:
    """The device and the inode of a file; (0, 0) of none."""
    if not path:
        return 0, 0
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    return found.st_dev, found.st_ino


@lru_cache(maxsize=64)
def _as_text(statement: Any, given: tuple[str, ...]) -> tuple[str, tuple[str, ...], Mapping[str, Any]]:
    """A statement for the driver: its text, the names of its parameters in order, and the values it brings itself."""
    compiled = statement.compile(dialect=sqlite.dialect(), column_keys=list(given))
    return str(compiled), tuple(compiled.positiontup), compiled.params


def _url(location: str) -> tuple[sa.URL, str]:
    if "://" not in location:
        path = location if location == ":memory:" else str(Path(location).expanduser())
        return sa.URL.create("sqlite", database=path), path
    try:
        url = sa.make_url(location)
    except (ArgumentError, ValueError):
        raise LedgerError("LLM_MAGIC_LEDGER is no database address that can be read") from None
    if url.drivername == "sqlite":
        return url, url.database or ":memory:"
    if url.drivername in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg"), url.render_as_string(hide_password=True)
    raise LedgerError(f"the ledger {url.drivername}://... is of no known kind: give a file's path, or postgresql://...")


def _sqlite(url: sa.URL) -> sa.Engine:
    """Any thread may use its connection, in turn."""
    engine = sa.create_engine(
        url,
        poolclass=sa.pool.StaticPool,
        isolation_level="AUTOCOMMIT",
        connect_args={"check_same_thread": False, "timeout": _OPENING_S},
    )

    @event.listens_for(engine, "connect")
    def settings(db: Any, _: Any) -> None:  # pyright: ignore[reportUnusedFunction] - SQLAlchemy calls it
        db.execute("PRAGMA journal_mode = WAL")
        # NORMAL loses nothing when a process is killed; only a power cut can take the last commits.
        db.execute("PRAGMA synchronous = NORMAL")
        # Tags differ by case, as in PostgreSQL.
        db.execute("PRAGMA case_sensitive_like = ON")
        # What is purged from the cache is overwritten, not only unlinked.
        db.execute("PRAGMA secure_delete = ON")
        db.execute(f"PRAGMA busy_timeout = {_BUSY_S * 1_000:.0f}")

    return engine


def _postgres(url: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(
            url,
            pool_pre_ping=True,
            pool_size=1,
            max_overflow=0,
            connect_args={"connect_timeout": 10, "options": f"-c lock_timeout={_LOCK_S * 1_000:.0f}ms"},
        )
    except ModuleNotFoundError as error:
        raise LedgerError(f"a ledger in PostgreSQL needs {error.name}: pip install llm-magic[postgres]") from error


def _unusable(shown: str, why: object) -> LedgerError:
    return LedgerError(
        f"the ledger {shown} can't be opened: {str(why).strip()}. Move it away, or point LLM_MAGIC_LEDGER at another "
        "file, or at :memory: to keep none"
    )
