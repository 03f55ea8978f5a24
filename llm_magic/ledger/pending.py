"""Settlements and releases that could not be written yet, and the thread that retries them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_magic.errors import LedgerError
from llm_magic.types import Attempt

if TYPE_CHECKING:
    import sqlalchemy as sa

    from llm_magic.ledger.attempts import AttemptTable
    from llm_magic.ledger.continuity import Continuity

_RETRY_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The pending writes that one transaction contains."""

    settlements: tuple[Attempt, ...]
    releases: tuple[Attempt, ...]

    def write(self, db: sa.Connection, table: AttemptTable, continuity: Continuity) -> None:
        gone = [continuity.settle(db, attempt) for attempt in self.settlements]
        for attempt in self.releases:
            table.delete(db, attempt)
            continuity.remove((attempt.run_id, attempt.attempt))
        if any(gone):
            continuity.check(db)


class PendingWrites:
    """A queue of settlements and releases. Any thread may add to it; writers remove from it one at a time.

    True if something must be written as soon as possible.
    """

    def __init__(self) -> None:
        self._settlements: list[Attempt] = []
        self.is_due = False
        """False while all settlements can wait for the next transaction."""
        self._releases: list[Attempt] = []
        self.last_error: LedgerError | None = None
        """The error of the last attempt to write them."""

    def __bool__(self) -> bool:
        return self.is_due or bool(self._releases)

    def is_due_for(self, run_id: str) -> bool:
        """Return True if something of a run must be written as soon as possible."""
        return bool(self) and any(attempt.run_id == run_id for attempt in (*self._settlements, *self._releases))

    @property
    def is_empty(self) -> bool:
        return not (self._settlements or self._releases)

    def settle_later(self, attempt: Attempt) -> None:
        """Add a settlement that can wait for the next transaction."""
        self._settlements.append(attempt)

    def add_settlement(self, attempt: Attempt) -> None:
        self.last_error = None
        self.is_due = True
        self._settlements.append(attempt)

    def add_release(self, attempt: Attempt) -> None:
        self.last_error = None
        self._releases.append(attempt)

    def batch(self) -> Batch:
        return Batch(settlements=tuple(self._settlements), releases=tuple(self._releases))

    def remove(self, batch: Batch) -> None:
        """Remove a batch that was committed, from the front of the queue."""
        del self._settlements[: len(batch.settlements)]
        self.is_due = bool(self._settlements) and self.is_due
        del self._releases[: len(batch.releases)]


class Flusher:
    """A daemon thread that retries pending writes and ends when there are none."""

    def __init__(self, pending: PendingWrites, flush: Callable[[], None]) -> None:
        self._pending = pending
        self._flush = flush
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the thread unless it is running."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="llm_magic ledger", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # the interpreter is about to end: closing the ledger writes them
                    self._thread = None

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._pending:
                    self._thread = None
                    return
            try:
                self._flush()
            except LedgerError as error:
                self._pending.last_error = error.with_traceback(None)
                time.sleep(_RETRY_S)
