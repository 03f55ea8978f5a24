"""The cheaper, slower service tier: its requests, its price, and the standard tier when it has no capacity."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from llm_magic import AuthFailed, Ledger, NoCandidate, Overloaded, RateLimited, Registry, Router, Usage, prices
from llm_magic.providers.base import Finished
from llm_magic.testing import Failure, FakeClock, Reply, ScriptedProvider
from llm_magic.types import Outcome
from tests.support.builders import NOON

PROMPT = "Translate to French: good morning"
USAGE = Usage(input_tokens=1_000, output_tokens=1_000)


class Tiered(ScriptedProvider):
    """Serves the requested tier."""

    async def stream(self, request: Any) -> Any:
        async for event in super().stream(request):
            if isinstance(event, Finished):
                event = Finished(
                    finish_reason=event.finish_reason,
                    served_model=event.served_model,
                    service_tier=request.service_tier,
                )
            yield event


def routing(*replies: Reply | Failure, clock: FakeClock | None = None) -> tuple[Router, Tiered]:
    provider = Tiered(replies or (Reply(usage=USAGE),))
    router = Router(
        registry=Registry.load("current"),
        ledger=Ledger(":memory:"),
        providers={"openai": provider, "anthropic": provider},
        clock=(clock or FakeClock(NOON)).clock(),
    )
    return router, provider


def test_flex_is_sent_held_at_the_standard_price_and_settled_at_its_own() -> None:
    router, provider = routing()
    standard = router.plan(PROMPT, model="gpt-6.1-terra").candidates[0]
    flex = router.plan(PROMPT, model="gpt-6.1-terra", flex=True).candidates[0]
    assert flex.worst_usd == standard.worst_usd
    assert flex.expected_usd < Decimal("0.7") * standard.expected_usd
    result = router.route_sync(PROMPT, model="gpt-6.1-terra", flex=True)
    assert provider.requests[0].params["service_tier"] == "flex"
    (row,) = router.ledger.rows()
    model = router.registry["gpt-6.1-terra"]
    assert row.service_tier == "flex"
    assert result.cost_usd == prices.cost(model, USAGE, row.started_at, "flex").usd
    assert result.cost_usd * 2 == prices.cost(model, USAGE, row.started_at).usd


def test_without_flex_the_tier_of_the_provider_is_sent() -> None:
    router, provider = routing()
    router.route_sync(PROMPT, model="gpt-6.1-terra")
    assert provider.requests[0].params["service_tier"] == "default"


@pytest.mark.parametrize("error", [RateLimited("resource unavailable"), Overloaded("no capacity")])
def test_a_flex_tier_without_capacity_is_waited_for_and_then_left_for_the_standard_tier(error: Any) -> None:
    clock = FakeClock(NOON)
    router, provider = routing(Failure(error=error), Failure(error=error), Reply(usage=USAGE), clock=clock)
    result = router.route_sync(PROMPT, model="gpt-6.1-terra", flex=True)
    assert result.model == "gpt-6.1-terra"
    assert [request.service_tier for request in provider.requests] == ["flex", "flex", None]
    assert {request.model.id for request in provider.requests} == {"gpt-6.1-terra"}
    assert clock.sleeps_s[0] >= 30
    rows = router.ledger.rows()
    assert [row.cost_usd for row in rows[:2]] == [0, 0]
    assert rows[2].service_tier is None
    assert "gpt-6.1-terra: the flex tier has no capacity; asked at the standard tier" in result.notes
    assert router.circuit(router.registry["gpt-6.1-terra"]).blocked_reason is None


def test_other_errors_of_the_flex_tier_fall_back_as_usual() -> None:
    router, provider = routing(Failure(error=AuthFailed("no")), Reply(usage=USAGE))
    with pytest.raises(Exception, match="auth failed"):
        router.route_sync(PROMPT, model="gpt-6.1-terra", flex=True)
    assert router.ledger.rows()[0].outcome is Outcome.AUTH_FAILED
    assert provider.requests[0].service_tier == "flex"


def test_flex_is_refused_with_words_if_no_candidate_has_it() -> None:
    both, provider = routing()
    router = Router(registry=both.registry, ledger=both.ledger, providers={"anthropic": provider})
    with pytest.raises(NoCandidate, match=r"claude-opus-5-5: has no flex tier: leave out --flex"):
        router.route_sync(PROMPT, model="claude-opus-5-5", flex=True)
    assert provider.requests == []


def test_only_models_with_a_flex_tier_are_candidates() -> None:
    router, _ = routing()
    plan = router.plan(PROMPT, flex=True)
    assert plan.candidates
    assert {candidate.model.provider for candidate in plan.candidates} == {"openai"}
