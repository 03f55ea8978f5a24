"""The pace of a run: rows of a column wait for their turn, and every request is counted."""

from __future__ import annotations

from llm_magic.errors import RateLimited
from llm_magic.execute.pace import Pace, Ticket
from llm_magic.execute.state import Answered, AttemptState, Failed, Run


def wait_s(run: Run, state: AttemptState) -> float:
    """Return the seconds that a row must wait for its turn; 0 for other runs, and for a row that has waited."""
    if not run.in_column or run.ticket is not None:
        return 0.0
    return _pace(run, state).wait_s(state.candidate.input_tokens, run.services.clock.monotonic())


async def wait_for_turn(run: Run, state: AttemptState) -> None:
    """Wait until the request may be sent, and count it. One row at a time looks at the clock."""
    clock, pace = run.services.clock, _pace(run, state)
    async with run.services.pace_lock():
        while (seconds := pace.wait_s(state.candidate.input_tokens, clock.monotonic())) > 0 and run.time_left_s > 0:
            await clock.sleep(seconds)
        run.ticket = pace.send(state.candidate.input_tokens, clock.monotonic())


def ticket_of(run: Run, state: AttemptState) -> Ticket:
    ticket, run.ticket = run.ticket, None
    return ticket or _pace(run, state).send(state.candidate.input_tokens, run.services.clock.monotonic())


def ended(run: Run, state: AttemptState, ticket: Ticket) -> None:
    pace = _pace(run, state)
    if state.rate_limits is not None:
        pace.stated(state.rate_limits, ticket)
    if isinstance(state.result, Failed) and isinstance(state.result.error, RateLimited):
        pace.rate_limited(ticket, state.result.error.retry_after_s, run.services.clock.monotonic())
    elif isinstance(state.result, Answered) and state.report is not None:
        usage = state.report.usage
        pace.answered(ticket, usage.input_tokens, usage.output_tokens)


def _pace(run: Run, state: AttemptState) -> Pace:
    model = state.candidate.model
    return run.services.paces.of(model.provider, model.id)
