"""Money that is set aside: holds for attempts, reservations for attempts that may follow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from types import TracebackType

from llm_magic.budget import Cap, show_usd
from llm_magic.errors import BudgetExceeded
from llm_magic.types import Attempt, CostBasis, Outcome

HoldRequest = tuple[Attempt, Decimal, Sequence[Cap]]
"""An attempt, its worst case in USD, and the caps that apply to it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """The money left under a cap, in USD; negative if the cap was lowered below what is spent."""

    cap: Cap
    left_usd: Decimal
    in_flight_usd: Decimal
    """Held for attempts in flight. Most of it is freed when they are settled."""
    now: datetime
    """The moment that decides which day and which month the cap counts."""

    @property
    def when_free(self) -> str:
        """A clause that says when the cap of a day or a month is free again; empty for other caps."""
        return self.cap.when_free(self.now)

    @property
    def reachable_usd(self) -> Decimal:
        """The maximum that can be left once the attempts in flight are settled."""
        return max(self.left_usd + self.in_flight_usd, Decimal(0))

    @property
    def used_share(self) -> Decimal:
        """The spent share of the cap. Above 1 if the cap was lowered."""
        limit = self.cap.limit_usd
        return (limit - self.left_usd - self.in_flight_usd) / limit if limit else Decimal(1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LeasedHold:
    """A hold of a process on another machine or in another container, which counts as running until its lease ends."""

    attempt: Attempt
    held_usd: Decimal
    until: datetime


class Hold:
    """Money reserved for one attempt. Unless it is settled, all of it is charged."""

    def __init__(self, attempt: Attempt, worst_usd: Decimal, settle: Callable[[Attempt], None]) -> None:
        self.worst_usd = worst_usd
        self._attempt = attempt
        self._settle = settle
        self._settled = False

    def settle(self, attempt: Attempt) -> None:
        self._settled = True
        self._settle(attempt)

    def __enter__(self) -> Hold:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._settled:
            unsettled = dataclasses.replace(
                self._attempt,
                outcome=Outcome.ERROR,
                error=None if kind is None else kind.__name__,
                cost_usd=self.worst_usd,
                cost_estimated=True,
                cost_basis=CostBasis.HELD,
                cost_low_usd=Decimal(0),
                cost_high_usd=self.worst_usd,
            )
            self.settle(unsettled)


class Reservation:
    """Money set aside for a later attempt, until it is released or becomes the hold of the attempt."""

    def __init__(
        self,
        attempt: Attempt,
        *,
        replace: Callable[[Attempt, Attempt, Decimal, Sequence[Cap]], Hold],
        release: Callable[[Attempt], None],
    ) -> None:
        self.attempt = attempt
        self._replace = replace
        self._release = release
        self._is_open = True

    def hold(self, attempt: Attempt, worst_usd: Decimal, caps: Sequence[Cap]) -> Hold:
        """Replace the reservation by the attempt's hold in one transaction, or raise BudgetExceeded."""
        hold = self._replace(self.attempt, attempt, worst_usd, caps)
        self._is_open = False
        return hold

    def release(self) -> None:
        """Free the money. Later calls do nothing."""
        if self._is_open:
            self._is_open = False
            self._release(self.attempt)


def exceeded(attempt: Attempt, worst_usd: Decimal, headroom: Headroom) -> BudgetExceeded:
    left = max(headroom.left_usd, Decimal(0))
    return BudgetExceeded(
        f"{attempt.model} could cost up to {show_usd(worst_usd)}, and {headroom.cap} has {show_usd(left)} left, "
        f"{show_usd(worst_usd - left)} too little{headroom.when_free}: raise the cap, or ask for fewer output tokens",
        scope=headroom.cap.scope,
        asked_usd=worst_usd,
        left_usd=left,
        reachable_usd=headroom.reachable_usd,
    )
