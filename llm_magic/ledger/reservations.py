"""Money that is set aside: for one attempt, or for one that may come."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING

from llm_magic.budget import Cap, show_usd
from llm_magic.errors import BudgetExceeded
from llm_magic.types import Attempt, Outcome

if TYPE_CHECKING:
    from llm_magic.ledger import Ledger


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """What a cap leaves, in USD; below zero where the cap was lowered beneath what is spent."""

    cap: Cap
    left_usd: Decimal
    in_flight_usd: Decimal
    """Held for attempts under way: most of it comes back when they are settled."""

    @property
    def reachable_usd(self) -> Decimal:
        """What is left once the attempts under way have been settled, at the most."""
        return max(self.left_usd + self.in_flight_usd, Decimal(0))

    @property
    def used_share(self) -> Decimal:
        """What is spent for good, as a share of the cap: 0 to 1 and beyond."""
        limit = self.cap.limit_usd
        return (limit - self.left_usd - self.in_flight_usd) / limit if limit else Decimal(1)


class Hold:
    """Money reserved for one attempt. `settle` it with what the attempt came to; unsettled it is charged whole."""

    def __init__(self, ledger: Ledger, attempt: Attempt, worst_usd: Decimal) -> None:
        self.worst_usd = worst_usd
        self._ledger = ledger
        self._attempt = attempt
        self._settled = False

    def settle(self, attempt: Attempt) -> None:
        self._settled = True
        self._ledger.settle(attempt)

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self._settled:
            unsettled = dataclasses.replace(
                self._attempt,
                outcome=Outcome.ERROR,
                error=None if kind is None else kind.__name__,
                cost_usd=self.worst_usd,
                cost_estimated=True,
            )
            self.settle(unsettled)


class Reservation:
    """Money kept back for an attempt that may come. Held until it is given up, or replaced by the attempt's hold."""

    def __init__(self, ledger: Ledger, attempt: Attempt) -> None:
        self.attempt = attempt
        self.given_up = False
        self._ledger = ledger

    def hold(self, attempt: Attempt, worst_usd: Decimal, caps: Sequence[Cap]) -> Hold:
        """The attempt's hold instead, in the same moment, so that nobody else gets in between. As `Ledger.hold`."""
        self._ledger._hold(attempt, worst_usd, caps, self)  # pyright: ignore[reportPrivateUsage] - the two are one
        self.given_up = True
        return Hold(self._ledger, attempt, worst_usd)

    def give_up(self) -> None:
        """May be called again."""
        if not self.given_up:
            self.given_up = True
            self._ledger.release(self.attempt)


def exceeded(attempt: Attempt, worst_usd: Decimal, room: Headroom) -> BudgetExceeded:
    left = max(room.left_usd, Decimal(0))
    return BudgetExceeded(
        f"{attempt.model} could cost up to {show_usd(worst_usd)}, and {room.cap} has {show_usd(left)} left, "
        f"{show_usd(worst_usd - left)} too little: raise the cap, or ask for fewer output tokens",
        scope=room.cap.scope,
        asked_usd=worst_usd,
        left_usd=left,
        reachable_usd=room.reachable_usd,
    )
