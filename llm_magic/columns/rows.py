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
from llm_magic.columns.records import MISSING, NOT_ASKED, Record
from llm_magic.columns.source import Cells, Source
from llm_magic.columns.template import Template
from llm_magic.errors import BudgetExceeded
from llm_magic.home import hash_key
from llm_magic.types import Request

Missing = Literal["skip", "ask"]
Spread = TypeVar("Spread")


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
    prompt: str
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

    def of(self, prompt: str) -> str:
        row = self._base.copy()
        row.update(prompt.encode("utf-8", "surrogatepass"))
        return row.hexdigest()[:32]


class KnownRows:
    """The rows of a table or a list. All rows with the same text share a record."""

    def __init__(self, spec: ColumnSpec, keys: RowKeys) -> None:
        self._spec = spec
        self._used = spec.template.used
        self.records: list[Record] = []
        self.keys: dict[str, Record] = {}
        self.firsts: list[int] = []
        """The position of the first row of each text, in the order of `keys`."""
        self._chars = array("L")
        """The length of each text, in the order of `keys`."""
        self.missing = 0
        skipped = Record(outcome=MISSING)
        for position, cells in enumerate(spec.source.rows(self._used)):
            if is_skipped(spec, cells):
                self.records.append(skipped)
                self.missing += 1
                continue
            prompt = spec.template.fill(cells)
            key = keys.of(prompt)
            if (record := self.keys.get(key)) is None:
                record = self.keys[key] = Record()
                self.firsts.append(position)
                self._chars.append(len(prompt))
            self.records.append(record)

    @cached_property
    def positions(self) -> dict[str, list[int]]:
        by_record = {id(record): key for key, record in self.keys.items()}
        positions: dict[str, list[int]] = {key: [] for key in self.keys}
        for position, record in enumerate(self.records):
            if (key := by_record.get(id(record))) is not None:
                positions[key].append(position)
        return positions

    def spread(self, count: int) -> Sequence[int]:
        return spread(self.firsts, count)

    def longer_than(self, chars: int) -> list[int]:
        """Return the positions of the texts with more characters than this."""
        return [position for position, length in zip(self.firsts, self._chars, strict=True) if length > chars]

    def prompts(self, positions: Sequence[int]) -> list[str]:
        fill = self._spec.template.fill
        return [fill(cells) for cells in self._spec.source.cells(positions, self._used)]

    def reset_failed(self) -> None:
        for record in self.keys.values():
            if not record.is_answered:
                record.outcome, record.error = NOT_ASKED, None

    def items(self, positions: Sequence[int], keys: RowKeys) -> Iterator[Item]:
        for start in range(0, len(positions), 256):
            chunk = [number for number in positions[start : start + 256] if self.records[number].outcome == NOT_ASKED]
            for position, prompt in zip(chunk, self.prompts(chunk), strict=True):
                yield Item(position, keys.of(prompt), prompt, self.records[position])


def spread(items: Sequence[Spread], count: int) -> Sequence[Spread]:
    """Return this many items at equal distances, with the first and the last one."""
    if len(items) <= count or count < 2:
        return items[:count]
    return [items[round(number * (len(items) - 1) / (count - 1))] for number in range(count)]


def is_skipped(spec: ColumnSpec, cells: Cells) -> bool:
    """True if a cell that the text mentions has no value; in a text without cells, if no cell has one."""
    if spec.missing == "ask":
        return False
    if spec.template.cells:
        return None in cells.values()
    return all(cell is None for cell in cells.values())
