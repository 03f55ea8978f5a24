"""The ledger as the event loop uses it: while one run waits for a lock on it, all others go on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import TypeVar

from llm_magic.errors import LedgerError
from llm_magic.execute.records import Means, Run
from llm_magic.ledger import Hold, Reserve, Room
from llm_magic.ledger.access import LedgerLocked
from llm_magic.types import ZERO, Attempt, Candidate

Result = TypeVar("Result")

_LOOK_S = 0.5
"""Between two looks at a lock that stays. Each takes a millisecond of the loop, and many runs may be waiting."""
TOLD_S = 0.2
"""A lock is not worth telling for as long as another kernel may have it for its own holds."""
WRITTEN_S = 5.0
"""How long a run that has its answer waits for what it cost to be written."""


async def turn(call: Callable[[], Result], means: Means, *, until: float) -> Result:
    """What `call` does in the ledger, as soon as it can be done. Raises LedgerLocked when it can't by `until`."""
    wait_s = means.policy.money_poll_s
    while True:
        try:
            with means.ledger.at_once():
                return call()
        except LedgerLocked:
            if means.clock.monotonic() >= until:
                raise
        await means.clock.sleep(wait_s)
        wait_s = min(2 * wait_s, _LOOK_S)


def settle(hold: Hold, attempt: Attempt, means: Means) -> None:
    """Settle a hold now, or leave it to the ledger to write it as soon as it can: a cancellation must not stop it."""
    with suppress(LedgerError), means.ledger.at_once():
        hold.settle(attempt)


def give_up(reserve: Reserve, means: Means) -> None:
    """Free what was kept back, in the same way."""
    with suppress(LedgerError), means.ledger.at_once():
        reserve.give_up()


async def unwritten(means: Means) -> LedgerError | None:
    """Why what was settled is not written. Waits for what passes, for a while."""
    until = means.clock.monotonic() + WRITTEN_S
    while means.ledger.owes:
        trouble = means.ledger.trouble
        if means.clock.monotonic() >= until or not isinstance(trouble, LedgerLocked | None):
            return trouble or LedgerError(f"the ledger {means.ledger.location} is slow")
        await means.clock.sleep(means.policy.money_poll_s)
    return None


async def rooms(run: Run, candidate: Candidate, means: Means) -> list[Room]:
    """What the caps of an attempt leave; none where that can't be read: the answer is there, and must not be lost."""
    try:
        return await turn(lambda: means.ledger.rooms(run.caps(candidate), run.id), means, until=0.0)
    except LedgerError:
        return []


async def spent_usd(run: Run, means: Means) -> Decimal:
    """What the session has spent; where that can't be read, what the run has, and the run says so."""
    try:
        return await turn(lambda: means.ledger.spent_usd, means, until=means.clock.monotonic() + WRITTEN_S)
    except LedgerError as error:
        run.note(f"{error}. The session's cost is not known; this run's is shown for it")
        return sum((attempt.cost_usd for attempt in run.attempts), ZERO)
