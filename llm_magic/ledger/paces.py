"""The speed of models, by the rows of the ledger."""

from __future__ import annotations

import math
from collections.abc import Callable

from llm_magic.ledger.transactions import Transactions

MIN_ANSWERS = 5
MARGIN = 1.25
_MAX_AGE_S = 60.0
_MIN_SHOWN_SHARE = 0.25
"""Share of an answer's time in which its text must arrive to tell a pace. A proxy may deliver it in one burst."""


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
        return MARGIN * max(_tokens_per_s(*answer) for answer in answers)

    def recent(self, model: str) -> float | None:
        """Return a model's pace, read at most a minute ago."""
        now, (read_at, pace) = self._clock(), self._recent.get(model, (-math.inf, None))
        if now - read_at > _MAX_AGE_S:
            pace = self.read(model)
            self._recent[model] = now, pace
        return pace


def _tokens_per_s(output_tokens: int, reasoning_tokens: int, ttft_s: float | None, latency_s: float) -> float:
    """Return the pace of an answer. The time before the first token may have passed in a queue."""
    overall = output_tokens / latency_s
    shown_s = 0.0 if ttft_s is None else latency_s - ttft_s
    if shown_s < _MIN_SHOWN_SHARE * latency_s:
        return overall
    return max(overall, (output_tokens - reasoning_tokens) / shown_s)
