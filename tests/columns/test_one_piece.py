"""Short answers of rows and of `route` are requested without a stream, and settled at their bound if interrupted."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_magic import Ledger, Registry, Router
from llm_magic.events import TextDelta
from llm_magic.routing.options import RequestOptions
from llm_magic.types import CostBasis, Outcome
from tests.support import loopback
from tests.support.loopback import Answer, Broken, Fault

MODELS = ["gpt-5.5", "claude-sonnet-4-6", "deepseek-v3"]
MODEL = MODELS[0]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[loopback.Server]:
    with loopback.running() as running:
        registry = Registry.load(profile="article")
        for model, prices in zip(MODELS, [("3", "12"), ("3", "15"), ("0.27", "1.1")], strict=True):
            running.prices[registry[model].api_model] = (*prices, "0.3", "3")
            running.script(registry[model].api_model, Answer())
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


def new_router(registry: Registry | None = None) -> Router:
    return Router(registry=registry or Registry.load(profile="article"), ledger=Ledger(":memory:"))


@pytest.mark.parametrize(("max_output_tokens", "is_streamed"), [(50, False), (4_000, True)])
@pytest.mark.parametrize("model", MODELS)
def test_short_answers_of_rows_are_requested_in_one_piece(
    server: loopback.Server, model: str, max_output_tokens: int, is_streamed: bool
) -> None:
    router = new_router()
    done = router.map_sync("Topic? {{value}}", over=["a", "b"], model=model, max_output_tokens=max_output_tokens)
    assert [bool(entry.body.get("stream")) for entry in server.journal] == [is_streamed] * 2
    assert list(done.frame["answer"]) == ["The answer is 42."] * 2
    assert router.ledger.spent_usd == server.billed_usd
    assert not any(row.cost_estimated for row in router.ledger.rows())


@pytest.mark.parametrize(
    ("options", "is_streamed"), [({}, False), ({"max_output_tokens": 4_000}, True), ({"hedge_s": 9}, True)]
)
@pytest.mark.parametrize("model", MODELS)
def test_a_short_answer_that_is_not_displayed_is_requested_in_one_piece(
    server: loopback.Server, model: str, options: RequestOptions, is_streamed: bool
) -> None:
    router = new_router()
    given: RequestOptions = {"model": model, "max_output_tokens": 50}
    result = router.route_sync("Topic?", **{**given, **options})
    assert [bool(entry.body.get("stream")) for entry in server.journal] == [is_streamed]
    assert (result.text, result.cost_estimated, result.cost_usd) == ("The answer is 42.", False, server.billed_usd)


@pytest.mark.parametrize(("pace", "is_streamed"), [(0.3, True), (0.4, False)])
def test_an_answer_that_may_take_longer_than_half_of_the_timeout_is_streamed(
    server: loopback.Server, pace: float, is_streamed: bool
) -> None:
    registry = Registry.load(profile="article")
    paced = dataclasses.replace(registry[MODEL], tokens_per_s=pace)
    router = new_router(registry.with_models([paced if other.id == MODEL else other for other in registry]))
    router.route_sync("Topic?", model=MODEL, max_output_tokens=50)
    assert bool(server.journal[0].body.get("stream")) is is_streamed


def test_the_pace_that_a_ledger_has_learned_decides_too(server: loopback.Server, tmp_path: Path) -> None:
    router = Router(registry=Registry.load(profile="article"), ledger=Ledger(tmp_path / "ledger.db"))
    answer = router.route_sync("Topic?", model=MODEL, max_output_tokens=50)
    (row,) = router.ledger.rows(run_id=answer.run_id)
    slow, usage = Ledger(tmp_path / "slow.db"), dataclasses.replace(row.usage, output_tokens=60)
    for number in range(5):
        slow.record(dataclasses.replace(row, run_id=f"slow {number}", usage=usage, latency_s=600.0))
    Router(registry=router.registry, ledger=slow).route_sync("Topic?", model=MODEL, max_output_tokens=50)
    assert [bool(entry.body.get("stream")) for entry in server.journal] == [False, True]


def test_events_are_streamed(server: loopback.Server) -> None:
    events = list(new_router().stream_sync("Topic?", model=MODEL, max_output_tokens=50))
    assert server.journal[0].body["stream"] is True
    assert sum(isinstance(event, TextDelta) for event in events) > 1


@pytest.mark.parametrize("model", MODELS)
async def test_a_canceled_route_in_one_piece_is_settled_at_its_bound_and_flagged(
    server: loopback.Server, model: str
) -> None:
    api_model = Registry.load(profile="article")[model].api_model
    server.script(api_model, Answer(gate=(gate := threading.Event())))
    router = new_router()
    running = asyncio.create_task(router.route("Topic?", model=model, max_output_tokens=50))
    await asyncio.to_thread(server.wait_until, lambda: len(server.journal) == 1, timeout_s=60)
    held_usd = router.ledger.held_usd
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    gate.set()
    (row,) = router.ledger.rows()
    assert (row.outcome, row.cost_basis, row.cost_usd) == (Outcome.CANCELLED, CostBasis.HELD, held_usd)
    assert router.ledger.held_usd == 0


@pytest.mark.parametrize("model", MODELS)
def test_an_answer_in_one_piece_that_breaks_is_charged_at_its_bound_and_asked_again(
    server: loopback.Server, model: str
) -> None:
    server.script(Registry.load(profile="article")[model].api_model, Broken(how="cut_body"), Answer())
    router = new_router()
    result = router.route_sync("Topic?", model=model, max_output_tokens=50)
    broken, answered = router.ledger.rows()
    assert (broken.outcome, broken.cost_basis, answered.outcome) == (Outcome.STREAM_BROKEN, CostBasis.HELD, Outcome.OK)
    assert result.cost_usd == router.ledger.spent_usd > server.billed_usd


@pytest.mark.parametrize("pace", [None, 1.0])
@pytest.mark.parametrize("model", MODELS)
def test_an_interrupted_row_is_settled_at_its_bound_and_flagged(
    server: loopback.Server, model: str, pace: float | None
) -> None:
    """Even if the pace of the model is known: the provider may generate the answer to its end."""
    registry = Registry.load(profile="article")
    paced = dataclasses.replace(registry[model], tokens_per_s=pace)
    registry = registry.with_models([paced if other.id == model else other for other in registry])
    server.script(registry[model].api_model, Answer(gate=(gate := threading.Event())))
    router = new_router(registry)
    column = router.map("Topic? {{value}}", over=["a"], model=model, max_output_tokens=50, pilot=0)
    column.start()
    server.wait_until(lambda: len(server.journal) == 1, timeout_s=60)  # a first request loads a lot
    assert not server.journal[0].body.get("stream")
    held_usd = router.ledger.held_usd
    column.cancel()
    assert column.join(30)
    gate.set()
    (row,) = router.ledger.rows()
    assert (row.outcome, row.cost_basis, row.cost_estimated) == (Outcome.CANCELLED, CostBasis.HELD, True)
    assert row.cost_usd == row.cost_high_usd == held_usd
    assert row.cost_low_usd is not None
    assert row.cost_low_usd < row.cost_usd
    assert router.ledger.held_usd == 0


def test_a_row_in_one_piece_is_retried_after_an_error(server: loopback.Server) -> None:
    server.script(MODEL, Fault(status=503, message="busy", headers={"retry-after": "0"}), Answer())
    router = new_router()
    done = router.map_sync("Topic? {{value}}", over=["a"], model=MODEL, max_output_tokens=50)
    assert done.report().is_whole
    assert [row.outcome for row in router.ledger.rows()] == [Outcome.SERVER_ERROR, Outcome.OK]
    assert router.ledger.spent_usd == server.billed_usd
