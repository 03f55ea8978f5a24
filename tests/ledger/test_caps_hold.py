"""The books against a provider's own journal, over random prompts, prices, caps, faults, cancels and interleavings."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llm_magic import Budget, LLMMagicError
from llm_magic.types import Request
from tests.support import builders
from tests.support.fuzzing import examples
from tests.support.journal import FAULTS, Journal

# Micro-dollars per million tokens: prices with as many digits as the registry takes.
PRICES = st.integers(0, 90_000_000).map(lambda micro: Decimal(micro).scaleb(-6))
WORDS = st.lists(st.sampled_from(["explain", "why", "prime", "numbers", "matter", "JSON", "hello"]), max_size=30)
MODELS = ("first", "second", "third")


class Books(RuleBasedStateMachine):
    """Many runs under caps on one loop, stepped by hand."""

    @initialize(
        prices=st.lists(st.tuples(PRICES, PRICES), min_size=3, max_size=3),
        cap=st.integers(0, 400_000),
        run_cap=st.none() | st.integers(1, 100_000),
        tag_cap=st.none() | st.integers(1, 100_000),
        concurrency=st.integers(1, 6),
    )
    def open(
        self,
        prices: list[tuple[Decimal, Decimal]],
        cap: int,
        run_cap: int | None,
        tag_cap: int | None,
        concurrency: int,
    ) -> None:
        self.loop = asyncio.new_event_loop()
        self.journal = Journal()
        self.tasks: list[asyncio.Task[None]] = []
        chain = dict(zip(MODELS, (*MODELS[1:], MODELS[0]), strict=True))  # a cycle
        specs = [
            builders.model(name, price=f"{given}/{wanted}", fallback_id=chain[name], max_output_tokens=2_000)
            for name, (given, wanted) in zip(MODELS, prices, strict=True)
        ]
        self.cap = Decimal(cap).scaleb(-6)
        self.router = builders.router(
            *specs,
            providers={"cloud": self.journal},
            concurrency=concurrency,
            budget=Budget(
                session_usd=self.cap,
                run_usd=None if run_cap is None else Decimal(run_cap).scaleb(-6),
                tags_usd={} if tag_cap is None else {"batch": Decimal(tag_cap).scaleb(-6)},
            ),
        )

    def settle_down(self) -> None:
        async def turns() -> None:
            for _ in range(12):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())

    @rule(
        words=WORDS,
        most=st.integers(1, 2_000),
        tagged=st.booleans(),
        mode=st.sampled_from([None, "hedge", "agree", "twice"]),
    )
    def ask(self, words: list[str], most: int, tagged: bool, mode: str | None) -> None:
        request = self.router.request(
            " ".join([*words, "?"]),
            max_output_tokens=most,
            tags=("batch",) if tagged else (),
            hedge_s=0.5 if mode == "hedge" else None,
            cascade=None if mode == "hedge" else mode,
        )

        self.tasks.append(self.loop.create_task(self.run(request)))
        self.settle_down()

    async def run(self, request: Request) -> None:
        try:
            async with aclosing(self.router._run(request, {})) as events:
                async for _ in events:
                    pass
        except LLMMagicError:
            pass  # whatever became of the run, the books must be right

    @precondition(lambda self: self.journal.waiting)
    @rule(which=st.integers(0, 99), step=st.sampled_from(["chunk", "all", "end", *FAULTS]))
    def go_on(self, which: int, step: str) -> None:
        waiting = self.journal.waiting
        waiting[which % len(waiting)].next.set_result(step)
        self.settle_down()

    @precondition(lambda self: any(not task.done() for task in self.tasks))
    @rule(which=st.integers(0, 99))
    def stop(self, which: int) -> None:
        under_way = [task for task in self.tasks if not task.done()]
        under_way[which % len(under_way)].cancel()
        self.settle_down()

    @rule(more=st.integers(0, 100_000))
    def raise_the_cap(self, more: int) -> None:
        self.cap += Decimal(more).scaleb(-6)
        self.router.set_budget(self.cap)
        self.settle_down()

    @invariant()
    def no_cap_is_passed(self) -> None:
        ledger, budget = self.router.ledger, self.router.budget
        assert ledger.spent_usd + ledger.held_usd <= self.cap
        for limit in budget.tags_usd.values():
            rooms = ledger.headroom(Budget(tags_usd={"batch": limit}).caps(model="", tags=("batch",)))
            assert all(room.left_usd >= 0 for room in rooms)
        if budget.run_usd is not None:
            spent: dict[str, Decimal] = {}
            for row in ledger.rows():
                spent[row.run_id] = spent.get(row.run_id, Decimal(0)) + row.cost_usd
            assert all(each <= budget.run_usd for each in spent.values())

    @invariant()
    def whoever_is_not_under_way_holds_nothing(self) -> None:
        if all(task.done() for task in self.tasks):
            assert self.router.ledger.held_usd == 0

    def teardown(self) -> None:
        if not hasattr(self, "tasks"):
            return
        for task in self.tasks[::2]:
            task.cancel()
        self.settle_down()
        while not all(task.done() for task in self.tasks):
            for entry in self.journal.waiting:
                entry.next.set_result("end" if entry.sent else "chunk")
            self.settle_down()
        self.no_cap_is_passed()
        self.the_books_are_the_journal()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def the_books_are_the_journal(self) -> None:
        ledger, rows = self.router.ledger, self.router.ledger.rows()
        assert ledger.held_usd == 0
        assert [row.model for row in rows] == [entry.model for entry in self.journal.entries]
        assert ledger.spent_usd == sum((row.cost_usd for row in rows), Decimal(0))
        for row, entry in zip(rows, self.journal.entries, strict=True):
            if entry.reported or entry.free:
                assert (row.cost_usd, row.cost_estimated) == (entry.billed_usd, False), row
            else:
                assert row.cost_usd >= entry.billed_usd, row
                assert row.cost_estimated, row


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=examples(20), stateful_step_count=30)
