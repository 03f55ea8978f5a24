"""The tries on one candidate: again after a transient error, and again in another form if that may help.

No retry library fits: every try needs a hold before it and a row after it, every wait is an event, and one deadline and
one number of attempts bound the whole run.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing

from llm_magic.errors import BudgetExceeded, ProviderError, RateLimited, Refused, Scope, TimedOut
from llm_magic.events import CandidateSkipped, NoteKind, RunEvent, Waiting
from llm_magic.execute.attempt import attempt
from llm_magic.execute.correction import correction
from llm_magic.execute.state import Answered, AttemptState, Failed, NotSent, Run
from llm_magic.types import Candidate, Outcome

_MAX_REQUESTED_COOL_DOWN_S = 3600.0
_PROVIDERS_THAT_AGREE = 2
_NO_FLEX_CAPACITY = (Outcome.RATE_LIMITED, Outcome.OVERLOADED)
_MAX_PACED_WAIT_S = 120.0


async def ask(run: Run, candidate: Candidate, *, last: bool) -> AsyncGenerator[RunEvent]:
    """Ask one candidate until it answers, which `run.accept` records, or its tries are used up.

    The last candidate of a plan is asked even if its circuit is open.
    """
    model_id, services = candidate.model.id, run.services
    if reason := run.passed_over(candidate.model.provider):
        yield _skip(run, model_id, reason)
        return
    must_ask = last or candidate.cooling or candidate.model.provider in run.out
    caller = object()
    circuit = services.circuit(model_id)
    if (circuit.blocked_reason or not services.health.acquire(model_id, caller)) and not must_ask:
        yield _skip(run, model_id, services.circuit(model_id).blocked_reason or "")
        return
    if (limit := services.output_limits.get(model_id)) is not None:
        candidate = candidate.with_output_limit(limit, services.clock.now())
    run.skipped.pop(model_id, None)
    try:
        async with aclosing(_try(run, candidate, must_ask=must_ask)) as events:
            async for event in events:
                yield event
    finally:
        services.health.release(model_id, caller)


async def _try(run: Run, candidate: Candidate, *, must_ask: bool) -> AsyncGenerator[RunEvent]:
    model_id, services = candidate.model.id, run.services
    state = run.new_attempt(candidate)
    tries = flex_tries = 0
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
                run.errors.append(error)
                run.exhausted = run.exhausted or run.time_left_s <= 0
                if run.exhausted:
                    return
                if run.may_send and (corrected := correction(run, state, error)) is not None:
                    note, state = corrected
                    yield note
                    continue
                if state.is_flex and run.may_send and error.outcome in _NO_FLEX_CAPACITY:
                    flex_tries += 1
                    async with aclosing(_after_flex(run, state, error, flex_tries)) as events:
                        async for event in events:
                            yield event
                    state = run.new_attempt(state.candidate, state.messages)
                    continue
                tries += not _is_paced(run, error)
                wait_s = None if _was_silent(state, error) else _wait_s(run, error, tries)
                _follow(run, state, error, gave_up=wait_s is None)
                is_down = services.circuit(model_id).state == "open" and not must_ask
                if run.exhausted or not run.may_send or wait_s is None or is_down or wait_s >= run.time_left_s:
                    return
                yield Waiting(reason=f"{model_id}: {error.outcome.words}, trying again", seconds=wait_s)
                await services.clock.sleep(wait_s)
                state = run.new_attempt(state.candidate, state.messages)
            case Answered() | None:
                run.accept(state)
                services.health.succeeded(model_id)
                services.outages.ended(state.candidate.model.provider)
                return


async def _after_flex(run: Run, state: AttemptState, error: ProviderError, flex_tries: int) -> AsyncGenerator[RunEvent]:
    """Wait before a second request to the flex tier, and take the standard tier of the same model after that."""
    model_id, policy = state.candidate.model.id, run.services.policy
    wait_s = max(policy.flex_wait_s, error.retry_after_s or 0.0)
    if flex_tries == 1 and wait_s < run.time_left_s / 2:
        yield Waiting(reason=f"{model_id}: the flex tier has no capacity, trying again", seconds=wait_s)
        await run.services.clock.sleep(wait_s)
        return
    run.without_flex.add(model_id)
    yield run.note(NoteKind.NO_FLEX, f"{model_id}: the flex tier has no capacity; asked at the standard tier")


def skip_others_of(run: Run, waiting: Sequence[Candidate]) -> Iterator[CandidateSkipped]:
    if waiting[0].model.provider in run.out:
        return
    for candidate in waiting:
        model_id, reason = candidate.model.id, run.out.get(candidate.model.provider)
        if reason is not None and model_id not in run.skipped:
            yield _skip(run, model_id, f"{candidate.model.provider}: {reason}")


def _skip(run: Run, model_id: str, reason: str) -> CandidateSkipped:
    run.skipped[model_id] = reason
    return CandidateSkipped(model_id=model_id, reason=reason)


def _follow(run: Run, state: AttemptState, error: ProviderError, *, gave_up: bool) -> None:
    """Record what an error says about the model, its provider or the request.

    gave_up: the model is not tried again in this run.
    """
    model, services = state.candidate.model, run.services
    if error.cools_down and not (_is_paced(run, error) and not gave_up):
        requested_s = min(error.retry_after_s or 0.0, _MAX_REQUESTED_COOL_DOWN_S)
        services.health.failed(model.id, gave_up=gave_up and not run.in_column, at_least_s=requested_s)
    if not gave_up:
        return
    if error.scope is Scope.PROVIDER:
        provider = model.provider
        run.out[provider] = reason = f"{error.outcome.words} ({error})"
        services.outages.report(provider, reason, account=services.account(provider), for_s=error.retry_after_s)
    elif error.scope is Scope.REQUEST:
        providers = run.refused_by if isinstance(error, Refused) else run.rejected_by
        providers.add(model.provider)
        is_final = isinstance(error, Refused) and run.plan.request.on_refusal == "stop"
        run.exhausted = is_final or len(providers) == _PROVIDERS_THAT_AGREE


def _is_paced(run: Run, error: ProviderError) -> bool:
    """True if the shared pace of columns answers the error, which does not mean that the model is down."""
    return run.in_column and isinstance(error, RateLimited)


def _was_silent(state: AttemptState, error: ProviderError) -> bool:
    """True for a timeout before any text: the same request may be silent, and billed, again."""
    return isinstance(error, TimedOut) and state.was_sent and state.first_token_at is None


def _wait_s(run: Run, error: ProviderError, tries: int) -> float | None:
    policy = run.services.policy
    if not error.retryable or tries >= policy.tries:
        return None
    retry_after_s = error.retry_after_s or 0.0
    if _is_paced(run, error):
        return 0.0 if retry_after_s <= _MAX_PACED_WAIT_S else None
    if retry_after_s > policy.retry_after_cap_s:
        return None
    backoff_s = min(policy.backoff_cap_s, policy.backoff_s * 2 ** (tries - 1)) * run.services.clock.jitter()
    return max(backoff_s, retry_after_s)
