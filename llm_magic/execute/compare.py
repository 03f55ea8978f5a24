"""Several plans at once: all of their money is held before anything is sent, or nothing is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from decimal import Decimal

from llm_magic.budget import Budget, Cap, show_usd
from llm_magic.errors import BudgetExceeded, LLMMagicError
from llm_magic.events import RunEvent, RunFailed
from llm_magic.execute import ledger_io, settlement
from llm_magic.execute.run import execute
from llm_magic.execute.state import Run, Services
from llm_magic.ledger import Reservation
from llm_magic.types import Attempt, Plan


async def compare(
    plans: Mapping[str, Plan], services: Services, *, run_ids: Mapping[str, str], budget: Callable[[], Budget]
) -> AsyncGenerator[tuple[str, RunEvent | RunFailed]]:
    """Run plans of one candidate each, by label, at the same time. Yields their events, each with its label.

    Raises BudgetExceeded where their first attempts do not fit under the caps together. Each run ends with RunEnded
    or with RunFailed; closing the generator cancels and settles them all.
    """
    deadline = services.clock.monotonic() + services.policy.deadline_s
    reserves = await ledger_io.turn(lambda: _reserve(plans, services, run_ids, budget), services, until=deadline)
    events: asyncio.Queue[tuple[str, RunEvent | RunFailed | None]] = asyncio.Queue()

    async def one(label: str, plan: Plan) -> None:
        try:
            running = execute(plan, services, run_id=run_ids[label], budget=budget, reserve=reserves[label])
            async with aclosing(running) as happening:
                async for event in happening:
                    events.put_nowait((label, event))
        except LLMMagicError as error:
            events.put_nowait((label, RunFailed(error=error)))
        finally:
            events.put_nowait((label, None))

    tasks = [asyncio.create_task(one(label, plan)) for label, plan in plans.items()]
    try:
        under_way = len(tasks)
        while under_way:
            label, event = await events.get()
            if event is None:
                under_way -= 1
            else:
                yield label, event
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            for reserve in reserves.values():
                with ledger_io.owed(services):
                    reserve.give_up()


def _reserve(
    plans: Mapping[str, Plan], services: Services, run_ids: Mapping[str, str], budget: Callable[[], Budget]
) -> dict[str, Reservation]:
    """The money for all first attempts, kept back in one transaction. Each attempt makes its own hold of it."""
    asks: list[tuple[Attempt, Decimal, tuple[Cap, ...]]] = []
    for label, plan in plans.items():
        run = Run(id=run_ids[label], plan=plan, budget=budget, started=0.0, deadline=0.0)
        (candidate,) = plan.candidates
        blank = settlement.blank(run, candidate, services)
        asks.append((blank, candidate.at(blank.started_at).worst_usd, run.caps(candidate)))
    try:
        reserves = services.ledger.reserve_all(asks)
    except BudgetExceeded as refused:
        together = sum((worst for _, worst, _ in asks), Decimal(0))
        raise BudgetExceeded(
            f"nothing was sent: together the {len(asks)} models could cost up to {show_usd(together)}. {refused}",
            scope=refused.scope,
            asked_usd=together,
            left_usd=refused.left_usd,
            reachable_usd=refused.reachable_usd,
        ) from refused
    return dict(zip(plans, reserves, strict=True))
