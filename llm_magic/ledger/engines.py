"""The databases under the ledger, and the processes that hold money in it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError

from llm_magic.errors import LedgerError
from llm_magic.ledger import schema
from llm_magic.ledger.rows import Row

_HOLDS_LOCK = 0x11_3A_61_C0
"""The PostgreSQL advisory lock under which holds are made, one at a time."""
_BUSY_S = 10.0
"""How long to wait for another process's transaction."""


def open_engine(location: str) -> tuple[sa.Engine, str]:
    """The database at a location, with its tables in place, and its name for messages (without a password)."""
    url, shown = _url(location)
    try:
        if url.drivername == "sqlite" and url.database not in (None, "", ":memory:"):
            Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
        engine = _sqlite(url) if url.drivername == "sqlite" else _postgres(url)
        with engine.begin() as db:
            alone(db)
            schema.prepare(db, shown)
    except DBAPIError as error:
        raise _unusable(shown, error.orig) from error
    except OSError as error:
        raise _unusable(shown, error) from error
    return engine, shown


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
    """One connection for all threads, which the ledger's lock takes in turn."""
    engine = sa.create_engine(
        url,
        poolclass=sa.pool.StaticPool,
        connect_args={"check_same_thread": False, "timeout": _BUSY_S, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def settings(db: Any, _: Any) -> None:  # pyright: ignore[reportUnusedFunction] - SQLAlchemy calls it
        db.execute("PRAGMA journal_mode = WAL")
        # NORMAL loses nothing when a process is killed; only a power cut can take the last commits.
        db.execute("PRAGMA synchronous = NORMAL")

    return engine


def alone(db: sa.Connection) -> None:
    """Make a transaction the only one that writes or holds, until it ends."""
    if db.dialect.name == "sqlite":
        db.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        db.execute(sa.select(sa.func.pg_advisory_xact_lock(_HOLDS_LOCK)))


def _postgres(url: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(
            url, pool_pre_ping=True, pool_size=1, max_overflow=0, connect_args={"connect_timeout": 10}
        )
    except ModuleNotFoundError as error:
        raise LedgerError(f"a ledger in PostgreSQL needs {error.name}: pip install llm-magic[postgres]") from error


def _unusable(shown: str, why: object) -> LedgerError:
    return LedgerError(
        f"the ledger {shown} can't be opened: {str(why).strip()}. Move it away, or point LLM_MAGIC_LEDGER at another "
        "file, or at :memory: to keep none"
    )


@lru_cache(maxsize=1)
def _host() -> str:
    return socket.gethostname()


def this_process() -> str:
    """A name that no other process has: host, process id, and when it started (ids come round)."""
    import psutil

    return f"{_host()} {os.getpid()} {psutil.Process().create_time():.2f}"


def is_dead(now: float) -> Callable[[Row], bool]:
    """Tells whether a held row's process is gone: by looking on this machine, by its lease on another."""
    known: dict[str, bool] = {}

    def dead(row: Row) -> bool:
        owner: str = row["owner"]
        if owner not in known:
            known[owner] = _is_gone(owner)
        return known[owner] if owner.startswith(f"{_host()} ") else row["lease_until"] < now

    return dead


def _is_gone(owner: str) -> bool:
    import psutil

    try:
        _, pid, started = owner.rsplit(" ", 2)
        return abs(psutil.Process(int(pid)).create_time() - float(started)) > 1
    except (psutil.Error, ValueError):
        return True
