"""Candidate after candidate until one answers, under one deadline and one number of attempts for the whole run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from llm_magic import prices
from llm_magic.budget import Budget, part_line
from llm_magic.events import Planned, RunEnded, RunEvent
from llm_magic.execute import books, outcome
from llm_magic.execute.cascade import ask_cheap_first
from llm_magic.execute.hedge import race
from llm_magic.execute.records import Means, Run
from llm_magic.execute.tries import ask
from llm_magic.ledger import Reserve
from llm_magic.types import Plan


async def execute(
    plan: Plan, means: Means, *, run_id: str, budget: Callable[[], Budget], reserve: Reserve | None = None
) -> AsyncGenerator[RunEvent]:
    """Try the plan's candidates until one answers. Ends with RunEnded, or raises AllAttemptsFailed or BudgetExceeded.

    budget: the caps, whenever money is to be held.
    reserve: what the caller has kept back for the plan's leader.
    Closing the generator, or cancelling its task, cancels the request upstream and settles it.
    """
    started = means.clock.monotonic()
    deadline = started + means.policy.deadline_s
    run = Run(id=run_id, plan=plan, budget=budget, started=started, deadline=deadline, reserve=reserve)
    yield Planned(run_id=run_id, plan=plan)
    if stale := prices.stale(means.clock.now()):
        yield run.note(stale)
    for part in plan.parts:
        yield run.note(part_line(part))
    try:
        if plan.no_cascade:
            yield run.note(f"no cascade: {plan.no_cascade}")
        if plan.cascade is not None:
            async with aclosing(ask_cheap_first(run, plan.cascade, means)) as events:
                async for event in events:
                    yield event
        async with aclosing(_in_turn(run, plan, means)) as events:
            async for event in events:
                yield event
    finally:
        books.free_reserve(run, means)
    if run.answer is None:
        raise outcome.failed(run)
    spent = await books.spent_usd(run, means)
    yield RunEnded(result=outcome.result(run, run.answer, means, session_cost_usd=spent))


async def _in_turn(run: Run, plan: Plan, means: Means) -> AsyncGenerator[RunEvent]:
    """Candidate after candidate, while there is no answer."""
    waiting = list(plan.candidates)
    while waiting and not run.over and run.answer is None and run.may_send(means.policy):
        candidate = waiting.pop(0)
        if plan.request.hedge_s is None or not waiting:
            asking = ask(run, candidate, means, last=not waiting)
        else:
            asking = race(run, candidate, waiting, means, late_s=plan.request.hedge_s)
        async with aclosing(asking) as events:
            async for event in events:
                yield event
