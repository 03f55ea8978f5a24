"""Effort as a part of the plan: which level each model is asked at, and what is expected of it."""

from __future__ import annotations

import dataclasses
import re
from decimal import Decimal
from typing import Any

import pytest

from llm_magic import Ledger, LLMMagicError, Registry, RequestError, Router, TaskTier
from llm_magic.plan.levels import quality_at, usable_levels
from llm_magic.testing import Reply, ScriptedProvider, scripted_router
from llm_magic.types import Classification, Effort, Plan

TRANSLATE = "Translate to French: good morning"
PROVE = "Prove that there are infinitely many primes of the form 4n + 3, and derive a lower bound on their density."


@pytest.fixture
def router() -> Router:
    registry = Registry.load("current")
    providers = {name: ScriptedProvider() for name in registry.providers if name != "local"}
    return Router(registry=registry, ledger=Ledger(":memory:"), providers=providers)


def levels(plan: Plan) -> dict[str, Effort | None]:
    return {candidate.model.id: candidate.effort for candidate in plan.candidates}


def test_a_simple_prompt_is_asked_without_reasoning(router: Router) -> None:
    leader = router.plan(TRANSLATE).candidates[0]
    assert leader.effort in (Effort.NONE, Effort.LOW)
    assert leader.expected_quality >= 0.965 * 0.9


@pytest.mark.parametrize(
    ("tier", "allowed"),
    [
        ("BULK", {Effort.NONE, Effort.LOW}),
        ("STRUCTURED", {Effort.NONE, Effort.LOW}),
        ("STANDARD", {Effort.LOW, Effort.MEDIUM}),
    ],
)
def test_the_first_choices_of_a_tier_are_asked_at_its_effort(router: Router, tier: str, allowed: set[Effort]) -> None:
    plan = router.plan("A prompt", tier=tier)
    first = {model.id for model in router.registry.first_choices(TaskTier(tier))}
    chosen = {model_id: effort for model_id, effort in levels(plan).items() if model_id in first}
    assert chosen
    assert set(chosen.values()) <= allowed


def test_complex_prompts_are_asked_at_the_effort_of_the_provider(router: Router) -> None:
    plan = router.plan(PROVE, tier="COMPLEX")
    for candidate in plan.candidates:
        expected = None if candidate.model.effort is None else candidate.model.effort.default
        assert candidate.effort == expected, candidate.model.id


def test_each_model_is_listed_once(router: Router) -> None:
    names = [entry.model.id for entry in router.plan(PROVE).ranked]
    assert len(names) == len(set(names))


def test_a_stated_effort_is_used_for_every_model_that_has_it(router: Router) -> None:
    chosen = levels(router.plan(PROVE, tier="COMPLEX", effort="low"))
    assert {effort for effort in chosen.values() if effort is not None} == {Effort.LOW}
    assert "claude-opus-5-5" in chosen


@pytest.mark.parametrize(
    ("model_id", "requested", "used"),
    [
        ("claude-opus-5-5", "none", "low"),
        ("gpt-6.1-sol", "none", "low"),
        ("claude-haiku-5-5", "max", "high"),
        ("deepseek-flash", "medium", "high"),
        ("gpt-6-luna", "none", "none"),
    ],
)
def test_a_level_that_a_model_lacks_is_never_used(router: Router, model_id: str, requested: str, used: str) -> None:
    model = router.registry[model_id]
    assert usable_levels(model, Effort(requested)) == (Effort(used),)
    assert levels(router.plan(PROVE, model=model_id, effort=requested))[model_id] == used


def test_the_effort_of_the_router_is_the_default(router: Router) -> None:
    harder = Router(registry=router.registry, ledger=router.ledger, providers=router.providers, effort="HIGH")
    assert levels(harder.plan(TRANSLATE))["gpt-6-luna"] is Effort.HIGH
    assert levels(harder.plan(TRANSLATE, effort="none"))["gpt-6-luna"] is Effort.NONE
    with pytest.raises(RequestError, match="effort"):
        Router(registry=router.registry, ledger=router.ledger, providers=router.providers, effort="some")


def test_more_effort_costs_more_and_is_expected_to_answer_better(router: Router) -> None:
    plans = [router.plan(PROVE, model="claude-opus-5-5", effort=level) for level in ("low", "medium", "high", "max")]
    leaders = [plan.candidates[0] for plan in plans]
    costs, qualities = [leader.expected_usd for leader in leaders], [leader.expected_quality for leader in leaders]
    assert costs == sorted(costs)
    assert qualities == sorted(qualities)
    assert len(set(costs)) == len(set(qualities)) == 4


def test_a_lower_quality_allows_a_lower_effort(router: Router) -> None:
    best = levels(router.plan(PROVE, tier="COMPLEX", quality=1.0))["claude-opus-5-5"]
    enough = levels(router.plan(PROVE, tier="COMPLEX", quality=0.5))["claude-opus-5-5"]
    assert (best, enough) == (Effort.MEDIUM, Effort.LOW)


def test_the_step_of_an_effort_is_in_logits(router: Router) -> None:
    model = router.registry["gpt-6.1-terra"]
    certain = Classification(tier=TaskTier.COMPLEX, confidence=1.0)
    assert quality_at(certain, model, Effort.MEDIUM) == quality_at(certain, model, None)
    harder = dataclasses.replace(certain, difficulty=-0.37)
    assert quality_at(certain, model, Effort.HIGH) == pytest.approx(quality_at(harder, model, Effort.MEDIUM))


@pytest.mark.parametrize("effort", ["medium", "high", "max"])
@pytest.mark.parametrize("name", ["claude-opus-5-5", "gpt-6.1-sol", "deepseek-v4-pro"])
def test_the_limit_leaves_space_for_reasoning_of_four_times_the_mean(router: Router, name: str, effort: str) -> None:
    if Effort(effort) not in (router.registry[name].effort or ()):
        effort = "high"
    leader = router.plan(PROVE, model=name, tier="COMPLEX", effort=effort).candidates[0]
    assert leader.max_output_tokens >= min(4.2 * leader.output_tokens, router.registry[name].max_output_tokens)
    stated = router.plan(PROVE, model=name, tier="COMPLEX", effort=effort, max_output_tokens=500)
    assert stated.candidates[0].max_output_tokens == 500


async def test_the_effort_is_sent_recorded_and_returned(router: Router) -> None:
    luna = ScriptedProvider([Reply(chunks=("bonjour",))])
    alone = Router(registry=router.registry, ledger=router.ledger, providers={"openai": luna})
    result = await alone.route(TRANSLATE, model="gpt-6-luna", effort="low", tier="BULK")
    assert luna.requests[0].effort is Effort.LOW
    assert luna.requests[0].params == {"verbosity": "low", "service_tier": "default", "reasoning_effort": "low"}
    assert result.effort is Effort.LOW
    (row,) = router.ledger.rows()
    assert row.effort is Effort.LOW
    assert row.expected_usd > 0
    assert list(router.ledger.to_frame()["effort"]) == ["low"]


def test_the_rows_of_a_column_state_the_effort(router: Router) -> None:
    luna = ScriptedProvider([Reply(chunks=("bonjour",))])
    alone = Router(registry=router.registry, ledger=router.ledger, providers={"openai": luna})
    done = alone.map_sync(
        "Translate to French: {{text}}", over={"text": ["hello"]}, into="french", model="gpt-6-luna", effort="low"
    )
    assert list(done.frame["route_effort"]) == ["low"]


def test_a_cascade_of_effort_asks_the_same_model_harder(router: Router) -> None:
    plan = router.plan(TRANSLATE, model="gpt-6-luna", cascade="effort")
    assert plan.cascade is not None
    assert [candidate.effort for candidate in plan.cascade.cheap] == [Effort.NONE, Effort.NONE]
    assert (plan.cascade.mode, plan.cascade.strong.model.id) == ("twice", "gpt-6-luna")
    assert plan.cascade.strong is plan.candidates[0]
    assert plan.candidates[0].effort is Effort.MEDIUM


@pytest.mark.parametrize(
    ("options", "mode"),
    [({"check": str.isdigit}, "check"), ({"judge": "claude-haiku-5-5"}, "judge"), ({"schema": {"type": "object"}}, "schema")],
)  # fmt: skip
def test_a_cascade_of_effort_is_confirmed_by_what_is_given(router: Router, options: Any, mode: str) -> None:
    plan = router.plan(TRANSLATE, model="claude-opus-5-5", cascade="effort", **options)
    assert plan.cascade is not None, plan.no_cascade
    assert plan.cascade.mode == mode
    assert plan.cascade.cheap[0].effort is Effort.LOW


async def test_a_low_answer_that_fails_its_check_is_asked_again_at_a_higher_effort(router: Router) -> None:
    luna = ScriptedProvider(lambda request: Reply(chunks=("7",) if request.effort is Effort.MEDIUM else ("seven",)))
    alone = Router(registry=router.registry, ledger=router.ledger, providers={"openai": luna})
    result = await alone.route("How many days has a week?", model="gpt-6-luna", cascade="effort", check=str.isdigit)
    assert (result.text, result.effort) == ("7", Effort.MEDIUM)
    assert [request.effort for request in luna.requests] == [Effort.NONE, Effort.MEDIUM]
    assert any("gpt-6-luna (effort none): the check failed" in note for note in result.notes)
    confirmed = await alone.route("How many?", model="gpt-6-luna", cascade="effort", check=str.isalpha)
    assert (confirmed.text, confirmed.effort) == ("seven", Effort.NONE)


def test_a_model_without_levels_has_no_cascade_of_effort() -> None:
    plan = scripted_router().plan("hello", cascade="effort")
    assert plan.cascade is None
    assert plan.no_cascade == "the levels of effort of cheap are unknown"


def test_the_worth_of_an_answer_decides_between_models_and_efforts(router: Router) -> None:
    costs, qualities = [], []
    for worth in ("0.0001", "0.05", "1", "100"):
        leader = router.plan(PROVE, worth=worth).candidates[0]
        costs.append(leader.expected_usd)
        qualities.append(leader.expected_quality)
    assert costs == sorted(costs)
    assert qualities == sorted(qualities)
    assert costs[0] < costs[-1]


def test_the_plan_states_what_a_better_answer_would_cost(router: Router) -> None:
    why = router.plan(PROVE, worth="0.05").candidates[0].why
    assert re.search(r"would be \d+\.\d points better for \$[\d.]+ more: not worth it at \$0\.05", why), why
    best = router.plan(PROVE, worth="1000").candidates[0].why
    assert best.startswith("the best expected quality in this plan")


def test_a_stated_quality_wins_over_the_worth_of_the_router(router: Router) -> None:
    priced = Router(registry=router.registry, ledger=router.ledger, providers=router.providers, worth="0.0001")
    assert priced.request(PROVE).worth_usd == Decimal("0.0001")
    assert priced.request(PROVE, quality=0.9).worth_usd is None
    with pytest.raises(LLMMagicError):
        router.plan(PROVE, worth="-1")
