"""Candidate after candidate until one answers, under one deadline and one number of attempts for the whole run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from decimal import Decimal
from typing import TYPE_CHECKING

from llm_magic import prices
from llm_magic.budget import Budget, Cap, extra_line, show_usd
from llm_magic.errors import BudgetExceeded, LLMMagicError
from llm_magic.events import NoteKind, Planned, RunEnded, RunEvent, RunFailed
from llm_magic.execute import last_resort, ledger_io, settlement
from llm_magic.execute.cascade import ask_cheap_first
from llm_magic.execute.hedge import hedge
from llm_magic.execute.pace import Ticket
from llm_magic.execute.retry import ask, skip_others_of
from llm_magic.execute.services import Services
from llm_magic.execute.state import Run
from llm_magic.ledger import Reservation
from llm_magic.types import Attempt, Outcome, Plan

if TYPE_CHECKING:
    from llm_magic.ledger.transactions import Write


class Executor:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def execute(
        self,
        plan: Plan,
        *,
        run_id: str,
        budget: Callable[[], Budget],
        reservation: Reservation | None = None,
        in_column: bool = False,
        is_displayed: bool = True,
        ticket: Ticket | None = None,
        answer_outcome: Outcome = Outcome.OK,
        on_settled: Callable[[Attempt], None] | None = None,
    ) -> AsyncGenerator[RunEvent]:
        """Try the plan's candidates until one answers. Raises AllAttemptsFailed or BudgetExceeded if none does.

        budget: returns the caps; called for each hold. reservation: money set aside for the plan's leader.
        in_column: the run answers a row of a column. is_displayed: the answer is displayed as it arrives; otherwise a
        short one is requested in one piece. ticket: of its first request, for which the caller has waited.
        answer_outcome: `shadow` or `judged` for the requests of a shadow run.
        on_settled: called with each settled attempt, also a canceled one.
        Closing the generator, or canceling its task, cancels the request upstream and settles it.
        """
        run = self._new_run(plan, run_id, budget)
        run.reservation, run.in_column, run.ticket = reservation, in_column, ticket
        run.is_displayed, run.answer_outcome, run.on_settled = is_displayed, answer_outcome, on_settled
        yield Planned(run_id=run_id, plan=plan)
        if stale := prices.staleness_warning(self._services.clock.now()):
            yield run.note(NoteKind.STALE_PRICES, stale)
        for extra in plan.extras:
            yield run.note(NoteKind.EXTRA, extra_line(extra))
        if plan.no_cascade:
            yield run.note(NoteKind.NO_CASCADE, f"no cascade: {plan.no_cascade}")
        try:
            if plan.cascade is not None:
                async with aclosing(ask_cheap_first(run, plan.cascade)) as events:
                    async for event in events:
                        yield event
            async with aclosing(_ask_in_order(run)) as events:
                async for event in events:
                    yield event
        finally:
            ledger_io.release_reservation(run)
        if run.answer is None:
            raise settlement.failure(run)
        if stand_in := last_resort.note(run, run.answer.candidate):
            yield run.note(NoteKind.LAST_RESORT, stand_in)
        elif objections := last_resort.objections(run, run.answer.candidate):
            yield run.note(NoteKind.PASSED_OVER, objections)
        spent_usd = await ledger_io.session_cost_usd(run)
        yield RunEnded(result=settlement.result(run, run.answer, session_cost_usd=spent_usd))

    async def hold_all(
        self,
        plans: Mapping[str, Plan],
        *,
        budget: Callable[[], Budget],
        write: Write | None = None,
    ) -> list[Reservation]:
        """Reserve the worst cases of the leaders of these plans, by run id, in one transaction.

        write: writes other changes in the same transaction. Returns the reservations of the first plans, as many as
        fit. Raises BudgetExceeded if the first one does not; nothing is written then.
        """
        services = self._services
        return await ledger_io.when_unlocked(
            lambda: services.ledger.hold_all(
                [self._hold_request(plan, run_id, budget) for run_id, plan in plans.items()], write
            ),
            services,
            until=services.clock.monotonic() + services.policy.deadline_s,
            undo=self._release_all,
        )

    async def compare(
        self, plans: Mapping[str, Plan], *, run_ids: Mapping[str, str], budget: Callable[[], Budget]
    ) -> AsyncGenerator[tuple[str, RunEvent | RunFailed]]:
        """Execute plans of one candidate each, by label, at the same time. Yields their events, each with its label.

        The worst case of every first attempt is reserved in one transaction, before anything is sent. Raises
        BudgetExceeded if they do not fit together. Each run ends with RunEnded or with RunFailed; closing the
        generator cancels and settles them all.
        """
        services = self._services
        deadline = services.clock.monotonic() + services.policy.deadline_s
        reservations = await ledger_io.when_unlocked(
            lambda: self._reserve_all(plans, run_ids, budget),
            services,
            until=deadline,
            undo=lambda made: self._release_all(made.values()),
        )
        events: asyncio.Queue[tuple[str, RunEvent | RunFailed | None]] = asyncio.Queue()

        async def run_one(label: str, plan: Plan) -> None:
            running = self.execute(plan, run_id=run_ids[label], budget=budget, reservation=reservations[label])
            try:
                async with aclosing(running) as run_events:
                    async for event in run_events:
                        events.put_nowait((label, event))
            except LLMMagicError as error:
                events.put_nowait((label, RunFailed(error=error)))
            finally:
                events.put_nowait((label, None))

        tasks = [asyncio.create_task(run_one(label, plan)) for label, plan in plans.items()]
        try:
            running = len(tasks)
            while running:
                label, event = await events.get()
                if event is None:
                    running -= 1
                else:
                    yield label, event
            await asyncio.gather(*tasks)
        finally:
            await self._stop(tasks, reservations)

    async def _stop(self, tasks: list[asyncio.Task[None]], reservations: Mapping[str, Reservation]) -> None:
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._release_all(reservations.values())

    def _release_all(self, reservations: Iterable[Reservation]) -> None:
        for reservation in reservations:
            with ledger_io.settling(self._services):
                reservation.release()

    def _new_run(self, plan: Plan, run_id: str, budget: Callable[[], Budget]) -> Run:
        started = self._services.clock.monotonic()
        policy = self._services.policy
        limit_s = max(policy.deadline_s, policy.flex_deadline_s) if plan.request.flex else policy.deadline_s
        return Run(
            id=run_id,
            plan=plan,
            services=self._services,
            budget=budget,
            started=started,
            deadline=started + limit_s,
            ledger_notices=self._services.ledger.notices.delivered,
        )

    def _hold_request(
        self, plan: Plan, run_id: str, budget: Callable[[], Budget]
    ) -> tuple[Attempt, Decimal, tuple[Cap, ...]]:
        run, candidate = self._new_run(plan, run_id, budget), plan.candidates[0]
        row = settlement.pending_row(run, candidate)
        return row, candidate.at(row.started_at).worst_usd, run.caps(candidate)

    def _reserve_all(
        self, plans: Mapping[str, Plan], run_ids: Mapping[str, str], budget: Callable[[], Budget]
    ) -> dict[str, Reservation]:
        asks = [self._hold_request(plan, run_ids[label], budget) for label, plan in plans.items()]
        try:
            reservations = self._services.ledger.reserve_all(asks)
        except BudgetExceeded as error:
            total_usd = sum((worst_usd for _, worst_usd, _ in asks), Decimal(0))
            raise BudgetExceeded(
                f"nothing was sent: together the {len(asks)} models could cost up to {show_usd(total_usd)}. {error}",
                scope=error.scope,
                asked_usd=total_usd,
                left_usd=error.left_usd,
                reachable_usd=error.reachable_usd,
            ) from error
        return dict(zip(plans, reservations, strict=True))


async def _ask_in_order(run: Run) -> AsyncGenerator[RunEvent]:
    waiting, hedge_s = list(run.plan.candidates), run.plan.request.hedge_s
    while waiting and not run.exhausted and run.answer is None and run.may_send:
        waiting.sort(key=lambda candidate: candidate.model.provider in run.out)  # stable
        for event in skip_others_of(run, waiting):
            yield event
        candidate = waiting.pop(0)
        if hedge_s is None or not waiting:
            asking = ask(run, candidate, last=not waiting)
        else:
            asking = hedge(run, candidate, waiting, after_s=hedge_s)
        async with aclosing(asking) as events:
            async for event in events:
                yield event
