"""The tries on one candidate: again after what may pass, once more to mend an answer that does not fit its schema.

The retry loop is our own: every try needs a hold before it and a row after it, every wait is an event that somebody
watches, and one deadline and one number of attempts bound the whole run, which no retry library's per-call loop knows.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from llm_magic.errors import BudgetExceeded, InvalidAnswer, ProviderError, TimedOut
from llm_magic.events import RunEvent, Waiting
from llm_magic.execute.attempt import attempt
from llm_magic.execute.state import AttemptState, Clock, RetryPolicy, Run, Services
from llm_magic.types import Candidate, Message


async def ask(run: Run, candidate: Candidate, services: Services, *, last: bool) -> AsyncGenerator[RunEvent]:
    """Ask one candidate until it answers (then `run.answer` is set) or its tries are used up.

    The last candidate of all is asked even where its circuit is open: there is nobody else.
    """
    clock, policy, health = services.clock, services.policy, services.health
    model_id = candidate.model.id
    asker = object()
    if not health.enter(model_id, asker) and not (last or candidate.cooling):
        run.passed[model_id] = health.circuit(model_id).blocked or ""
        return
    nth, more = 1, ()
    try:
        while True:
            meter = AttemptState(candidate=candidate, started=clock.monotonic(), more=more)
            async with aclosing(attempt(run, meter, services)) as events:
                async for event in events:
                    yield event
            error = meter.error
            if error is None:
                run.deliver(meter)
                health.succeeded(model_id)
                return
            run.errors.append(error)
            if meter.row is None:
                run.passed[model_id] = "over budget" if isinstance(error, BudgetExceeded) else str(error)
                run.over = run.over or isinstance(error, TimedOut)
                return
            assert isinstance(error, ProviderError)
            out_of_time = clock.monotonic() >= run.deadline
            wait = _wait_s(error, nth, policy, clock)
            if error.cools_down and not out_of_time:
                asked = min(error.retry_after_s or 0.0, 3600.0)
                health.failed(model_id, gave_up=wait is None, at_least_s=asked)
            if out_of_time or not error.falls_back:
                run.over = True
                return
            if not run.may_send(policy):
                return
            mended = _mending(run, meter, error, services)
            if mended is not None:
                run.repaired = True
                candidate, more = mended
                yield run.note(f"{model_id}: {error}; asked once to mend it")
                continue
            given_up = health.circuit(model_id).state == "open" and not last and not candidate.cooling
            if wait is None or given_up or clock.monotonic() + wait >= run.deadline:
                return
            yield Waiting(reason=f"{model_id}: {error.outcome.replace('_', ' ')}, trying again", seconds=wait)
            await clock.sleep(wait)
            nth += 1
    finally:
        health.left(model_id, asker)


def _wait_s(error: ProviderError, nth: int, policy: RetryPolicy, clock: Clock) -> float | None:
    """Seconds to wait before the same candidate is tried again; None: go to the next."""
    if not error.retryable or nth >= policy.tries:
        return None
    if (asked := error.retry_after_s) is not None and asked > policy.retry_after_cap_s:
        return None
    backoff = min(policy.backoff_cap_s, policy.backoff_s * 2 ** (nth - 1)) * clock.jitter()
    return max(backoff, error.retry_after_s or 0.0)


def _mending(
    run: Run, meter: AttemptState, error: ProviderError, services: Services
) -> tuple[Candidate, tuple[Message, ...]] | None:
    """The candidate with its own answer and what is wrong with it to send along; None where that was done before."""
    text = "".join(meter.text)
    if run.repaired or not isinstance(error, InvalidAnswer) or not text.strip():
        return None
    reason = f"{error} ({error.hint})" if error.hint else str(error)
    asked = f"That answer can't be used: {reason}. Answer again with the corrected JSON only."
    more = (Message(role="assistant", content=text), Message(role="user", content=asked))
    longer = meter.candidate.with_messages(more, services.clock.now())
    return None if longer is None else (longer, more)
