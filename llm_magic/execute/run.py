"""Candidate after candidate until one answers, under one deadline and one number of attempts for the whole run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from llm_magic import prices
from llm_magic.budget import Budget, part_line
from llm_magic.events import Planned, RunEnded, RunEvent
from llm_magic.execute import ledger_io, settlement
from llm_magic.execute.cascade import ask_cheap_first
from llm_magic.execute.hedge import race
from llm_magic.execute.retry import ask
from llm_magic.execute.state import Run, Services
from llm_magic.ledger import Reservation
from llm_magic.types import Plan


async def execute(
    plan: Plan, services: Services, *, run_id: str, budget: Callable[[], Budget], reserve: Reservation | None = None
) -> AsyncGenerator[RunEvent]:
    """Try the plan's candidates until one answers. Ends with RunEnded, or raises AllAttemptsFailed or BudgetExceeded.

    budget: the caps, whenever money is to be held.
    reserve: what the caller has kept back for the plan's leader.
    Closing the generator, or cancelling its task, cancels the request upstream and settles it.
    """
    started = services.clock.monotonic()
    deadline = started + services.policy.deadline_s
    run = Run(id=run_id, plan=plan, budget=budget, started=started, deadline=deadline, reserve=reserve)
    yield Planned(run_id=run_id, plan=plan)
    if stale := prices.stale(services.clock.now()):
        yield run.note(stale)
    for part in plan.extras:
        yield run.note(part_line(part))
    try:
        if plan.no_cascade:
            yield run.note(f"no cascade: {plan.no_cascade}")
        if plan.cascade is not None:
            async with aclosing(ask_cheap_first(run, plan.cascade, services)) as events:
                async for event in events:
                    yield event
        async with aclosing(_in_turn(run, plan, services)) as events:
            async for event in events:
                yield event
    finally:
        ledger_io.free_reserve(run, services)
    if run.answer is None:
        raise settlement.failed(run)
    spent = await ledger_io.spent_usd(run, services)
    yield RunEnded(result=settlement.result(run, run.answer, services, session_cost_usd=spent))


async def _in_turn(run: Run, plan: Plan, services: Services) -> AsyncGenerator[RunEvent]:
    """Candidate after candidate, while there is no answer."""
    waiting = list(plan.candidates)
    while waiting and not run.over and run.answer is None and run.may_send(services.policy):
        candidate = waiting.pop(0)
        if plan.request.hedge_s is None or not waiting:
            asking = ask(run, candidate, services, last=not waiting)
        else:
            asking = race(run, candidate, waiting, services, late_s=plan.request.hedge_s)
        async with aclosing(asking) as events:
            async for event in events:
                yield event
