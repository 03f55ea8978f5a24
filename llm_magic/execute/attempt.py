"""One request: wait for a turn, reserve, send, stream, settle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, closing

from llm_magic.errors import BudgetExceeded, ProviderError, TimedOut
from llm_magic.events import AttemptEnded, AttemptStarted, Note, Progress, RunEvent, TextDelta, Waiting
from llm_magic.execute import ledger_io, settlement
from llm_magic.execute.state import AttemptState, Run, Services
from llm_magic.execute.stream_timeout import Silence
from llm_magic.ledger import Hold
from llm_magic.ledger.transactions import LedgerLocked
from llm_magic.plan.quotes import DEFAULT_MAX_OUTPUT_TOKENS, messages_of
from llm_magic.providers.base import Finished, ProviderRequest, UsageReport
from llm_magic.types import Attempt, Outcome


async def attempt(run: Run, meter: AttemptState, services: Services) -> AsyncGenerator[RunEvent]:
    """Send one request. Leaves its row in the ledger, what came of it in `meter`, and the row in `run.attempts`.

    `meter.error` says why it is no answer; nothing is raised but the asker's own cancellation.
    """
    model = meter.candidate.model
    slot = services.slots[model.provider]()
    if slot.locked():
        ledger_io.free_reserve(run, services)  # those before us in the queue may be waiting for just this money
        yield Waiting(reason=f"queued: {model.provider} has as many requests under way as it may have")
    if not await _in_time(slot, run, services):
        meter.error = TimedOut(f"the run's time was up before anything could be sent to {model.provider}")
        return
    try:
        wanted = meter.candidate.max_output_tokens
        try:
            reserved = None
            if run.reserve is not None or not (services.budget_lock().locked() and meter.candidate.worst_usd):
                try:
                    reserved = await _held(
                        run,
                        meter,
                        services,
                        may_wait=run.reserve is None,
                        until=services.clock.monotonic() + ledger_io.TOLD_S,
                    )
                except LedgerLocked as locked:
                    yield Waiting(reason=str(locked))
                    reserved = await _held(run, meter, services, may_wait=run.reserve is None, until=run.deadline)
            if reserved is None:
                yield Waiting(reason="waiting for money that other runs hold")
                reserved = await _turn(run, meter, services)
        except (BudgetExceeded, ProviderError) as refused:
            meter.error = refused
            return
        blank, hold = reserved
        meter.started = services.clock.monotonic()
        ended, error = Outcome.ERROR, None
        with hold:
            try:
                for note in _steering(run, meter, wanted):
                    yield note
                yield AttemptStarted(attempt=blank.attempt, candidate=meter.candidate)
                async with aclosing(_stream(run, meter, services)) as events:
                    async for event in events:
                        yield event
                settlement.check(meter, run.plan)
                ended = Outcome.UNCONFIRMED if run.deliberating else Outcome.OK
            except ProviderError as caught:
                ended, error = caught.outcome, str(caught)
                # Without its frames, some of which have the key in a variable.
                meter.error = caught.with_traceback(None)
            except (asyncio.CancelledError, GeneratorExit) as stopped:
                ended, error = Outcome.CANCELLED, str(stopped) or None
                raise
            finally:
                settled = settlement.settled(blank, meter, ended, error, run.plan, services)
                run.attempts.append(settled)
                meter.row = settled
                with ledger_io.owed(services):
                    hold.settle(settled)
        if trouble := await ledger_io.unwritten(services):
            # The answer is paid for and must not be lost with it.
            yield run.note(f"{trouble}. What this cost is written as soon as it can be; until then it is held")
        yield AttemptEnded(attempt=settled)
        for room in await ledger_io.headroom(run, meter.candidate, services):
            if room.cap.scope != "run" and (
                told := services.alarms.crossed(room.cap, room.used_share, services.clock.now())
            ):
                yield run.note(told)
    finally:
        slot.release()


async def _in_time(turn: asyncio.Semaphore | asyncio.Lock, run: Run, services: Services) -> bool:
    """Wait for our turn. Whether it came before the run's deadline; where it did, it has to be released."""
    try:
        async with asyncio.timeout(max(0.0, run.deadline - services.clock.monotonic())):
            await turn.acquire()
    except TimeoutError:
        return False
    if services.clock.monotonic() < run.deadline:
        return True
    turn.release()
    return False


def _steering(run: Run, meter: AttemptState, wanted: int) -> list[Note]:
    """What a cap has changed about this attempt, for the user to know."""
    candidate, request = meter.candidate, run.plan.request
    notes: list[Note] = []
    if candidate.stepped_down and not run.attempts:
        notes.append(run.note(f"near the cap: {candidate.why or f'stepped down to {candidate.model.id}'}"))
    asked = min(request.max_output_tokens or DEFAULT_MAX_OUTPUT_TOKENS, candidate.model.max_output_tokens)
    limited = candidate.max_output_tokens < min(asked, candidate.model.context_window - candidate.input_tokens)
    if limited or candidate.max_output_tokens < wanted:
        most = f"{candidate.max_output_tokens:,} output tokens of {candidate.model.id}"
        notes.append(run.note(f"near the cap: at most {most} fit under it"))
    return notes


async def _turn(run: Run, meter: AttemptState, services: Services) -> tuple[Attempt, Hold]:
    """The hold, once other runs have settled what stands in its way.

    Raises BudgetExceeded when they no longer do, TimedOut when they do for as long as the run may take.
    """
    budget_lock = services.budget_lock()
    if await _in_time(budget_lock, run, services):
        try:
            while services.clock.monotonic() < run.deadline:
                if reserved := await _held(run, meter, services, may_wait=True, until=run.deadline):
                    return reserved
                await services.clock.sleep(services.policy.money_poll_s)
        finally:
            budget_lock.release()
    raise TimedOut("other runs held the money when the run's time was up: nothing was sent")


async def _held(
    run: Run, meter: AttemptState, services: Services, *, may_wait: bool, until: float
) -> tuple[Attempt, Hold] | None:
    """As `_hold`, when its turn has come in the ledger."""
    return await ledger_io.turn(lambda: _hold(run, meter, services, may_wait=may_wait), services, until=until)


def _hold(run: Run, meter: AttemptState, services: Services, *, may_wait: bool) -> tuple[Attempt, Hold] | None:
    """The row and the hold for the candidate as it can be afforded at this very moment.

    Raises BudgetExceeded, or ProviderError where the run may send no more. None where it may fit once other runs have
    settled, and it may wait for that.
    """
    if not run.may_send(services.policy):
        raise ProviderError("the run has made all of its attempts")
    while True:
        blank = settlement.blank(run, meter.candidate, services)
        meter.candidate = candidate = meter.candidate.at(blank.started_at)
        try:
            holder = services.ledger if run.reserve is None or run.deliberating else run.reserve
            hold = holder.hold(blank, candidate.worst_usd, run.caps(candidate))
            if holder is run.reserve:
                run.reserve = None
        except BudgetExceeded as refused:
            # Others hold what was free when the plan was made: ask for less, while there is less to ask for.
            smaller = candidate.fit(refused.left_usd, blank.started_at)
            if smaller is not None and smaller.max_output_tokens < candidate.max_output_tokens:
                meter.candidate = smaller
                continue
            if may_wait and candidate.fit(refused.reachable_usd, blank.started_at) is not None:
                return None
            raise
        run.sent.append(candidate.model.id)
        return blank, hold


async def _stream(run: Run, meter: AttemptState, services: Services) -> AsyncGenerator[TextDelta | Progress]:
    """Send the request and pass on what comes, metering it. No wait for the next event is unbounded."""
    request = run.plan.request
    provider = services.providers[meter.candidate.model.provider]
    stream = provider.stream(
        ProviderRequest(
            model=meter.candidate.model,
            messages=(*messages_of(request), *meter.more),
            system=request.system,
            max_output_tokens=meter.candidate.max_output_tokens,
            schema=None if meter.judging else request.schema,
            in_conversation=request.thread is not None,
        )
    )
    waiting_on_us = False
    async with aclosing(stream):
        with closing(Silence()) as waiting:
            while True:
                asked = services.clock.monotonic()
                silence = (
                    services.policy.first_token_s if meter.first_token is None else services.policy.between_tokens_s
                )
                limit = None if waiting_on_us else max(0.0, min(silence, run.deadline - asked))
                try:
                    event = await waiting.next_of(stream, limit)
                except TimeoutError as error:
                    where = "before the first token" if meter.first_token is None else "in mid-answer"
                    raise TimedOut(f"no sign of life for {limit:.0f} s {where}") from error
                if waiting_on_us:
                    run.deadline += services.clock.monotonic() - asked
                waiting_on_us = isinstance(event, Progress) and not event.done
                match event:
                    case None:
                        return
                    case TextDelta():
                        if meter.first_token is None:
                            meter.first_token = services.clock.monotonic()
                        meter.text.append(event.text)
                        yield event
                    case Progress():
                        if event.unseen:
                            meter.thoughts.append(event.unseen)
                        yield event
                    case UsageReport():
                        meter.report = event
                    case Finished():
                        meter.finished = event
