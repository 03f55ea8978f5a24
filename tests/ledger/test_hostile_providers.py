"""The ledger against the bill of a hostile provider, over random steps, caps, stops and clocks."""

from __future__ import annotations

import asyncio
import pickle
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, closing, contextmanager, nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import text

from llm_magic import Budget, Ledger, LLMMagicError, Router
from llm_magic.bridge import Bridge
from llm_magic.events import Planned, RunEvent
from llm_magic.execute import RetryPolicy
from llm_magic.routing import warm_up
from llm_magic.types import Attempt, CostBasis, Outcome
from tests.support import builders
from tests.support.containers import other_container
from tests.support.fuzzing import examples
from tests.support.hostile import BILLED, CONTENT, ENDS, FREE, PARTIAL, Call, Character, HostileProvider, JumpingClock
from tests.support.planted import KEY, contains_secret

MODELS = ("first", "second", "third")
PRICES = st.integers(0, 90_000_000).map(lambda micro: Decimal(micro).scaleb(-6))
MICRO_USD = st.integers(0, 200_000)
MODES = (None, "hedge", "agree", "twice", "compare")
IN_FLIGHT = text(
    "SELECT run_id, attempt, held_pusd FROM llm_magic_attempts"
    " WHERE lease_until IS NOT NULL AND attempt > 0 AND model = :model ORDER BY id DESC"
)


def usd(micro: int) -> Decimal:
    return Decimal(micro).scaleb(-6)


warm_up.load()  # in a run, it would wait for a thread


class SameLoop(Bridge):
    """A bridge without a thread: its jobs run on the caller's loop, whose turns a test counts."""

    def loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()


SAME_LOOP = SameLoop()
TURNS = 60
"""Turns of the loop within which everything that a step causes has happened."""


class HostileProviders(RuleBasedStateMachine):
    """Many runs under caps on one loop, against a provider that is told each of its steps."""

    @initialize(
        prices=st.lists(st.tuples(PRICES, PRICES), min_size=3, max_size=3),
        tokens_per_word=st.sampled_from(["0.3", "0.5", "1", "1.7", "3"]),
        thinking=st.sampled_from([0, 0, 20, 100]),
        thinks_between=st.booleans(),
        stated_pace=st.sampled_from([None, 20, 100]),
        obeys_limit=st.sampled_from([True, True, True, False]),
        announces_sending=st.booleans(),
        cap=st.integers(0, 400_000),
        day_cap=st.none() | MICRO_USD,
        run_cap=st.none() | MICRO_USD,
        model_cap=st.none() | MICRO_USD,
        concurrency=st.integers(1, 6),
        ledgers=st.sampled_from([0, 0, 1, 2]),
    )
    def open(
        self,
        *,
        prices: list[tuple[Decimal, Decimal]],
        tokens_per_word: str = "1",
        thinking: int = 0,
        thinks_between: bool = False,
        stated_pace: int | None = None,
        obeys_limit: bool = True,
        announces_sending: bool = False,
        cap: int = 400_000,
        day_cap: int | None = None,
        run_cap: int | None = None,
        model_cap: int | None = None,
        concurrency: int = 6,
        ledgers: int = 0,
    ) -> None:
        """ledgers: how many of them share an SQLite file, as those of several processes do; 0: one in memory."""
        self.bridge = mock.patch("llm_magic.routing.router.bridge", SAME_LOOP)
        self.bridge.start()
        self.loop = asyncio.new_event_loop()
        self.clock = JumpingClock(builders.NOON)
        self.tasks: list[asyncio.Task[None]] = []
        self.runs: dict[str, str] = {}
        self.closed: set[str] = set()
        self.errors: list[BaseException] = []
        character = Character(
            tokens_per_word=Decimal(tokens_per_word),
            thinking_tokens_per_s=thinking,
            thinks_between=thinks_between,
            obeys_limit=obeys_limit,
            announces_sending=announces_sending,
        )
        estimates_all_thinking = (stated_pace or 0) >= thinking and not (thinks_between and thinking)
        self.is_bounded_below = character.tokens_per_word <= 1 and estimates_all_thinking
        self.provider = HostileProvider(character, self.clock, on_start=self.find_row)
        chain = dict(zip(MODELS, (*MODELS[1:], MODELS[0]), strict=True))  # a cycle
        specs = [
            builders.model(
                name,
                price=f"{input_usd}/{output_usd}",
                fallback_id=chain[name],
                max_output_tokens=2_000,
                tokens_per_s=None if stated_pace is None else float(stated_pace),
            )
            for name, (input_usd, output_usd) in zip(MODELS, prices, strict=True)
        ]
        self.cap = self.ceiling = usd(cap)
        self.budget = Budget(
            session_usd=self.cap,
            day_usd=None if day_cap is None else usd(day_cap),
            run_usd=None if run_cap is None else usd(run_cap),
            models_usd={} if model_cap is None else {"first": usd(model_cap)},
        )
        self.folder = Path(tempfile.mkdtemp()) if ledgers else None
        self.is_damaged = False
        self.settled: dict[tuple[str, int], Decimal] = {}
        locations = [self.folder / "ledger.db"] * ledgers if self.folder else [":memory:"]
        self.routers = [
            builders.router(
                *specs,
                clock=self.clock,
                providers={"cloud": self.provider},
                concurrency=concurrency,
                budget=self.budget,
                policy=RetryPolicy(deadline_s=200),
                ledger=Ledger(location, session_id="shared", clock=lambda: self.clock.now().timestamp()),
            )
            for location in locations
        ]
        self.ledger = self.routers[0].ledger

    def find_row(self, call: Call) -> None:
        """Find the row of a request that reaches the provider: the newest one in flight of its run and model."""
        taken = {other.key for other in self.provider.calls}
        with self.ledger.transactions.reading() as db:
            rows = db.execute(IN_FLIGHT, {"model": call.request.model.id}).all()
        # The events of a comparison are queued, so its run may be unknown yet.
        run_id, number, held_pusd = next(
            row for row in rows if self.runs.get(row[0], call.marker) == call.marker and (row[0], row[1]) not in taken
        )
        call.key, call.held_usd = (run_id, number), Decimal(held_pusd).scaleb(-12)
        if call.held_usd and len(self.routers) == 1:
            known_usd = sum(self.settled.values(), call.held_usd)
            assert known_usd <= self.cap, "sent above what this process knows to be spent"
        if call.held_usd:
            assert self.ledger.spent_usd + self.ledger.held_usd <= self.cap, "sent above the cap"

    def settle_down(self) -> None:
        async def turns() -> None:
            for _ in range(TURNS):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())

    @rule(
        limit=st.integers(1, 2_000),
        mode=st.sampled_from(MODES),
        stop_after=st.none() | st.integers(1, 12),
        which=st.integers(0, 1),
    )
    def ask(self, *, limit: int = 500, mode: str | None = None, stop_after: int | None = None, which: int = 0) -> None:
        """Start a run, which is closed after some events."""
        router, marker = self.routers[which % len(self.routers)], f"run{len(self.tasks)}"
        prompt = f"{marker} explain why prime numbers matter"
        if mode == "compare":
            running = self.compare(router, prompt, limit)
        else:
            hedge_s, cascade = (0.5 if mode == "hedge" else None), (mode if mode in ("agree", "twice") else None)
            events = router.stream(prompt, max_output_tokens=limit, hedge_s=hedge_s, cascade=cascade)
            running = self.consume(events, marker, stop_after)
        self.tasks.append(self.loop.create_task(running))
        self.settle_down()

    async def compare(self, router: Router, prompt: str, limit: int) -> None:
        with self.recorded_errors():
            await router.compare(prompt, models=("first", "second"), max_output_tokens=limit)

    async def consume(self, events: AsyncGenerator[RunEvent], marker: str, stop_after: int | None) -> None:
        with self.recorded_errors():
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, Planned):
                        self.runs[event.run_id] = marker
                    if stop_after is not None and (stop_after := stop_after - 1) == 0:
                        self.closed.add(marker)
                        break

    @contextmanager
    def recorded_errors(self) -> Iterator[None]:
        """Let a run end in any way: the ledger must be right."""
        try:
            yield
        except (LLMMagicError, RuntimeError) as error:
            self.errors.append(error)

    @precondition(lambda self: self.provider.waiting)
    @rule(which=st.integers(0, 99), step=st.sampled_from([*CONTENT, *CONTENT, *PARTIAL, *ENDS]))
    def go_on(self, which: int, step: str) -> None:
        waiting = self.provider.waiting
        waiting[which % len(waiting)].next.set_result(step)
        self.settle_down()

    @rule(seconds=st.sampled_from([0.1, 1, 3, 40, 250]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.settle_down()

    @rule(hours=st.sampled_from([-1, -13, -40, 13, 40, 24 * 400]))
    def jump(self, hours: int) -> None:
        self.clock.jump(hours * 3600)

    @precondition(lambda self: any(not task.done() for task in self.tasks))
    @rule(which=st.integers(0, 99))
    def stop(self, which: int) -> None:
        running = [number for number, task in enumerate(self.tasks) if not task.done()]
        number = running[which % len(running)]
        self.tasks[number].cancel()
        self.closed.add(f"run{number}")
        self.settle_down()

    @precondition(lambda self: self.folder is not None)
    @rule(which=st.integers(0, 1), how=st.sampled_from(["charge", "release"]), elsewhere=st.booleans())
    def reconcile(self, which: int, how: Literal["charge", "release"], *, elsewhere: bool) -> None:
        """Reconcile while all processes live, whose threads have renewed their leases; elsewhere: in a container."""
        for router in self.routers:
            router.ledger.renew_leases()
        ledger = self.routers[which % len(self.routers)].ledger
        held_usd = ledger.held_usd
        with other_container() if elsewhere and sys.platform == "linux" else nullcontext():
            assert ledger.reconcile(how) == [], "a live hold was reconciled"
        assert ledger.held_usd == held_usd

    @rule(cap=st.integers(0, 600_000))
    def set_cap(self, cap: int) -> None:
        self.cap = usd(cap)
        self.ceiling = max(self.ceiling, self.cap)
        for router in self.routers:
            router.set_budget(self.cap)
        self.settle_down()

    @precondition(lambda self: self.folder is not None)
    @rule()
    def back_up(self) -> None:
        self.copy("ledger.db", "backup.db")

    @precondition(lambda self: self.folder is not None and (self.folder / "backup.db").exists())
    @rule()
    def restore(self) -> None:
        """Restore the backup in place, under the open ledgers."""
        self.is_damaged = True
        self.copy("backup.db", "ledger.db")

    def copy(self, source: str, target: str) -> None:
        assert self.folder is not None
        with (
            closing(sqlite3.connect(self.folder / source)) as old,
            closing(sqlite3.connect(self.folder / target)) as new,
        ):
            old.backup(new)

    @precondition(lambda self: self.folder is not None)
    @rule(only_holds=st.booleans())
    def delete_rows(self, *, only_holds: bool) -> None:
        self.is_damaged = True
        assert self.folder is not None
        with closing(sqlite3.connect(self.folder / "ledger.db")) as db, db:
            db.execute("DELETE FROM llm_magic_attempts WHERE ? = 0 OR lease_until IS NOT NULL", (int(only_holds),))

    @invariant()
    def closing_a_run_cancels_it_upstream(self) -> None:
        open_calls = [call for call in self.provider.calls if call.marker in self.closed and not call.is_over]
        assert not open_calls

    @invariant()
    def what_is_settled_is_remembered(self) -> None:
        in_flight = {call.key for call in self.provider.calls if not call.is_over}
        for row in self.ledger.rows():
            if row.attempt and row.outcome is not Outcome.IN_FLIGHT and (row.run_id, row.attempt) not in in_flight:
                self.settled[row.run_id, row.attempt] = row.cost_usd

    @invariant()
    def no_cap_is_exceeded_but_by_what_a_provider_reported(self) -> None:
        if self.is_damaged:
            return  # what is lost is held again by the backup, or missing until the next write
        rows = {(row.run_id, row.attempt): row for row in self.ledger.rows()}
        excess = sum((self.excess(call, rows) for call in self.provider.calls), Decimal(0))
        used = self.ledger.spent_usd + self.ledger.held_usd
        # A cap that was lowered below what is used can't be kept, but nothing is added.
        self.ceiling = max(self.cap, min(self.ceiling, used - excess))
        assert used - excess <= self.ceiling
        holds = {call.key: call.held_usd for call in self.provider.calls if not call.is_over}
        by_run: dict[str, Decimal] = {}
        by_day: dict[str, Decimal] = {}
        by_model: dict[str, Decimal] = {}
        for key, row in rows.items():
            amount = row.cost_usd + holds.get(key, Decimal(0))
            for sums, name in ((by_run, row.run_id), (by_day, str(row.started_at.date())), (by_model, row.model)):
                sums[name] = sums.get(name, Decimal(0)) + amount
        limit = self.budget.models_usd.get("first")
        for sums, cap in ((by_run, self.budget.run_usd), (by_day, self.budget.day_usd)):
            assert cap is None or all(amount - excess <= cap for amount in sums.values())
        assert limit is None or by_model.get("first", Decimal(0)) - excess <= limit

    def excess(self, call: Call, rows: dict[tuple[str, int], Attempt]) -> Decimal:
        """Return what a provider reported beyond the hold."""
        if not call.is_over or call.credibility in ("missing", "doubtful"):
            return Decimal(0)
        row = rows[call.key]
        return max(Decimal(0), row.cost_usd - call.held_usd) if row.cost_basis is CostBasis.REPORTED else Decimal(0)

    @invariant()
    def no_run_ends_in_an_unexpected_error(self) -> None:
        for task in self.tasks:
            if task.done() and not task.cancelled():
                task.result()

    @invariant()
    def a_run_that_has_ended_holds_nothing(self) -> None:
        if all(task.done() for task in self.tasks) and not self.is_damaged:
            assert self.ledger.held_usd == 0

    def teardown(self) -> None:
        if not hasattr(self, "tasks"):
            return
        try:
            for task in self.tasks[::2]:
                task.cancel()
            self.end_all()
            if self.is_damaged:
                self.cap = Decimal(1_000_000)
                for number, router in enumerate(self.routers):
                    router.set_budget(None, day_usd=None, run_usd=None, models_usd={})
                    self.ask(which=number)
                self.end_all()
            self.no_run_ends_in_an_unexpected_error()
            self.no_cap_is_exceeded_but_by_what_a_provider_reported()
            self.check_every_row()
            self.check_every_error()
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()
            for router in self.routers:
                router.ledger.close()
            if self.folder is not None:
                shutil.rmtree(self.folder)
        finally:
            self.bridge.stop()

    def end_all(self) -> None:
        self.settle_down()
        for turn in range(200):
            if all(task.done() for task in self.tasks):
                return
            for call in self.provider.waiting:
                call.next.set_result("end:exact" if turn % 2 else "text")
            self.settle_down()
        raise AssertionError("a run does not end")

    def check_every_row(self) -> None:
        assert self.ledger.spent_usd >= sum(self.settled.values(), Decimal(0))
        rows, calls = self.ledger.rows(), {call.key: call for call in self.provider.calls}
        assert self.ledger.held_usd == 0
        assert self.ledger.spent_usd == sum((row.cost_usd for row in rows), Decimal(0))
        assert len(calls) == len(self.provider.calls)
        assert len({(row.run_id, row.attempt) for row in rows}) == len(rows)
        assert calls.keys() <= {(row.run_id, row.attempt) for row in rows}
        for row in rows:
            call = calls.get((row.run_id, row.attempt))
            if call is None or call.sent_at is None:
                assert (row.cost_usd, row.cost_estimated) == (0, False), row
                assert call is not None or row.outcome is Outcome.CANCELLED, row
            else:
                check(row, call, is_bounded_below=self.is_bounded_below)

    def check_every_error(self) -> None:
        """Search for the key that every error of the provider's SDK contains."""
        for error in self.errors:
            assert contains_secret(error) == ""
            assert KEY not in repr(pickle.dumps(error))
        assert contains_secret([row.error for row in self.ledger.rows()]) == ""


def check(row: Attempt, call: Call, *, is_bounded_below: bool) -> None:
    """Compare the row of a request that was sent with the provider's bill."""
    details = (row, call)
    low_usd = row.cost_usd if row.cost_low_usd is None else row.cost_low_usd
    high_usd = row.cost_usd if row.cost_high_usd is None else row.cost_high_usd
    assert 0 <= low_usd <= row.cost_usd <= high_usd, details
    assert 0 <= row.usage.reasoning_tokens <= row.usage.output_tokens or row.cost_basis is CostBasis.REPORTED, details
    if call.free:
        assert (row.cost_usd, row.cost_estimated) == (0, False), details
        return
    credibility = call.credibility
    if credibility == "unclear" and row.cost_basis is CostBasis.REPORTED:
        credibility = "credible"
    if credibility == "credible":
        assert (row.cost_usd, row.cost_estimated) == (call.reported_usd, False), details
        return
    assert row.cost_basis is not CostBasis.REPORTED, details
    assert row.cost_estimated or call.held_usd == 0, details
    assert high_usd <= call.held_usd, details
    if call.character.obeys_limit:
        assert call.billed_usd <= high_usd, details
        if is_bounded_below and not call.summarized:
            assert row.cost_usd >= call.billed_usd, details


def tell(*steps: str | float, mode: str | None = None, **character: Any) -> None:
    """Tell a provider the steps of one run, each a step or a number of seconds to wait, stop the run, and check it."""
    books = HostileProviders()
    books.open(**{"prices": [(Decimal(1), Decimal(10))] * 3, "stated_pace": 100, "thinking": 100, **character})
    books.ask(mode=mode)
    for step in steps:
        if isinstance(step, str):
            books.go_on(0, step)
        else:
            books.wait(step)
        books.no_cap_is_exceeded_but_by_what_a_provider_reported()
    if not books.tasks[0].done():
        books.stop(0)
    books.teardown()


@pytest.mark.parametrize(
    "steps",
    [
        ("text", "end:cached"),
        ("partial:negative", "text", "end:negative"),
        ("long", "end:small"),
        ("long", "end:zero"),
        ("thought", "end:zero"),
        ("long", "end:little input"),
        ("long", 40, "ping"),
        ("long", 40, "partial:zero"),
        ("long", 40, "partial:exact", 3),
        (40,),
        (40, "text", "finish:exact", 40),
        ("flood", "disconnect"),
        (3, "summary", "long", "StreamBroken"),
        (250, "TimedOut"),
        (3, "error event"),
        ("not sent",),
        (3, "bug"),
        ("partial:absurd", "long", "end:none"),
        ("end:over",),
        ("RateLimited", 3, "text"),
        ("long", "partial:over"),
    ],
    ids=repr,
)
@pytest.mark.parametrize(("tokens_per_word", "announces_sending"), [("0.3", False), ("1", True), ("3", False)])
def test_each_script_of_a_hostile_provider_is_charged_within_its_hold(
    steps: tuple[str | float, ...], tokens_per_word: str, announces_sending: bool
) -> None:
    tell(*steps, tokens_per_word=tokens_per_word, announces_sending=announces_sending)


@pytest.mark.parametrize("damage", ["holds", "all", "restored", "restored before the hold"])
@pytest.mark.parametrize("ledgers", [1, 2])
@pytest.mark.parametrize("ending", ["end:exact", "StreamBroken", "bug"])
def test_a_settlement_counts_although_its_row_was_deleted_or_the_ledger_restored(
    damage: str, ledgers: int, ending: str
) -> None:
    books = HostileProviders()
    books.open(prices=[(Decimal(1), Decimal(10))] * 3, ledgers=ledgers)
    books.back_up()
    for which in range(2):
        books.ask(which=which)
        books.go_on(which, "long")
    if damage == "restored":
        books.back_up()
    books.go_on(0, ending)
    books.what_is_settled_is_remembered()
    if damage.startswith("restored"):
        books.restore()
    else:
        books.delete_rows(only_holds=damage == "holds")
    books.go_on(0, ending)
    assert books.folder is not None
    with closing(sqlite3.connect(books.folder / "ledger.db")) as db:  # the ledger itself would write the row when read
        query = "SELECT count(*) FROM llm_magic_attempts WHERE lease_until IS NULL"
        assert db.execute(query).fetchone()[0] >= 1
    books.teardown()


@pytest.mark.parametrize("steps", [("flood", "partial:exact"), ("flood", "partial:exact", "StreamBroken"), ("flood",)])
def test_a_partial_report_beyond_the_limit_is_charged_up_to_the_hold(steps: tuple[str, ...]) -> None:
    tell(*steps, obeys_limit=False)


STREAM = ("ping", "thought", "text", "pieces", "long", "partial:exact", "finish:exact", "text")


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("by", ["stop", "consumer"])
def test_a_stream_is_canceled_upstream_wherever_it_is_closed(mode: str | None, by: str) -> None:
    """By a stop after each step, and by the consumer of its events after each event."""
    for count in range(1, len(STREAM)):
        books = HostileProviders()
        books.open(prices=[(Decimal(1), Decimal(10))] * 3, stated_pace=100, thinking=100)
        books.ask(mode=mode, stop_after=count if by == "consumer" else None)
        for step in STREAM[: count if by == "stop" else None]:
            if books.provider.waiting:
                books.go_on(0, step)
                books.wait(1)
            books.closing_a_run_cancels_it_upstream()
        if by == "stop":
            books.stop(0)
        books.closing_a_run_cancels_it_upstream()
        assert books.closed or mode == "compare"
        books.teardown()


@pytest.mark.parametrize("how", ["charge", "release"])
def test_a_live_hold_is_not_reconciled_from_here_or_from_another_container(how: Literal["charge", "release"]) -> None:
    books = HostileProviders()
    books.open(prices=[(Decimal(1), Decimal(10))] * 3, ledgers=2)
    books.ask()
    for seconds in (0, 40, 24 * 3600 * 400, -48 * 3600):
        books.clock.jump(seconds)
        for which, elsewhere in ((0, False), (1, False), (1, True)):
            books.reconcile(which, how, elsewhere=elsewhere)
    assert not books.provider.calls[0].is_over
    books.teardown()


@pytest.mark.parametrize("kind", [error.__name__ for error in (*FREE, *BILLED)])
def test_no_error_of_a_run_contains_the_key(kind: str) -> None:
    books = HostileProviders()
    books.open(prices=[(Decimal(1), Decimal(10))] * 3)
    books.ask()
    while books.provider.waiting:
        books.go_on(0, kind)
    assert books.errors
    books.teardown()


# Last: a script that fails is shorter than an example of the machine.
TestHostileProviders = HostileProviders.TestCase
TestHostileProviders.settings = settings(max_examples=examples(25) if examples(1) > 1 else 8, stateful_step_count=30)
