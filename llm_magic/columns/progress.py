"""Counts and amounts of a column while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from llm_magic.types import ZERO


@dataclass(slots=True)
class Progress:
    """State of a column. One thread writes it, any thread may read it.

    resumed: rows whose answers earlier columns paid for. missing: rows of a stream without a value. cost_usd: of all
    attempts of this column. answered_usd, latency_s and longest_tokens: of the rows that it asked and that were
    answered: their cost, the sum of their latencies, and the length of the longest answer. errors: the number of
    failed rows and the latest message, by outcome. stopped: why the column ended before its last row. waiting: why
    nothing is sent now.
    """

    answered: int = 0
    resumed: int = 0
    missing: int = 0
    failed: int = 0
    in_flight: int = 0
    cost_usd: Decimal = ZERO
    answered_usd: Decimal = ZERO
    latency_s: float = 0.0
    longest_tokens: int = 0
    errors: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    stopped: str = ""
    waiting: str = ""

    @property
    def asked(self) -> int:
        """The rows that ended in this column, with an answer or without."""
        return self.answered - self.resumed + self.failed

    def add_error(self, outcome: str, message: str) -> None:
        self.failed += 1
        self.errors[outcome] = (self.errors.get(outcome, (0, ""))[0] + 1, message)
