"""The ledger as the event loop uses it: while one run waits for a lock on it, all others go on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import TypeVar

from llm_magic.errors import LedgerError
from llm_magic.execute.state import Run, Services
from llm_magic.ledger import Headroom
from llm_magic.ledger.transactions import LedgerLocked
from llm_magic.types import ZERO, Candidate, RouteResult

Result = TypeVar("Result")

_LOOK_S = 0.5
"""Between two looks at a lock that stays. Each takes a millisecond of the loop, and many runs may be waiting."""
TOLD_S = 0.2
"""A lock is not worth telling for as long as another kernel may have it for its own holds."""
_WRITTEN_S = 5.0
"""How long a run that has its answer waits for what it cost to be written."""


async def turn(call: Callable[[], Result], services: Services, *, until: float) -> Result:
    """What `call` does in the ledger, as soon as it can be done. Raises LedgerLocked when it can't by `until`."""
    wait_s = services.policy.money_poll_s
    while True:
        try:
            with services.ledger.fail_fast():
                return call()
        except LedgerLocked:
            if services.clock.monotonic() >= until:
                raise
        await services.clock.sleep(wait_s)
        wait_s = min(2 * wait_s, _LOOK_S)


@contextmanager
def owed(services: Services) -> Generator[None]:
    """Within it something is settled or given up: now, or by the ledger as soon as it can. A cancellation must not
    stop it, and an answer is not lost for it."""
    with suppress(LedgerError), services.ledger.fail_fast():
        yield


def free_reserve(run: Run, services: Services) -> None:
    """Give up what a run has kept back, if anything."""
    reserve, run.reserve = run.reserve, None
    if reserve is not None:
        with owed(services):
            reserve.give_up()


async def unwritten(services: Services) -> LedgerError | None:
    """Why what was settled is not written. Waits for what passes, for a while."""
    until = services.clock.monotonic() + _WRITTEN_S
    while services.ledger.has_pending_writes:
        trouble = services.ledger.last_write_error
        if services.clock.monotonic() >= until or not isinstance(trouble, LedgerLocked | None):
            return trouble or LedgerError(f"the ledger {services.ledger.location} is slow")
        await services.clock.sleep(services.policy.money_poll_s)
    return None


async def headroom(run: Run, candidate: Candidate, services: Services) -> list[Headroom]:
    """What the caps of an attempt leave; none where that can't be read: the answer is there, and must not be lost."""
    try:
        return await turn(lambda: services.ledger.headroom(run.caps(candidate), run.id), services, until=0.0)
    except LedgerError:
        return []


async def kept(result: RouteResult, where: str, keep: Callable[[], None], services: Services) -> RouteResult:
    """The result, which `keep` keeps in the cache or in a thread; where the ledger can't, it says so."""
    try:
        await turn(keep, services, until=services.clock.monotonic() + _WRITTEN_S)
    except LedgerError as error:
        return dataclasses.replace(result, notes=(*result.notes, f"not kept in the {where}: {error}"))
    return result


async def spent_usd(run: Run, services: Services) -> Decimal:
    """What the session has spent; where that can't be read, what the run has, and the run says so."""
    try:
        return await turn(lambda: services.ledger.spent_usd, services, until=services.clock.monotonic() + _WRITTEN_S)
    except LedgerError as error:
        run.note(f"{error}. The session's cost is not known; this run's is shown for it")
        return sum((attempt.cost_usd for attempt in run.attempts), ZERO)
