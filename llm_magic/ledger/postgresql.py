"""A ledger in PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from llm_magic.errors import LedgerError

_LOCK_TIMEOUT = sa.select(sa.func.set_config("lock_timeout", "50ms", True))
"""For one transaction, because a pooler such as PgBouncer refuses it as a parameter of the connection."""
_WRITE_LOCK = _LOCK_TIMEOUT.add_columns(sa.func.pg_advisory_xact_lock(0x11_3A_61_C0))
"""Writing transactions run one at a time under this advisory lock."""


class PostgreSQLDatabase:
    """One pooled connection. The pool checks that it is alive before each transaction."""

    dialect = "postgresql"
    in_memory = False

    def __init__(self, url: sa.URL) -> None:
        self.location = url.render_as_string(hide_password=True)
        self._url = url.set(drivername="postgresql+psycopg")
        self._start()

    def _start(self) -> None:
        self._pid = os.getpid()
        self._engine = _create_engine(self._url)
        self._connection: sa.Connection | None = None

    def begin(self, *, to_read: bool = False) -> sa.Connection:
        if self._pid != os.getpid():
            self._start()
        if self._connection is not None:
            self.rollback()  # after an interrupt
        self._connection = self._engine.connect()
        self._connection.begin()
        try:
            self._connection.execute(_LOCK_TIMEOUT if to_read else _WRITE_LOCK)
        except BaseException:
            self.rollback()
            raise
        return self._connection

    def commit(self) -> None:
        assert self._connection is not None, "a transaction has begun"
        self._connection.commit()
        self._return_connection()

    def rollback(self) -> None:
        if self._connection is not None:
            with suppress(DBAPIError):
                self._connection.rollback()
            self._return_connection()

    def run(self, db: sa.Connection, statement: sa.Executable, parameters: Mapping[str, Any]) -> Any:
        return db.execute(statement, parameters)

    @contextmanager
    def separate_connection(self) -> Generator[sa.Connection]:
        engine = _create_engine(self._url)
        try:
            with engine.connect() as db:
                yield db
        finally:
            engine.dispose()

    def vacuum(self) -> bool:
        """Leave it to PostgreSQL's own vacuum."""
        return True

    def close(self) -> None:
        self._return_connection()
        self._engine.dispose()

    def _return_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _create_engine(url: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(
            url,
            pool_pre_ping=True,
            pool_size=1,
            max_overflow=0,
            connect_args={
                "connect_timeout": 10,
                "prepare_threshold": None,
            },  # a pooler may change the server between two
        )
    except ModuleNotFoundError as error:
        raise LedgerError(f"a ledger in PostgreSQL needs {error.name}: pip install llm-magic[postgres]") from error
