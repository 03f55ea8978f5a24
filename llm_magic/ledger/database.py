"""Databases that a ledger can be kept in."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError

OPENING_TIMEOUT_S = 5.0
_LOCK_NOT_AVAILABLE = "55P03"
"""PostgreSQL's code for a lock timeout."""
_UNDEFINED_TABLE = "42P01"
_SHUTDOWN = ("57P01", "57P02", "57P03")
"""PostgreSQL's codes for a server that ends or starts."""


class Database(Protocol):
    """A database, for one thread at a time. It is opened again after `close` and after a fork."""

    @property
    def location(self) -> str:
        """The path or address for display, without a password."""
        ...

    @property
    def dialect(self) -> str: ...

    @property
    def in_memory(self) -> bool: ...

    def begin(self, *, to_read: bool = False) -> sa.Connection:
        """Begin a transaction; unless it is `to_read`, no other thread, process or machine can write meanwhile.

        End it by `commit` or `rollback`. If another process blocks it, it raises an error that `is_locked` recognizes.
        """
        ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def run(self, db: sa.Connection, statement: sa.Executable, parameters: Mapping[str, Any]) -> Any:
        """Execute a statement and return its cursor."""
        ...

    def separate_connection(self) -> AbstractContextManager[sa.Connection]:
        """Open a connection for a long read. Any thread may call this."""
        ...

    def vacuum(self) -> bool:
        """Overwrite deleted rows on disk; False if another connection is still reading them."""
        ...

    def close(self) -> None: ...


def is_locked(error: BaseException) -> bool:
    """Return True for a database error that means that another process holds a lock."""
    if isinstance(error, DBAPIError):
        error = error.orig or error
    if isinstance(error, sqlite3.OperationalError):
        code = getattr(error, "sqlite_errorcode", 0)  # errors that the driver raises by itself have none
        return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return getattr(error, "sqlstate", None) == _LOCK_NOT_AVAILABLE


def is_damage(error: BaseException) -> bool:
    """Return True for an error of SQLite that means that its files are damaged, or that their disk fails."""
    if isinstance(error, DBAPIError):
        error = error.orig or error
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR)


def lacks_tables(error: BaseException) -> bool:
    """Return True for an error of a database server whose tables are gone."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) == _UNDEFINED_TABLE


def is_unreachable(error: BaseException) -> bool:
    """Return True for an error that means that a database server is restarting, or that its connection broke."""
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    # A connection that can't be opened has no code.
    code = getattr(error.orig, "sqlstate", "") or ""
    is_refused = isinstance(error, OperationalError) and not code and not isinstance(error.orig, sqlite3.Error)
    return is_refused or code.startswith("08") or code in _SHUTDOWN
