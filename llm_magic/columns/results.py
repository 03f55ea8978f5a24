"""The rows of a column with their answers: of a table in memory, or of a stream in the ledger's database."""

from __future__ import annotations

import heapq
import itertools
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from llm_magic.columns.estimate import ColumnPlan
from llm_magic.columns.keep import ColumnStore
from llm_magic.columns.libraries import pandas
from llm_magic.columns.output import AnswerColumns, parsed
from llm_magic.columns.progress import Progress
from llm_magic.columns.records import MISSING, NOT_ASKED, Record, RowResult
from llm_magic.columns.report import ColumnReport, report_of
from llm_magic.columns.rows import ColumnSpec, Item, KnownRows
from llm_magic.columns.source import Cells
from llm_magic.errors import LedgerError
from llm_magic.types import ZERO, Outcome

_SEARCHED_ROWS = 2_000


class Table(Protocol):
    def frame(self) -> Any: ...

    def parts(self, rows: int) -> Iterator[Any]:
        """Yield the frame in parts of this many rows, at least one."""
        ...

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
    """lost: ended rows that could not be stored. is_running: some answers may not be stored yet."""

    def __init__(
        self, spec: ColumnSpec, known: KnownRows, store: ColumnStore, lost: Sequence[Item], *, is_running: bool
    ) -> None:
        self._spec, self._known, self._store, self._lost = spec, known, store, lost
        self._is_running = is_running

    def frame(self) -> Any:
        return self._with_answers(None)

    def parts(self, rows: int) -> Iterator[Any]:
        count = len(self._known)
        for start in range(0, max(count, 1), rows):
            yield self._with_answers(range(start, min(start + rows, count)))

    def errors(self) -> Any:
        outcome = self._known.outcome
        return self._with_answers([number for number in range(len(self._known)) if outcome(number) != Outcome.OK])

    def is_whole(self) -> bool:
        return self._known.records.answered == len(self._known.records)

    def report(self, progress: Progress, plan: ColumnPlan | None) -> ColumnReport:
        known = self._known
        rows = ((known.outcome(number), known.model(number)) for number in range(len(known)))
        return report_of(rows, progress, plan)

    def settled_rows(self) -> list[RowResult]:
        settled = (Outcome.OK, MISSING)
        known = self._known
        positions = [number for number in range(len(known)) if known.outcome(number) in settled]
        return list(map(self._result, positions, self._records(positions)))

    def rows_of(self, item: Item) -> list[RowResult]:
        positions = self._known.positions_of_same_text(item.position)
        return [self._result(position, item.record) for position in positions]

    def sample(self, count: int) -> list[tuple[str, str]]:
        known = self._known
        ended = [number for number in known.firsts[:_SEARCHED_ROWS] if known.outcome(number) != NOT_ASKED][:count]
        cells = self._spec.source.cells(ended, self._spec.template.used)
        return list(map(_sampled, cells, self._records(ended)))

    def _result(self, position: int, record: Record) -> RowResult:
        return _result(self._spec, position, record, is_first=self._known.is_first(position))

    def _records(self, positions: Sequence[int]) -> Iterator[Record]:
        known = self._known
        if known.records.has_texts:
            yield from map(known.record, positions)
            return
        keys = list({known.key(position) for position in positions if known.outcome(position) == Outcome.OK})
        texts = {item.key: item.record.text for item in self._lost}
        texts |= {keys[number]: record.text for number, record in self._store.answered(keys)}
        for position in positions:
            record = known.record(position)
            if record.is_answered:
                record.text = texts.get(known.key(position))
                if record.text is None and not self._is_running:
                    raise LedgerError("answers of this column were deleted meanwhile: ask its rows again")
            yield Record() if record.is_answered and record.text is None else record

    def _with_answers(self, positions: Sequence[int] | None) -> Any:
        known = self._known
        columns = AnswerColumns(self._spec.into, self._spec.base.schema)
        numbers = range(len(known)) if positions is None else positions
        for number, record in zip(numbers, self._records(numbers), strict=True):
            columns.add(record, is_first=known.is_first(number), text_id=known.positions_of_same_text(number)[0])
        return self._spec.source.with_answers(columns.series(), positions)


class StreamTable:
    """lost: ended rows that could not be stored."""

    def __init__(self, spec: ColumnSpec, store: ColumnStore, column_id: str, lost: Sequence[Item]) -> None:
        self._spec, self._store, self._id, self._lost = spec, store, column_id, lost

    def frame(self) -> Any:
        return self._frame(self._rows())

    def parts(self, rows: int) -> Iterator[Any]:
        remaining = self._rows()
        part = list(itertools.islice(remaining, rows))
        yield self._frame(part)
        while part := list(itertools.islice(remaining, rows)):
            yield self._frame(part)

    def errors(self) -> Any:
        return self._frame(row for row in self._rows() if not row[2].is_answered)

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

    def _frame(self, rows: Iterable[tuple[int, Mapping[int, Any], Record]]) -> Any:
        pd = pandas()

        columns, positions = AnswerColumns(self._spec.into, self._spec.base.schema), array("q")
        cells: dict[int, list[Any]] = {number: [] for number in self._spec.template.used}
        for position, values, record in rows:
            positions.append(position)
            columns.add(record, is_first=True, text_id=position)
            for number, column in cells.items():
                column.append(values.get(number))
        names = self._spec.source.columns
        named = {names[number]: pd.Series(column, dtype=object) for number, column in cells.items()}
        frame = self._spec.source.with_answers(named | columns.series())
        frame.index = pd.Index(positions, dtype="int64")
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
