"""Conversion of the ledger's rows to a DataFrame, and export of it to files."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_magic.errors import LedgerError
from llm_magic.ledger.columns import (
    COST_BOUND,
    FRAME_COLUMNS,
    FRAME_DTYPES,
    MOMENT,
    MONEY,
    PICO_PER_USD,
    STATED_COST,
    Column,
)

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs] - it ships none

_FROM_OUTSIDE = ("error", "served_model")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

REPEATING = tuple(column for column in FRAME_COLUMNS if column.repeats)
"""Columns of which a ledger has few different combinations."""
VARYING = tuple(column for column in FRAME_COLUMNS if not column.repeats and column.name != "run_id")
"""Columns of numbers that differ from row to row."""


def to_frame(chunks: Iterable[Sequence[tuple[Any, ...]]]) -> pd.DataFrame:
    """Build the DataFrame from rows as `queries.columnar` selects them, with the columns of FRAME_DTYPES.

    Each chunk becomes arrays at once, so that its Python objects are freed while they are few.
    """
    import numpy as np
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    frames: Any = pd
    run_ids: list[Any] = []
    combinations: list[Any] = []
    numbers: list[list[Any]] = [[] for _ in VARYING]
    codes: defaultdict[str, int] = defaultdict()
    codes.default_factory = codes.__len__
    for chunk in chunks:
        ids, texts, *values = zip(*chunk, strict=True)
        run_ids.append(np.array(ids, dtype=object))
        combinations.append(np.fromiter(map(codes.__getitem__, texts), np.int64, len(chunk)))
        for parts, column, cells in zip(numbers, VARYING, values, strict=True):
            parts.append(np.array(cells, dtype=_number_type(column)))

    def joined(parts: list[Any], dtype: Any) -> Any:
        return np.concatenate(parts) if parts else np.array([], dtype=dtype)

    arrays: dict[str, Any] = {"run_id": joined(run_ids, object)}
    combination = joined(combinations, np.int64)
    repeating = list(zip(*(json.loads(text) for text in codes), strict=True)) or [()] * len(REPEATING)
    for column, cells in zip(REPEATING, repeating, strict=True):
        arrays[column.name] = _repeated(column, cells)[combination]
    for column, parts in zip(VARYING, numbers, strict=True):
        arrays[column.name] = _converted(column, joined(parts, _number_type(column)))
    for column in VARYING:
        if column.kind is COST_BOUND:
            bounds = arrays[column.name]
            arrays[column.name] = np.where(bounds < 0, arrays["cost_usd"], bounds)
        if column.kind is STATED_COST:
            arrays[column.name] = np.where(arrays[column.name] < 0, np.nan, arrays[column.name])
    return frames.DataFrame({name: _typed(arrays[name], dtype) for name, dtype in FRAME_DTYPES.items()}, copy=False)


def _number_type(column: Column) -> str:
    return "float64" if column.kind.sql == "double" else "int64"


def _repeated(column: Column, cells: Sequence[Any]) -> Any:
    """Return the cells of a repeating column, one for each combination."""
    import numpy as np
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    frames: Any = pd
    if column.kind.dtype == "float64":
        return np.array([np.nan if cell is None else float(cell) for cell in cells])
    return frames.array([frames.NA if cell is None else cell for cell in cells], dtype=column.kind.dtype)


def _converted(column: Column, stored: Any) -> Any:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    frames: Any = pd
    if column.kind is MOMENT:
        return frames.to_datetime(stored, unit="us", utc=True)
    return stored / PICO_PER_USD if column.kind in (MONEY, COST_BOUND, STATED_COST) else stored


def select(table: Any, tags: Sequence[str], session_id: str | None) -> pd.DataFrame:
    """Return the rows of the session that have all of the tags."""
    if session_id is not None:
        table = table.loc[table["session_id"] == session_id]
    for tag in tags:
        tag_lists = "," + table["tags"] + ","
        table = table.loc[tag_lists.str.contains(f",{tag},", regex=False)]
    return table


def write_csv(table: Any, path: str | Path) -> None:
    """Write a CSV file. Raises LedgerError.

    Texts from providers that a spreadsheet would take for a formula get an apostrophe in front.
    """
    table = table.copy()
    for name in _FROM_OUTSIDE:
        texts = table[name]
        table[name] = texts.mask(texts.str.startswith(_FORMULA_STARTS).fillna(False), "'" + texts)
    try:
        table.to_csv(path, index=False)
    except OSError as error:
        raise LedgerError(f"{path} can't be written: {error.strerror or error}") from error


def write_parquet(table: Any, path: str | Path) -> None:
    """Write a Parquet file. Raises LedgerError, also if pyarrow is not installed."""
    try:
        table.to_parquet(path, index=False)
    except ImportError as error:
        raise LedgerError("a Parquet file needs pyarrow: pip install llm-magic[parquet]") from error
    except OSError as error:
        raise LedgerError(f"{path} can't be written: {error.strerror or error}") from error


def _typed(values: Any, dtype: str) -> Any:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    frames: Any = pd
    if dtype == MOMENT.dtype:
        return frames.Series(values).astype(dtype)
    return values if str(values.dtype) == dtype else frames.array(values, dtype=dtype)
