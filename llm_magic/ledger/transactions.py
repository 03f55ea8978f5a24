"""Serialized transactions on the ledger's database, with pending writes flushed first and bounded waits for locks."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from llm_magic.errors import LedgerError
from llm_magic.ledger.pending import Flusher, PendingWrites
from llm_magic.types import Attempt

if TYPE_CHECKING:
    import sqlalchemy as sa

    Write = Callable[[sa.Connection], None]
    """Writes in a transaction that has begun."""

Result = TypeVar("Result")

_LOCK_TIMEOUT_S = 5.0
_POLL_S = 0.02


class LedgerLocked(LedgerError):
    """Another process is writing. The same call may succeed in a moment."""


class LedgerUnreachable(LedgerLocked):
    """The database server can't be reached, or is restarting. The same call may succeed in a moment."""


class Transactions:
    """Transactions on one database, from any thread.

    Settlements and releases that can't be written now stay pending. They are written before anything else is, and a
    background thread retries them.
    """

    def __init__(self, location: str) -> None:
        from llm_magic.ledger.attempts import AttemptTable
        from llm_magic.ledger.continuity import Continuity
        from llm_magic.ledger.opening import open_database

        self.database = open_database(location)
        self.attempts = AttemptTable(self.database)
        self.continuity = Continuity(self.attempts, self.database.location)
        self.reset()
        _instances.add(self)

    def reset(self) -> None:
        """Forget pending writes and threads: in a forked child, they are the parent's."""
        self._lock = threading.RLock()  # the garbage collector may close a ledger within a transaction of this thread
        self._local = threading.local()
        self.pending = PendingWrites()
        self.continuity.reset()
        self._flusher = Flusher(self.pending, self._flush)
        self._worker = _new_worker()

    @property
    def is_remote(self) -> bool:
        """True if a transaction takes round trips over a network, so that an event loop must not wait for it."""
        return self.database.dialect == "postgresql"

    def submit(self, call: Callable[[], Result]) -> Future[Result]:
        """Call a function in the ledger's own thread, one call at a time."""
        return self._worker.submit(call)

    @contextmanager
    def fail_fast(self) -> Generator[None]:
        """Raise LedgerLocked in this thread instead of waiting for a locked database."""
        before = self._fails_fast
        self._local.fails_fast = True
        try:
            yield
        finally:
            self._local.fails_fast = before

    @property
    def _fails_fast(self) -> bool:
        return getattr(self._local, "fails_fast", False)

    @contextmanager
    def without_waiting(self) -> Generator[None]:
        """Do not wait in this thread: fail fast, and write in another thread if the database is remote."""
        self._local.writes_later = self.is_remote
        try:
            with self.fail_fast():
                yield
        finally:
            self._local.writes_later = False

    def write_settlement(self, attempt: Attempt) -> None:
        """Write the settlement of an attempt. If that raises LedgerError, it stays pending."""
        self.pending.add_settlement(attempt)
        self._flush_or_retry()

    def write_release(self, attempt: Attempt) -> None:
        """Delete the row of an attempt and with it what it holds. If that raises LedgerError, it stays pending."""
        self.pending.add_release(attempt)
        self._flush_or_retry()

    def write_due(self) -> None:
        """Write the settlements and releases that are due. What raises LedgerError stays pending."""
        if self.pending:
            self._flush_or_retry()

    @contextmanager
    def writing(self) -> Generator[sa.Connection]:
        """Begin a transaction, and write in it first what is pending."""
        with self._transaction(to_read=False) as db:
            batch = self.pending.batch()
            try:
                batch.write(db, self.attempts, self.continuity)
                yield db
                self.database.commit()
                self.pending.remove(batch)
                self.continuity.committed()
            finally:
                self.continuity.discard()

    @contextmanager
    def reading(self) -> Generator[sa.Connection]:
        with self._transaction(to_read=True) as db:
            yield db
            self.database.rollback()

    def check_continuity(self) -> None:
        """Write what is due, and if the ledger was restored to an earlier state, what this process knows."""
        with suppress(LedgerError), self.fail_fast():
            self.write_due()
        with self.reading() as db:
            is_broken = self.continuity.is_broken(db)
        if is_broken:
            with self.writing() as db:
                self.continuity.check(db)

    @contextmanager
    def snapshot(self) -> Generator[sa.Connection]:
        """Begin a long read. It blocks no other transaction, except in memory, which has one connection only."""
        if self.database.in_memory:
            with self.reading() as db:
                yield db
        else:
            with self._translated_errors(), self.database.separate_connection() as db:
                yield db

    def vacuum(self) -> None:
        """Overwrite deleted rows on disk, unless another program keeps reading them."""
        until = time.monotonic() + _LOCK_TIMEOUT_S
        with self._translated_errors():
            while True:
                with self._lock:
                    if self.database.vacuum():
                        return
                if time.monotonic() > until:
                    return
                time.sleep(_POLL_S)

    def close(self) -> None:
        """Write what is pending if possible, and close the database. Later use opens it again."""
        if not self.pending.is_empty:
            with suppress(LedgerError):
                self._flush()
        self._worker.shutdown(wait=False)
        self._worker = _new_worker()
        with self._lock:
            self.database.close()

    def _flush(self) -> None:
        with self.writing():
            pass

    def _flush_or_retry(self) -> None:
        if getattr(self._local, "writes_later", False):
            self._flusher.start()
            return
        try:
            self._flush()
        except LedgerError as error:
            self.pending.last_error = error.with_traceback(None)
            self._flusher.start()
            raise

    @contextmanager
    def _transaction(self, *, to_read: bool) -> Generator[sa.Connection]:
        """Begin a transaction as soon as no other process blocks it; roll it back unless the caller has ended it."""
        until = 0.0
        while True:
            with self._translated_errors(), self._lock:
                try:
                    db = self.database.begin(to_read=to_read)
                except Exception as error:
                    from llm_magic.ledger.database import is_locked, is_unreachable

                    until = until or time.monotonic() + _LOCK_TIMEOUT_S
                    is_temporary = is_locked(error) or is_unreachable(error)
                    if not is_temporary or self._fails_fast or time.monotonic() > until:
                        raise
                else:
                    try:
                        yield db
                    except BaseException:
                        self.database.rollback()
                        raise
                    return
            time.sleep(_POLL_S)

    @contextmanager
    def _translated_errors(self) -> Generator[None]:
        try:
            yield
        except Exception as error:
            from sqlalchemy.exc import DBAPIError

            from llm_magic.ledger.database import is_damage, is_locked, is_unreachable, lacks_tables

            if not isinstance(error, DBAPIError | sqlite3.Error):
                raise
            location = self.database.location
            if is_locked(error):
                raise LedgerLocked(
                    f"the ledger {location} is locked by another program: close the program that is writing to it"
                ) from error
            reason = error.orig if isinstance(error, DBAPIError) else error
            if is_unreachable(error):
                lines = str(reason).strip().splitlines() or [""]
                raise LedgerUnreachable(f"the ledger {location} can't be reached: {lines[0]}") from error
            if lacks_tables(error):
                raise LedgerError(
                    f"the ledger {location} has lost its tables, and nothing is sent without it: restore a backup, or "
                    "restart the kernel to begin with an empty ledger"
                ) from error
            if is_damage(error):
                raise LedgerError(
                    f"the ledger {location} can't be used, and nothing is sent without it: {reason}. Its file, or its "
                    f"log {location}-wal, was overwritten, truncated or deleted, or its disk fails: check the disk, "
                    "and restart the kernels that use the ledger, or restore a backup"
                ) from error
            raise LedgerError(f"the ledger {location}: {reason}") from error


def _new_worker() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="llm_magic ledger")


_instances: weakref.WeakSet[Transactions] = weakref.WeakSet()


def _reset_in_forked_child() -> None:
    """Reset all instances: the parent's threads do not run here, so they can't release a lock."""
    for transactions in tuple(_instances):
        transactions.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_in_forked_child)
