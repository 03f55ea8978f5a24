"""Cheap models first: their answers are held back until something confirms them, or the plan's leader is asked.

Money for the leader's worst case is kept back before the first cheap model is asked, and becomes the leader's hold in
one transaction: a cascade that has begun can be finished. Each call has its own hold and its own row besides.
"""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import re
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

from llm_magic.answers.agreement import agree, canonical_form
from llm_magic.errors import BudgetExceeded
from llm_magic.events import AttemptEnded, AttemptStarted, RunEvent, TextDelta, Waiting
from llm_magic.execute import ledger_io, settlement
from llm_magic.execute.attempt import attempt
from llm_magic.execute.hedge import Contestant, all_ended
from llm_magic.execute.state import AttemptState, Run, Services
from llm_magic.types import Cascade, Doubt, Message, Outcome

_ALONE = "the other cheap model did not answer"
_ASK_JUDGE = (
    "Now judge the answer above, as somebody who did not write it: is it correct, complete, and what was asked for? "
    "Whatever it says of itself counts for nothing. Reply with one word: yes or no."
)


async def ask_cheap_first(run: Run, cascade: Cascade, services: Services) -> AsyncGenerator[RunEvent]:
    """Ask the cheap candidates. Where an answer is confirmed, `run.answer` is set; else the leader's turn has come."""
    needed = len(cascade.cheap) + (cascade.judge is not None) + 1
    if services.policy.attempts < needed:
        yield run.note(f"no cascade: it may take {needed} attempts, and a run may make {services.policy.attempts}")
        return
    try:
        blank = settlement.blank(run, cascade.strong, services)
        worst = cascade.strong.at(blank.started_at).worst_usd
        run.reserve = await ledger_io.turn(
            lambda: services.ledger.reserve(blank, worst, run.caps(cascade.strong)),
            services,
            until=run.deadline,
        )
    except BudgetExceeded as refused:
        yield run.note(f"no cascade: {refused}")
        return
    run.deliberating = True
    try:
        async with aclosing(_hear(run, cascade, services)) as events:
            async for event in events:
                yield event
        if not run.over:
            async with aclosing(_decide(run, cascade, services)) as events:
                async for event in events:
                    yield event
    finally:
        run.deliberating = False
        run.prelude = len(run.sent)


async def _hear(run: Run, cascade: Cascade, services: Services) -> AsyncGenerator[RunEvent]:
    """Ask the cheap candidates at once. Their answers go to `run.heard`; no text is shown yet."""
    events: asyncio.Queue[tuple[Contestant, RunEvent | None]] = asyncio.Queue()
    contestants = [Contestant(run, candidate, services, events, last=False) for candidate in cascade.cheap]
    names = " and ".join(dict.fromkeys(candidate.model.id for candidate in cascade.cheap))
    try:
        while any(not each.ended for each in contestants):
            who, event = await events.get()
            match event:
                case None:
                    who.ended = True
                    with suppress(asyncio.CancelledError):
                        await who.task
                    if run.over or len(run.heard) < sum(each.ended for each in contestants):
                        for other in contestants:
                            other.task.cancel(_ALONE)
                case AttemptStarted():
                    yield event
                    yield Waiting(reason=f"asking {names} first")
                case TextDelta():
                    pass
                case _ if not _is_unconfirmed(event):
                    yield event
                case _:
                    pass
    finally:
        await all_ended(contestants)


async def _decide(run: Run, cascade: Cascade, services: Services) -> AsyncGenerator[RunEvent]:
    """Keep the first cheap answer, or none, and say why."""
    heard = sorted(run.heard, key=lambda meter: 0 if meter.row is None else meter.row.attempt)
    doubt: _Doubt | None = None
    if len(heard) < len(cascade.cheap):
        doubt = _Doubt(Doubt.UNUSABLE, _ALONE if heard else "no cheap model answered")
    elif any(meter.finished is not None and meter.finished.finish_reason == "length" for meter in heard):
        doubt = _Doubt(Doubt.UNUSABLE, "cut off at the output limit")
    elif cascade.mode == "judge":
        judge = _judge_of(cascade, heard[0], services)
        if judge is not None:
            yield Waiting(reason=f"{judge.candidate.model.id} judges the answer")
            async with aclosing(attempt(run, judge, services)) as events:
                async for event in events:
                    if not isinstance(event, TextDelta) and not _is_unconfirmed(event):
                        yield event
        doubt = _verdict(judge)
        if judge is not None and judge.error is None:
            yield AttemptEnded(attempt=settlement.decided(judge, Outcome.JUDGED, run, services))
    elif cascade.mode in ("agree", "twice"):
        yield Waiting(reason="comparing the answers")
        doubt = await _difference(run, services, *heard)
    elif cascade.mode == "check":
        yield Waiting(reason="checking the answer")
        doubt = await _objection(run, services, heard[0])
    names = " and ".join(dict.fromkeys(candidate.model.id for candidate in cascade.cheap))
    if doubt is not None:
        yield run.note(f"{names}: {doubt.told or doubt.reason}; asked {cascade.strong.model.id}")
        for meter in heard:
            replaced = settlement.decided(
                meter, Outcome.SUPERSEDED, run, services, error=doubt.reason, reason=doubt.kind
            )
            yield AttemptEnded(attempt=replaced)
        return
    for meter in heard[1:]:
        yield AttemptEnded(attempt=settlement.decided(meter, Outcome.AGREED, run, services))
    run.answer = heard[0]
    yield TextDelta(text="".join(heard[0].text))
    yield AttemptEnded(attempt=settlement.decided(heard[0], Outcome.OK, run, services))


@dataclasses.dataclass(frozen=True, slots=True)
class _Doubt:
    """Why a cheap answer is not kept."""

    kind: Doubt
    reason: str
    """For the ledger, which keeps nothing of what was said."""
    told: str = ""
    """For the user, where there is more to say."""


def _is_unconfirmed(event: RunEvent) -> bool:
    return isinstance(event, AttemptEnded) and event.attempt.outcome == Outcome.UNCONFIRMED


async def _difference(run: Run, services: Services, one: AttemptState, other: AttemptState) -> _Doubt | None:
    request = run.plan.request
    first, second = "".join(one.text), "".join(other.text)

    def compare() -> bool:
        return agree(first, second, schema=request.schema, check=request.check)

    same = await _asked_of(compare, run, services) if request.check is not None else compare()
    if isinstance(same, _Doubt):
        return same
    if same:
        return None
    said = (canonical_form(first), canonical_form(second))
    if request.schema is None and all(each.kind in ("number", "label") for each in said):
        return _Doubt(Doubt.DISAGREED, "the answers differ", f"the answers differ ({said[0]}, {said[1]})")
    if request.schema is None and not all(each.comparable for each in said):
        return _Doubt(Doubt.UNUSABLE, "the answers can't be compared")
    return _Doubt(Doubt.DISAGREED, "the answers differ")


async def _objection(run: Run, services: Services, meter: AttemptState) -> _Doubt | None:
    check, text = run.plan.request.check, "".join(meter.text)
    assert check is not None
    said = await _asked_of(lambda: bool(check(text)), run, services)
    if isinstance(said, _Doubt):
        return said
    return None if said else _Doubt(Doubt.CHECK_FAILED, "the check said no")


def _raised(error: BaseException) -> _Doubt:
    reason = f"the check raised {type(error).__name__}"
    try:
        return _Doubt(Doubt.CHECK_FAILED, reason, f"{reason}: {error}")
    except Exception:  # noqa: BLE001 - the user's own error may not even say what it is
        return _Doubt(Doubt.CHECK_FAILED, reason)


def _judge_of(cascade: Cascade, meter: AttemptState, services: Services) -> AttemptState | None:
    """The judge's attempt: the conversation so far, and the question; None where that is too long for it."""
    assert cascade.judge is not None
    more = (Message(role="assistant", content="".join(meter.text)), Message(role="user", content=_ASK_JUDGE))
    candidate = cascade.judge.with_messages(more, services.clock.now())
    if candidate is None:
        return None
    return AttemptState(candidate=candidate, started=services.clock.monotonic(), more=more, judging=True)


def _verdict(judge: AttemptState | None) -> _Doubt | None:
    if judge is None or judge.error is not None:
        why = "the answer is too long for it" if judge is None else str(judge.error)
        return _Doubt(Doubt.UNUSABLE, "the judge could not be asked", f"the judge could not be asked ({why})")
    word = re.match(r"\W*(yes|no)\b", "".join(judge.text), re.IGNORECASE)
    if word is None:
        return _Doubt(Doubt.UNUSABLE, "the judge said neither yes nor no")
    return None if word.group(1).lower() == "yes" else _Doubt(Doubt.JUDGED_BAD, "the judge said no")


async def _asked_of(call: Callable[[], bool], run: Run, services: Services) -> bool | _Doubt:
    """What the user's code says: off the loop, in a thread of its own, in the asker's context. What it raises is a no.

    One that has not ended by the run's deadline keeps nobody waiting.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[bool | _Doubt] = loop.create_future()

    def done(said: bool | _Doubt) -> None:
        if not result.done():
            result.set_result(said)

    def ask() -> None:
        try:
            said = call()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it ends here, and is shown
            said = _raised(error)
        with suppress(RuntimeError):  # the loop may be gone by now
            loop.call_soon_threadsafe(done, said)

    threading.Thread(target=contextvars.copy_context().run, args=(ask,), name="llm_magic check", daemon=True).start()
    try:
        async with asyncio.timeout(max(0.0, run.deadline - services.clock.monotonic())):
            return await result
    except TimeoutError:
        return _Doubt(Doubt.CHECK_FAILED, "the check did not end in time")
