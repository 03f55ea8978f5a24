"""The policy: how much may be spent, and where. What *has* been spent is the ledger's to say."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Literal

from llm_magic.errors import BudgetError

Amount = Decimal | int | float | str


def usd(value: Amount) -> Decimal:
    """An amount of USD: finite, zero or more. `"$0.50"` is 0.50. Raises BudgetError."""
    problem = f"{value!r} is no amount of USD: write a number of zero or more, such as 5 or 0.50"
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
    """`USD 5.00`, `USD 0.0123`, `USD 0.0000012`: to a hundredth of a cent, or to two digits where it is less."""
    if amount == 0:
        return "USD 0"
    if abs(amount) < Decimal("0.001"):
        return f"USD {amount:.{1 - amount.adjusted()}f}"
    cents, dot, rest = f"{amount:,.4f}".partition(".")
    return f"USD {cents}{dot}{rest.rstrip('0'):0<2}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """A limit on spent + held within a scope."""

    scope: Literal["session", "run"]
    limit_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Caps in USD; None is no cap. A cap of 0 leaves the free models."""

    session_usd: Decimal | None = None
    run_usd: Decimal | None = None

    def __post_init__(self) -> None:
        for name in ("session_usd", "run_usd"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, usd(value))

    def caps(self, max_cost_usd: Decimal | None = None) -> tuple[Cap, ...]:
        """The caps that hold for one run, with that run's own `max_cost_usd` where it is lower."""
        runs = [cap for cap in (self.run_usd, max_cost_usd) if cap is not None]
        caps = [Cap(scope="run", limit_usd=min(runs))] if runs else []
        if self.session_usd is not None:
            caps.append(Cap(scope="session", limit_usd=self.session_usd))
        return tuple(caps)
