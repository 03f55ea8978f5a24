"""Execution of a column: rows are claimed, held, sent, and kept, as many at a time as limits and caps allow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from llm_magic.columns.feeds import Feed
from llm_magic.columns.keep import Claims, ColumnStore
from llm_magic.columns.progress import Progress
from llm_magic.columns.records import MISSING, NOT_ASKED
from llm_magic.columns.rows import Item
from llm_magic.columns.sending import Send, Sender
from llm_magic.columns.steps import next_or_first, record_cancellation, record_failure
from llm_magic.errors import BudgetExceeded, LedgerError, LLMMagicError
from llm_magic.events import RunEnded
from llm_magic.execute import Services, ledger_io
from llm_magic.ledger import Reservation
from llm_magic.types import Attempt, Outcome, RouteResult

if TYPE_CHECKING:
    from llm_magic.ledger.transactions import Write

CLAIMED_ROWS = 64
_BUSY_POLL_S = 0.5
_RENEW_S = 60.0
_MAX_PAUSE_S = 120.0
"""A column waits at most this long in all for a model that is cooling down. Then it asks the next candidate."""
_TRANSIENT = (Outcome.RATE_LIMITED, Outcome.OVERLOADED, Outcome.SERVER_ERROR, Outcome.CONNECTION_FAILED)


class Runner:
    """Runs the rows of one column on the private loop.

    keep_s: seconds that answers stay. lost: gets the ended rows that could not be stored, as on a full disk. on_change:
    gets each row whose record is up to date: it ended, or will be asked again.
    """

    def __init__(
        self,
        column_id: str,
        sender: Sender,
        store: ColumnStore,
        services: Services,
        *,
        progress: Progress,
        keep_s: float | None,
        lost: list[Item],
        on_change: Callable[[Item], None],
    ) -> None:
        self.id = column_id
        self.progress = progress
        self._sender = sender
        self._store = store
        self._services = services
        self._keep_s = keep_s
        self._lost = lost
        self._on_change = on_change
        self._ready: deque[Item] = deque()
        self._busy: list[Item] = []
        self._again: list[Item] = []
        self._ended: asyncio.Queue[Item] = asyncio.Queue()
        self._sent: dict[str, tuple[Item, asyncio.Task[None]]] = {}
        self._unsendable: list[Item] = []
        self._unsaved: list[Item] = []
        self._open: dict[str, Item] = {}
        self._has_more = False
        self._wanted: int | None = None
        self._paused_s = 0.0
        self._renewed_at = services.clock.monotonic()

    async def ask(self, feed: Feed, *, count: int | None = None, limit: int | None = None) -> AsyncGenerator[Item]:
        """Ask rows, and yield each as it ends, with its record up to date.

        count: number of rows; by default all. limit: on the rows in flight.
        """
        sender, self._wanted = self._sender, count
        try:
            while True:
                await self._claim(feed)
                for item in await self._send(limit):
                    yield item
                await self._renew()
                if self._sent or self._unsendable:
                    await self._take_ended(feed)
                elif self.progress.stopped:
                    return
                elif not (self._ready or self._busy or self._again or self._has_more):
                    if feed.is_ended and feed.error is not None:
                        raise feed.error
                    return
                elif sender.turn_s is not None and self._ready:
                    seconds, sender.turn_s = sender.turn_s, None
                    await self._wait(seconds, f"at the limit of the rate of {sender.leader_id}")
                elif not self._ready and self._busy:
                    await self._wait(_BUSY_POLL_S, "another column is asking these rows")
                elif not self._ready and not self._has_more:
                    self._ready.extend(self._again)
                    self._again.clear()
                elif not self._ready:
                    await feed.wait()
        finally:
            await self._stop()

    async def _claim(self, feed: Feed) -> None:
        if self._ready or self.progress.stopped:
            return
        new = feed.take(CLAIMED_ROWS if self._wanted is None else min(CLAIMED_ROWS, self._wanted))
        self._wanted = None if self._wanted is None else self._wanted - len(new)
        self._has_more = self._wanted != 0 and not feed.is_ended
        taken = [*self._busy, *new]
        done = [item for item in taken if item.record.outcome == MISSING]
        claimed = self._joined([item for item in taken if item.record.outcome != MISSING])
        self._busy = []
        if not taken:
            return
        claims: Claims = await ledger_io.when_unlocked(
            lambda: self._store.claim(self.id, [item.key for item in claimed]), self._services
        )
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
        self._end(done)

    def _joined(self, items: Sequence[Item]) -> list[Item]:
        others: dict[str, Item] = {}
        for item in items:
            first = self._open.get(item.key) or others.get(item.key)
            if first is None:
                others[item.key] = item
            elif first is not item:
                first.cells += item.cells
        return list(others.values())

    async def _send(self, limit: int | None) -> Sequence[Item]:
        """Send the next rows, and save those that have ended, which are returned, in the same transaction."""
        count = await self._free_slots(limit)
        unsaved, self._unsaved = self._unsaved, []
        is_saved = False
        try:
            if count > 0:
                sends = await self._sender.take(self._ready, count, self._saving(unsaved))
                is_saved = sends.is_written
                self._unsendable += sends.unsendable
                for send, reservation in sends.held:
                    self._start(send, reservation)
                if sends.refusal is not None:
                    self._sender.refuse(sends.refusal, is_idle=not self._sent)
            if unsaved and not is_saved:
                await ledger_io.when_unlocked(lambda: self._store.write(self._saving(unsaved)), self._services)
                is_saved = True
        finally:
            if not is_saved:
                self._unsaved = unsaved
        return unsaved

    async def _free_slots(self, limit: int | None) -> int:
        """Return the number of rows that may be sent now. Waits for a model that is cooling down if no row is sent."""
        sender, sent = self._sender, len(self._sent)
        slots = sender.slots(limit) - sent
        if slots <= 0 or not self._ready or self.progress.stopped or (sender.refusal and sent):
            return 0
        circuit = sender.circuit
        if circuit.state == "open" and self._paused_s < _MAX_PAUSE_S:
            if not sent and not self._unsaved:
                self._paused_s += circuit.remaining_s
                await self._wait(circuit.remaining_s, f"{sender.leader_id} is cooling down after failures")
            return 0
        return min(slots, 1 - sent) if circuit.state == "half_open" else slots

    def _start(self, send: Send, reservation: Reservation | None) -> None:
        send.item.record.run_id = send.run_id
        task = asyncio.create_task(self._run(send, reservation))
        self._sent[send.item.key] = send.item, task
        self.progress.in_flight = len(self._sent)

    async def _run(self, send: Send, reservation: Reservation | None) -> None:
        item, record, is_sent, is_answered = send.item, send.item.record, False, False

        def charge(attempt: Attempt) -> None:
            nonlocal is_sent
            is_sent = True
            record.cost_usd += attempt.cost_usd
            self.progress.cost_usd += attempt.cost_usd

        try:
            async with aclosing(self._sender.run(send, reservation, charge)) as events:
                async for event in events:
                    if isinstance(event, RunEnded):
                        self._answer(item, event.result)
                        is_answered = True
        except BudgetExceeded as refusal:
            if is_sent:
                record_failure(record, refusal)
            else:
                item.refusal = refusal
        except LLMMagicError as error:
            record_failure(record, error)
        except asyncio.CancelledError:
            if is_sent and not is_answered:
                record_cancellation(record)
            raise
        finally:
            self._ended.put_nowait(item)

    def _answer(self, item: Item, result: RouteResult) -> None:
        if result.finish_reason == "length" and self._sender.has_learned_limit and not item.is_second_try:
            item.is_cut_off = True
            return
        record, progress = item.record, self.progress
        record.outcome, record.text, record.error = Outcome.OK.value, result.text, None
        record.model = result.model
        record.effort = str(result.effort or "")
        progress.answered_usd += record.cost_usd
        progress.latency_s += result.latency_s
        progress.longest_tokens = max(progress.longest_tokens, result.usage.output_tokens)

    async def _take_ended(self, feed: Feed) -> None:
        sender = self._sender
        items, self._unsendable = self._unsendable, []
        if not items:
            seconds, sender.turn_s = sender.turn_s if self._ready else None, None
            others = [] if seconds is None else [self._services.clock.sleep(seconds)]
            if self._has_more and not self._ready and not self.progress.stopped:
                others.append(feed.wait())
            items += await next_or_first(self._ended, others)
        while not self._ended.empty():
            items.append(self._ended.get_nowait())
        sender.refusal = None
        for item in items:
            self._sent.pop(item.key, None)
        self.progress.in_flight = len(self._sent)
        self._end([item for item in items if not self._is_asked_again(item)])

    def _is_asked_again(self, item: Item) -> bool:
        """Queue a row that a cap refused, that was cut off at a learned limit, or that had a transient error once."""
        if item.refusal is not None:
            refusal, item.refusal = item.refusal, None
            self._ready.appendleft(item)
            self._sender.refuse(refusal, is_idle=not self._sent)
            return True
        if item.is_cut_off or (item.record.outcome in _TRANSIENT and not item.is_second_try):
            self._on_change(item)
            (self._ready if item.is_cut_off else self._again).append(item)
            item.is_second_try, item.is_cut_off = True, False
            return True
        return False

    def _end(self, items: Sequence[Item]) -> None:
        for item in items:
            self._open.pop(item.key, None)
            self._on_change(item)
            if item.record.is_answered:
                self.progress.answered += 1
            elif item.record.outcome == MISSING:
                self.progress.missing += 1
            else:
                self.progress.add_error(item.record.outcome, item.record.error or "")
        self._unsaved += items

    def _saving(self, items: Sequence[Item], *, is_repeated: bool = False) -> Write:
        asked = [item for item in items if not item.record.is_paid_before and item.record.outcome != MISSING]
        ended = {item.key: item.record for item in asked}
        return lambda db: self._store.save(db, self.id, ended, self._keep_s, items, is_repeated=is_repeated)

    async def _stop(self) -> None:
        sent = dict(self._sent)
        for _, task in sent.values():
            task.cancel()
        await asyncio.gather(*(task for _, task in sent.values()), return_exceptions=True)
        self._sent.clear()
        self.progress.in_flight = 0
        for item, _ in sent.values():
            self._on_change(item)
        items = [item for item, _ in sent.values() if item.record.outcome != NOT_ASKED]
        self._end([item for item in items if item.record.outcome != Outcome.CANCELLED])
        self._unsaved += [item for item in items if item.record.outcome == Outcome.CANCELLED]
        if self._unsaved:
            unsaved, self._unsaved = self._unsaved, []
            try:
                await ledger_io.when_unlocked(
                    lambda: self._store.write(self._saving(unsaved, is_repeated=True)), self._services
                )
            except LedgerError:
                self._lost += unsaved
                raise

    async def _renew(self) -> None:
        if (now := self._services.clock.monotonic()) - self._renewed_at > _RENEW_S:
            self._renewed_at = now
            await ledger_io.when_unlocked(lambda: self._store.renew(self.id), self._services)

    async def _wait(self, seconds: float, reason: str) -> None:
        self.progress.waiting = reason
        await self._services.clock.sleep(seconds)
        self.progress.waiting = ""
