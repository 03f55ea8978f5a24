"""Which models fail just now: a circuit breaker for each, so that nobody waits for one that is down."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

FAILURES = 5
"""Failures in a row, over all runs, that open a circuit; a run that has used up its retries opens it at once."""
_LONGEST_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """How a model stands: `closed` (well), `open` (passed over), or `half_open` (the next run tries it out)."""

    state: Literal["closed", "open", "half_open"] = "closed"
    left_s: float = 0.0
    """Seconds until an open one is tried again."""
    probed: bool = False
    """A run is trying it out just now."""

    @property
    def blocked(self) -> str | None:
        """Why a run should pass it over, in words; None where it need not."""
        if self.state == "open":
            return f"cooling down after failures, {self.left_s:.0f} s left"
        return "being tried out by another run after failures" if self.probed else None

    def __str__(self) -> str:
        if self.state == "open":
            return f"open, {self.left_s:.0f} s left"
        return self.state.replace("_", "-")


@dataclass(slots=True)
class _Record:
    failures: int = 0
    openings: int = 0
    until: float | None = None
    probe: object | None = None
    """Who is trying it out."""


class Health:
    """The circuits by model id. May be used from any thread."""

    def __init__(self, *, monotonic: Callable[[], float], cool_down_s: float) -> None:
        self._monotonic = monotonic
        self._cool_down_s = cool_down_s
        self._records: dict[str, _Record] = {}
        self._lock = threading.Lock()

    def circuit(self, model_id: str) -> Circuit:
        with self._lock:
            return self._circuit(self._records.get(model_id))

    def _circuit(self, record: _Record | None) -> Circuit:
        if record is None or record.until is None:
            return Circuit()
        left = record.until - self._monotonic()
        return (
            Circuit(state="open", left_s=left)
            if left > 0
            else Circuit(state="half_open", probed=record.probe is not None)
        )

    def enter(self, model_id: str, asker: object) -> bool:
        """Whether somebody may ask it now. Of a half-open one he becomes the probe: the only one until he has left."""
        with self._lock:
            record = self._records.get(model_id)
            circuit = self._circuit(record)
            if circuit.blocked:
                return False
            if record is not None and circuit.state == "half_open":
                record.probe = asker
            return True

    def succeeded(self, model_id: str) -> None:
        """It answered: forget that it failed."""
        with self._lock:
            self._records.pop(model_id, None)

    def failed(self, model_id: str, *, gave_up: bool, at_least_s: float = 0.0) -> None:
        """It failed once more. The circuit opens for its cool-down, twice as long each time that a probe fails too."""
        with self._lock:
            record = self._records.setdefault(model_id, _Record())
            record.failures += 1
            was = self._circuit(record).state
            if was == "open" or not (gave_up or was == "half_open" or record.failures >= FAILURES):
                return
            cool_down = min(self._cool_down_s * 2**record.openings, _LONGEST_S)
            record.until = self._monotonic() + max(cool_down, at_least_s)
            record.openings += 1
            record.failures, record.probe = 0, None

    def left(self, model_id: str, asker: object) -> None:
        """He asks no more. Where he was the probe and has not learnt how it is, the next may try it out."""
        with self._lock:
            if (record := self._records.get(model_id)) and record.probe is asker:
                record.probe = None
