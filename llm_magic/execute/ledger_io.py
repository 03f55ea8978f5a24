"""Access to the ledger from the event loop. Neither a lock nor a slow database server blocks the loop."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import TypeVar

from llm_magic.errors import LedgerError
from llm_magic.events import Note, NoteKind
from llm_magic.execute.services import Services
from llm_magic.execute.state import AttemptState, Run
from llm_magic.ledger import Headroom
from llm_magic.ledger.transactions import LedgerLocked
from llm_magic.types import ZERO, Candidate, RouteResult

Result = TypeVar("Result")

_MAX_POLL_S = 0.5
_MAX_WRITE_WAIT_S = 5.0


async def when_unlocked(
    call: Callable[[], Result],
    services: Services,
    *,
    until: float | None = None,
    undo: Callable[[Result], None] = lambda _: None,
) -> Result:
    """Call `call`, and again while the ledger is locked. Raises LedgerLocked if it still is at `until`.

    until: on the monotonic clock; by default, as long as a run may take. For a ledger on a server, the call runs in
    another thread. If the task is canceled meanwhile, `undo` gets what the call returns.
    """
    wait_s = services.policy.budget_poll_s
    transactions = services.ledger.transactions
    if until is None:
        until = services.clock.monotonic() + services.policy.deadline_s

    def call_once() -> Result:
        with transactions.fail_fast():
            return call()

    while True:
        try:
            if not transactions.is_remote:
                return call_once()
            return await _finished(asyncio.wrap_future(transactions.submit(call_once)), services, undo)
        except LedgerLocked:
            if services.clock.monotonic() >= until:
                raise
        await services.clock.sleep(wait_s)
        wait_s = min(2 * wait_s, _MAX_POLL_S)


async def _finished(future: asyncio.Future[Result], services: Services, undo: Callable[[Result], None]) -> Result:
    """Wait for a call in another thread, which can't be canceled."""
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        if not future.cancelled() and future.exception() is None:
            with settling(services):
                undo(future.result())
        raise


@contextmanager
def settling(services: Services) -> Generator[None]:
    """Settle or release within this block. The ledger writes in the background what it can't write without waiting.

    Does not await, so a cancellation can't interrupt it.
    """
    with suppress(LedgerError), services.ledger.transactions.without_waiting():
        yield


def release_reservation(run: Run) -> None:
    reservation, run.reservation = run.reservation, None
    if reservation is not None:
        with settling(run.services):
            reservation.release()


async def write_problem(run: Run) -> LedgerError | None:
    """Wait at most _MAX_WRITE_WAIT_S for pending settlements to be written, and return the error that prevents it."""
    services = run.services
    until = services.clock.monotonic() + _MAX_WRITE_WAIT_S
    transactions = services.ledger.transactions
    pending = transactions.pending
    if transactions.is_remote and pending.is_due_for(run.id):
        with suppress(LedgerError):
            await when_unlocked(transactions.write_due, services, until=until)
    while pending.is_due_for(run.id):
        error = pending.last_error
        if services.clock.monotonic() >= until or not isinstance(error, LedgerLocked | None):
            return error or LedgerError(f"the ledger {services.ledger.location} is slow")
        await services.clock.sleep(services.policy.budget_poll_s)
    return None


def notices(run: Run) -> Iterator[Note]:
    """Notes about rows of the run that were gone from the ledger, and about restorations of the ledger."""
    ledger_notices = run.services.ledger.notices
    for text in ledger_notices.of_run(run.id, after=run.ledger_notices):
        yield run.note(NoteKind.LEDGER, text)
    run.ledger_notices = ledger_notices.delivered


async def headroom(run: Run, candidate: Candidate) -> list[Headroom]:
    """Return the headroom of each cap; empty if the ledger can't be read, because the answer must not be lost."""
    ledger, now = run.services.ledger, run.services.clock.now()
    try:
        return await when_unlocked(
            lambda: ledger.headroom(run.caps(candidate), run.id, now=now), run.services, until=0.0
        )
    except LedgerError:
        return []


async def saved(result: RouteResult, store: str, save: Callable[[], None], services: Services) -> RouteResult:
    """Call `save`, and return the result, with a note if the ledger can't store it."""
    try:
        await when_unlocked(save, services, until=services.clock.monotonic() + _MAX_WRITE_WAIT_S)
    except LedgerError as error:
        return dataclasses.replace(result, notes=(*result.notes, f"not saved in the {store}: {error}"))
    return result


def read_pace(run: Run, state: AttemptState) -> None:
    """Read the model's pace in advance, for a ledger on a server, which the end of the attempt can't wait for.

    The pace also decides whether an answer that is not displayed may be requested in one piece.
    """
    ledger, model = run.services.ledger, state.candidate.model
    if (ledger.transactions.is_remote or not run.is_displayed) and model.tokens_per_s is None:
        with suppress(LedgerError):
            state.learned_pace = ledger.paces.recent(model.id)


def pace(run: Run, state: AttemptState) -> float | None:
    """Return the model's output tokens per second, as learned from the ledger; None if unknown or unreadable."""
    ledger = run.services.ledger
    if ledger.transactions.is_remote:
        return state.learned_pace
    try:
        with ledger.transactions.fail_fast():
            return ledger.paces.read(state.candidate.model.id)
    except LedgerError:
        return None


async def session_cost_usd(run: Run) -> Decimal:
    """Return the session's cost; zero for a row of a column, which is not shown alone.

    If it can't be read, return this run's cost, and add a note.
    """
    services = run.services
    if run.in_column:
        return ZERO
    until = services.clock.monotonic() + _MAX_WRITE_WAIT_S
    try:
        return await when_unlocked(lambda: services.ledger.spent_usd, services, until=until)
    except LedgerError as error:
        run.note(NoteKind.LEDGER, f"{error}. The session's cost is not known; the run's cost is shown instead")
        return sum((attempt.cost_usd for attempt in run.attempts), ZERO)
