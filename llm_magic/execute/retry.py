"""The tries on one candidate: again after a transient error, and once to repair an answer that does not fit its schema.

No retry library fits: every try needs a hold before it and a row after it, every wait is an event, and one deadline and
one number of attempts bound the whole run.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from llm_magic.errors import BudgetExceeded, InvalidAnswer, ProviderError, TimedOut
from llm_magic.events import CandidateSkipped, NoteKind, RunEvent, Waiting
from llm_magic.execute.attempt import attempt
from llm_magic.execute.state import Answered, AttemptState, Failed, NotSent, Run
from llm_magic.types import Candidate, Message

_MAX_REQUESTED_COOL_DOWN_S = 3600.0


async def ask(run: Run, candidate: Candidate, *, last: bool) -> AsyncGenerator[RunEvent]:
    """Ask one candidate until it answers, which `run.accept` records, or its tries are used up.

    The last candidate of a plan is asked even if its circuit is open.
    """
    model_id, health = candidate.model.id, run.services.health
    must_ask = last or candidate.cooling
    caller = object()
    if not health.acquire(model_id, caller) and not must_ask:
        yield _skip(run, model_id, health.circuit(model_id).blocked_reason or "")
        return
    state = run.new_attempt(candidate)
    tries = 0
    try:
        while True:
            async with aclosing(attempt(run, state)) as events:
                async for event in events:
                    yield event
            match state.result:
                case NotSent(error):
                    run.errors.append(error)
                    run.exhausted = run.exhausted or isinstance(error, TimedOut)
                    yield _skip(run, model_id, "over budget" if isinstance(error, BudgetExceeded) else str(error))
                    return
                case Failed(error):
                    tries += 1
                    wait_s = None if _was_silent(state, error) else _wait_s(run, error, tries)
                    _record_failure(run, model_id, error, gave_up=wait_s is None)
                    if run.exhausted or not run.may_send:
                        return
                    if (repair := _repair(run, state, error)) is not None:
                        tries -= 1
                        yield run.note(NoteKind.REPAIR, f"{model_id}: {error}; asked once to fix it")
                        state = repair
                        continue
                    is_down = health.circuit(model_id).state == "open" and not must_ask
                    if wait_s is None or is_down or wait_s >= run.time_left_s:
                        return
                    yield Waiting(reason=f"{model_id}: {error.outcome.words}, trying again", seconds=wait_s)
                    await run.services.clock.sleep(wait_s)
                    state = run.new_attempt(state.candidate, state.messages)
                case Answered() | None:
                    run.accept(state)
                    health.succeeded(model_id)
                    return
    finally:
        health.release(model_id, caller)


def _skip(run: Run, model_id: str, reason: str) -> CandidateSkipped:
    run.skipped[model_id] = reason
    return CandidateSkipped(model_id=model_id, reason=reason)


def _record_failure(run: Run, model_id: str, error: ProviderError, *, gave_up: bool) -> None:
    """Count a failed request against the model's circuit, and mark the run as exhausted if nothing can follow."""
    run.errors.append(error)
    out_of_time = run.time_left_s <= 0
    if error.cools_down and not out_of_time:
        requested_s = min(error.retry_after_s or 0.0, _MAX_REQUESTED_COOL_DOWN_S)
        run.services.health.failed(model_id, gave_up=gave_up, at_least_s=requested_s)
    if out_of_time or not error.falls_back:
        run.exhausted = True


def _was_silent(state: AttemptState, error: ProviderError) -> bool:
    """True for a timeout before any text: the same request may be silent, and billed, again."""
    return isinstance(error, TimedOut) and state.was_sent and state.first_token_at is None


def _wait_s(run: Run, error: ProviderError, tries: int) -> float | None:
    policy = run.services.policy
    if not error.retryable or tries >= policy.tries:
        return None
    retry_after_s = error.retry_after_s or 0.0
    if retry_after_s > policy.retry_after_cap_s:
        return None
    backoff_s = min(policy.backoff_cap_s, policy.backoff_s * 2 ** (tries - 1)) * run.services.clock.jitter()
    return max(backoff_s, retry_after_s)


def _repair(run: Run, state: AttemptState, error: ProviderError) -> AttemptState | None:
    if run.repaired or not isinstance(error, InvalidAnswer) or not state.answer_text.strip():
        return None
    reason = f"{error} ({error.hint})" if error.hint else str(error)
    instruction = f"That answer can't be used: {reason}. Answer again with the corrected JSON only."
    messages = (
        Message(role="assistant", content=state.answer_text),
        Message(role="user", content=instruction),
    )
    candidate = state.candidate.with_messages(messages, run.services.clock.now())
    if candidate is None:
        return None
    run.repaired = True
    return run.new_attempt(candidate, messages)
