from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from llm_magic import tuning
from llm_magic.ledger import Ledger
from llm_magic.registry import Registry
from llm_magic.tuning.evidence import ModelTier
from llm_magic.types import TaskTier

_USES = 20


class Widths:
    """Standard deviations of the models' capabilities by the ledger, read again after every _USES uses."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._learned: Mapping[ModelTier, float] = {}
        self._uses_left = 0

    def of_tier(self, tier: TaskTier, ledger: Ledger, registry: Registry) -> Callable[[str], float]:
        with self._lock:
            if self._uses_left <= 0:
                self._learned = tuning.tune(ledger.rows(), registry).widths
                self._uses_left = _USES
            self._uses_left -= 1
            learned = self._learned
        return lambda model: learned.get((model, tier)) or tuning.prior_width(model, registry)
