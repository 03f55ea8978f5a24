"""A column: one instruction for many rows, its progress, and its result."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing
from decimal import Decimal
from typing import Any

from llm_magic.bridge import POLL_INTERVAL_S, SETTLE_TIMEOUT_S, Job, bridge
from llm_magic.budget import Budget
from llm_magic.columns.caps import ColumnBudget
from llm_magic.columns.estimate import ColumnPlan
from llm_magic.columns.garbage import rarer_collection
from llm_magic.columns.keep import StreamEnd
from llm_magic.columns.phases import Phases
from llm_magic.columns.preparation import ColumnContext, Preparation
from llm_magic.columns.progress import Progress
from llm_magic.columns.records import RowResult
from llm_magic.columns.report import ColumnReport
from llm_magic.columns.results import KnownTable, StreamTable, Table
from llm_magic.columns.rows import ColumnSpec, Item
from llm_magic.columns.runner import Runner
from llm_magic.columns.sending import Sender
from llm_magic.columns.storage import stored_column
from llm_magic.events import Postponed
from llm_magic.execute import ledger_io
from llm_magic.waiting.off_peak import describe
from llm_magic.waiting.wait import Wait

_MAX_UNREAD_ROWS = 256
_STOPPED = "stopped by the user; run it again to ask the other rows"


class Column:
    """One instruction for many rows, and the result, which grows while it runs.

    Await it, iterate over it with `async for` to get each row as it ends, or call `wait`. `frame` is the input with the
    columns of answers. A row that fails is a row with an error.
    """

    def __init__(self, spec: ColumnSpec, context: ColumnContext, *, max_cost_usd: Decimal | None = None) -> None:
        self.id = uuid.uuid4().hex
        self.progress = Progress()
        self.plan_before: ColumnPlan | None = None
        """The plan with which the column started."""
        self.error: BaseException | None = None
        """Error that ended the column; None at a cap or after a pilot."""
        tags = spec.base.tags
        self.max_cost_usd = max_cost_usd
        self._budget: Callable[[], Budget] = context.budget
        if max_cost_usd is not None:
            tag = f"column:{self.id[:12]}"
            tags = (*tags, tag)
            self._budget = ColumnBudget(context.budget, tag, max_cost_usd)
        base = dataclasses.replace(spec.base, parent_run_id=self.id, tags=tags)
        self.spec = dataclasses.replace(spec, base=base)
        self._context = dataclasses.replace(context, budget=self._budget)
        self.wait_for_price = Wait()
        """A handle on the time for which `when="cheap"` postpones the column."""
        self._given_spec = spec
        self._preparation: Preparation | None = None
        self._job: Job[RowResult] | None = None
        self._is_watched = False
        self._is_retry = False
        self._started_at: float | None = None
        self._ended_at: float | None = None
        self._stream = StreamEnd()
        self._lost: list[Item] = []
        if not spec.source.is_in_memory:
            weakref.finalize(self, context.store.drop, self.id, self._stream)

    def prepare(self) -> Preparation:
        if self._preparation is None:
            self._preparation = Preparation(self.id, self.spec, self._context)
        return self._preparation

    @property
    def plan(self) -> ColumnPlan:
        """The rows that are left to ask, and their expected cost. Sends nothing."""
        return self.prepare().plan(self.progress)

    def start(self) -> Column:
        if self._job is None:
            self.error = None
            self._job = bridge.start(self._run())
        return self

    def wait(self) -> Column:
        self.start()
        assert self._job is not None
        try:
            while not self.join(POLL_INTERVAL_S):
                pass
        except KeyboardInterrupt:
            self.cancel()
            self._job.join(SETTLE_TIMEOUT_S)
            raise
        return self._ended()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of a column that was started. Returns False after a timeout, and raises nothing."""
        return self._job is not None and self._job.join(timeout_s)

    def cancel(self) -> None:
        self.wait_for_price.cancel()
        if self._job is not None:
            self._job.cancel()

    def done(self) -> bool:
        return self._job is not None and self._job.done()

    @property
    def is_canceled(self) -> bool:
        return isinstance(self.error, asyncio.CancelledError | GeneratorExit)

    @property
    def elapsed_s(self) -> float:
        """The seconds for which the column has been running."""
        if self._started_at is None:
            return 0.0
        return (self._ended_at or self._context.services.clock.monotonic()) - self._started_at

    def sample(self, count: int) -> list[tuple[str, str]]:
        """Return some rows that have ended, each as its value and its answer or error."""
        return self._table().sample(count)

    def __await__(self) -> Generator[Any, None, Column]:
        return self._finished().__await__()

    async def __aiter__(self) -> AsyncIterator[RowResult]:
        """Yield each row as it ends. Leaving early stops the column."""
        self._is_watched = self._is_watched or self._job is None
        if (job := self._unread()) is not None:
            async with aclosing(job.aitems()) as rows:
                async for row in rows:
                    yield row

    async def _finished(self) -> Column:
        if (job := self._unread()) is not None:
            async with aclosing(job.aitems()) as rows:
                async for _ in rows:
                    pass
        return self._ended()

    def _unread(self) -> Job[RowResult] | None:
        """Start the column unless it is started. Return its job if it has rows to wait for, or to show."""
        self.start()
        assert self._job is not None
        return self._job if not self._job.done() or self._is_watched else None

    def _ended(self) -> Column:
        if self.error is not None:
            raise self.error
        return self

    # The result.

    @property
    def frame(self) -> Any:
        frame = self.build_frame()
        self.release_kept()
        return frame

    def build_frame(self) -> Any:
        """Return `frame`, and keep the answers in the ledger's database all the same."""
        return self._table().frame()

    def build_parts(self, rows: int) -> Iterator[Any]:
        """Yield what `build_frame` returns in parts of this many rows, at least one."""
        return self._table().parts(rows)

    def release_kept(self) -> None:
        """Delete the kept answers, which the caller has now, if each row has one."""
        preparation = self.prepare()
        if self.done() and self.spec.keep_s is None and preparation.known is not None and self._table().is_whole():
            self._context.store.forget(self.id, preparation.keys.digest, preparation.known.keys)

    def forget_kept(self) -> None:
        """Delete the kept answers of these rows before the column starts, so that all are asked."""
        preparation = self.prepare()
        if preparation.known is not None:
            self._context.store.delete(preparation.known.keys)
        self._preparation = None

    @property
    def errors(self) -> Any:
        """The rows without an answer, as a frame like `frame`."""
        return self._table().errors()

    @property
    def cost_usd(self) -> Decimal:
        """The cost of all attempts of this column. Answers that were kept from before cost nothing."""
        return self.progress.cost_usd

    def report(self) -> ColumnReport:
        return self._table().report(self.progress, self.plan_before)

    def retry_failed(self) -> Column:
        """Ask the rows without an answer again, wait for them, and return the same result, which has their answers."""
        if self._job is not None and not self._job.done():
            self.wait()
        self._job, self._is_retry, self._is_watched = None, True, False
        if (known := self.prepare().known) is not None:
            known.records.reset_failed()
        self.progress.failed, self.progress.stopped = 0, ""
        self.progress.errors.clear()
        return self.wait()

    def __repr__(self) -> str:
        state = "running" if self._job is not None and not self.done() else "ended" if self.done() else "not started"
        return f"<Column, {state}: {self.progress.answered:,} answered, {self.progress.failed:,} failed>"

    def _table(self) -> Table:
        preparation = self.prepare()
        if preparation.known is not None:
            store, is_running = self._context.store, not self.done()
            return KnownTable(self.spec, preparation.known, store, self._lost, is_running=is_running)
        return StreamTable(self.spec, self._context.store, self.id, self._lost)

    # On the private loop.

    async def _run(self) -> AsyncGenerator[RowResult]:
        with rarer_collection():
            async with aclosing(self._rows()) as rows:
                async for row in rows:
                    yield row

    async def _rows(self) -> AsyncGenerator[RowResult]:
        try:
            preparation = await asyncio.to_thread(self.prepare)
            if self.spec.base.when == "cheap":
                await self._wait_for_off_peak(preparation)
                self._preparation = None
                preparation = await asyncio.to_thread(self.prepare)
            self.plan_before = self.plan_before or preparation.plan()
            phases = self._phases(preparation)
            self._started_at, self._ended_at = self._context.services.clock.monotonic(), None
            store, digest = self._context.store, preparation.keys.digest
            await ledger_io.when_unlocked(lambda: store.begin(self.id, digest), self._context.services)
            try:
                for row in self._known_rows(preparation):
                    yield row
                async with aclosing(phases.items()) as items:
                    async for item in items:
                        for row in self._rows_of(item):
                            yield row
                            await self._wait_for_reader()
                self._note_end(preparation)
            finally:
                with ledger_io.settling(self._context.services):
                    store.end(self.id, is_result_kept_here=not self.spec.source.is_in_memory)
        except BaseException as error:
            self.error = error
            if self.is_canceled:
                self.progress.stopped = self.progress.stopped or _STOPPED
            raise
        finally:
            self._ended_at = self._context.services.clock.monotonic()

    async def _wait_for_off_peak(self, preparation: Preparation) -> None:
        wait, rows = self.wait_for_price, preparation.plan().to_ask or 1
        job = None
        if wait.names is not None:
            job = stored_column(self._given_spec, preparation, self.max_cost_usd, wait.names)
        async with aclosing(self._context.postponed(preparation.planner.typical.request, wait, job)) as events:
            async for event in events:
                self.progress.waiting = describe(event, rows) if isinstance(event, Postponed) else ""

    def _phases(self, preparation: Preparation) -> Phases:
        context, planner = self._context, preparation.planner
        if not planner.typical.candidates and preparation.plan().to_ask != 0:
            raise context.rejection(planner.typical)
        self.progress.resumed = self.progress.resumed or preparation.kept.rows
        self.progress.answered = self.progress.answered or preparation.kept.rows
        services = context.services
        sender = Sender(planner, services, self._budget, context.rejection, self.progress)
        runner = Runner(
            self.id,
            sender,
            context.store,
            services,
            progress=self.progress,
            keep_s=self.spec.keep_s,
            lost=self._lost,
            on_change=(lambda _: None) if preparation.known is None else preparation.known.store,
        )
        pilot = 0 if self._is_retry else self.spec.pilot
        return Phases(preparation, runner, self.plan_before, pilot=pilot, is_retry=self._is_retry)

    def _note_end(self, preparation: Preparation) -> None:
        is_whole = not (self.progress.stopped or self.progress.failed)
        if preparation.known is None and self.spec.keep_s is None and is_whole:
            self._stream.digest = preparation.keys.digest

    def _known_rows(self, preparation: Preparation) -> list[RowResult]:
        if preparation.known is None or not self._is_watched:
            return []
        return self._table().settled_rows()

    def _rows_of(self, item: Item) -> list[RowResult]:
        return self._table().rows_of(item) if self._is_watched else []

    async def _wait_for_reader(self) -> None:
        while self._job is not None and self._job.unread >= _MAX_UNREAD_ROWS:  # noqa: ASYNC110 - another thread reads
            await asyncio.sleep(POLL_INTERVAL_S)
