"""Opening of a ledger's database: which kind it is, and its tables."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import time
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError

from llm_magic.errors import LedgerError
from llm_magic.ledger import migrations
from llm_magic.ledger.database import OPENING_TIMEOUT_S, Database, is_damage, is_locked, is_unreachable
from llm_magic.ledger.postgresql import PostgreSQLDatabase
from llm_magic.ledger.sqlite import SQLiteDatabase

_RETRY_S = 0.001
_SHOWN_CHARS = 200
# A misspelled address, which would be taken for the name of a new file.
_ADDRESS_LIKE = re.compile(
    r"(?:postgres(?:ql)?|sqlite|mysql|mariadb)(?:\+\w+)?(?::|//)|(?:\w+=\S+\s+)*(?:dbname|host)="
)


def open_database(location: str) -> Database:
    """Open the database at a path or address, and create or migrate its tables. Raises LedgerError."""
    database = _at(location)
    try:
        _prepare(database)
    except (DBAPIError, OSError, sqlite3.Error) as error:
        database.close()
        reason = str(error.orig if isinstance(error, DBAPIError) else error).strip()
        raise LedgerError(
            f"the ledger {database.location} can't be opened: {reason}. {_way_out(database, error, reason)}"
        ) from error
    except BaseException:
        database.close()
        raise
    return database


def _way_out(database: Database, error: Exception, reason: str) -> str:
    """Return what to do, by what the database itself reports."""
    if database.dialect == "postgresql":
        if "unsupported startup parameter" in reason:
            return (
                "A pooler such as PgBouncer refuses it: list it in the pooler's ignore_startup_parameters, or take it "
                "out of the address in LLM_MAGIC_LEDGER"
            )
        return "Check the address in LLM_MAGIC_LEDGER, or point it at a file"
    if is_locked(error):
        return "Close the program that is writing to it"
    if is_damage(error) and os.path.exists(log := f"{database.location}-wal"):
        return (
            f"Its file, or its log {log}, was overwritten, truncated or deleted: end the programs that use the ledger, "
            "and open it again. If that does not help, restore a backup, or move it away to begin with an empty ledger"
        )
    if any(words in reason for words in ("locking protocol", "disk I/O error")):
        return (
            "If it is on a network drive, the drive may refuse the locks that SQLite needs: point LLM_MAGIC_LEDGER at "
            "a file on a local disk, or at a PostgreSQL server"
        )
    return "Move it away, or point LLM_MAGIC_LEDGER at another file, or at :memory: to keep none"


def _at(location: str) -> Database:
    if "://" not in location:
        if location.startswith("file:"):
            raise LedgerError(
                f"the ledger {location!r} is a file: address: give the path alone, or sqlite:///{location}?uri=true"
            )
        if _ADDRESS_LIKE.match(location) or location.lower() == ":memory:" != location:
            raise LedgerError(
                f"the ledger {location.partition(':')[0]}... is neither a file's path nor an address: give a path, "
                ":memory:, postgresql://user@host/database, or ./ before a name that looks like this"
            )
        path = location if location == ":memory:" else str(Path(location).expanduser())
        _check_path(path)
        return SQLiteDatabase(sa.URL.create("sqlite", database=path))
    try:
        url = sa.make_url(location)
    except (ArgumentError, ValueError):
        raise LedgerError(
            "LLM_MAGIC_LEDGER is not a valid database address: give a file's path, or postgresql://..."
        ) from None
    if "@" in (url.host or ""):
        raise LedgerError(
            "the address in LLM_MAGIC_LEDGER has more than one @: write %40 for one in a user or password"
        )
    kind = url.drivername.partition("+")[0]  # without a driver of Python, as in postgresql+psycopg2
    if kind == "sqlite":
        if url.database and not url.database.startswith("file:"):
            _check_path(url.database)
        return SQLiteDatabase(url.set(drivername=kind))
    if kind in ("postgres", "postgresql"):
        return PostgreSQLDatabase(url.set(drivername=kind))
    raise LedgerError(
        f"the ledger {url.drivername}://... is not of a supported kind: give a file's path, or postgresql://..."
    )


def _check_path(path: str) -> None:
    """Raise `LedgerError` for what cannot be a ledger's file, such as a folder, a pipe or a device."""
    start = f"the ledger {path[:_SHOWN_CHARS]} can't be opened"
    if problem := _path_problem(path):
        raise LedgerError(f"{start}: {problem}")
    file = Path(path)
    if file.is_dir():
        raise LedgerError(f"{start}: it is a folder. Give a file in it, such as {file / 'ledger.db'}")
    if file.exists() and not file.is_file():
        raise LedgerError(f"{start}: it is a pipe or a device, not a file. Give :memory: to keep no ledger")
    if (parent := next((folder for folder in file.parents if folder.is_file()), None)) is not None:
        raise LedgerError(f"{start}: {parent} is a file, not a folder")


def _path_problem(path: str) -> str | None:
    try:
        os.stat(path)
    except ValueError as error:  # a NUL byte
        return str(error)
    except OSError as error:
        return error.strerror if error.errno == errno.ENAMETOOLONG else None
    return None


def _prepare(database: Database) -> None:
    until = time.monotonic() + OPENING_TIMEOUT_S
    while True:
        try:
            db = database.begin()
            break
        except (DBAPIError, sqlite3.Error) as error:
            if not (is_locked(error) or is_unreachable(error)) or time.monotonic() > until:
                raise
            time.sleep(_RETRY_S)
    try:
        migrations.prepare(db, database.location)
        database.commit()
    except BaseException:
        database.rollback()
        raise
