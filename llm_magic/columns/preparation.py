"""Everything about a column that is known before it runs: its rows, the kept answers, its plan."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from llm_magic.budget import Budget
from llm_magic.columns.estimate import ColumnPlan, RowCost
from llm_magic.columns.feeds import Feed, ListFeed, StreamFeed
from llm_magic.columns.keep import ColumnStore
from llm_magic.columns.progress import Progress
from llm_magic.columns.records import MISSING, Record
from llm_magic.columns.rows import ColumnSpec, Item, KnownRows, RowKeys, is_skipped
from llm_magic.columns.sampling import Samples
from llm_magic.columns.source import Cells, StreamRows
from llm_magic.errors import LLMMagicError, RequestError
from llm_magic.events import Note, Postponed
from llm_magic.execute import Services
from llm_magic.types import ZERO, Outcome, Plan, Request
from llm_magic.waiting.store import StoredJob
from llm_magic.waiting.wait import Wait

_MEASURED_ROWS = 5
"""Answered rows from which the cost of the others is taken."""
MIN_CACHED_ROWS = 3
"""A cache write costs at most the input price and a quarter more; two reads save more than that."""

Postponing = Callable[[Request, Wait | None, StoredJob | None], AsyncGenerator[Postponed | Note]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnContext:
    """The parts of a router that a column uses.

    request: makes a request of a prompt and options. request_of: returns the request of a row, checked. rejection:
    returns the error for a plan without candidates. postponed: waits for the off-peak hours of a row's request.
    """

    services: Services
    store: ColumnStore
    budget: Callable[[], Budget]
    request_of: Callable[[Request, str], Request]
    make_plan: Callable[[Request], Plan]
    rejection: Callable[[Plan], LLMMagicError]
    request: Callable[..., Request]
    postponed: Postponing


@dataclass(slots=True)
class Kept:
    """The answers that earlier columns paid for: distinct rows, their cost, their models."""

    rows: int = 0
    cost_usd: Decimal = ZERO
    models: set[str] = field(default_factory=set[str])

    def add(self, record: Record) -> None:
        self.rows += 1
        self.cost_usd += record.cost_usd
        self.models.add(record.model)


class Preparation:
    def __init__(self, column_id: str, spec: ColumnSpec, context: ColumnContext) -> None:
        self._column_id = column_id
        self._spec = spec
        self._context = context
        self.keys = RowKeys(spec.base)
        self.known = None if spec.source.length is None else KnownRows(spec, self.keys)
        self.kept = Kept()
        if self.known is not None:
            self._take_kept(self.known)
        shared = replace(spec, base=self._with_shared_prefix(spec))
        self._samples = Samples(shared, context, self.known)
        self.planner = self._samples.planner

    def plan(self, progress: Progress | None = None) -> ColumnPlan:
        """Return the plan for the rows that have no answer yet. progress: measures what rows cost."""
        known = self.known
        row, is_measured = self._row_cost(progress)
        answered = None if known is None else known.records.answered
        return ColumnPlan(
            plan=self.planner.typical,
            rows=None if known is None else len(known),
            missing=None if known is None else known.missing,
            distinct=None if known is None else len(known.records),
            answered=answered,
            own_plans=self._samples.odd_rows,
            row=row,
            flex=self._samples.flex_row_cost,
            left_usd=self._left_usd(),
            minutes=self._minutes(0 if known is None else len(known.records) - (answered or 0)),
            is_measured=is_measured,
            kept_models=tuple(sorted(self.kept.models)),
        )

    def pilot_positions(self, count: int) -> list[int]:
        assert self.known is not None
        return [position for position in self.known.spread(count) if self.known.outcome(position) != Outcome.OK]

    def feed(self, positions: Sequence[int] | None = None, *, is_retry: bool = False) -> Feed:
        """Return the rows to ask: those without an answer, or all rows of a stream.

        positions: only these. is_retry: of a stream, the rows that failed.
        """
        if self.known is not None:
            return ListFeed(self.known.items(self.known.firsts if positions is None else positions, self.keys))
        if is_retry:
            failed = self._context.store.take_failed(self._column_id)
            return ListFeed(self._item(position, cells, prompt) for position, cells, prompt in failed)
        source, template = self._spec.source, self._spec.template
        assert isinstance(source, StreamRows)
        return StreamFeed(source, template.used, lambda row, cells: self._item(row, cells, template.fill(cells)))

    def _item(self, position: int, cells: Cells, prompt: str | RequestError) -> Item:
        record = Record(outcome=MISSING) if is_skipped(self._spec, cells) else Record()
        return Item(position, self.keys.of(prompt), prompt, record, [(position, cells)])

    def _take_kept(self, known: KnownRows) -> None:
        for number, record in self._context.store.answered(known.keys):
            self.kept.add(record)
            known.records[number] = record

    def _with_shared_prefix(self, spec: ColumnSpec) -> Request:
        """Return the base request, with what its rows share if enough of them are to be asked for a prompt cache."""
        known = self.known
        if known is not None and len(known.records) - known.records.answered < MIN_CACHED_ROWS:
            return spec.base
        return replace(spec.base, shared_chars=spec.template.shared_chars)

    def _row_cost(self, progress: Progress | None) -> tuple[RowCost, bool]:
        row = self._samples.row_cost
        costs, count = ZERO, 0
        if progress is not None:
            costs, count = progress.answered_usd, progress.answered - progress.resumed
            if count and progress.cost_usd * count > costs * progress.asked:  # failed rows cost more than the others
                costs, count = progress.cost_usd, progress.asked
        if count < _MEASURED_ROWS:
            costs += self.kept.cost_usd
            count += self.kept.rows
        if count < min(_MEASURED_ROWS, 1 if self.known is None else len(self.known.records)) or not count:
            return row, False
        mean = costs / Decimal(count)
        low, worst = min(row.low_usd, mean), max(row.worst_usd, mean)
        return replace(row, low_usd=low, expected_usd=mean, worst_usd=worst), True

    def _minutes(self, rows: int) -> float | None:
        """Return the minutes at the limits that the leader's endpoint has stated or shown."""
        candidates = self.planner.typical.candidates
        if not candidates or not rows:
            return None
        leader = candidates[0]
        pace = self._context.services.paces.of(leader.model.provider, leader.model.id)
        return pace.minutes(rows, leader.input_tokens)

    def _left_usd(self) -> Decimal | None:
        services, base = self._context.services, self._spec.base
        candidates = self.planner.typical.candidates
        caps = self._context.budget().caps(model=candidates[0].model.id if candidates else "", tags=base.tags)
        lasting = [cap for cap in caps if cap.scope != "run"]
        headroom = services.ledger.headroom(lasting, now=services.clock.now())
        return min((under_cap.reachable_usd for under_cap in headroom), default=None)
