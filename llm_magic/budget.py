"""Spend caps. The amounts that are spent and held are computed from the ledger."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Literal

from llm_magic.errors import BudgetError
from llm_magic.types import SHADOW_TAG, Extra

WARNING_SHARES = (Decimal("0.5"), Decimal("0.8"), Decimal("0.95"))
"""Shares of a cap at which the user is notified, once each."""

Amount = Decimal | int | float | str
AMOUNT = "a USD amount of zero or more, such as 5 or 0.50"


def usd(value: Amount) -> Decimal:
    """Parse an amount of USD, which must be finite and not negative. Accepts `"$0.50"`. Raises BudgetError."""
    problem = f"{value!r} is not a USD amount: write a number of zero or more, such as 5 or 0.50"
    if isinstance(value, bool):
        raise BudgetError(problem)
    try:
        amount = Decimal(str(value).strip().removeprefix("$"))
    except InvalidOperation:
        raise BudgetError(problem) from None
    if not amount.is_finite() or amount < 0:
        raise BudgetError(problem)
    return amount


def show_usd(amount: Decimal) -> str:
    """Format as `$5.00`, `$0.0123`, `$0.0000012`: to 1/100 cent, or to two digits below $0.001."""
    if amount < 0:
        return f"-{show_usd(-amount)}"
    if amount == 0:
        return "$0"
    if amount < Decimal("0.001"):
        return f"${amount:.{1 - amount.adjusted()}f}"
    cents, dot, rest = f"{amount:,.4f}".partition(".")
    return f"${cents}{dot}{rest.rstrip('0'):0<2}"


def short_usd(amount: Decimal) -> str:
    """Format as `$5.00`, `$0.137`, `$0.0028`, `<$0.001`, or `>-$0.001`, for reading at a glance."""
    if amount < 0:
        return f"-{short_usd(-amount)}" if amount <= Decimal("-0.001") else ">-$0.001"
    if amount == 0:
        return "$0"
    if amount < Decimal("0.001"):
        return "<$0.001"
    digits = 4 if amount < Decimal("0.01") else 3 if amount < 1 else 2
    return f"${amount:,.{digits}f}"


def show_moment(moment: datetime) -> str:
    """Format as `2026-11-25 00:00 UTC (local time: 2026-11-25 01:00)`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC (local time: {moment.astimezone():%Y-%m-%d %H:%M})"


def extra_line(extra: Extra) -> str:
    """Format as `history: 420 tokens, $0.0004 (3 exchanges)`."""
    detail = f" ({extra.detail})" if extra.detail else ""
    return f"{extra.name}: {extra.tokens:,} tokens, {show_usd(extra.usd)}{detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """A limit on spent + held within a scope.

    `run` and `session` are the current ones; `model` and `tag` name a part of the session, `column` the tag of a
    column's runs, and `shadow` that of shadow runs; `day` and `month` (UTC) count the whole ledger, whichever session
    spent it.
    """

    scope: Literal["run", "column", "shadow", "session", "model", "tag", "day", "month"]
    limit_usd: Decimal
    key: str = ""

    def __str__(self) -> str:
        names = {
            "run": "the cap of this run",
            "column": "the cap of this column",
            "shadow": "the cap of shadow runs",
            "session": "the session's cap",
            "model": f"the cap on {self.key}",
            "tag": f"the cap on the tag {self.key}",
            "day": "today's cap (UTC)",
            "month": "this month's cap (UTC)",
        }
        return f"{names[self.scope]} of {show_usd(self.limit_usd)}"

    def period(self, now: datetime) -> tuple[datetime, datetime] | None:
        """Return the start and the end of the day or the month (UTC) that the cap counts; None for other scopes."""
        start = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if self.scope == "day":
            return start, start + timedelta(days=1)
        if self.scope == "month":
            start = start.replace(day=1)
            return start, (start + timedelta(days=32)).replace(day=1)
        return None

    def when_free(self, now: datetime) -> str:
        """Return a clause about the end of the cap's period, such as `; it is free again at ...`; or an empty text."""
        period = self.period(now)
        return "" if period is None else f"; it is free again at {show_moment(period[1])}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Caps in USD; None means no cap. A cap of 0 allows free models only."""

    session_usd: Decimal | None = None
    run_usd: Decimal | None = None
    day_usd: Decimal | None = None
    month_usd: Decimal | None = None
    models_usd: Mapping[str, Decimal] = field(default_factory=dict[str, Decimal])
    tags_usd: Mapping[str, Decimal] = field(default_factory=dict[str, Decimal])
    columns_usd: Mapping[str, Decimal] = field(default_factory=dict[str, Decimal])
    """By the tag of a column's runs; set by `Router.map`."""
    shadow_usd: Decimal | None = Decimal(1)
    """For the shadow runs of a session, which the other caps count too."""

    def __post_init__(self) -> None:
        for name in ("session_usd", "run_usd", "day_usd", "month_usd", "shadow_usd"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, usd(value))
        for name in ("models_usd", "tags_usd", "columns_usd"):
            object.__setattr__(self, name, {key: usd(value) for key, value in getattr(self, name).items()})

    def caps(self, *, model: str, tags: Sequence[str] = (), max_cost_usd: Decimal | None = None) -> tuple[Cap, ...]:
        runs = [cap for cap in (self.run_usd, max_cost_usd) if cap is not None]
        caps = [Cap(scope="run", limit_usd=min(runs))] if runs else []
        caps += [
            Cap(scope="column", limit_usd=limit, key=tag) for tag, limit in self.columns_usd.items() if tag in tags
        ]
        if SHADOW_TAG in tags and self.shadow_usd is not None:
            caps.append(Cap(scope="shadow", limit_usd=self.shadow_usd, key=SHADOW_TAG))
        if self.session_usd is not None:
            caps.append(Cap(scope="session", limit_usd=self.session_usd))
        if model in self.models_usd:
            caps.append(Cap(scope="model", limit_usd=self.models_usd[model], key=model))
        caps += [Cap(scope="tag", limit_usd=self.tags_usd[tag], key=tag) for tag in tags if tag in self.tags_usd]
        if self.day_usd is not None:
            caps.append(Cap(scope="day", limit_usd=self.day_usd))
        if self.month_usd is not None:
            caps.append(Cap(scope="month", limit_usd=self.month_usd))
        return tuple(caps)


class CapWarnings:
    def __init__(self) -> None:
        self._reported: dict[tuple[Cap, str], Decimal] = {}
        self._lock = threading.Lock()

    def crossed(self, cap: Cap, share: Decimal, now: datetime) -> str | None:
        """Return the warning for a cap of which `share` is spent; None if it was returned before."""
        reached = max((warning for warning in WARNING_SHARES if share >= warning), default=Decimal(0))
        period = now.astimezone(UTC).date().isoformat()
        key = (cap, {"day": period, "month": period[:7]}.get(cap.scope, ""))
        with self._lock:
            if reached <= self._reported.get(key, Decimal(0)):
                return None
            self._reported[key] = reached
        return f"{share:.0%} of {cap} is spent{cap.when_free(now)}"
