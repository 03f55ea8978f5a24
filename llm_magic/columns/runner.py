"""Execution of a column: rows are claimed, held, sent, and kept, as many at a time as limits and caps allow."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from llm_magic.budget import Budget
from llm_magic.columns.keep import Claims, ColumnStore
from llm_magic.columns.progress import Progress
from llm_magic.columns.records import MISSING
from llm_magic.columns.rowplans import RowPlanner
from llm_magic.columns.rows import Item
from llm_magic.columns.steps import next_or_turn, record_failure, take
from llm_magic.errors import BudgetExceeded, LLMMagicError
from llm_magic.events import AttemptEnded, RunEnded
from llm_magic.execute import Executor, Services, ledger_io
from llm_magic.execute.pace import Pace, Ticket
from llm_magic.ledger import Reservation
from llm_magic.types import Outcome, Plan, ProviderSpec, RouteResult

CLAIMED_ROWS = 64
_BUSY_POLL_S = 0.5
_RENEW_S = 60.0
_MAX_PAUSE_S = 120.0
"""A column waits at most this long in all for a model that is cooling down. Then it asks the next candidate."""
_TRANSIENT = (Outcome.RATE_LIMITED, Outcome.OVERLOADED, Outcome.SERVER_ERROR, Outcome.CONNECTION_FAILED)
MIN_KNOWN_ANSWERS = 10
"""Answers from which the lengths of the others are learned."""

Rejection = Callable[[Plan], LLMMagicError]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Send:
    item: Item
    plan: Plan
    run_id: str
    ticket: Ticket


class Runner:
    """Runs the rows of one column on the private loop.

    budget: returns the caps, with that of the column. rejection: says why a plan has no candidates.
    """

    def __init__(
        self,
        column_id: str,
        planner: RowPlanner,
        store: ColumnStore,
        services: Services,
        budget: Callable[[], Budget],
        rejection: Rejection,
        *,
        progress: Progress,
        keep_s: float | None,
    ) -> None:
        self.id = column_id
        self.progress = progress
        self._planner = planner
        self._store = store
        self._services = services
        self._budget = budget
        self._rejection = rejection
        self._keep_s = keep_s
        self._executor = Executor(services)
        self._ready: deque[Item] = deque()
        self._busy: list[Item] = []
        self._again: list[Item] = []
        self._ended: asyncio.Queue[Item] = asyncio.Queue()
        self._sent: dict[str, tuple[Item, asyncio.Task[None]]] = {}
        self._unsendable: list[Item] = []
        self._open: dict[str, Item] = {}
        self._paused_s = 0.0
        self._refusal: BudgetExceeded | None = None
        self._turn_s: float | None = None
        self._renewed_at = services.clock.monotonic()

    async def ask(self, items: AsyncIterator[Item], *, limit: int | None = None) -> AsyncGenerator[Item]:
        """Ask rows, and yield each as it ends, with its record up to date. limit: on the rows in flight."""
        try:
            while True:
                for item in await self._claim(items):
                    yield item
                await self._send(limit)
                if self._sent or self._unsendable:
                    for item in await self._next_ended():
                        yield item
                elif self.progress.stopped or not (self._ready or self._busy or self._again):
                    return
                elif self._turn_s is not None and self._ready:
                    seconds, self._turn_s = self._turn_s, None
                    await self._wait(seconds, f"at the limit of the rate of {self._leader_id()}")
                elif not self._ready and self._busy:
                    await self._wait(_BUSY_POLL_S, "another column is asking these rows")
                elif not self._ready:
                    self._ready.extend(self._again)
                    self._again.clear()
        finally:
            await self._stop()

    async def _claim(self, items: AsyncIterator[Item]) -> list[Item]:
        if self._ready or self.progress.stopped:
            return []
        taken = [*self._busy, *[item async for item in take(items, CLAIMED_ROWS)]]
        done = [item for item in taken if item.record.outcome == MISSING]
        claimed = self._joined([item for item in taken if item.record.outcome != MISSING])
        self._busy = []
        if not taken:
            return []
        claims: Claims = await self._with_ledger(lambda: self._store.claim(self.id, [item.key for item in claimed]))
        for item in claimed:
            if (kept := claims.answered.get(item.key)) is not None:
                item.record.take(kept)
                self.progress.resumed += item.key not in claims.own
                done.append(item)
            elif item.key in claims.busy:
                self._busy.append(item)
            else:
                self._ready.append(item)
                self._open[item.key] = item
        await self._save(done)
        return done

    def _joined(self, items: Sequence[Item]) -> list[Item]:
        others: dict[str, Item] = {}
        for item in items:
            first = self._open.get(item.key) or others.get(item.key)
            if first is None:
                others[item.key] = item
            elif first is not item:
                first.cells += item.cells
        return list(others.values())

    async def _send(self, limit: int | None) -> None:
        room = (self._concurrency() if limit is None else limit) - len(self._sent)
        if room <= 0 or not self._ready or self.progress.stopped or (self._refusal and self._sent):
            return
        circuit, pace = self._services.circuit(self._leader_id()), self._pace()
        if circuit.state == "open" and self._paused_s < _MAX_PAUSE_S:
            if not self._sent:
                self._paused_s += circuit.remaining_s
                await self._wait(circuit.remaining_s, f"{self._leader_id()} is cooling down after failures")
            return
        if circuit.state == "half_open":
            room = min(room, 1 - len(self._sent))
        sends = self._sends(min(room, pace.concurrency(room + len(self._sent)) - len(self._sent)), pace)
        reservations = await self._hold(sends)
        for send, reservation in zip(sends, reservations, strict=False):
            self._start(send, reservation)
        for send in reversed(sends[len(reservations) :]):
            pace.cancel(send.ticket)
            self._ready.appendleft(send.item)

    def _sends(self, count: int, pace: Pace) -> list[_Send]:
        """Plan the next rows, as many as the pace admits now."""
        clock, sends = self._services.clock, list[_Send]()
        while self._ready and len(sends) < count:
            item = self._ready[0]
            try:
                plan = self._planner.plan(item.prompt, clock.now(), is_retry=item.is_second_try)
                if not plan.candidates:
                    raise self._rejection(plan)
            except LLMMagicError as error:
                record_failure(item.record, error)
                self._unsendable.append(self._ready.popleft())
                continue
            tokens, now = plan.candidates[0].input_tokens, clock.monotonic()
            if (seconds := pace.wait_s(tokens, now)) > 0:
                self._turn_s = seconds
                break
            sends.append(
                _Send(item=self._ready.popleft(), plan=plan, run_id=uuid.uuid4().hex, ticket=pace.send(tokens, now))
            )
        return sends

    async def _hold(self, sends: Sequence[_Send]) -> list[Reservation | None]:
        if not sends or any(send.plan.cascade is not None for send in sends):
            return [None] * len(sends)
        by_run = {send.run_id: send.plan for send in sends}
        try:
            made = await self._executor.hold_all(by_run, budget=self._budget)
        except BudgetExceeded as refusal:
            self._refuse(refusal)
            return []
        if len(made) < len(sends):
            self._tighten()
        return list(made)

    def _refuse(self, refusal: BudgetExceeded) -> None:
        self._refusal = refusal
        if not self._sent and not self._tighten():
            self.progress.stopped = str(refusal)

    def _tighten(self) -> bool:
        longest = self.progress.longest_tokens
        if self.progress.answered < MIN_KNOWN_ANSWERS:
            return False
        return self._planner.limit_output(max(16, 2 * longest))

    def _start(self, send: _Send, reservation: Reservation | None) -> None:
        send.item.record.run_id = send.run_id
        task = asyncio.create_task(self._run(send, reservation))
        self._sent[send.item.key] = send.item, task
        self.progress.in_flight = len(self._sent)

    async def _run(self, send: _Send, reservation: Reservation | None) -> None:
        item, is_cascade = send.item, send.plan.cascade is not None
        running = self._executor.execute(
            send.plan,
            run_id=send.run_id,
            budget=self._budget,
            reservation=reservation,
            in_column=True,
            ticket=None if is_cascade else send.ticket,
        )
        record, is_sent = item.record, False
        try:
            async with aclosing(running) as events:
                async for event in events:
                    if isinstance(event, AttemptEnded):
                        is_sent = True
                        record.cost_usd += event.attempt.cost_usd
                        self.progress.cost_usd += event.attempt.cost_usd
                    elif isinstance(event, RunEnded):
                        self._answer(item, event.result)
        except BudgetExceeded as refusal:
            if is_sent:
                record_failure(record, refusal)
            else:
                item.refusal = refusal
        except LLMMagicError as error:
            record_failure(record, error)
        finally:
            self._ended.put_nowait(item)

    def _answer(self, item: Item, result: RouteResult) -> None:
        record = item.record
        record.outcome, record.text, record.error = Outcome.OK.value, result.text, None
        record.model = result.model
        record.effort = str(result.effort or "")
        progress = self.progress
        if result.finish_reason == "length" and self._planner.max_output_tokens is not None and not item.is_second_try:
            item.is_cut_off = True
            return
        progress.answered_usd += record.cost_usd
        progress.latency_s += result.latency_s
        progress.longest_tokens = max(progress.longest_tokens, result.usage.output_tokens)

    async def _next_ended(self) -> list[Item]:
        items, self._unsendable = self._unsendable, []
        if not items:
            seconds, self._turn_s = self._turn_s if self._ready else None, None
            items += await next_or_turn(self._ended, seconds, self._services.clock.sleep)
        while not self._ended.empty():
            items.append(self._ended.get_nowait())
        self._refusal = None
        for item in items:
            self._sent.pop(item.key, None)
        self.progress.in_flight = len(self._sent)
        done = [item for item in items if not self._is_asked_again(item)]
        await self._save(done)
        return done

    def _is_asked_again(self, item: Item) -> bool:
        """Queue a row that a cap refused, that was cut off at a learned limit, or that had a transient error once."""
        if item.refusal is not None:
            refusal, item.refusal = item.refusal, None
            self._ready.appendleft(item)
            self._refuse(refusal)
            return True
        if item.is_cut_off or (item.record.outcome in _TRANSIENT and not item.is_second_try):
            (self._ready if item.is_cut_off else self._again).append(item)
            item.is_second_try, item.is_cut_off = True, False
            return True
        return False

    async def _save(self, items: Sequence[Item]) -> None:
        if not items:
            return
        for item in items:
            self._open.pop(item.key, None)
            if item.record.is_answered:
                self.progress.answered += 1
            elif item.record.outcome == MISSING:
                self.progress.missing += 1
            else:
                self.progress.add_error(item.record.outcome, item.record.error or "")
        asked = [item for item in items if not item.record.is_paid_before and item.record.outcome != MISSING]
        ended = {item.key: item.record for item in asked}
        await self._with_ledger(lambda: self._store.save(self.id, ended, self._keep_s, items))
        if (now := self._services.clock.monotonic()) - self._renewed_at > _RENEW_S:
            self._renewed_at = now
            await self._with_ledger(lambda: self._store.renew(self.id))

    async def _stop(self) -> None:
        sent = dict(self._sent)
        for _, task in sent.values():
            task.cancel()
        await asyncio.gather(*(task for _, task in sent.values()), return_exceptions=True)
        self._sent.clear()
        self.progress.in_flight = 0
        await self._save([item for item, _ in sent.values() if item.record.is_answered and not item.is_cut_off])

    def _concurrency(self) -> int:
        provider = self._planner.typical.candidates[0].model.provider
        return self._services.registry.providers.get(provider, ProviderSpec(name=provider)).concurrency

    def _pace(self) -> Pace:
        model = self._planner.typical.candidates[0].model
        return self._services.paces.of(model.provider, model.id)

    def _leader_id(self) -> str:
        return self._planner.typical.candidates[0].model.id

    async def _wait(self, seconds: float, reason: str) -> None:
        self.progress.waiting = reason
        await self._services.clock.sleep(seconds)
        self.progress.waiting = ""

    async def _with_ledger(self, call: Callable[[], ledger_io.Result]) -> ledger_io.Result:
        until = self._services.clock.monotonic() + self._services.policy.deadline_s
        return await ledger_io.when_unlocked(call, self._services, until=until)
