"""An attempt as a row of the ledger, as it comes back, and as columns of a DataFrame."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any

from llm_magic.types import Attempt, TaskTier, Usage

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs] - it ships none

PICO = Decimal(10) ** -12
Row = Mapping[Any, Any]
"""A row by its columns' names, as SQLAlchemy gives it."""

FRAME_DTYPES = {
    "run_id": "string", "attempt": "Int64", "started_at": "datetime64[us, UTC]", "tier": "string",
    "confidence": "float64", "provider": "string", "model": "string", "served_model": "string", "outcome": "string",
    "error": "string", "fallback_from": "string",
    "input_tokens": "Int64", "cached_input_tokens": "Int64", "cache_write_tokens": "Int64", "output_tokens": "Int64",
    "reasoning_tokens": "Int64", "cost_usd": "float64", "cost_estimated": "bool", "baseline_usd": "float64",
    "price_source": "string", "ttft_s": "float64", "latency_s": "float64", "session_id": "string", "tags": "string",
    "input_price": "float64", "output_price": "float64", "held_usd": "float64",
}  # fmt: skip
"""The columns of `to_frame()` in their order. `held_usd` is zero once an attempt is settled."""

_PLAIN = (
    "run_id", "attempt", "confidence", "provider", "model", "served_model", "outcome", "error", "fallback_from",
    "cost_estimated", "price_source", "ttft_s", "latency_s", "session_id",
)  # fmt: skip
_USAGE = tuple(part.name for part in dataclasses.fields(Usage))


def to_pico(amount: Decimal) -> int:
    """USD in whole pico-dollars, never rounded down."""
    return int((amount / PICO).to_integral_value(rounding=ROUND_CEILING))


def to_row(attempt: Attempt) -> dict[str, Any]:
    """The columns of an attempt, but for its hold."""
    row = {name: getattr(attempt, name) for name in _PLAIN}
    row |= {name: getattr(attempt.usage, name) for name in _USAGE}
    return row | {
        "tier": str(attempt.tier),
        "started_at_us": microseconds(attempt.started_at),
        "cost_pusd": to_pico(attempt.cost_usd),
        "baseline_pusd": to_pico(attempt.baseline_usd),
        "input_price": None if attempt.input_price is None else str(attempt.input_price),
        "output_price": None if attempt.output_price is None else str(attempt.output_price),
        "tags": ",".join(attempt.tags),
    }


def microseconds(moment: datetime) -> int:
    """Since 1970, UTC."""
    return round(moment.timestamp() * 1_000_000)


def from_row(row: Row) -> Attempt:
    plain: dict[str, Any] = {name: row[name] for name in _PLAIN}
    return Attempt(
        **plain,
        tier=TaskTier(row["tier"]),
        started_at=datetime.fromtimestamp(row["started_at_us"] / 1_000_000, tz=UTC),
        usage=Usage(**{name: row[name] for name in _USAGE}),
        cost_usd=row["cost_pusd"] * PICO,
        baseline_usd=row["baseline_pusd"] * PICO,
        input_price=None if row["input_price"] is None else Decimal(row["input_price"]),
        output_price=None if row["output_price"] is None else Decimal(row["output_price"]),
        tags=tuple(tag for tag in row["tags"].split(",") if tag),
    )


def to_frame(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """Rows of the table, column by column, as a DataFrame with the types of FRAME_DTYPES."""
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    frame: Any = pd
    values = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    columns: dict[str, Any] = dict(zip(names, values, strict=True))
    columns["started_at"] = frame.to_datetime(
        frame.Series(columns["started_at_us"], dtype="int64"), unit="us", utc=True
    )
    for name in ("cost", "baseline", "held"):
        columns[f"{name}_usd"] = frame.Series(columns[f"{name}_pusd"], dtype="int64") / 1e12
    for name in ("input_price", "output_price"):
        columns[name] = frame.to_numeric(frame.Series(columns[name], dtype="object"))
    return frame.DataFrame(
        {name: frame.Series(columns[name], dtype=kind if kind != "datetime64[us, UTC]" else None).astype(kind)
         for name, kind in FRAME_DTYPES.items()}
    )  # fmt: skip
