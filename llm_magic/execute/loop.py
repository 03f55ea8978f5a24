"""Each candidate, each try: hold, send, stream, settle.

The retry loop is our own: every try needs a hold before it and a row after it, every wait is an event that somebody
watches, and one deadline and one number of attempts bound the whole run, which no retry library's per-call loop knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from llm_magic import plan as planning
from llm_magic.budget import Budget
from llm_magic.errors import BudgetExceeded, ProviderError, TimedOut
from llm_magic.events import AttemptEnded, AttemptStarted, Planned, Progress, RunEnded, RunEvent, TextDelta, Waiting
from llm_magic.execute import outcome
from llm_magic.execute.records import Clock, Means, Meter, RetryPolicy, Run
from llm_magic.ledger import Hold
from llm_magic.providers.base import Finished, ProviderRequest, UsageReport
from llm_magic.types import Attempt, Candidate, Plan


async def execute(plan: Plan, means: Means, *, run_id: str, budget: Budget) -> AsyncGenerator[RunEvent]:
    """Try the plan's candidates until one answers. Ends with RunEnded, or raises AllAttemptsFailed or BudgetExceeded.

    Closing the generator, or cancelling its task, cancels the request upstream and settles it.
    """
    clock, policy = means.clock, means.policy
    started = clock.monotonic()
    run = Run(id=run_id, plan=plan, budget=budget, started=started, deadline=started + policy.deadline_s)
    yield Planned(run_id=run_id, plan=plan)
    for candidate in plan.candidates:
        for nth in range(1, policy.tries + 1):
            async with aclosing(_attempt(run, candidate, means)) as events:
                async for event in events:
                    yield event
            if run.answer is not None:
                means.health.recovered(candidate.model.id)
                yield RunEnded(result=outcome.result(run, run.answer, means))
                return
            error = run.errors[-1]
            if isinstance(error, BudgetExceeded):
                break
            assert isinstance(error, ProviderError)
            spent_out = len(run.attempts) >= policy.attempts or clock.monotonic() >= run.deadline
            if spent_out or not error.falls_back:
                raise outcome.failed(run)
            wait = _wait_s(error, nth, policy, clock)
            if wait is None or clock.monotonic() + wait >= run.deadline:
                if error.cools_down:
                    means.health.cool(candidate.model.id, max(policy.cool_down_s, min(error.retry_after_s or 0, 3600)))
                break
            yield Waiting(reason=f"{candidate.model.id}: {error.outcome.replace('_', ' ')}, trying again", seconds=wait)
            await clock.sleep(wait)
    raise outcome.failed(run)


def _wait_s(error: ProviderError, nth: int, policy: RetryPolicy, clock: Clock) -> float | None:
    """Seconds to wait before the same candidate is tried again; None: go to the next."""
    if not error.retryable or nth >= policy.tries:
        return None
    if (asked := error.retry_after_s) is not None and asked > policy.retry_after_cap_s:
        return None
    backoff = min(policy.backoff_cap_s, policy.backoff_s * 2 ** (nth - 1)) * clock.jitter()
    return max(backoff, error.retry_after_s or 0.0)


async def _attempt(run: Run, candidate: Candidate, means: Means) -> AsyncGenerator[RunEvent]:
    """One request: reserve, send, stream, settle. Leaves its row in the ledger, and its outcome in `run`."""
    slot = means.slots[candidate.model.provider]
    if slot.locked():
        yield Waiting(reason=f"queued: {candidate.model.provider} has as many requests under way as it may have")
    async with slot:
        blank = outcome.blank(run, candidate, means)
        try:
            candidate, hold = _hold(run, blank, candidate, means)
        except BudgetExceeded as refused:
            run.errors.append(refused)
            return
        meter = Meter(candidate=candidate, started=means.clock.monotonic())
        ended, error = "error", None
        with hold:
            try:
                yield AttemptStarted(attempt=blank.attempt, candidate=candidate)
                async with aclosing(_stream(run, meter, means)) as events:
                    async for event in events:
                        yield event
                outcome.check(meter, run.plan)
                ended = "ok"
            except ProviderError as caught:
                ended, error = caught.outcome, caught
            except (asyncio.CancelledError, GeneratorExit):
                ended = "cancelled"
                raise
            finally:
                settled = outcome.settled(blank, meter, ended, error, run.plan, means)
                hold.settle(settled)
                run.attempts.append(settled)
        if error is None:
            run.answer = meter
        else:
            run.errors.append(error)
        yield AttemptEnded(attempt=settled)


def _hold(run: Run, blank: Attempt, candidate: Candidate, means: Means) -> tuple[Candidate, Hold]:
    """The candidate as it can be afforded at this very moment, and the hold for it. Raises BudgetExceeded."""
    while True:
        try:
            return candidate, means.ledger.hold(blank, candidate.worst_usd, run.caps(candidate))
        except BudgetExceeded as refused:
            # Others hold what was free when the plan was made: ask for less, while there is less to ask for.
            smaller = planning.refit(candidate, refused.left_usd, blank.started_at)
            if smaller is None or smaller.max_output_tokens >= candidate.max_output_tokens:
                raise
            candidate = smaller


async def _stream(run: Run, meter: Meter, means: Means) -> AsyncGenerator[TextDelta | Progress]:
    """Send the request and pass on what comes, metering it. No wait for the next event is unbounded."""
    request = run.plan.request
    provider = means.providers[meter.candidate.model.provider]
    stream = provider.stream(
        ProviderRequest(
            model=meter.candidate.model,
            messages=planning.messages_of(request),
            system=request.system,
            max_output_tokens=meter.candidate.max_output_tokens,
            schema=request.schema,
        )
    )
    waiting_on_us = False
    async with aclosing(stream):
        while True:
            asked = means.clock.monotonic()
            silence = means.policy.first_token_s if meter.first_token is None else means.policy.between_tokens_s
            limit = None if waiting_on_us else max(0.0, min(silence, run.deadline - asked))
            try:
                async with asyncio.timeout(limit):
                    event = await anext(stream, None)
            except TimeoutError as error:
                where = "before the first token" if meter.first_token is None else "in mid-answer"
                raise TimedOut(f"no sign of life for {limit:.0f} s {where}") from error
            if waiting_on_us:
                run.deadline += means.clock.monotonic() - asked
            waiting_on_us = isinstance(event, Progress) and not event.done
            match event:
                case None:
                    return
                case TextDelta():
                    if meter.first_token is None:
                        meter.first_token = means.clock.monotonic()
                    meter.text.append(event.text)
                    yield event
                case Progress():
                    yield event
                case UsageReport():
                    meter.report = event
                case Finished():
                    meter.finished = event
