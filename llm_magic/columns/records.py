"""The state of rows."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from llm_magic.types import ZERO, Outcome

NOT_ASKED = "not_asked"
MISSING = "missing"
"""Outcomes of rows that were not sent, in addition to those of attempts: a stopped column, a missing value."""


@dataclass(slots=True, kw_only=True)
class Record:
    """A distinct row, which all rows with the same text share.

    cost_usd: of all its attempts. is_paid_before: it was answered by an earlier column.
    """

    outcome: str = NOT_ASKED
    text: str | None = None
    model: str = ""
    effort: str = ""
    error: str | None = None
    cost_usd: Decimal = ZERO
    run_id: str = ""
    is_paid_before: bool = False

    @property
    def is_answered(self) -> bool:
        return self.outcome == Outcome.OK

    def take(self, kept: Record) -> None:
        self.outcome, self.text, self.error = kept.outcome, kept.text, None
        self.model, self.effort, self.run_id = kept.model, kept.effort, kept.run_id
        self.cost_usd, self.is_paid_before = kept.cost_usd, True


@dataclass(frozen=True, slots=True, kw_only=True)
class RowResult:
    """One row as it ended. position: its number in the input, from 0. data: with a schema, the parsed answer."""

    position: int
    text: str | None
    outcome: str
    model: str
    error: str | None
    cost_usd: Decimal
    run_id: str
    effort: str = ""
    data: Any = None

    @property
    def is_answered(self) -> bool:
        return self.outcome == Outcome.OK
