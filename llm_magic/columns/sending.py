"""The next rows to send: planned, within the rate of their model, and with their worst cases reserved."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_magic.budget import Budget
from llm_magic.columns.progress import Progress
from llm_magic.columns.rowplans import RowPlanner
from llm_magic.columns.rows import Item
from llm_magic.columns.steps import record_failure
from llm_magic.errors import BudgetExceeded, LLMMagicError, RequestError
from llm_magic.events import RunEvent
from llm_magic.execute import Executor, Services
from llm_magic.execute.pace import Pace, Ticket
from llm_magic.health import Circuit
from llm_magic.ledger import Reservation
from llm_magic.types import Attempt, Plan, ProviderSpec

if TYPE_CHECKING:
    from llm_magic.ledger.transactions import Write

_MIN_KNOWN_ANSWERS = 5
"""Answers from which the lengths of the others are learned."""
_MIN_OUTPUT_TOKENS = 16

Rejection = Callable[[Plan], LLMMagicError]


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    item: Item
    plan: Plan
    run_id: str
    ticket: Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class Sends:
    """held: rows to send now, with their money. unsendable: rows that failed without being sent.

    refusal: the cap that refuses the first row. is_written: the given changes were written with the holds.
    """

    held: Sequence[tuple[Send, Reservation | None]] = ()
    unsendable: Sequence[Item] = ()
    refusal: BudgetExceeded | None = None
    is_written: bool = False


class Sender:
    """Plans and holds the rows of one column.

    budget: returns the caps, with that of the column. rejection: returns the error for a plan without candidates.
    turn_s: seconds until the rate of the model admits another row; None if it does not limit. refusal: the cap that
    refused a row since the last row ended.
    """

    def __init__(
        self,
        planner: RowPlanner,
        services: Services,
        budget: Callable[[], Budget],
        rejection: Rejection,
        progress: Progress,
    ) -> None:
        self._planner = planner
        self._services = services
        self._executor = Executor(services)
        self._budget = budget
        self._rejection = rejection
        self._progress = progress
        self.turn_s: float | None = None
        self.refusal: BudgetExceeded | None = None

    @property
    def leader_id(self) -> str:
        return self._planner.typical.candidates[0].model.id

    @property
    def has_learned_limit(self) -> bool:
        return self._planner.max_output_tokens is not None

    @property
    def circuit(self) -> Circuit:
        return self._services.circuit(self.leader_id)

    def slots(self, limit: int | None) -> int:
        """Return the number of rows that may be in flight. limit: at most this many."""
        provider = self._planner.typical.candidates[0].model.provider
        maximum = self._services.registry.providers.get(provider, ProviderSpec(name=provider)).concurrency
        return self._pace().concurrency(maximum if limit is None else limit)

    async def take(self, ready: deque[Item], count: int, write: Write) -> Sends:
        """Take up to `count` rows from `ready` that may be sent now. write: writes in the transaction of the holds."""
        planned, unsendable = self._plan(ready, count)
        if not planned or any(send.plan.cascade is not None for send in planned):
            return Sends(held=[(send, None) for send in planned], unsendable=unsendable)
        refusal, made = None, list[Reservation]()
        plans = {send.run_id: send.plan for send in planned}
        try:
            made = await self._executor.hold_all(plans, budget=self._budget, write=write)
        except BudgetExceeded as error:
            refusal = error
        for left in reversed(planned[len(made) :]):
            self._pace().cancel(left.ticket)
            ready.appendleft(left.item)
        if made and len(made) < len(planned):
            self._tighten()
        held = list(zip(planned, made, strict=False))
        return Sends(held=held, unsendable=unsendable, refusal=refusal, is_written=bool(made))

    def run(
        self, send: Send, reservation: Reservation | None, on_settled: Callable[[Attempt], None]
    ) -> AsyncGenerator[RunEvent]:
        return self._executor.execute(
            send.plan,
            run_id=send.run_id,
            budget=self._budget,
            reservation=reservation,
            in_column=True,
            is_displayed=False,
            on_settled=on_settled,
            ticket=None if send.plan.cascade is not None else send.ticket,
        )

    def refuse(self, refusal: BudgetExceeded, *, is_idle: bool) -> None:
        """Wait for rows in flight after a cap has refused one. If none is, lower the limits, or stop the column."""
        self.refusal = refusal
        if is_idle and not self._tighten():
            self._progress.stopped = str(refusal)

    def _plan(self, ready: deque[Item], count: int) -> tuple[list[Send], list[Item]]:
        clock, pace = self._services.clock, self._pace()
        planned, unsendable = list[Send](), list[Item]()
        while ready and len(planned) < count:
            item = ready[0]
            try:
                if isinstance(item.prompt, RequestError):
                    raise item.prompt
                plan = self._planner.plan(item.prompt, clock.now(), is_retry=item.is_second_try)
                if not plan.candidates:
                    raise self._rejection(plan)
            except LLMMagicError as error:
                record_failure(item.record, error)
                unsendable.append(ready.popleft())
                continue
            tokens, now = plan.candidates[0].input_tokens, clock.monotonic()
            if (seconds := pace.wait_s(tokens, now)) > 0:
                self.turn_s = seconds
                break
            ticket = pace.send(tokens, now)
            planned.append(Send(item=ready.popleft(), plan=plan, run_id=uuid.uuid4().hex, ticket=ticket))
        return planned, unsendable

    def _tighten(self) -> bool:
        """Lower the output limit of the next rows to what answers need. Returns True if it is lower now."""
        if self._progress.answered < _MIN_KNOWN_ANSWERS:
            return False
        return self._planner.limit_output(max(_MIN_OUTPUT_TOKENS, 2 * self._progress.longest_tokens))

    def _pace(self) -> Pace:
        model = self._planner.typical.candidates[0].model
        return self._services.paces.of(model.provider, model.id)
