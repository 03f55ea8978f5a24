"""The rows of a column in the order in which they are asked, each distinct text once."""

from __future__ import annotations

import hashlib
import hmac
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeVar

from llm_magic import cache
from llm_magic.columns.compact import CompactRecords, HexTexts
from llm_magic.columns.records import MISSING, NOT_ASKED, Record
from llm_magic.columns.source import Cells, Source
from llm_magic.columns.template import Template
from llm_magic.errors import BudgetExceeded, RequestError
from llm_magic.home import hash_key
from llm_magic.types import Request

Missing = Literal["skip", "ask"]
Spread = TypeVar("Spread")
_SKIPPED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSpec:
    """A column to run. base: the request of every row, without its prompt. keep_s: seconds that answers stay."""

    base: Request
    template: Template
    source: Source
    into: str | None
    missing: Missing = "skip"
    pilot: int = 20
    keep_s: float | None = None


@dataclass(slots=True, eq=False)
class Item:
    """A distinct row to ask. positions: of a stream's rows with this text; empty otherwise."""

    position: int
    key: str
    prompt: str | RequestError
    record: Record
    cells: list[tuple[int, Cells]] = field(default_factory=list[tuple[int, Cells]])
    is_second_try: bool = False
    is_cut_off: bool = False
    refusal: BudgetExceeded | None = None


class RowKeys:
    """Keyed hashes of rows: of the instruction, the schema, the options that matter, and the row's text."""

    def __init__(self, base: Request) -> None:
        self._base = hmac.new(hash_key(), cache.digest_text(base).encode("utf-8", "surrogatepass"), hashlib.sha256)
        self.digest = self._base.hexdigest()

    def of(self, prompt: str | RequestError) -> str:
        row = self._base.copy()
        row.update(str(prompt).encode("utf-8", "surrogatepass"))
        return row.hexdigest()[:32]


class KnownRows:
    """The rows of a table or a list. All rows with the same text share a record.

    firsts: the position of the first row of each text. records, keys: of each text, in the order of `firsts`. missing:
    number of rows without a value.
    """

    def __init__(self, spec: ColumnSpec, keys: RowKeys) -> None:
        self._spec = spec
        self._used = spec.template.used
        self._numbers = array("i")
        self.firsts = array("i")
        self.keys = HexTexts()
        self._chars = array("I")
        self.missing = 0
        numbers: dict[str, int] = {}
        for position, cells in enumerate(spec.source.rows(self._used)):
            if is_skipped(spec, cells):
                self._numbers.append(_SKIPPED)
                self.missing += 1
                continue
            prompt = spec.template.fill(cells)
            key = keys.of(prompt)
            if (number := numbers.get(key)) is None:
                number = numbers[key] = len(numbers)
                self.keys.append(key)
                self.firsts.append(position)
                self._chars.append(len(prompt) if isinstance(prompt, str) else 0)
            self._numbers.append(number)
        self.records = CompactRecords(len(self.firsts), has_texts=spec.source.is_in_memory)

    def __len__(self) -> int:
        return len(self._numbers)

    @cached_property
    def _positions_of_repeated(self) -> dict[int, array[int]]:
        positions: dict[int, array[int]] = {}
        if len(self.firsts) + self.missing < len(self):
            for position, number in enumerate(self._numbers):
                if number != _SKIPPED and position != self.firsts[number]:
                    positions.setdefault(number, array("i", [self.firsts[number]])).append(position)
        return positions

    def positions_of_same_text(self, position: int) -> Sequence[int]:
        return self._positions_of_repeated.get(self._numbers[position], (position,))

    def is_first(self, position: int) -> bool:
        number = self._numbers[position]
        return number != _SKIPPED and self.firsts[number] == position

    def record(self, position: int) -> Record:
        number = self._numbers[position]
        return Record(outcome=MISSING) if number == _SKIPPED else self.records[number]

    def key(self, position: int) -> str:
        return self.keys[self._numbers[position]]

    def outcome(self, position: int) -> str:
        number = self._numbers[position]
        return MISSING if number == _SKIPPED else self.records.outcome(number)

    def model(self, position: int) -> str:
        number = self._numbers[position]
        return "" if number == _SKIPPED else self.records.model(number)

    def store(self, item: Item) -> None:
        self.records[self._numbers[item.position]] = item.record

    def spread(self, count: int) -> Sequence[int]:
        return spread(self.firsts, count)

    def longer_than(self, chars: int) -> list[int]:
        """Return the positions of the texts with more characters than this."""
        return [position for position, length in zip(self.firsts, self._chars, strict=True) if length > chars]

    def prompts(self, positions: Sequence[int]) -> list[str]:
        """Return the texts of these rows without those that have an error."""
        return [prompt for prompt in self._filled(positions) if isinstance(prompt, str)]

    def _filled(self, positions: Sequence[int]) -> list[str | RequestError]:
        fill = self._spec.template.fill
        return [fill(cells) for cells in self._spec.source.cells(positions, self._used)]

    def items(self, positions: Sequence[int], keys: RowKeys) -> Iterator[Item]:
        for start in range(0, len(positions), 256):
            chunk = [number for number in positions[start : start + 256] if self.outcome(number) == NOT_ASKED]
            for position, prompt in zip(chunk, self._filled(chunk), strict=True):
                yield Item(position, keys.of(prompt), prompt, self.record(position))


def spread(items: Sequence[Spread], count: int) -> Sequence[Spread]:
    """Return this many items at equal distances, with the first and the last one."""
    if len(items) <= count or count < 2:
        return items[:count]
    return [items[round(number * (len(items) - 1) / (count - 1))] for number in range(count)]


def is_skipped(spec: ColumnSpec, cells: Cells) -> bool:
    return spec.missing == "skip" and spec.template.lacks_value(cells)
