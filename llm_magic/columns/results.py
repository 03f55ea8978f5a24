"""The rows of a column with their answers: of a table in memory, or of a stream in the ledger's database."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from llm_magic.columns.estimate import ColumnPlan
from llm_magic.columns.keep import ColumnStore
from llm_magic.columns.libraries import pandas
from llm_magic.columns.output import answer_columns, parsed
from llm_magic.columns.progress import Progress
from llm_magic.columns.records import MISSING, NOT_ASKED, Record, RowResult
from llm_magic.columns.report import ColumnReport, report_of
from llm_magic.columns.rows import ColumnSpec, Item, KnownRows
from llm_magic.columns.source import Cells
from llm_magic.types import ZERO

_SEARCHED_ROWS = 2_000


class Table(Protocol):
    def frame(self) -> Any: ...

    def errors(self) -> Any: ...

    def is_whole(self) -> bool: ...

    def report(self, progress: Progress, plan: ColumnPlan | None) -> ColumnReport: ...

    def settled_rows(self) -> list[RowResult]: ...

    def rows_of(self, item: Item) -> list[RowResult]: ...

    def sample(self, count: int) -> list[tuple[str, str]]:
        """Return the values and answers of some rows that have ended."""
        ...


def _sampled(cells: Cells, record: Record) -> tuple[str, str]:
    value = " | ".join(str(cell) for cell in cells.values() if cell is not None)
    return value, record.text or record.error or record.outcome.replace("_", " ")


class KnownTable:
    def __init__(self, spec: ColumnSpec, known: KnownRows) -> None:
        self._spec, self._known = spec, known

    def frame(self) -> Any:
        return self._with_answers(None)

    def errors(self) -> Any:
        records = self._known.records
        return self._with_answers([number for number, record in enumerate(records) if not record.is_answered])

    def is_whole(self) -> bool:
        return all(record.is_answered for record in self._known.keys.values())

    def report(self, progress: Progress, plan: ColumnPlan | None) -> ColumnReport:
        return report_of(((record.outcome, record.model) for record in self._known.records), progress, plan)

    def settled_rows(self) -> list[RowResult]:
        firsts = set(self._known.firsts)
        return [
            _result(self._spec, position, record, is_first=position in firsts)
            for position, record in enumerate(self._known.records)
            if record.is_answered or record.outcome == MISSING
        ]

    def rows_of(self, item: Item) -> list[RowResult]:
        positions = self._known.positions[item.key]
        return [_result(self._spec, position, item.record, is_first=position == positions[0]) for position in positions]

    def sample(self, count: int) -> list[tuple[str, str]]:
        records, firsts = self._known.records, self._known.firsts[:_SEARCHED_ROWS]
        ended = [number for number in firsts if records[number].outcome != NOT_ASKED][:count]
        cells = self._spec.source.cells(ended, self._spec.template.used)
        return [_sampled(row, records[number]) for number, row in zip(ended, cells, strict=True)]

    def _with_answers(self, positions: Sequence[int] | None) -> Any:
        records, firsts = self._known.records, set(self._known.firsts)
        chosen = range(len(records)) if positions is None else positions
        columns = answer_columns(
            [records[number] for number in chosen],
            [number in firsts for number in chosen],
            self._spec.into,
            self._spec.base.schema,
        )
        return self._spec.source.with_answers(columns, positions)


class StreamTable:
    """lost: ended rows that could not be stored."""

    def __init__(self, spec: ColumnSpec, store: ColumnStore, column_id: str, lost: Sequence[Item]) -> None:
        self._spec, self._store, self._id, self._lost = spec, store, column_id, lost

    def frame(self) -> Any:
        return self._frame(list(self._rows()))

    def errors(self) -> Any:
        return self._frame([row for row in self._rows() if not row[2].is_answered])

    def is_whole(self) -> bool:
        return all(record.is_answered or record.outcome == MISSING for _, _, record in self._rows())

    def report(self, progress: Progress, plan: ColumnPlan | None) -> ColumnReport:
        return report_of(((record.outcome, record.model) for _, _, record in self._rows()), progress, plan)

    def settled_rows(self) -> list[RowResult]:
        return []

    def rows_of(self, item: Item) -> list[RowResult]:
        return [
            _result(self._spec, position, item.record, is_first=number == 0)
            for number, (position, _) in enumerate(item.cells)
        ]

    def sample(self, count: int) -> list[tuple[str, str]]:
        return [_sampled(cells, record) for _, cells, record in itertools.islice(self._rows(), count)]

    def _rows(self) -> Iterator[tuple[int, Mapping[int, Any], Record]]:
        lost = sorted(
            ((position, cells, item.record) for item in self._lost for position, cells in item.cells), key=_position
        )
        rows = heapq.merge(self._store.stream_rows(self._id), lost, key=_position)
        return (next(same) for _, same in itertools.groupby(rows, key=_position))

    def _frame(self, rows: Sequence[tuple[int, Mapping[int, Any], Record]]) -> Any:
        pd = pandas()

        records = [record for _, _, record in rows]
        columns = answer_columns(records, [True] * len(rows), self._spec.into, self._spec.base.schema)
        names = self._spec.source.columns
        cells = {
            names[number]: pd.Series([values.get(number) for _, values, _ in rows], dtype=object)
            for number in self._spec.template.used
        }
        frame = self._spec.source.with_answers(cells | columns)
        frame.index = pd.Index([position for position, _, _ in rows], dtype="int64")
        return frame


def _position(row: tuple[int, Mapping[int, Any], Record]) -> int:
    return row[0]


def _result(spec: ColumnSpec, position: int, record: Record, *, is_first: bool) -> RowResult:
    return RowResult(
        position=position,
        text=record.text,
        data=parsed(record.text, spec.base.schema),
        outcome=record.outcome,
        model=record.model,
        effort=record.effort,
        error=record.error,
        cost_usd=record.cost_usd if is_first else ZERO,
        run_id=record.run_id,
    )
