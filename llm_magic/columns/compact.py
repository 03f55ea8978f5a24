"""Records and keys of many rows in a few bytes each, in addition to the texts of the answers."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from decimal import Decimal
from typing import Generic, TypeVar

from llm_magic.columns.records import NOT_ASKED, Record
from llm_magic.types import ZERO, Outcome

Value = TypeVar("Value", bound=Hashable)
_Facts = tuple[str, str, str, str | None, bool]
"""Outcome, model, effort, error, and if an earlier column paid."""

_NEW: _Facts = (NOT_ASKED, "", "", None, False)
_MAX_SHARED = 4_096


class CompactRecords:
    """Records by the number of their distinct row. Reading one makes a copy.

    answered: number of records with an answer. has_texts: the copies have their texts.
    """

    def __init__(self, count: int, *, has_texts: bool = True) -> None:
        self.answered = 0
        self.has_texts = has_texts
        self._texts: list[str | None] = [None] * (count if has_texts else 0)
        self._facts: list[_Facts] = [_NEW] * count
        self._costs: list[Decimal] = [ZERO] * count
        self._run_ids = HexTexts(bytes(HexTexts.WIDTH * count))
        self._shared_facts, self._shared_costs = _Shared[_Facts](), _Shared[Decimal]()

    def __len__(self) -> int:
        return len(self._facts)

    def __getitem__(self, number: int) -> Record:
        outcome, model, effort, error, is_paid_before = self._facts[number]
        return Record(
            outcome=outcome,
            text=self._texts[number] if self.has_texts else None,
            model=model,
            effort=effort,
            error=error,
            cost_usd=self._costs[number],
            run_id=self._run_ids[number],
            is_paid_before=is_paid_before,
        )

    def __setitem__(self, number: int, record: Record) -> None:
        facts = (record.outcome, record.model, record.effort, record.error, record.is_paid_before)
        self.answered += record.is_answered - self.is_answered(number)
        if self.has_texts:
            self._texts[number] = record.text
        self._facts[number] = self._shared_facts.first(facts)
        self._costs[number] = self._shared_costs.first(record.cost_usd)
        self._run_ids[number] = record.run_id

    def outcome(self, number: int) -> str:
        return self._facts[number][0]

    def model(self, number: int) -> str:
        return self._facts[number][1]

    def is_answered(self, number: int) -> bool:
        return self.outcome(number) == Outcome.OK

    def reset_failed(self) -> None:
        """Mark the rows without an answer as not asked. Their cost stays."""
        for number in range(len(self)):
            if not self.is_answered(number):
                self._facts[number] = _NEW


class HexTexts:
    """Texts of 32 hexadecimal digits, or empty, as bytes."""

    WIDTH = 16

    def __init__(self, content: bytes = b"") -> None:
        self._content = bytearray(content)

    def __len__(self) -> int:
        return len(self._content) // self.WIDTH

    def __iter__(self) -> Iterator[str]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> str:
        text = self._content[number * self.WIDTH : (number + 1) * self.WIDTH]
        return text.hex() if any(text) else ""

    def __setitem__(self, number: int, text: str) -> None:
        self._content[number * self.WIDTH : (number + 1) * self.WIDTH] = _packed(text)

    def append(self, text: str) -> None:
        self._content += _packed(text)


def _packed(text: str) -> bytes:
    return bytes.fromhex(text) if text else bytes(HexTexts.WIDTH)


class _Shared(Generic[Value]):
    def __init__(self) -> None:
        self._values: dict[Value, Value] = {}

    def first(self, value: Value) -> Value:
        if len(self._values) < _MAX_SHARED:
            return self._values.setdefault(value, value)
        return self._values.get(value, value)
