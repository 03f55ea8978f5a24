"""An attempt as a row of the ledger, and as it comes back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any

from llm_magic.types import Attempt, Doubt, Outcome, TaskTier, Usage

PICO_PER_USD = 10**12
Row = Mapping[Any, Any]
"""A row by its columns' names, as SQLAlchemy gives it."""

_USAGE = tuple(part.name for part in dataclasses.fields(Usage))
_PLAIN = (
    "run_id", "attempt", "confidence", "provider", "model", "served_model", "error", "fallback_from",
    "cost_estimated", "price_source", "ttft_s", "latency_s", "session_id", "service_tier", "parent_run_id", "rating",
    "difficulty",
)  # fmt: skip

_OTHERS_WORDS = ("served_model", "error", "service_tier")
"""Columns with a provider's own words."""

DESCRIPTIONS = (
    "tier", "provider", "model", "served_model", "outcome", "error", "fallback_from", "price_source", "session_id",
    "tags", "input_price", "output_price", "service_tier", "parent_run_id", "rating", "reason",
)  # fmt: skip
"""Columns of which a ledger has few different combinations."""
NUMBERS = (
    "attempt", "started_at_us", "confidence", *_USAGE, "cost_pusd", "cost_estimated", "baseline_pusd", "ttft_s",
    "latency_s", "held_pusd", "difficulty",
)  # fmt: skip


def _storable(words: str | None) -> str | None:
    """Without halves of characters and NUL, which no database takes: one such word must not keep a bill out."""
    return None if words is None else words.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def to_pico(amount: Decimal) -> int:
    """USD in whole pico-dollars, never rounded down."""
    return int((amount * PICO_PER_USD).to_integral_value(rounding=ROUND_CEILING))


def to_usd(pico: int) -> Decimal:
    """Pico-dollars in USD, without noughts behind; exact, whatever the caller's own decimal context rounds to."""
    whole, part = divmod(abs(pico), PICO_PER_USD)
    return Decimal(f"{'-' * (pico < 0)}{whole}.{part:012}".rstrip("0").rstrip("."))


def to_row(attempt: Attempt) -> dict[str, Any]:
    """The columns of an attempt, but for its hold."""
    row = {name: getattr(attempt, name) for name in _PLAIN}
    row |= {name: _storable(row[name]) for name in _OTHERS_WORDS}
    row |= {name: getattr(attempt.usage, name) for name in _USAGE}
    return row | {
        "tier": str(attempt.tier),
        "outcome": str(attempt.outcome),
        "reason": None if attempt.reason is None else str(attempt.reason),
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


def _outcome(value: str) -> Outcome:
    """The outcome in a row; a value that a newer version wrote counts as an error."""
    try:
        return Outcome(value)
    except ValueError:
        return Outcome.ERROR


def _reason(value: str | None) -> Doubt | None:
    """The reason in a row; None for a value that a newer version wrote."""
    return Doubt(value) if value in Doubt.__members__.values() else None


def from_row(row: Row) -> Attempt:
    plain: dict[str, Any] = {name: row[name] for name in _PLAIN}
    return Attempt(
        **plain,
        tier=TaskTier(row["tier"]),
        outcome=_outcome(row["outcome"]),
        reason=_reason(row["reason"]),
        started_at=datetime.fromtimestamp(row["started_at_us"] / 1_000_000, tz=UTC),
        usage=Usage(**{name: row[name] for name in _USAGE}),
        cost_usd=to_usd(row["cost_pusd"]),
        baseline_usd=to_usd(row["baseline_pusd"]),
        input_price=None if row["input_price"] is None else Decimal(row["input_price"]),
        output_price=None if row["output_price"] is None else Decimal(row["output_price"]),
        tags=tuple(tag for tag in row["tags"].split(",") if tag),
    )
