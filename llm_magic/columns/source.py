"""The rows of a column, from any kind of table, list or iterable, and the table with its answers in the same kind."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

from llm_magic.columns.libraries import arrow, pandas, polars
from llm_magic.errors import RequestError

VALUE = "value"
"""The name of the only cell of a row of a Series, a list or an iterable of values."""

_CHUNK_ROWS = 1_000

Cells = Mapping[int, object]
"""The used cells of a row, by the number of their column; None for a missing one."""
Answers = Mapping[str, Any]
"""Columns of answers by name, as pandas Series without an index."""


class Source(Protocol):
    """Rows with named cells. length: None for a stream, which can be read once. aliases: other names of columns."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def aliases(self) -> Mapping[str, int]: ...

    @property
    def length(self) -> int | None: ...

    def rows(self, used: Sequence[int]) -> Iterator[Cells]: ...

    def cells(self, positions: Sequence[int], used: Sequence[int]) -> list[Cells]: ...

    def with_answers(self, answers: Answers, positions: Sequence[int] | None = None) -> Any:
        """Return the table with the answers, in the kind that was given. positions: the rows to return."""
        ...


def source_of(over: object) -> Source:
    """Return the rows of a table, Series, list, dict of lists, or iterable. Raises RequestError for anything else."""
    pd = pandas()

    if isinstance(over, pd.DataFrame):
        return _PandasRows(over)
    if isinstance(over, pd.Series | pd.Index):
        return _series_rows(pd.Series(over))
    if (table := _other_table(over)) is not None:
        return table
    if isinstance(over, str | bytes | bytearray) or not hasattr(over, "__iter__"):
        raise RequestError(
            f"a column needs a DataFrame, a Series, a list, a dict of lists or an iterable, not {type(over).__name__}"
        )
    if isinstance(over, Mapping):
        return _PandasRows(_frame_of_lists(cast("Mapping[Any, Any]", over)))
    if getattr(over, "ndim", 1) == 2:
        return _PandasRows(pd.DataFrame(over))
    if hasattr(over, "__len__"):
        return _list_rows(list(cast("Iterable[object]", over)))
    return StreamRows(iter(cast("Iterable[object]", over)))


def is_missing(cell: object) -> bool:
    if cell is None or isinstance(cell, str):
        return cell is None
    try:
        return bool(cell != cell)
    except TypeError:  # pandas.NA
        return True
    except ValueError:  # an array
        return False


class _PandasRows:
    def __init__(self, frame: Any, aliases: Mapping[str, int] | None = None) -> None:
        self._frame = frame
        self.columns = tuple(_label_text(label) for label in frame.columns)
        self.aliases = aliases or {}
        self.length: int | None = len(frame)
        _check_names(self.columns)

    def rows(self, used: Sequence[int]) -> Iterator[Cells]:
        return _in_chunks(self, used, len(self._frame))

    def cells(self, positions: Sequence[int], used: Sequence[int]) -> list[Cells]:
        rows = self._frame.iloc[list(positions)]
        return _row_cells([rows.iloc[:, number].tolist() for number in used], used, len(positions))

    def with_answers(self, answers: Answers, positions: Sequence[int] | None = None) -> Any:
        pd = pandas()

        frame = self._frame if positions is None else self._frame.iloc[list(positions)]
        levels = frame.columns.nlevels
        named = {name if levels == 1 else (name, *[""] * (levels - 1)): values for name, values in answers.items()}
        columns = pd.DataFrame(
            {name: values.set_axis(frame.index) for name, values in named.items()}, index=frame.index
        )
        if levels > 1:
            columns.columns = pd.MultiIndex.from_tuples(list(named), names=frame.columns.names)
        kept = frame.drop(columns=[label for label in frame.columns if label in named])
        return pd.concat([kept, columns], axis=1)


class _ArrowRows:
    """A pyarrow Table, or a polars DataFrame: both have columns that become lists."""

    def __init__(
        self,
        table: Any,
        names: Sequence[str],
        take: Callable[[list[int], int], list[object]],
        add: Callable[[Answers, list[int] | None], Any],
    ) -> None:
        self._take, self._add = take, add
        self.columns = tuple(names)
        self.aliases: Mapping[str, int] = {}
        self.length: int | None = len(table)
        _check_names(self.columns)

    def rows(self, used: Sequence[int]) -> Iterator[Cells]:
        return _in_chunks(self, used, self.length or 0)

    def cells(self, positions: Sequence[int], used: Sequence[int]) -> list[Cells]:
        return _row_cells([self._take(list(positions), number) for number in used], used, len(positions))

    def with_answers(self, answers: Answers, positions: Sequence[int] | None = None) -> Any:
        return self._add(answers, None if positions is None else list(positions))


class StreamRows:
    """An iterable without a length. Its rows are values, or mappings of cells by name."""

    length: int | None = None
    aliases: Mapping[str, int] = {}

    def __init__(self, items: Iterator[object]) -> None:
        first = next(items, _NOTHING)
        self._items = items if first is _NOTHING else itertools.chain([first], items)
        is_mapping = isinstance(first, Mapping)
        names = cast("Mapping[object, object]", first) if is_mapping else (VALUE,)
        self.keys = tuple(names) if is_mapping else None
        self.columns = tuple(str(name) for name in names)

    def head(self, count: int, used: Sequence[int]) -> list[Cells]:
        items = list(itertools.islice(self._items, count))
        self._items = itertools.chain(items, self._items)
        return [self._cells(item, used) for item in items]

    def rows(self, used: Sequence[int]) -> Iterator[Cells]:
        return (self._cells(item, used) for item in self._items)

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


def _in_chunks(source: Source, used: Sequence[int], length: int) -> Iterator[Cells]:
    """Yield all rows. Cells of strings may be copies, of which only a chunk exists at a time."""
    for start in range(0, length, _CHUNK_ROWS):
        yield from source.cells(range(start, min(start + _CHUNK_ROWS, length)), used)


def _row_cells(columns: Sequence[Sequence[object]], used: Sequence[int], length: int) -> list[Cells]:
    if not columns:
        return [{} for _ in range(length)]
    return [
        {number: None if is_missing(cell) else cell for number, cell in zip(used, cells, strict=True)}
        for cells in zip(*columns, strict=True)
    ]


def _label_text(label: object) -> str:
    if isinstance(label, tuple):
        return ".".join(str(part) for part in cast("tuple[object, ...]", label) if part != "")
    return str(label)


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise RequestError("the table has no columns")


def _series_rows(series: Any) -> Source:
    """Return the rows of a Series. The cell is `{{value}}`, and `{{name}}` if it has a name."""
    return _PandasRows(series.to_frame(VALUE if series.name is None else series.name), {VALUE: 0})


def _frame_of_lists(columns: Mapping[Any, Any]) -> Any:
    pd = pandas()

    try:
        return pd.DataFrame({name: list(values) for name, values in columns.items()})
    except (TypeError, ValueError) as error:
        raise RequestError(f"a dict must contain lists of the same length: {error}") from error


def _list_rows(items: list[object]) -> Source:
    pd = pandas()

    if items and all(isinstance(item, Mapping) for item in items):
        return _PandasRows(pd.DataFrame(items))
    return _series_rows(pd.Series(items, dtype=object))


def _other_table(over: object) -> Source | None:
    """Return the rows of a pyarrow or polars table, or of another one by an interchange protocol; None for others."""
    value: Any = over
    library = type(over).__module__.partition(".")[0]
    if library == "polars":
        return _polars_rows(value)
    if library == "pyarrow" and hasattr(value, "column_names"):
        return _arrow_rows(value)
    if library == "pyarrow" and hasattr(value, "to_pylist"):
        return _list_rows(value.to_pylist())
    if hasattr(value, "__arrow_c_stream__"):
        return _PandasRows(arrow().table(value).to_pandas())
    if hasattr(value, "__dataframe__"):
        return _PandasRows(arrow("pyarrow.interchange").from_dataframe(value).to_pandas())
    return None


def _polars_rows(value: Any) -> Source:
    if hasattr(value, "collect"):
        raise RequestError("a polars LazyFrame must be collected first: over=frame.collect()")
    if not hasattr(value, "get_columns"):
        return _list_rows(value.to_list())

    def add(answers: Answers, positions: list[int] | None) -> Any:
        rows = value if positions is None else value[positions]
        return rows.with_columns([polars().Series(name, _plain(values)) for name, values in answers.items()])

    return _ArrowRows(
        value, value.columns, lambda rows, number: value.get_columns()[number].gather(rows).to_list(), add
    )


def _arrow_rows(value: Any) -> Source:
    table = arrow().table(value)  # a RecordBatch becomes a Table

    def add(answers: Answers, positions: list[int] | None) -> Any:
        rows = table if positions is None else table.take(positions)
        rows = rows.drop_columns([name for name in rows.column_names if name in answers])
        for name, values in answers.items():
            rows = rows.append_column(name, arrow().array(_plain(values)))
        return rows

    def take(positions: list[int], number: int) -> list[object]:
        return table.column(number).take(arrow().array(positions, "int64")).to_pylist()

    return _ArrowRows(table, table.column_names, take, add)


def _plain(values: Any) -> list[object]:
    return [None if is_missing(value) else value for value in values.tolist()]
