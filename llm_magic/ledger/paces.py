"""The speed of models, by the rows of the ledger."""

from __future__ import annotations

import math
from collections.abc import Callable

from llm_magic.ledger.transactions import Transactions

MIN_ANSWERS = 5
MARGIN = 1.25
_MAX_AGE_S = 60.0


class Paces:
    """Paces of models in output tokens per second: of each, the fastest of its latest answers, with a margin."""

    def __init__(self, transactions: Transactions, clock: Callable[[], float]) -> None:
        self._transactions = transactions
        self._clock = clock
        self._recent: dict[str, tuple[float, float | None]] = {}

    def read(self, model: str) -> float | None:
        """Read a model's pace; None if there are fewer than MIN_ANSWERS answers whose usage was reported."""
        from llm_magic.ledger import queries

        with self._transactions.reading() as db:
            answers = db.execute(queries.PACE, {"of_model": model}).all()
        if len(answers) < MIN_ANSWERS:
            return None
        return MARGIN * max(output_tokens / latency_s for output_tokens, latency_s in answers)

    def recent(self, model: str) -> float | None:
        """Return a model's pace, read at most a minute ago."""
        now, (read_at, pace) = self._clock(), self._recent.get(model, (-math.inf, None))
        if now - read_at > _MAX_AGE_S:
            pace = self.read(model)
            self._recent[model] = now, pace
        return pace
