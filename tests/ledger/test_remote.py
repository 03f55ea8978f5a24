"""A ledger on a server: its round trips do not hold up the event loop, and a canceled run leaves no hold behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from llm_magic import Ledger, Router
from llm_magic.bridge import bridge
from llm_magic.ledger.paces import Paces
from llm_magic.ledger.transactions import Transactions
from llm_magic.types import TaskTier
from tests.support import builders


class SlowDatabase:
    """Stops every transaction that writes until it is let through."""

    def __init__(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        self._begin: Callable[..., Any] = ledger.transactions.database.begin
        self.reached = threading.Semaphore(0)
        self.passes = threading.Semaphore(0)
        monkeypatch.setattr(Transactions, "is_remote", True)
        monkeypatch.setattr(ledger.transactions.database, "begin", self.begin)

    def begin(self, *, to_read: bool = False) -> Any:
        if not to_read:
            self.reached.release()
            assert self.passes.acquire(timeout=60)
        return self._begin(to_read=to_read)

    async def wait_until_reached(self) -> None:
        assert await asyncio.to_thread(self.reached.acquire, timeout=60)

    def let_all_through(self) -> None:
        self.passes.release(100)


async def assert_private_loop_runs() -> None:
    turn = asyncio.run_coroutine_threadsafe(asyncio.sleep(0), bridge.loop())
    await asyncio.wait_for(asyncio.wrap_future(turn), timeout=60)


async def cancel(run: asyncio.Task[Any]) -> None:
    """Cancel a run, and return when the private loop has got the cancellation."""
    run.cancel()
    await assert_private_loop_runs()  # in the meantime, the run passes its cancellation on
    await assert_private_loop_runs()


@pytest.fixture
def router(tmp_path: Any) -> Router:
    return builders.router(ledger=Ledger(tmp_path / "ledger.db"))


async def test_the_loop_runs_while_a_hold_and_a_settlement_are_written(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    router.set_budget(1)
    database = SlowDatabase(router.ledger, monkeypatch)
    run = asyncio.create_task(router.route("hello", tier="bulk"))
    await database.wait_until_reached()
    await assert_private_loop_runs()
    database.passes.release()
    await database.wait_until_reached()
    await assert_private_loop_runs()
    database.let_all_through()
    result = await run
    assert router.ledger.spent_usd == result.cost_usd == result.session_cost_usd > 0
    assert router.ledger.held_usd == 0


@pytest.fixture
def cascading(tmp_path: Any) -> Router:
    cheap: dict[str, Any] = {
        "tiers": (TaskTier.BULK,),
        "capability": {TaskTier.COMPLEX: 1.2, TaskTier.BULK: 2.2},
        "price": "0.1/0.5",
    }
    return builders.router(
        builders.model("strong", price="4/20", tiers=(TaskTier.COMPLEX,)),
        builders.model("cheap", provider="one", **cheap),
        builders.model("other", provider="two", **cheap),
        ledger=Ledger(tmp_path / "ledger.db"),
    )


@pytest.mark.parametrize("kind", ["router", "cascading"])
async def test_a_run_that_is_canceled_while_its_hold_is_written_leaves_nothing_held(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = request.getfixturevalue(kind)
    router.set_budget(1)
    cascade = kind == "cascading"
    assert (router.plan("well?", tier="complex", cascade=cascade).cascade is not None) is cascade
    database = SlowDatabase(router.ledger, monkeypatch)
    run = asyncio.create_task(router.route("well?", tier="complex", cascade=cascade))
    await database.wait_until_reached()
    await cancel(run)
    database.let_all_through()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert router.ledger.rows() == []
    assert (router.ledger.held_usd, router.ledger.spent_usd) == (0, 0)


async def test_a_comparison_that_is_canceled_while_it_reserves_leaves_nothing_held(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    router.set_budget(1)
    database = SlowDatabase(router.ledger, monkeypatch)

    run = asyncio.create_task(router.compare("hello", models=["cheap", "strong"]))
    await database.wait_until_reached()
    await cancel(run)
    database.let_all_through()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert router.ledger.rows() == []
    assert router.ledger.held_usd == 0


def test_a_run_waits_only_for_its_own_settlement(router: Router) -> None:
    pending = router.ledger.transactions.pending
    pending.add_settlement(builders.attempt(run_id="another"))
    assert not pending.is_due_for("this")
    assert pending.is_due_for("another")


async def test_the_pace_for_an_estimate_is_read_before_the_request_is_sent(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings: list[bool] = []
    monkeypatch.setattr(Transactions, "is_remote", True)

    def read(paces: Paces, model: str) -> float:
        readings.append(not builders.scripted(router).requests)
        return 100.0

    monkeypatch.setattr(Paces, "read", read)
    for _ in range(3):
        await router.route("hello", tier="bulk")
    assert readings == [True]
    assert router.ledger.spent_usd > Decimal(0)
