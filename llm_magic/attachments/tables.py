"""Tables of pandas, polars and Arrow as CSV, with bounded cells."""

from __future__ import annotations

import importlib
import reprlib
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from llm_magic.errors import RequestError
from llm_magic.types import Attachment

MAX_COLUMNS = 60
MAX_CELL_CHARS = 200
_MAX_ITEMS = 12
_MAX_NAMED = 3


def is_table(value: Any) -> bool:
    is_pandas = all(hasattr(value, name) for name in ("to_csv", "head", "index"))
    return is_pandas or _is_polars(value) or _is_arrow(value)


def name_of(value: Any) -> str:
    """Return the name of a Series as text, or `table`. A DataFrame has none, even with a column called `name`."""
    pd: Any = importlib.import_module("pandas")

    name: Any = getattr(value, "name", None) if isinstance(value, pd.Series) or _is_polars(value) else None
    return str(name) if isinstance(name, str | int | float | tuple | pd.Timestamp) and str(name) else "table"


def attachment(name: str, value: Any, rows: int) -> Attachment:
    pd: Any = importlib.import_module("pandas")

    frame, count = value, None
    if _is_polars(value):
        frame, count = _from_polars(value, rows)
    elif _is_arrow(value):
        frame, count = value.slice(0, rows).to_pandas(), value.num_rows
    if isinstance(frame, pd.Series) or not hasattr(frame, "columns"):
        frame = frame.to_frame()
    height, width = frame.shape
    count = height if count is None else count
    shown = frame.iloc[:rows, :MAX_COLUMNS]
    cutter = _Cutter()
    header = [cutter.label(label) for label in shown.columns]
    columns = [cutter.column(header[i], shown.iloc[:, i]) for i in range(shown.shape[1])]
    cut: Any = pd.concat(columns, axis=1) if columns and len(shown) else shown.copy()
    cut.columns = pd.Index(header, name=shown.columns.name)
    plain_index = frame.index.name is None and frame.index.equals(pd.RangeIndex(len(frame)))
    if not plain_index:
        levels = [shown.index.get_level_values(level) for level in range(shown.index.nlevels)]
        labels = [[cutter.label(label) for label in level] for level in levels]
        names = list(shown.index.names)
        cut.index = pd.MultiIndex.from_arrays(labels, names=names) if names[1:] else pd.Index(labels[0], name=names[0])
    detail = f"{'' if count >= 0 else 'at least '}{abs(count):,} rows × {width:,} columns"
    if count > rows or count < 0:
        detail += f", the first {rows:,} rows"
    if width > MAX_COLUMNS:
        detail += f", the first {MAX_COLUMNS} columns"
    return Attachment(name=name, text=str(cut.to_csv(index=not plain_index)), detail=detail, changes=cutter.changes)


class _Cutter:
    def __init__(self) -> None:
        self._columns: dict[str, None] = {}
        self._labels = False

    @property
    def changes(self) -> str:
        """The cuts in words, for the user; empty if there were none."""
        names = list(self._columns)
        more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
        parts = [f"long cells cut in {', '.join(names[:_MAX_NAMED])}{more}"] if names else []
        return "; ".join([*parts, *(["long labels cut"] if self._labels else [])])

    def label(self, label: Any) -> Any:
        text = bounded(label)
        self._labels = self._labels or text is not label
        return text

    def column(self, name: Any, column: Any) -> Any:
        if not (column.dtype == object or str(column.dtype).startswith(("str", "category"))):
            return column
        try:
            cells = [bounded(cell) for cell in column]
        except Exception as error:
            raise RequestError(f"column {str(name)!r} has a cell without text: {error!r}") from error
        if any(cell is not original for cell, original in zip(cells, column, strict=True)):
            if any(is_shortened(cell) for cell in cells):
                self._columns[str(name)] = None
            return type(column)(cells, index=column.index, dtype=object)
        return column


def _short_repr() -> reprlib.Repr:
    short = reprlib.Repr()
    short.maxlevel = 3
    short.maxdict = short.maxlist = short.maxtuple = short.maxset = short.maxfrozenset = _MAX_ITEMS
    short.maxstring = short.maxlong = short.maxother = MAX_CELL_CHARS
    short.fillvalue = "…"
    return short


_repr = _short_repr()


def bounded(cell: Any) -> Any:
    """Return a cell, or at most MAX_CELL_CHARS of its text and a mark if it is longer or a container.

    Returns the same object if it is short text or a plain scalar. Only the beginning of a container is read.
    """
    if isinstance(cell, str):
        return cell if len(cell) <= MAX_CELL_CHARS else f"{cell[:MAX_CELL_CHARS]}…"
    if isinstance(cell, int) and not isinstance(cell, bool):
        return cell if cell.bit_length() < 600 else f"{Decimal(cell):.12E}…"
    if isinstance(cell, bytes | bytearray):
        text, size = repr(bytes(cell[:MAX_CELL_CHARS])), len(cell)
        return text if len(text) <= MAX_CELL_CHARS else f"{text[: MAX_CELL_CHARS // 2]}… ({size:,} bytes)"
    values: Any = cell
    if (items := _items(values)) is not None:
        text, count = _repr.repr(items), len(values)
        size = f" ({count:,} items)" if count > _MAX_ITEMS else ""
        return text if len(text) <= MAX_CELL_CHARS and not size else f"{text[:MAX_CELL_CHARS].rstrip('…')}…{size}"
    if isinstance(cell, float | complex | None) or type(cell).__module__.partition(".")[0] in _SCALAR_MODULES:
        return cell
    text = _repr.repr(cell) if type(cell).__str__ is object.__str__ else str(cell)
    return cell if len(text) <= MAX_CELL_CHARS else f"{text[:MAX_CELL_CHARS]}…"


_SCALAR_MODULES = ("pandas", "numpy", "datetime", "decimal", "fractions", "uuid")


def is_shortened(cell: Any) -> bool:
    return isinstance(cell, str) and ("…" in cell)


def _items(cell: Any) -> Any:
    """Return the first items of a container as a built-in one; None for what is not a container."""
    values: Any = cell
    if isinstance(cell, list | tuple | dict | set | frozenset):
        return values
    if getattr(values, "shape", None):  # an array, a Series, a tensor
        start: Any = values.iloc[:_MAX_ITEMS] if hasattr(values, "iloc") else values[:_MAX_ITEMS]
        return list(start) if not hasattr(start, "tolist") else start.tolist()
    return None


def _is_polars(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "polars" and any(
        hasattr(value, method) for method in ("write_csv", "collect", "to_list")
    )


def _is_arrow(value: Any) -> bool:
    return type(value).__module__.startswith("pyarrow.") and hasattr(value, "to_pandas") and hasattr(value, "num_rows")


def _from_polars(value: Any, rows: int) -> tuple[Any, int]:
    """Return the first rows as a pandas DataFrame, and the number of all rows; negative if there may be more."""
    pd: Any = importlib.import_module("pandas")

    if hasattr(value, "collect"):  # a LazyFrame: only what is shown is computed
        frame = value.head(rows + 1).collect()
        count = len(frame) if len(frame) <= rows else -rows
    else:
        frame, count = (value if hasattr(value, "columns") else value.to_frame()), len(value)
    columns: Iterable[Any] = frame.head(rows).get_columns()
    return pd.DataFrame({column.name: column.to_list() for column in columns}), count
