"""Cheap models first: their answers are withheld until one is confirmed, or the plan's leader is asked.

The leader's worst case is reserved before the first cheap model is asked, and becomes the leader's hold in one
transaction: a cascade that has begun can be finished. In addition, each call has its own hold and its own row.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from llm_magic.errors import BudgetExceeded
from llm_magic.events import AttemptEnded, AttemptStarted, NoteKind, RunEvent, TextDelta, Waiting
from llm_magic.execute import confirm, ledger_io, settlement
from llm_magic.execute.attempt import attempt
from llm_magic.execute.confirm import Rejection
from llm_magic.execute.hedge import ConcurrentAttempt, stop_all
from llm_magic.execute.state import Answered, AttemptState, Run
from llm_magic.types import Cascade, Confirmation, Doubt, Outcome

_ALONE = "the other cheap model did not answer"


async def ask_cheap_first(run: Run, cascade: Cascade) -> AsyncGenerator[RunEvent]:
    """Ask the cheap candidates, and set `run.answer` if one of their answers is confirmed."""
    needed, allowed = len(cascade.cheap) + (cascade.judge is not None) + 1, run.services.policy.attempts
    if allowed < needed:
        message = f"no cascade: it may take {needed} attempts, and a run may make {allowed}"
        yield run.note(NoteKind.NO_CASCADE, message)
        return
    try:
        await ledger_io.when_unlocked(lambda: _reserve(run, cascade), run.services, until=run.deadline)
    except BudgetExceeded as error:
        yield run.note(NoteKind.NO_CASCADE, f"no cascade: {error}")
        return
    run.awaiting_confirmation = True
    try:
        async with aclosing(_ask_cheap(run, cascade)) as events:
            async for event in events:
                yield event
        if not run.exhausted:
            async with aclosing(_decide(run, cascade)) as events:
                async for event in events:
                    yield event
    finally:
        run.awaiting_confirmation = False
        run.cascade_attempts = len(run.sent_models)


def _reserve(run: Run, cascade: Cascade) -> None:
    row = settlement.pending_row(run, cascade.strong)
    worst_usd = cascade.strong.at(row.started_at).worst_usd
    run.reservation = run.services.ledger.reserve(row, worst_usd, run.caps(cascade.strong))


def _names(cascade: Cascade) -> str:
    return " and ".join(dict.fromkeys(candidate.name for candidate in cascade.cheap))


async def _ask_cheap(run: Run, cascade: Cascade) -> AsyncGenerator[RunEvent]:
    events: asyncio.Queue[tuple[ConcurrentAttempt, RunEvent | None]] = asyncio.Queue()
    attempts = [ConcurrentAttempt(run, candidate, events, last=False) for candidate in cascade.cheap]
    try:
        while not all(source.ended for source in attempts):
            source, event = await events.get()
            match event:
                case None:
                    await source.join()
                    ended = sum(source.ended for source in attempts)
                    if run.exhausted or len(run.unconfirmed) < ended:
                        for other in attempts:
                            other.task.cancel(_ALONE)
                case AttemptStarted():
                    yield event
                    yield Waiting(reason=f"asking {_names(cascade)} first")
                case TextDelta():
                    pass
                case _:
                    if not _is_unconfirmed(event):
                        yield event
    finally:
        await stop_all(attempts)


async def _decide(run: Run, cascade: Cascade) -> AsyncGenerator[RunEvent]:
    answers = sorted(run.unconfirmed, key=lambda state: 0 if state.row is None else state.row.attempt)
    rejection: Rejection | None = None
    decided_by: Confirmation | None = cascade.confirmation
    if len(answers) < len(cascade.cheap):
        rejection = Rejection(Doubt.UNUSABLE, _ALONE if answers else "no cheap model answered")
        decided_by = None
    elif any(state.finished is not None and state.finished.finish_reason == "length" for state in answers):
        rejection = Rejection(Doubt.UNUSABLE, "cut off at the output limit")
        decided_by = None
    elif cascade.mode == "judge":
        judge = confirm.judge_attempt(run, cascade, answers[0])
        if judge is not None:
            async with aclosing(_ask_judge(run, judge)) as events:
                async for event in events:
                    yield event
        rejection = confirm.parse_verdict(judge)
        decided_by = None if rejection is not None and rejection.doubt is Doubt.UNUSABLE else decided_by
    elif cascade.mode in ("agree", "twice"):
        yield Waiting(reason="comparing the answers")
        rejection = await confirm.compare_answers(run, *answers)
    elif cascade.mode == "look":
        rejection = confirm.look_at(run, answers[0])
    elif cascade.mode == "check":
        yield Waiting(reason="checking the answer")
        rejection = await confirm.run_check(run, answers[0])
    if rejection is not None:
        message = f"{_names(cascade)}: {rejection.detail or rejection.reason}; asked {cascade.strong.name}"
        yield run.note(NoteKind.NOT_CONFIRMED, message)
        for state in answers:
            yield _decided(run, state, Outcome.SUPERSEDED, decided_by, rejection)
        return
    for state in answers[1:]:
        yield _decided(run, state, Outcome.AGREED, decided_by)
    run.answer = answers[0]
    yield TextDelta(text=answers[0].answer_text)
    yield _decided(run, answers[0], Outcome.OK, decided_by)


async def _ask_judge(run: Run, judge: AttemptState) -> AsyncGenerator[RunEvent]:
    yield Waiting(reason=f"{judge.candidate.model.id} judges the answer")
    async with aclosing(attempt(run, judge)) as events:
        async for event in events:
            if not isinstance(event, TextDelta) and not _is_unconfirmed(event):
                yield event
    if isinstance(judge.result, Answered):
        yield _decided(run, judge, Outcome.JUDGED, None)


def _decided(
    run: Run,
    state: AttemptState,
    outcome: Outcome,
    confirmation: Confirmation | None,
    rejection: Rejection | None = None,
) -> AttemptEnded:
    """Record the outcome of an attempt whose cost is settled already."""
    reason, doubt = (None, None) if rejection is None else (rejection.reason, rejection.doubt)
    row = settlement.decided_row(run, state, outcome, reason, doubt, confirmation)
    with ledger_io.settling(run.services):
        run.services.ledger.settle(row)
    assert state.row is not None
    run.attempts[run.attempts.index(state.row)] = state.row = row
    return AttemptEnded(attempt=row)


def _is_unconfirmed(event: RunEvent) -> bool:
    return isinstance(event, AttemptEnded) and event.attempt.outcome == Outcome.UNCONFIRMED
