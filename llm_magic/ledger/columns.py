"""The columns of the ledger: how each is stored, and how it appears in the DataFrame.

To add a column, add it to COLUMNS with `since` set to the next schema version, add a field to `Attempt`, and raise
`migrations.VERSION`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any, Literal

from llm_magic.types import Confirmation, CostBasis, Doubt, Effort, Outcome, TaskTier, Verdict

PICO_PER_USD = 10**12


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of value: its type in the database and in the DataFrame, and the conversions from and to `Attempt`."""

    sql: Literal["text", "integer", "bigint", "double", "boolean"]
    dtype: str
    encode: Callable[[Any], Any] | None = None
    decode: Callable[[Any], Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column.

    name: in the DataFrame, and of the attribute of `Attempt` unless `attribute` names another.
    stored_as: name in the database, if it differs.
    attribute: dotted path in `Attempt`; None: not part of an attempt.
    default: SQL literal that rows written by older versions get.
    since: the schema version that added the column.
    repeats: True if the column has few distinct values. The DataFrame is read faster this way.
    in_frame: False for columns that only the ledger itself uses.
    """

    name: str
    kind: Kind
    stored_as: str = ""
    attribute: str | None = ""
    nullable: bool = False
    default: str | None = None
    since: int = 1
    repeats: bool = False
    in_frame: bool = True

    @property
    def sql_name(self) -> str:
        return self.stored_as or self.name

    @property
    def path(self) -> str | None:
        return None if self.attribute is None else self.attribute or self.name


def to_pico(usd: Decimal) -> int:
    """Convert USD to whole pico-dollars, rounding up."""
    return int((usd * PICO_PER_USD).to_integral_value(rounding=ROUND_CEILING)) if usd else 0


def to_usd(pico: int) -> Decimal:
    """Convert pico-dollars to USD without trailing zeros; exact in any decimal context."""
    whole, part = divmod(abs(pico), PICO_PER_USD)
    return Decimal(f"{'-' * (pico < 0)}{whole}.{part:012}".rstrip("0").rstrip("."))


def to_microseconds(moment: datetime) -> int:
    """Convert a moment to microseconds since 1970, UTC."""
    return round(moment.timestamp() * 1_000_000)


def _to_moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1_000_000, tz=UTC)


def _sanitized(text: str | None) -> str | None:
    """Replace lone surrogates and NUL, which databases refuse: a provider's text must not keep a cost out."""
    return None if text is None else text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _to_outcome(value: str) -> Outcome:
    """Return the outcome; one that a newer version wrote counts as an error."""
    try:
        return Outcome(value)
    except ValueError:
        return Outcome.ERROR


def _to_reason(value: str | None) -> Doubt | None:
    """Return the reason; None for one that a newer version wrote."""
    return Doubt(value) if value in Doubt.__members__.values() else None


def _to_effort(value: str | None) -> Effort | None:
    """Return the effort; None for one that a newer version wrote."""
    return Effort(value) if value in list(Effort) else None


def _to_verdict(value: str | None) -> Verdict | None:
    """Return the verdict; None for one that a newer version wrote."""
    return Verdict(value) if value in Verdict.__members__.values() else None


def _to_confirmation(value: str | None) -> Confirmation | None:
    """Return the confirmation; None for one that a newer version wrote."""
    return Confirmation(value) if value in Confirmation.__members__.values() else None


def _from_bound(usd: Decimal | None) -> int:
    return -1 if usd is None else to_pico(usd)


def _to_bound(pico: int) -> Decimal | None:
    return None if pico < 0 else to_usd(pico)


def _to_basis(value: str) -> CostBasis:
    """Return the basis; one that a newer version wrote counts as an estimate."""
    return CostBasis(value) if value in CostBasis.__members__.values() else CostBasis.ESTIMATED


def _to_text(value: object) -> str | None:
    return None if value is None else str(value)


def _to_decimal(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def _to_tags(value: str) -> tuple[str, ...]:
    return tuple(tag for tag in value.split(",") if tag)


TEXT = Kind(sql="text", dtype="string")
PROVIDER_TEXT = Kind(sql="text", dtype="string", encode=_sanitized)
SMALL_NUMBER = Kind(sql="integer", dtype="Int64")
TOKENS = Kind(sql="bigint", dtype="Int64")
REAL = Kind(sql="double", dtype="float64")
FLAG = Kind(sql="boolean", dtype="bool")
MONEY = Kind(sql="bigint", dtype="float64", encode=to_pico, decode=to_usd)
COST_BOUND = Kind(sql="bigint", dtype="float64", encode=_from_bound, decode=_to_bound)
"""Money, or -1 for the cost itself."""
STATED_COST = Kind(sql="bigint", dtype="float64", encode=_from_bound, decode=_to_bound)
"""Money, or -1 if it is not stated."""
PRICE = Kind(sql="text", dtype="float64", encode=_to_text, decode=_to_decimal)
MOMENT = Kind(sql="bigint", dtype="datetime64[us, UTC]", encode=to_microseconds, decode=_to_moment)
TIER = Kind(sql="text", dtype="string", encode=str, decode=TaskTier)
OUTCOME = Kind(sql="text", dtype="string", encode=str, decode=_to_outcome)
REASON = Kind(sql="text", dtype="string", encode=_to_text, decode=_to_reason)
BASIS = Kind(sql="text", dtype="string", encode=str, decode=_to_basis)
EFFORT = Kind(sql="text", dtype="string", encode=_to_text, decode=_to_effort)
VERDICT = Kind(sql="text", dtype="string", encode=_to_text, decode=_to_verdict)
CONFIRMATION = Kind(sql="text", dtype="string", encode=_to_text, decode=_to_confirmation)
TAGS = Kind(sql="text", dtype="string", encode=",".join, decode=_to_tags)

COLUMNS = (
    Column(name="run_id", kind=TEXT),
    Column(name="attempt", kind=SMALL_NUMBER),
    Column(name="started_at", kind=MOMENT, stored_as="started_at_us"),
    Column(name="tier", kind=TIER, repeats=True),
    Column(name="confidence", kind=REAL),
    Column(name="provider", kind=TEXT, repeats=True),
    Column(name="model", kind=TEXT, repeats=True),
    Column(name="served_model", kind=PROVIDER_TEXT, nullable=True, repeats=True),
    Column(name="outcome", kind=OUTCOME, repeats=True),
    Column(name="error", kind=PROVIDER_TEXT, nullable=True, repeats=True),
    Column(name="fallback_from", kind=TEXT, nullable=True, repeats=True),
    Column(name="input_tokens", kind=TOKENS, attribute="usage.input_tokens"),
    Column(name="cached_input_tokens", kind=TOKENS, attribute="usage.cached_input_tokens"),
    Column(name="cache_write_tokens", kind=TOKENS, attribute="usage.cache_write_tokens"),
    Column(name="output_tokens", kind=TOKENS, attribute="usage.output_tokens"),
    Column(name="reasoning_tokens", kind=TOKENS, attribute="usage.reasoning_tokens"),
    Column(name="cost_usd", kind=MONEY, stored_as="cost_pusd"),
    Column(name="cost_estimated", kind=FLAG),
    Column(name="baseline_usd", kind=MONEY, stored_as="baseline_pusd"),
    Column(name="price_source", kind=TEXT, repeats=True),
    Column(name="ttft_s", kind=REAL, nullable=True),
    Column(name="latency_s", kind=REAL),
    Column(name="session_id", kind=TEXT, repeats=True),
    Column(name="tags", kind=TAGS, repeats=True),
    Column(name="input_price", kind=PRICE, nullable=True, repeats=True),
    Column(name="output_price", kind=PRICE, nullable=True, repeats=True),
    Column(name="held_usd", kind=MONEY, stored_as="held_pusd", attribute=None),
    Column(
        name="cache_write_1h_tokens", kind=TOKENS, attribute="usage.cache_write_1h_tokens", default="0", since=2
    ),
    Column(name="service_tier", kind=PROVIDER_TEXT, nullable=True, since=2, repeats=True),
    Column(name="parent_run_id", kind=TEXT, nullable=True, since=2, repeats=True),
    Column(name="rating", kind=SMALL_NUMBER, nullable=True, since=2, repeats=True),
    Column(name="difficulty", kind=REAL, default="0", since=4),
    Column(name="reason", kind=REASON, nullable=True, since=6, repeats=True),
    Column(name="cost_basis", kind=BASIS, default="'reported'", since=7, repeats=True),
    Column(name="cost_low_usd", kind=COST_BOUND, stored_as="cost_low_pusd", default="-1", since=7),
    Column(name="cost_high_usd", kind=COST_BOUND, stored_as="cost_high_pusd", default="-1", since=7),
    Column(name="effort", kind=EFFORT, nullable=True, since=9, repeats=True),
    Column(name="expected_usd", kind=MONEY, stored_as="expected_pusd", default="0", since=9),
    Column(name="provider_cost_usd", kind=STATED_COST, stored_as="provider_cost_pusd", default="-1", since=10),
    Column(name="cache_saved_usd", kind=MONEY, stored_as="cache_saved_pusd", default="0", since=11),
    Column(name="verdict", kind=VERDICT, nullable=True, since=12, repeats=True),
    Column(name="comparable", kind=FLAG, default="true", since=13, repeats=True),
    Column(name="confirmation", kind=CONFIRMATION, nullable=True, since=14, repeats=True),
    Column(name="lease_until", kind=REAL, attribute=None, nullable=True, in_frame=False),
    Column(name="owner", kind=TEXT, attribute=None, default="''", since=2, in_frame=False),
)  # fmt: skip
"""Every column in the order of `Ledger.to_frame()`."""

FRAME_COLUMNS = tuple(column for column in COLUMNS if column.in_frame)
FRAME_DTYPES = {column.name: column.kind.dtype for column in FRAME_COLUMNS}
"""The columns of `to_frame()` in their order, with their types. `held_usd` is zero once an attempt is settled."""
