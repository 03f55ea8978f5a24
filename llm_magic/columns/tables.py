"""Tables of pandas, polars and Arrow as rows, and the same tables with their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from llm_magic.columns.arrow_types import inferred
from llm_magic.columns.libraries import arrow, pandas, polars
from llm_magic.columns.source import Answers, Cells, check_names, in_chunks, is_missing, row_cells


class PandasRows:
    is_in_memory = True

    def __init__(self, frame: Any, aliases: Mapping[str, int] | None = None) -> None:
        self._frame = frame
        self.columns = tuple(_label_text(label) for label in frame.columns)
        self.aliases = aliases or {}
        self.length: int | None = len(frame)
        check_names(self.columns)

    def rows(self, used: Sequence[int]) -> Iterator[Cells]:
        return in_chunks(self, used, len(self._frame))

    def cells(self, positions: Sequence[int], used: Sequence[int]) -> list[Cells]:
        rows = self._frame.iloc[list(positions)]
        return row_cells([rows.iloc[:, number].tolist() for number in used], used, len(positions))

    def with_answers(self, answers: Answers, positions: Sequence[int] | None = None) -> Any:
        pd = pandas()

        frame = self._frame if positions is None else self._frame.iloc[list(positions)]
        levels = frame.columns.nlevels
        named = {name if levels == 1 else (name, *[""] * (levels - 1)): values for name, values in answers.items()}
        columns = pd.DataFrame(
            {name: values.set_axis(frame.index) for name, values in named.items()}, index=frame.index, copy=False
        )
        if levels > 1:
            columns.columns = pd.MultiIndex.from_tuples(list(named), names=frame.columns.names)
        kept = frame.drop(columns=[label for label in frame.columns if label in named])
        return pd.concat([kept, columns], axis=1)


class ArrowRows:
    """A pyarrow Table, or a polars DataFrame: both have columns that become lists."""

    is_in_memory = True

    def __init__(
        self,
        table: Any,
        names: Sequence[str],
        aliases: Mapping[str, int],
        take: Callable[[list[int], int], list[object]],
        add: Callable[[Answers, list[int] | None], Any],
    ) -> None:
        self._take, self._add = take, add
        self.columns = tuple(names)
        self.aliases = aliases
        self.length: int | None = len(table)
        check_names(self.columns)

    def rows(self, used: Sequence[int]) -> Iterator[Cells]:
        return in_chunks(self, used, self.length or 0)

    def cells(self, positions: Sequence[int], used: Sequence[int]) -> list[Cells]:
        return row_cells([self._take(list(positions), number) for number in used], used, len(positions))

    def with_answers(self, answers: Answers, positions: Sequence[int] | None = None) -> Any:
        return self._add(answers, None if positions is None else list(positions))


def polars_rows(value: Any, aliases: Mapping[str, int]) -> ArrowRows:
    pl = polars()
    types = {
        "string": pl.String,
        "Int64": pl.Int64,
        "Float64": pl.Float64,
        "float64": pl.Float64,
        "boolean": pl.Boolean,
    }

    def series(name: str, values: Any) -> Any:
        cells, dtype = _plain(values), types.get(str(values.dtype))
        if dtype is not None:
            return pl.Series(name, cells, dtype=dtype)
        try:
            return pl.Series(name, cells)
        except Exception:  # noqa: BLE001 - cells of several types: the errors of polars and of its core
            return pl.Series(name, cells, dtype=pl.Object)

    def add(answers: Answers, positions: list[int] | None) -> Any:
        rows = value if positions is None else value[positions]
        return rows.with_columns([series(name, values) for name, values in answers.items()])

    def take(positions: list[int], number: int) -> list[object]:
        return value.get_columns()[number].gather(positions).to_list()

    return ArrowRows(value, value.columns, aliases, take, add)


def arrow_rows(table: Any, aliases: Mapping[str, int]) -> ArrowRows:
    pa = arrow()
    types = {
        "string": pa.string(), "Int64": pa.int64(), "Float64": pa.float64(), "float64": pa.float64(),
        "boolean": pa.bool_(),
    }  # fmt: skip

    def column(name: str, values: Any) -> tuple[Any, Any]:
        cells, dtype = _plain(values), types.get(str(values.dtype))
        return inferred(name, cells) if dtype is None else (pa.field(name, dtype), pa.array(cells, dtype))

    def add(answers: Answers, positions: list[int] | None) -> Any:
        rows = table if positions is None else table.take(pa.array(positions, "int64"))
        rows = rows.drop_columns([name for name in rows.column_names if name in answers])
        for name, values in answers.items():
            rows = rows.append_column(*column(name, values))
        return rows

    def take(positions: list[int], number: int) -> list[object]:
        return table.column(number).take(pa.array(positions, "int64")).to_pylist()

    return ArrowRows(table, table.column_names, aliases, take, add)


def _plain(values: Any) -> list[Any]:
    """Return cells without the missing values of pandas. Models and data classes become dicts."""
    from pydantic_core import to_jsonable_python

    cells = [None if is_missing(value) else value for value in values.tolist()]
    return cast("list[Any]", to_jsonable_python(cells)) if values.dtype == object else cells


def _label_text(label: object) -> str:
    if isinstance(label, tuple):
        return ".".join(str(part) for part in cast("tuple[object, ...]", label) if part != "")
    return str(label)
