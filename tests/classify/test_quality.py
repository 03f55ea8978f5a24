"""Expected quality, and the choice of a model by the `quality` option."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from llm_magic import Registry, RegistryError, RequestError, TaskTier
from llm_magic.classify import expected_quality
from llm_magic.health import Circuit
from llm_magic.plan import PlanContext, make_plan
from llm_magic.types import Classification, Plan, Request
from tests.support.builders import NOON, model, registry, router

BEST = dict.fromkeys(TaskTier, 2.0)
WEAK = dict.fromkeys(TaskTier, 0.0)


def plan(models: Registry, quality: float, *, difficulty: float = 0.0, **options: object) -> Plan:
    standing = PlanContext(now=NOON, left_usd=lambda _: None, unavailable=lambda _: None, circuit=lambda _: Circuit())
    classification = Classification(tier=TaskTier.STANDARD, confidence=1.0, difficulty=difficulty)
    return make_plan(Request(prompt="hello", quality=quality, **options), classification, models, standing)  # type: ignore[arg-type]


def leader(made: Plan) -> str:
    return made.candidates[0].model.id


def test_expected_quality_is_the_logistic_of_capability_minus_difficulty() -> None:
    classification = Classification(tier=TaskTier.BULK, confidence=1.0, difficulty=0.5)
    assert expected_quality(classification, {TaskTier.BULK: 1.5}) == pytest.approx(1 / (1 + math.exp(-1.0)))


def test_expected_quality_is_averaged_over_the_tier_probabilities() -> None:
    shares = {TaskTier.COMPLEX: 0.25, TaskTier.BULK: 0.75}
    classification = Classification(tier=TaskTier.BULK, confidence=0.75, probabilities=shares)
    capability = {TaskTier.COMPLEX: 0.0, TaskTier.BULK: 2.0}
    assert expected_quality(classification, capability) == pytest.approx(0.25 * 0.5 + 0.75 / (1 + math.exp(-2.0)))


def test_a_tier_without_an_estimate_counts_as_the_lowest_that_has_one() -> None:
    classification = Classification(tier=TaskTier.COMPLEX, confidence=1.0)
    assert expected_quality(classification, {TaskTier.BULK: 2.0, TaskTier.STRUCTURED: 0.0}) == 0.5
    assert expected_quality(classification, {}) == 0.5


MODELS = registry(
    model("best", price="5/25", capability=BEST),
    model("good", price="1/5", capability=dict.fromkeys(TaskTier, 1.6)),
    model("weak", price="0.1/0.5", capability=WEAK),
)


@pytest.mark.parametrize(
    ("quality", "first"), [(0.0, "weak"), (0.5, "weak"), (0.9, "good"), (0.965, "best"), (0.99, "best"), (1.0, "best")]
)
def test_the_cheapest_model_of_sufficient_quality_is_chosen(quality: float, first: str) -> None:
    made = plan(MODELS, quality)
    assert leader(made) == first
    share = f"{100 * quality:g}%"
    assert made.candidates[0].why == f"the cheapest first choice with at least {share} of the best expected quality"


def test_an_easy_prompt_goes_to_a_cheap_model_and_a_hard_one_to_a_better_one() -> None:
    assert leader(plan(MODELS, 0.95, difficulty=-3.0)) == "weak"
    assert leader(plan(MODELS, 0.95, difficulty=0.0)) == "best"
    candidates = plan(MODELS, 0.95).candidates
    assert candidates[0].expected_quality == pytest.approx(1 / (1 + math.exp(-2.0)))


def test_price_times_tokens_decides_between_equal_qualities() -> None:
    wordy = model("wordy", price="1/5", token_ratio=1.6, capability=BEST)
    terse = model("terse", price="1.2/6", capability=BEST)
    assert leader(plan(registry(wordy, terse), 1.0)) == "terse"


def test_a_requested_tier_or_model_decides() -> None:
    tiers = registry(
        model("strong", price="5/25", tiers=(TaskTier.COMPLEX,)),
        model("cheap", tiers=(TaskTier.STANDARD,), capability=BEST),
    )
    assert leader(plan(tiers, 1.0, tier=TaskTier.STANDARD)) == "cheap"
    assert leader(plan(MODELS, 1.0, model="weak")) == "weak"


def test_a_model_that_serves_no_tier_does_not_lead() -> None:
    models = registry(model("first"), model("spare", price="0.1/0.1", tiers=(), capability=BEST))
    assert leader(plan(models, 0.0)) == "first"


def test_capability_is_assumed_from_the_tiers_and_may_be_stated(tmp_path: object) -> None:
    served = registry(model("a", tiers=(TaskTier.STANDARD, TaskTier.BULK)))["a"]
    assert served.capability_source == "assumed from its tiers"
    assert served.capability[TaskTier.STANDARD] == served.capability[TaskTier.BULK]
    assert served.capability[TaskTier.COMPLEX] < served.capability[TaskTier.STANDARD]


def test_the_users_file_states_capabilities(clean_environment: object) -> None:
    from pathlib import Path

    home = Path(str(clean_environment))
    home.mkdir()
    file = home / "models.toml"
    text = '[models.m]\nbase_url = "http://localhost:1/v1"\nprice = {{ input = 0, output = 0 }}\ncapability = {}\n'
    file.write_text(text.format("{ complex = 0.5, bulk = 2 }"))
    spec = Registry.load()["m"]
    assert spec.capability == {TaskTier.COMPLEX: 0.5, TaskTier.BULK: 2.0}
    assert spec.capability_source == "stated"
    for wrong in ("{ hard = 1 }", '{ bulk = "high" }', "{ bulk = nan }", "3"):
        file.write_text(text.format(wrong))
        with pytest.raises(RegistryError, match="capability"):
            Registry.load()


def test_every_packaged_model_states_the_source_of_its_capability() -> None:
    for profile in ("current", "article"):
        for spec in Registry.load(profile):
            assert set(spec.capability) == set(TaskTier)
            assert spec.capability_source not in ("", "stated")


def test_a_request_overrides_the_routers_quality() -> None:
    session = router(quality=0.9)
    assert session.request("hello").quality == 0.9
    assert session.request("hello", quality=0.2).quality == 0.2
    for wrong in (-0.1, 1.1, float("nan"), True):
        with pytest.raises(RequestError, match="quality"):
            session.request("hello", quality=wrong)


def test_interpolated_text_does_not_affect_the_classification() -> None:
    session = router()
    pasted = "Prove that the algorithm is optimal and derive its complexity. " * 20
    asked = session.request(f"Translate to French: {pasted}", routing_text="Translate to French: ")
    assert session.plan(asked).tier is TaskTier.BULK
    assert session.plan(asked).classification == session.plan("Translate to French: ").classification


def test_expected_costs_follow_the_typical_answer_length_of_each_tier() -> None:
    models = registry(model("only", price="0/1"))
    standing = PlanContext(now=NOON, left_usd=lambda _: None, unavailable=lambda _: None, circuit=lambda _: Circuit())
    costs = [
        make_plan(
            Request(prompt="hello"), Classification(tier=tier, confidence=1.0, probabilities=shares), models, standing
        )
        .candidates[0]
        .expected_usd
        for tier, shares in (
            (TaskTier.BULK, {TaskTier.BULK: 1.0}),
            (TaskTier.BULK, {TaskTier.BULK: 0.5, TaskTier.COMPLEX: 0.5}),
            (TaskTier.COMPLEX, {TaskTier.COMPLEX: 1.0}),
        )
    ]
    assert costs == sorted(costs)
    assert costs[1] == (costs[0] + costs[2]) / 2 > Decimal(0)
