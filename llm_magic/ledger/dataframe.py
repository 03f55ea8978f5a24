"""The ledger as columns of a DataFrame: a million rows in about the time that the database takes to hand them out."""

from __future__ import annotations

import gc
import json
from collections import defaultdict
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_magic.errors import LedgerError
from llm_magic.ledger.rows import DESCRIPTIONS, NUMBERS

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs] - it ships none

FRAME_DTYPES = {
    "run_id": "string", "attempt": "Int64", "started_at": "datetime64[us, UTC]", "tier": "string",
    "confidence": "float64", "provider": "string", "model": "string", "served_model": "string", "outcome": "string",
    "error": "string", "fallback_from": "string",
    "input_tokens": "Int64", "cached_input_tokens": "Int64", "cache_write_tokens": "Int64", "output_tokens": "Int64",
    "reasoning_tokens": "Int64", "cost_usd": "float64", "cost_estimated": "bool", "baseline_usd": "float64",
    "price_source": "string", "ttft_s": "float64", "latency_s": "float64", "session_id": "string", "tags": "string",
    "input_price": "float64", "output_price": "float64", "held_usd": "float64", "cache_write_1h_tokens": "Int64",
    "service_tier": "string", "parent_run_id": "string", "rating": "Int64", "difficulty": "float64",
    "reason": "string",
}  # fmt: skip
"""The columns of `to_frame()` in their order. `held_usd` is zero once an attempt is settled."""
_FROM_OUTSIDE = ("error", "served_model")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_FLOATS = ("confidence", "ttft_s", "latency_s", "difficulty")


def to_frame(chunks: Iterable[Sequence[tuple[Any, ...]]]) -> pd.DataFrame:
    """Rows as `queries.columnar` selects them, chunk by chunk, with the columns and types of FRAME_DTYPES.

    Each chunk becomes arrays at once, so that its Python objects are freed while they are few.
    """
    import numpy as np
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    frames: Any = pd
    runs: list[Any] = []
    described: list[Any] = []
    numbers: list[list[Any]] = [[] for _ in NUMBERS]
    codes: defaultdict[str, int] = defaultdict()
    codes.default_factory = codes.__len__
    for chunk in chunks:
        run_ids, texts, *counts = zip(*chunk, strict=True)
        runs.append(np.array(run_ids, dtype=object))
        described.append(np.fromiter(map(codes.__getitem__, texts), np.int64, len(chunk)))
        for column, name, values in zip(numbers, NUMBERS, counts, strict=True):
            column.append(np.array(values, dtype=np.float64 if name in _FLOATS else np.int64))

    def joined(parts: list[Any], kind: Any) -> Any:
        return np.concatenate(parts) if parts else np.array([], dtype=kind)

    columns: dict[str, Any] = {"run_id": joined(runs, object)}
    which = joined(described, np.int64)
    few = list(zip(*(json.loads(text) for text in codes), strict=True)) or [()] * len(DESCRIPTIONS)
    for name, values in zip(DESCRIPTIONS, few, strict=True):
        kind = FRAME_DTYPES[name]
        if kind == "float64":
            columns[name] = np.array([np.nan if each is None else float(each) for each in values])[which]
        else:
            columns[name] = frames.array([frames.NA if each is None else each for each in values], dtype=kind)[which]
    for name, parts in zip(NUMBERS, numbers, strict=True):
        columns[name] = joined(parts, np.float64 if name in _FLOATS else np.int64)
    columns["started_at"] = frames.to_datetime(columns["started_at_us"], unit="us", utc=True)
    for name in ("cost", "baseline", "held"):
        columns[f"{name}_usd"] = columns[f"{name}_pusd"] / 1e12
    return frames.DataFrame({name: _typed(columns[name], kind) for name, kind in FRAME_DTYPES.items()}, copy=False)


def chosen(table: pd.DataFrame, tags: Sequence[str], session_id: str | None) -> pd.DataFrame:
    """The rows that have all of the tags, and are of the session."""
    if session_id is not None:
        table = table.loc[table["session_id"] == session_id]
    for tag in tags:
        listed: Any = "," + table["tags"] + ","
        table = table.loc[listed.str.contains(f",{tag},", regex=False)]
    return table


def write_csv(table: pd.DataFrame, path: str | Path) -> None:
    """Texts that come from outside get an apostrophe where a spreadsheet would run them. Raises LedgerError."""
    table = table.copy()
    for name in _FROM_OUTSIDE:
        texts: Any = table[name]
        table[name] = texts.mask(texts.str.startswith(_FORMULA_STARTS).fillna(False), "'" + texts)
    try:
        table.to_csv(path, index=False)
    except OSError as error:
        raise LedgerError(f"{path} can't be written: {error.strerror or error}") from error


def write_parquet(table: pd.DataFrame, path: str | Path) -> None:
    """Raises LedgerError, also where the library for it is missing."""
    try:
        table.to_parquet(path, index=False)
    except ImportError as error:
        raise LedgerError("a Parquet file needs pyarrow: pip install llm-magic[parquet]") from error
    except OSError as error:
        raise LedgerError(f"{path} can't be written: {error.strerror or error}") from error


def _typed(values: Any, kind: str) -> Any:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    frames: Any = pd
    if kind == "datetime64[us, UTC]":
        return frames.Series(values).astype(kind)
    return values if str(values.dtype) == kind else frames.array(values, dtype=kind)


@contextmanager
def no_collection() -> Generator[None]:
    """Without looks for garbage meanwhile: among millions of new tuples there is none, and looking takes seconds."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
