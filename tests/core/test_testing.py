"""`llm_magic.testing`: the scripted router, model and clock for users' own tests."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from llm_magic import BudgetError, BudgetExceeded, Ledger, Overloaded, RateLimited, TaskTier, testing
from llm_magic.providers import scripted
from llm_magic.testing import Failure, FakeClock, Reply, ScriptedProvider, scripted_model, scripted_router


def test_a_scripted_router_answers_without_a_key_and_writes_its_ledger_to_memory() -> None:
    provider = ScriptedProvider([Reply(chunks=("Bon", "jour"))])
    router = scripted_router(providers={"cloud": provider})
    result = router.route_sync("Translate to French: hello")
    assert (result.text, result.model, result.tier) == ("Bonjour", "cheap", TaskTier.BULK)
    assert provider.requests[0].messages[0].content == "Translate to French: hello"
    assert router.ledger.location == ":memory:"
    assert [row.outcome for row in router.ledger.rows()] == ["ok"]


def test_the_last_reply_is_repeated() -> None:
    router = scripted_router(replies=[Reply(chunks=("first",)), Reply(chunks=("then",))])
    assert [router.route_sync("hello").text for _ in range(3)] == ["first", "then", "then"]


def test_a_failure_moves_the_run_to_the_next_model() -> None:
    router = scripted_router(replies=[*[Failure(error=Overloaded("busy"))] * 3, Reply()])
    assert router.route_sync("hello", tier="bulk").model == "strong"


def test_retries_wait_on_the_fake_clock_alone() -> None:
    clock = FakeClock()
    router = scripted_router(replies=[Failure(error=RateLimited("slow down", retry_after_s=7)), Reply()], clock=clock)
    router.route_sync("hello")
    assert clock.sleeps_s == [7]


def test_models_prices_and_budget_are_the_ones_given() -> None:
    router = scripted_router(scripted_model("only", price="0/10"))
    assert router.plan("hello").candidates[0].model.price == router.registry["only"].price
    assert router.registry["only"].price.output == Decimal(10)
    router.set_budget("0.000001")
    with pytest.raises(BudgetExceeded):
        router.route_sync("hello")


def test_the_session_id_reaches_the_rows() -> None:
    router = scripted_router(session_id="my-test")
    router.route_sync("hello")
    assert router.ledger.rows()[0].session_id == "my-test"


def test_a_ledger_can_be_shared_by_two_routers() -> None:
    ledger = Ledger(":memory:")
    for _ in range(2):
        scripted_router(ledger=ledger).route_sync("hello")
    assert len(ledger.rows()) == 2


def test_the_fake_clock_moves_date_and_monotonic_time_together() -> None:
    start = datetime(2026, 5, 1, tzinfo=UTC)
    clock = FakeClock(start, jitter=0.5)
    clock.advance(90)
    assert clock.now() == start + timedelta(seconds=90)
    assert clock.monotonic() == 90
    assert clock.clock().jitter() == 0.5
    assert clock.sleeps_s == []


def test_the_public_names_are_those_of_the_provider_module() -> None:
    assert testing.Reply is scripted.Reply
    assert testing.ScriptedProvider is scripted.ScriptedProvider
    assert set(testing.__all__) <= set(dir(testing))


def test_importing_llm_magic_does_not_import_testing() -> None:
    code = "import llm_magic, sys; sys.exit('llm_magic.testing' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_text_is_a_reply_and_a_number_is_the_sessions_cap() -> None:
    router = scripted_router(budget=5, replies=["first", "second"])
    assert [router.route_sync("hello").text for _ in range(3)] == ["first", "second", "second"]
    assert router.budget.session_usd == 5
    assert scripted_router(replies="only").route_sync("hello").text == "only"
    with pytest.raises(TypeError, match="a reply must be a Reply, a Failure or text, not 5"):
        scripted_router(replies=[5])  # type: ignore[list-item]
    with pytest.raises(BudgetError, match="'much' is not a USD amount"):
        scripted_router(budget="much")
