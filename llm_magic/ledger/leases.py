"""Renewal of the leases of a process's open holds."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Protocol

from llm_magic.errors import LedgerError

_POLL_S = 1.0


class Leaseholder(Protocol):
    """A ledger with holds."""

    @property
    def has_open_holds(self) -> bool: ...

    @property
    def clock(self) -> Callable[[], float]: ...

    def renew_leases(self) -> None: ...


class LeaseRenewal:
    """A daemon thread that renews the leases while holds are open, and then ends.

    Leases are renewed after a third of their time, and at once after the clock has jumped forward or the machine was
    suspended. The thread does not keep the ledger alive.
    """

    def __init__(self, ledger: Leaseholder, lease_s: float) -> None:
        self._ledger = weakref.ref(ledger)
        self._interval_s = lease_s / 3
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._stop: threading.Event | None = None

    def start(self) -> None:
        """Start the thread unless it is running. In a forked child, its parent's thread does not run."""
        if self._pid != os.getpid():
            self._reset()
        if self._stop is not None:
            return
        with self._lock:
            if self._stop is None:
                stop = threading.Event()
                thread = threading.Thread(target=self._run, args=(stop,), name="llm_magic leases", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is about to end
                    return
                self._stop = stop

    def stop(self) -> None:
        """End the thread."""
        if self._pid == os.getpid() and self._stop is not None:
            self._stop.set()

    def _run(self, stop: threading.Event) -> None:
        ledger = self._ledger()
        clock = time.time if ledger is None else ledger.clock
        del ledger
        renewed_at, renewed_moment = time.monotonic(), clock()
        while self._is_needed(stop, wait_s=min(_POLL_S, self._interval_s / 3)):
            now, moment = time.monotonic(), clock()
            if now - renewed_at < self._interval_s and moment - renewed_moment < self._interval_s:
                continue
            if (ledger := self._ledger()) is not None:
                try:
                    ledger.renew_leases()
                except LedgerError:  # tried again at the next poll
                    pass
                else:
                    renewed_at, renewed_moment = now, moment
            del ledger

    def _is_needed(self, stop: threading.Event, *, wait_s: float) -> bool:
        """Return False, and let another thread start, if this one must end."""
        is_stopped = stop.wait(wait_s)
        with self._lock:
            ledger = self._ledger()
            if not is_stopped and ledger is not None and ledger.has_open_holds:
                return True
            self._stop = None
            return False
