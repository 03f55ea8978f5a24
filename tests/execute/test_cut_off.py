"""Answers that are cut off at an output limit that was derived from the lengths of earlier answers."""

from __future__ import annotations

from typing import Any

import pytest

from llm_magic import Ledger, Registry, Router
from llm_magic.providers.base import ProviderRequest
from llm_magic.testing import FakeClock, Reply, ScriptedProvider
from llm_magic.types import Outcome, Usage

OPTIONS: dict[str, Any] = {"model": "gpt-6-luna", "effort": "none", "tier": "BULK"}
LONG = 3_000


def answer(request: ProviderRequest) -> Reply:
    """Write 100 tokens, or LONG ones to a prompt that says so."""
    wanted = LONG if "at length" in request.messages[-1].content else 100
    count = min(wanted, request.max_output_tokens)
    return Reply(
        chunks=("word " * count,),
        usage=Usage(input_tokens=20, output_tokens=count),
        finish_reason="stop" if count == wanted else "length",
    )


@pytest.fixture
def router() -> Router:
    ours = Router(
        registry=Registry.load("current"),
        providers={"openai": ScriptedProvider(answer)},
        ledger=Ledger(":memory:"),
        clock=FakeClock().clock(),
    )
    for number in range(25):
        ours.route_sync(f"Label {number}", **OPTIONS)
    return ours


def test_a_cut_answer_is_asked_again_at_the_full_limit(router: Router) -> None:
    limit = router.plan("Explain at length", **OPTIONS).candidates[0].max_output_tokens
    assert limit < LONG
    result = router.route_sync("Explain at length", **OPTIONS)
    assert result.finish_reason == "stop"
    assert result.text.count("word") == LONG
    assert [attempt.outcome for attempt in result.attempts] == [Outcome.CUT_OFF, Outcome.OK]
    assert result.attempts[0].usage.output_tokens == limit
    assert result.cost_usd == sum(attempt.cost_usd for attempt in result.attempts)
    assert "asked again with up to 8,192 output tokens" in result.notes[0]


def test_an_answer_that_is_cut_at_a_stated_limit_is_the_result(router: Router) -> None:
    result = router.route_sync("Explain at length", max_output_tokens=300, **OPTIONS)
    assert result.finish_reason == "length"
    assert len(result.attempts) == 1


def test_an_answer_that_is_cut_under_a_cap_that_has_no_more_is_the_result(router: Router) -> None:
    candidate = router.plan("Explain at length", **OPTIONS).candidates[0]
    result = router.route_sync("Explain at length", max_cost=2 * candidate.worst_usd, **OPTIONS)
    assert result.finish_reason == "length"
    assert len(result.attempts) == 1


async def test_a_row_of_a_column_that_is_cut_is_asked_again(router: Router) -> None:
    rows = [f"row {number}" for number in range(30)] + ["one at length"]
    column = await router.map("Label: {{value}}", over=rows, **OPTIONS)
    assert column.progress.failed == 0
    outcomes = [row.outcome for row in router.ledger.rows() if row.usage.output_tokens > 150]
    assert outcomes == [Outcome.CUT_OFF, Outcome.OK]


def test_the_hold_of_10_000_rows_is_a_few_times_their_bill(router: Router) -> None:
    plan = router.plan_map("Label: {{value}}", over=[f"row {number}" for number in range(10_000)], **OPTIONS)
    assert plan.worst_usd is not None
    assert plan.expected_usd is not None
    assert plan.worst_usd < 5 * plan.expected_usd
