"""Rows with named cells: the interface of all kinds of input, and an iterable without a length."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

from llm_magic.columns.libraries import pandas
from llm_magic.columns.reader import Reader
from llm_magic.errors import RequestError

VALUE = "value"
"""The name of the only cell of a row of a Series, a list or an iterable of values."""

_CHUNK_ROWS = 1_000
_HEAD_TIMEOUT_S = 1.0

Cells = Mapping[int, object]
"""The used cells of a row, by the number of their column; None for a missing one."""
Answers = Mapping[str, Any]
"""Columns of answers by name, as pandas Series without an index."""


class Source(Protocol):
    """Rows with named cells.

    length: None for a stream, which can be read once. aliases: other names of columns. is_in_memory: the answers
    may be, too.
    """

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def aliases(self) -> Mapping[str, int]: ...

    @property
    def length(self) -> int | None: ...

    @property
    def is_in_memory(self) -> bool: ...

    def rows(self, used: Sequence[int]) -> Iterator[Cells]: ...

    def cells(self, positions: Sequence[int], used: Sequence[int]) -> list[Cells]: ...

    def with_answers(self, answers: Answers, positions: Sequence[int] | None = None) -> Any:
        """Return the table with the answers, in the kind that was given. positions: the rows to return."""
        ...


def is_missing(cell: object) -> bool:
    if cell is None or isinstance(cell, str):
        return cell is None
    try:
        return bool(cell != cell)
    except TypeError:  # pandas.NA
        return True
    except ValueError:  # an array
        return False


def cells_json(cells: Cells) -> str:
    """Return cells as JSON. Cells that JSON cannot have become their texts."""
    try:
        return json.dumps(cells, default=_shown)
    except (TypeError, ValueError, RecursionError):  # a key that is not a text, or an object that contains itself
        return json.dumps({number: _shown(cell) for number, cell in cells.items()})


def _shown(cell: object) -> str:
    try:
        return str(cell)
    except Exception:  # noqa: BLE001 - raised by the code of a cell
        return f"<{type(cell).__name__}>"


class StreamRows:
    """An iterable without a length. Its rows are values, or mappings of cells by name."""

    length: int | None = None
    is_in_memory = False
    aliases: Mapping[str, int] = {}

    def __init__(self, items: Iterator[object]) -> None:
        first = next(items, _NOTHING)
        self.reader = Reader(items if first is _NOTHING else itertools.chain([first], items))
        is_mapping = isinstance(first, Mapping)
        names = cast("Mapping[object, object]", first) if is_mapping else (VALUE,)
        self.keys = tuple(names) if is_mapping else None
        self.columns = tuple(str(name) for name in names)

    def head(self, count: int, used: Sequence[int]) -> list[Cells]:
        """Return the first rows: as many as an iterable yields within a second."""
        return [self._cells(item, used) for item in self.reader.peek(count, _HEAD_TIMEOUT_S)]

    def take(self, count: int, used: Sequence[int]) -> list[Cells]:
        """Return up to this many rows that were read already."""
        return [self._cells(item, used) for item in self.reader.take(count)]

    def rows(self, used: Sequence[int]) -> Iterator[Cells]:
        raise AssertionError(f"a stream is taken as it is read: no rows of columns {used}")

    def _cells(self, item: object, used: Sequence[int]) -> Cells:
        if self.keys is None:
            return {0: None if is_missing(item) else item}
        cells = cast("Mapping[object, object]", item if isinstance(item, Mapping) else {})
        values = {number: cells.get(self.keys[number]) for number in used}
        return {number: None if is_missing(value) else value for number, value in values.items()}

    def cells(self, positions: Sequence[int], used: Sequence[int]) -> list[Cells]:
        raise AssertionError(f"a stream is read once, in order: no rows {positions} or columns {used}")

    def with_answers(self, answers: Answers, positions: Sequence[int] | None = None) -> Any:
        pd = pandas()

        frame = pd.DataFrame(dict(answers))
        return frame if positions is None else frame.iloc[list(positions)]


_NOTHING = object()


def in_chunks(source: Source, used: Sequence[int], length: int) -> Iterator[Cells]:
    """Yield all rows. Cells of strings may be copies, of which only a chunk exists at a time."""
    for start in range(0, length, _CHUNK_ROWS):
        yield from source.cells(range(start, min(start + _CHUNK_ROWS, length)), used)


def row_cells(columns: Sequence[Sequence[object]], used: Sequence[int], length: int) -> list[Cells]:
    if not columns:
        return [{} for _ in range(length)]
    return [
        {number: None if is_missing(cell) else cell for number, cell in zip(used, cells, strict=True)}
        for cells in zip(*columns, strict=True)
    ]


def check_names(names: Sequence[str]) -> None:
    if not names:
        raise RequestError("the table has no columns")
