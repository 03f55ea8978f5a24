"""The hold of an attempt: made before anything is sent, for its worst case."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from llm_magic.errors import BudgetExceeded, ProviderError, TimedOut
from llm_magic.events import Waiting
from llm_magic.execute import ledger_io, settlement
from llm_magic.execute.state import AttemptState, Run
from llm_magic.ledger.transactions import LedgerLocked

_UNREPORTED_LOCK_S = 0.2


async def make_hold(run: Run, state: AttemptState) -> AsyncGenerator[Waiting]:
    """Hold an attempt's worst case in the ledger. Afterwards it is `state.hold`, and `state.candidate` fits the caps.

    Waits if the ledger is locked, or if other runs hold the money, except in a shadow run. Raises BudgetExceeded if it
    does not fit, TimedOut if the run's time is up, ProviderError if the run has made all of its attempts.
    """
    clock = run.services.clock
    others_wait = run.services.budget_lock().locked() and state.candidate.worst_usd > 0
    if run.is_shadow and others_wait:
        raise TimedOut("other runs wait for budget: no shadow run")
    if run.reservation is not None or not others_wait:
        try:
            await _hold_when_unlocked(run, state, until=clock.monotonic() + _UNREPORTED_LOCK_S)
        except LedgerLocked as locked:
            yield Waiting(reason=str(locked))
            await _hold_when_unlocked(run, state, until=run.deadline)
    if state.hold is None:
        yield Waiting(reason="waiting for budget held by other runs")
        await _wait_for_budget(run, state)


async def acquire_in_time(lock: asyncio.Semaphore | asyncio.Lock, run: Run) -> bool:
    """Return True if the lock was acquired before the run's deadline."""
    try:
        async with asyncio.timeout(run.time_left_s):
            await lock.acquire()
    except TimeoutError:
        return False
    if run.time_left_s > 0:
        return True
    lock.release()
    return False


async def _wait_for_budget(run: Run, state: AttemptState) -> None:
    budget_lock = run.services.budget_lock()
    if await acquire_in_time(budget_lock, run):
        try:
            while run.time_left_s > 0:
                await _hold_when_unlocked(run, state, until=run.deadline)
                if state.hold is not None:
                    return
                await run.services.clock.sleep(run.services.policy.budget_poll_s)
        finally:
            budget_lock.release()
    raise TimedOut("timed out waiting for budget held by other runs: nothing was sent")


async def _hold_when_unlocked(run: Run, state: AttemptState, *, until: float) -> None:
    def release(_: None) -> None:
        if state.hold is not None:
            assert state.row is not None
            run.services.ledger.release(state.row)

    await ledger_io.when_unlocked(lambda: _try_hold(run, state), run.services, until=until, undo=release)


def _try_hold(run: Run, state: AttemptState) -> None:
    """Hold what the candidate costs now, with its output lowered if that is needed to fit.

    `state.hold` stays None if it may fit once other runs have settled, and this run may wait for that.
    """
    if not run.may_send:
        raise ProviderError("the run has made all of its attempts")
    while True:
        row = settlement.pending_row(run, state.candidate)
        now = row.started_at
        state.candidate = candidate = state.candidate.at(now)
        from_reservation = run.reservation if not run.awaiting_confirmation else None
        try:
            holder = from_reservation or run.services.ledger
            state.hold = holder.hold(row, candidate.worst_usd, run.caps(candidate))
        except BudgetExceeded as error:
            # Others hold what was free when the plan was made: ask for less if there is less to ask for.
            smaller = candidate.fit(error.left_usd, now)
            if smaller is not None and smaller.max_output_tokens < candidate.max_output_tokens:
                state.candidate = smaller
                continue
            if run.reservation is None and not run.is_shadow and candidate.fit(error.reachable_usd, now) is not None:
                return
            raise
        state.row = row
        ledger_io.read_pace(run, state)
        if from_reservation is not None:
            run.reservation = None
        run.sent_models.append(candidate.model.id)
        return
