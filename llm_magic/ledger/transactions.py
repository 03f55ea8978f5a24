"""How the ledger's database is reached: one thread at a time, what is owed to it first, and nobody held up for long."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from llm_magic.errors import LedgerError
from llm_magic.types import Attempt

if TYPE_CHECKING:
    import sqlalchemy as sa

_PATIENCE_S = 5.0
"""How long whoever may stand still waits for another process's transaction."""
_POLL_S = 0.02
_RETRY_S = 0.25
"""Between two attempts to write what is owed."""


class LedgerLocked(LedgerError):
    """Another process is writing: the same may work in a moment."""


class Transactions:
    """Transactions on one database, from any thread.

    What could not be settled or given up when its time came is owed: it goes in before whatever is written next, and a
    thread sees to it that this is soon.
    """

    def __init__(self, location: str) -> None:
        from llm_magic.ledger.database import Database

        self.database = Database(location)
        self.begin_anew()
        _all.add(self)

    def begin_anew(self) -> None:
        """Nothing is owed, and nobody else is here."""
        self._lock = threading.RLock()  # a collected ledger closes itself, whatever is under way in this thread
        self._in_haste = threading.local()
        self._to_settle: list[Attempt] = []
        self._to_give_up: list[Attempt] = []
        self.last_write_error: LedgerError | None = None
        """Why what is owed could not be written, the last time."""
        self._payer: threading.Thread | None = None
        self._hiring = threading.Lock()

    @contextmanager
    def fail_fast(self) -> Generator[None]:
        """Within it, this thread does not stand still: what another process has locked raises LedgerLocked at once."""
        before = self._is_in_haste
        self._in_haste.is_so = True
        try:
            yield
        finally:
            self._in_haste.is_so = before

    @property
    def _is_in_haste(self) -> bool:
        return getattr(self._in_haste, "is_so", False)

    @property
    def has_pending_writes(self) -> bool:
        """Whether something settled or given up is not written yet."""
        return bool(self._to_settle or self._to_give_up)

    def settle(self, attempt: Attempt) -> None:
        """Owe it, and pay. Where that raises LedgerError it is owed still."""
        self.last_write_error = None
        self._to_settle.append(attempt)
        self._pay()

    def give_up(self, attempt: Attempt) -> None:
        """Free a hold, or what was kept back, as `settle`."""
        self.last_write_error = None
        self._to_give_up.append(attempt)
        self._pay()

    @contextmanager
    def writing(self) -> Generator[sa.Connection]:
        """A transaction, in which whatever is owed goes first."""
        from llm_magic.ledger import queries, rows

        with self._turn(to_read=False) as db:
            settled, given_up = tuple(self._to_settle), tuple(self._to_give_up)
            for attempt in settled:
                row = rows.to_row(attempt) | {"held_pusd": 0, "lease_until": None}
                self.database.run(db, queries.SETTLE, row | queries.key(attempt))
            for attempt in given_up:
                self.database.run(db, queries.DROP, queries.key(attempt))
            yield db
            self.database.commit()
            del self._to_settle[: len(settled)]
            del self._to_give_up[: len(given_up)]

    @contextmanager
    def reading(self) -> Generator[sa.Connection]:
        """A transaction in which nothing changes."""
        with self._turn(to_read=True) as db:
            yield db
            self.database.rollback()

    @contextmanager
    def browsing(self) -> Generator[sa.Connection]:
        """The same for what takes long. Nobody waits for it, but in memory, where there is only one connection."""
        if self.database.in_memory:
            with self.reading() as db:
                yield db
        else:
            with self._errors(), self.database.aside() as db:
                yield db

    def vacuum(self) -> None:
        """Overwrite what was deleted, unless somebody goes on reading it."""
        until = time.monotonic() + _PATIENCE_S
        with self._errors():
            while True:
                with self._lock:
                    if self.database.vacuum():
                        return
                if time.monotonic() > until:
                    return
                time.sleep(_POLL_S)

    def close(self) -> None:
        """Write what is owed, where that can be done, and close the database; it opens again when it is used again."""
        if self.has_pending_writes:
            with suppress(LedgerError), self.writing():
                pass
        with self._lock:
            self.database.close()

    @contextmanager
    def _turn(self, *, to_read: bool) -> Generator[sa.Connection]:
        """A transaction, once no other process stands in its way. Where it is not ended within, it is rolled back."""
        from llm_magic.ledger.database import is_locked

        until = 0.0
        while True:
            with self._errors(), self._lock:
                try:
                    db = self.database.begin(to_read=to_read)
                except Exception as error:
                    until = until or time.monotonic() + _PATIENCE_S
                    if not is_locked(error) or self._is_in_haste or time.monotonic() > until:
                        raise
                else:
                    try:
                        yield db
                    except BaseException:
                        self.database.rollback()
                        raise
                    return
            time.sleep(_POLL_S)

    def _pay(self) -> None:
        try:
            with self.writing():
                pass
        except LedgerError as error:
            self.last_write_error = error.with_traceback(None)
            self._pay_soon()
            raise

    def _pay_soon(self) -> None:
        with self._hiring:
            if self._payer is None:
                self._payer = threading.Thread(target=self._keep_paying, name="llm_magic ledger", daemon=True)
                try:
                    self._payer.start()
                except RuntimeError:  # the interpreter is about to end: `close` follows
                    self._payer = None

    def _keep_paying(self) -> None:
        while True:
            with self._hiring:
                if not self.has_pending_writes:
                    self._payer = None
                    return
            try:
                with self.writing():
                    pass
            except LedgerError as error:
                self.last_write_error = error.with_traceback(None)
                time.sleep(_RETRY_S)

    @contextmanager
    def _errors(self) -> Generator[None]:
        from sqlalchemy.exc import DBAPIError

        from llm_magic.ledger.database import is_locked

        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            if is_locked(error):
                raise LedgerLocked(
                    f"the ledger {self.database.shown} is locked by another program: end what it writes there"
                ) from error
            why = error.orig if isinstance(error, DBAPIError) else error
            raise LedgerError(f"the ledger {self.database.shown}: {why}") from error


_all: weakref.WeakSet[Transactions] = weakref.WeakSet()


def _in_forked_child() -> None:
    """What the parent owes is the parent's to pay; whoever of its threads had a lock is not here to release it."""
    for access in tuple(_all):
        access.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
