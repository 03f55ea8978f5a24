"""From prompt to bill through the real SDKs: what the ledger says is what the server billed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing
from decimal import Decimal

import pytest

from llm_magic import AllAttemptsFailed, Router, TaskTier
from llm_magic.events import TextDelta
from llm_magic.execute import Clock, RetryPolicy
from tests.support import loopback
from tests.support.loopback import Answer, Broken, Fault

FOUR = {
    TaskTier.COMPLEX: ("Prove that there are infinitely many primes.", "claude-opus-4-7"),
    TaskTier.STANDARD: ("Write an email to my landlord about the heating.", "claude-sonnet-4-6"),
    TaskTier.STRUCTURED: ("Extract the name and the age as JSON: Ada is 36.", "gpt-5.5"),
    TaskTier.BULK: ("Classify the sentiment as positive or negative: I loved it.", "deepseek-v3"),
}


@pytest.fixture(scope="module")
def running() -> Iterator[loopback.Server]:
    with loopback.running() as server:
        yield server


@pytest.fixture
def server(running: loopback.Server, monkeypatch: pytest.MonkeyPatch) -> loopback.Server:
    running.scripts.clear()
    running.journal.clear()
    running.prices = {
        "claude-opus-4-7": ("5", "25", "0.5", "6.25"),
        "claude-sonnet-4-6": ("3", "15", "0.3", "3.75"),
        "gpt-5.5": ("3", "12", "3", "3"),
        "deepseek-v3": ("0.27", "1.10", "0.07", "0.27"),
    }
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LLM_MAGIC_PROFILE", "article")
    return running


def hasty() -> Router:
    """A router whose waits take no time."""

    async def no_sleep(_: float) -> None:
        await asyncio.sleep(0)

    return Router(clock=Clock(sleep=no_sleep))


def test_the_four_tiers_reach_the_four_models(server: loopback.Server) -> None:
    router = hasty()
    for tier, (prompt, model_id) in FOUR.items():
        result = router.route_sync(prompt)
        assert (result.tier, result.model, result.text) == (tier, model_id, "The answer is 42.")
    assert [entry.model for entry in server.journal] == [model_id for _, model_id in FOUR.values()]
    assert router.ledger.spent_usd == server.billed_usd > 0


@pytest.mark.parametrize("tier", list(TaskTier))
def test_529_twice_and_then_failing_falls_back_along_the_chain(server: loopback.Server, tier: TaskTier) -> None:
    _, first = FOUR[tier]
    server.script(first, Fault(status=529, code="overloaded_error"), Fault(status=529), Fault(status=500))
    router = hasty()
    result = router.route_sync("hello", tier=tier)
    second = router.registry[first].fallback_id
    assert [(step.model, step.outcome) for step in result.path] == [
        (first, "overloaded"),
        (first, "overloaded"),
        (first, "server_error"),
        (second, "ok"),
    ]
    assert [row.fallback_from for row in router.ledger.rows()] == [None, None, None, first]
    assert len(router.ledger.rows()) == len(server.journal)
    assert router.ledger.spent_usd == server.billed_usd


def test_cached_and_written_tokens_are_billed_as_the_server_bills_them(server: loopback.Server) -> None:
    router = hasty()
    for _, model_id in FOUR.values():
        server.script(model_id, Answer(cached=3, written=2 if "claude" in model_id else 0, reasoning=5))
        router.route_sync("hello", model=model_id)
    assert [row.usage.reasoning_tokens for row in router.ledger.rows()] == [5] * 4
    assert [row.cost_usd for row in router.ledger.rows()] == [entry.cost_usd for entry in server.journal]


def test_everything_down_is_an_error_with_every_cause(server: loopback.Server) -> None:
    for _, model_id in FOUR.values():
        server.script(model_id, Fault(status=503))
    router = hasty()
    with pytest.raises(AllAttemptsFailed, match="claude-opus-4-7: server error") as caught:
        router.route_sync("hello", tier="complex")
    assert len(caught.value.exceptions) == len(server.journal) == 8
    assert (router.ledger.spent_usd, router.ledger.held_usd) == (0, 0)


@pytest.mark.parametrize("how", ["cut", "truncated", "malformed", "error"])
@pytest.mark.parametrize("model_id", [model_id for _, model_id in FOUR.values()])
def test_a_broken_stream_is_charged_no_less_than_the_server_did(
    server: loopback.Server, model_id: str, how: str
) -> None:
    server.script(model_id, Broken(how=how, chunks=("half ", "an ", "answer")), Answer())
    router = hasty()
    result = router.route_sync("hello there", model=model_id)
    assert result.text == "The answer is 42."
    broken, whole = router.ledger.rows()
    assert broken.cost_estimated
    assert broken.cost_usd >= server.journal[0].cost_usd > 0
    assert whole.cost_usd == server.journal[1].cost_usd


async def test_a_stopped_stream_is_closed_upstream_and_charged(server: loopback.Server) -> None:
    server.script("deepseek-v3", Answer(gate=threading.Event()))
    router = hasty()
    async with aclosing(router.stream("hello", tier="bulk")) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    await asyncio.to_thread(server.wait_until, lambda: server.journal[0].ended == "disconnected")
    (row,) = router.ledger.rows()
    assert (row.outcome, row.cost_estimated) == ("cancelled", True)
    assert row.cost_usd >= server.journal[0].cost_usd > 0


async def test_concurrent_runs_stay_under_a_cap(server: loopback.Server) -> None:
    router = hasty()
    router.set_budget("0.05")
    results = await asyncio.gather(
        *[router.route("hello", tier="standard", max_output_tokens=200) for _ in range(100)], return_exceptions=True
    )
    answered = [result for result in results if not isinstance(result, BaseException)]
    assert answered
    assert router.ledger.spent_usd == server.billed_usd <= Decimal("0.05")
    assert router.ledger.held_usd == 0
    assert len(router.ledger.rows()) == len(server.journal)


def test_no_key_is_written_anywhere(server: loopback.Server, capfd: pytest.CaptureFixture[str]) -> None:
    server.script("gpt-5.5", Fault(status=401, message=f"Incorrect API key provided: {loopback.KEY}-openai"))
    router = Router(policy=RetryPolicy(tries=1))
    result = router.route_sync("hello", tier="structured")
    assert result.model == "claude-sonnet-4-6"
    written = f"{result!r} {router.ledger.rows()!r} {router.plan('hello')!r} {vars(router)!r} {capfd.readouterr()}"
    assert "auth_failed" in written
    assert loopback.KEY not in written


def test_the_ledger_keeps_no_text(server: loopback.Server, tmp_path: object) -> None:
    router = hasty()
    server.script("gpt-5.5", Answer(chunks=('{"secret": ', "1}")))
    server.script("claude-sonnet-4-6", Answer(chunks=('{"n": 1}',)))
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    router.route_sync("a very private prompt", tier="structured", schema=schema)
    with router.ledger.transactions.reading() as db:
        dump = "\n".join(db.connection.driver_connection.iterdump())
    assert "invalid" in dump
    assert "private" not in dump
    assert "secret" not in dump
