"""Circuit breakers: a model that keeps failing, or a provider whose account fails, is skipped for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

FAILURES_TO_OPEN = 5
"""Consecutive failures, over all runs, that open a circuit. A run that has used up its retries opens it at once."""
_MAX_COOL_DOWN_S = 600.0
_UNSTATED_OUTAGE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """State of a model: `closed` (healthy), `open` (skipped), or `half_open` (the next run probes it)."""

    state: Literal["closed", "open", "half_open"] = "closed"
    remaining_s: float = 0.0
    probed: bool = False
    account_problem: str = ""
    """The error of the provider's account, in its words, if that is the reason."""

    @property
    def blocked_reason(self) -> str | None:
        if self.state == "open":
            return f"{self.account_problem or 'cooling down after failures'}, {self.remaining_s:.0f} s left"
        return "another run is probing it after failures" if self.probed else None

    def __str__(self) -> str:
        if self.state == "open":
            return f"open, {self.remaining_s:.0f} s left"
        return self.state.replace("_", "-")


@dataclass(slots=True)
class _Record:
    failures: int = 0
    openings: int = 0
    until: float | None = None
    probe: object | None = None


class Health:
    """Circuits by model id. Thread-safe."""

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
        remaining_s = record.until - self._monotonic()
        return (
            Circuit(state="open", remaining_s=remaining_s)
            if remaining_s > 0
            else Circuit(state="half_open", probed=record.probe is not None)
        )

    def acquire(self, model_id: str, caller: object) -> bool:
        """Return True if `caller` may ask the model now. With a half-open circuit, it becomes the only probe."""
        with self._lock:
            record = self._records.get(model_id)
            circuit = self._circuit(record)
            if circuit.blocked_reason:
                return False
            if record is not None and circuit.state == "half_open":
                record.probe = caller
            return True

    def succeeded(self, model_id: str) -> None:
        with self._lock:
            self._records.pop(model_id, None)

    def failed(self, model_id: str, *, gave_up: bool, at_least_s: float = 0.0) -> None:
        """Record a failure. If it opens the circuit, the cool-down doubles each time that a probe fails too."""
        with self._lock:
            record = self._records.setdefault(model_id, _Record())
            record.failures += 1
            state = self._circuit(record).state
            if state == "open" or not (gave_up or state == "half_open" or record.failures >= FAILURES_TO_OPEN):
                return
            cool_down_s = min(self._cool_down_s * 2**record.openings, _MAX_COOL_DOWN_S)
            record.until = self._monotonic() + max(cool_down_s, at_least_s)
            record.openings += 1
            record.failures, record.probe = 0, None

    def release(self, model_id: str, caller: object) -> None:
        """Let another run probe the model if `caller` was the probe and recorded no result."""
        with self._lock:
            if (record := self._records.get(model_id)) and record.probe is caller:
                record.probe = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outage:
    reason: str
    until: float
    account: object


class Outages:
    """Providers whose account fails (bad key, no credit), until the stated time or a change of credentials."""

    def __init__(self, *, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._outages: dict[str, _Outage] = {}

    def report(self, provider: str, reason: str, *, account: object, for_s: float | None) -> None:
        """for_s: the time that the provider stated, if any. account: equal as long as the credentials are the same."""
        until = self._monotonic() + (_UNSTATED_OUTAGE_S if for_s is None else for_s)
        self._outages[provider] = _Outage(reason=reason, until=until, account=account)

    def ended(self, provider: str) -> None:
        self._outages.pop(provider, None)

    def circuit(self, provider: str, *, account: Callable[[], object]) -> Circuit | None:
        outage = self._outages.get(provider)
        if outage is None or outage.account != account():
            return None
        remaining_s = outage.until - self._monotonic()
        return (
            Circuit(state="open", remaining_s=remaining_s, account_problem=outage.reason) if remaining_s > 0 else None
        )
