"""Which models have just failed, and for how long they are passed over."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Health:
    """Cool-downs by model id. May be used from any thread."""

    def __init__(self, *, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def cool(self, model_id: str, seconds: float) -> None:
        """Pass a model over for `seconds` from now, or for longer where that was said before."""
        with self._lock:
            self._until[model_id] = max(self._until.get(model_id, 0.0), self._monotonic() + seconds)

    def recovered(self, model_id: str) -> None:
        """It answered: forget that it failed."""
        with self._lock:
            self._until.pop(model_id, None)

    def cooling_s(self, model_id: str) -> float:
        """Seconds left of its cool-down; 0 when it is well."""
        with self._lock:
            return max(0.0, self._until.get(model_id, 0.0) - self._monotonic())
