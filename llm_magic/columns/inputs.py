"""Recognition of what a column is asked over: a table, a Series, a list, or an iterable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, cast

from llm_magic.bridge import bridge
from llm_magic.columns.filerows import FileRows
from llm_magic.columns.libraries import arrow, pandas
from llm_magic.columns.parquetrows import ParquetRows
from llm_magic.columns.source import VALUE, Source, StreamRows
from llm_magic.columns.tables import PandasRows, arrow_rows, polars_rows
from llm_magic.errors import RequestError


def source_of(over: object) -> Source:
    """Return the rows of a table, Series, list, dict of lists, or iterable. Raises RequestError for anything else."""
    pd = pandas()

    if isinstance(over, FileRows | ParquetRows):
        return over
    if isinstance(over, pd.DataFrame):
        return PandasRows(over)
    if isinstance(over, pd.Series | pd.Index):
        return _series_rows(pd.Series(over))
    if isinstance(over, type | str | bytes | bytearray):
        raise _unusable(over)
    if hasattr(over, "agg") and not hasattr(over, "columns"):
        raise RequestError("a column needs the rows of groups, not the groups: aggregate them to a table first")
    if (table := _other_table(over)) is not None:
        return table
    if isinstance(over, Mapping):
        return PandasRows(_frame_of_lists(cast("Mapping[Any, Any]", over)))
    if isinstance(over, AsyncIterable):
        return StreamRows(_in_step(aiter(cast("AsyncIterable[object]", over))))
    if not hasattr(over, "__iter__"):
        raise _unusable(over)
    dimensions = getattr(over, "ndim", 1)
    if dimensions == 0:
        raise _unusable(over)
    if dimensions == 2 or getattr(getattr(over, "dtype", None), "names", None):
        return PandasRows(pd.DataFrame(over))
    if hasattr(over, "__len__"):
        return _list_rows(list(cast("Iterable[object]", over)))
    return StreamRows(iter(cast("Iterable[object]", over)))


def _unusable(over: object) -> RequestError:
    kind = f"the type {over.__name__}" if isinstance(over, type) else type(over).__name__
    return RequestError(f"a column needs a DataFrame, a Series, a list, a dict of lists or an iterable, not {kind}")


def _series_rows(series: Any) -> Source:
    return PandasRows(series.to_frame(VALUE if series.name is None else series.name), {VALUE: 0})


def _frame_of_lists(columns: Mapping[Any, Any]) -> Any:
    pd = pandas()

    for name, values in columns.items():
        is_list = hasattr(values, "__iter__") and not isinstance(values, str | bytes | Mapping)
        if not is_list:
            kind = type(cast("object", values)).__name__
            raise RequestError(f"a dict must contain lists of the same length: {name!r} has a value of type {kind}")
    try:
        return pd.DataFrame({name: list(values) for name, values in columns.items()})
    except (TypeError, ValueError) as error:
        raise RequestError(f"a dict must contain lists of the same length: {error}") from error


def _list_rows(items: list[object]) -> Source:
    pd = pandas()

    if items and all(isinstance(item, Mapping) for item in items):
        return PandasRows(pd.DataFrame(items))
    return _series_rows(pd.Series(items, dtype=object))


def _in_step(items: AsyncIterator[object]) -> Iterator[object]:
    """Read an asynchronous iterator on the private loop, one item at a time, from another thread."""
    nothing = object()
    while (item := asyncio.run_coroutine_threadsafe(_next(items, nothing), bridge.loop()).result()) is not nothing:
        yield item


async def _next(items: AsyncIterator[object], default: object) -> object:
    return await anext(items, default)


def _other_table(over: object) -> Source | None:
    """Return the rows of a pyarrow or polars table, or of another one by an interchange protocol; None for others."""
    value: Any = over
    library = type(over).__module__.partition(".")[0]
    if library == "polars":
        return _polars_source(value)
    if library == "pyarrow":
        return _arrow_source(value)
    if hasattr(value, "__arrow_c_stream__"):
        return PandasRows(arrow().table(value).to_pandas())
    if hasattr(value, "__dataframe__"):
        return PandasRows(arrow("pyarrow.interchange").from_dataframe(value).to_pandas())
    return None


def _polars_source(value: Any) -> Source:
    if hasattr(value, "collect"):
        raise RequestError("a polars LazyFrame must be collected first: over=frame.collect()")
    if hasattr(value, "get_columns"):
        return polars_rows(value, {})
    return polars_rows(value.to_frame(value.name or VALUE), {VALUE: 0})


def _arrow_source(value: Any) -> Source | None:
    pa = arrow()
    if hasattr(value, "column_names"):
        return arrow_rows(pa.table(value), {})  # a RecordBatch becomes a Table
    if hasattr(value, "read_all"):
        return arrow_rows(value.read_all(), {})
    return _list_rows(value.to_pylist()) if hasattr(value, "to_pylist") else None
