"""The worth of a good answer: which model leads, and the sentence that says so."""

from __future__ import annotations

import dataclasses
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_magic import ModelSpec, Registry, TaskTier
from llm_magic.budget import show_usd
from llm_magic.health import Circuit
from llm_magic.plan import PlanContext, make_plan
from llm_magic.plan.rating import CandidateBuilder
from llm_magic.types import Candidate, Classification, Effort, EffortLevels, Plan, ProviderSpec, Request
from tests.support.builders import NOON, model, router

TIERS = tuple(TaskTier)
UNCERTAIN = Classification(
    tier=TaskTier.STANDARD,
    confidence=0.7,
    probabilities={
        TaskTier.COMPLEX: 0.2,
        TaskTier.STANDARD: 0.7,
        TaskTier.STRUCTURED: 0.05,
        TaskTier.BULK: 0.05,
    },
    difficulty=0.3,
)
GAIN = re.compile(
    r"(?P<chain>the first usable model of the chain; )?(?P<name>.+) would be (?P<points>less than 0\.1|\d+\.\d) points "
    r"better (?P<price>at the same cost|for \$[\d.,]+ (?:more|less))(?P<no>: not worth it at \$[\d.,]+ for a good "
    r"answer)?"
)


@st.composite
def efforts(draw: st.DrawFn) -> EffortLevels | None:
    levels = draw(st.lists(st.sampled_from(list(Effort)), unique=True, max_size=4))
    if not levels:
        return None
    default = draw(st.sampled_from(levels))
    steps = {level: dict.fromkeys(TIERS, 0.4 * (level.rank - default.rank)) for level in levels}
    tokens = {level: dict.fromkeys(TIERS, 300.0 * level.rank) for level in levels}
    return EffortLevels(
        default=default, params={level: {} for level in levels}, capability_steps=steps, reasoning_tokens=tokens
    )


@st.composite
def models(draw: st.DrawFn) -> list[ModelSpec]:
    ids = [f"m{number}" for number in range(draw(st.integers(1, 5)))]

    def one(model_id: str) -> ModelSpec:
        level = draw(st.sampled_from([-2.0, 0.0, 1.0, 1.0001, 2.0, 4.0]))
        others = [other for other in ids if other < model_id]
        return model(
            model_id,
            price=draw(st.sampled_from(["0/0", "0.1/0.4", "1/5", "1/5", "4/20", "15/75"])),
            tiers=draw(st.sampled_from([TIERS, TIERS, TIERS[:1], ()])),
            fallback_id=draw(st.sampled_from([None, *others])),
            capability=dict.fromkeys(TIERS, level),
            effort=draw(efforts()),
            provider=draw(st.sampled_from(["cloud", "cloud", "other", "embedded"])),
        )

    return list(map(one, ids))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Request, Registry, PlanContext]:
    providers = [ProviderSpec(name="cloud"), ProviderSpec(name="other"), ProviderSpec(name="embedded", api="local")]
    registry = Registry(models=draw(models()), providers=providers)
    missing = draw(st.sets(st.sampled_from([spec.id for spec in registry]), max_size=2))
    left = draw(st.sampled_from([None, None, Decimal("0.02"), Decimal("0.002")]))
    context = PlanContext(
        now=NOON,
        left_usd=lambda _: left,
        unavailable=lambda spec: "no key" if spec.id in missing else None,
        circuit=lambda _: Circuit(),
    )
    worth = draw(st.sampled_from(["0.000001", "0.0005", "0.003", "0.02", "0.1", "0.5", "3", "100"]))
    text = "word " * draw(st.sampled_from([1, 400]))
    return Request(prompt=text, worth_usd=Decimal(worth)), registry, context


def usable_options(plan: Plan, context: PlanContext, registry: Registry) -> dict[str, Candidate]:
    """Every model of the plan at every level, priced one at a time."""
    builder = CandidateBuilder(plan.request, plan.classification, context, registry)
    options: dict[str, Candidate] = {}
    for candidate in plan.candidates:
        for effort in candidate.model.effort or (None,):
            option = builder.at_effort(effort).build(candidate.model)
            if isinstance(option, Candidate):
                options[option.name] = option
    return options


@settings(max_examples=50, deadline=None)
@given(cases())
def test_the_sentence_about_worth_is_true_and_the_leader_has_the_highest_worth_minus_cost(case: Any) -> None:
    request, registry, context = case
    plan = make_plan(request, UNCERTAIN, registry, context)
    if not plan.candidates:
        return
    leader, worth = plan.candidates[0], request.worth_usd
    options = usable_options(plan, context, registry)
    why = leader.why

    def net(option: Candidate) -> float:
        return float(worth) * option.expected_quality - float(option.typical_usd)

    better = [option for option in options.values() if option.expected_quality > leader.expected_quality + 1e-9]
    leading = [option for option in options.values() if option.model.tiers and not registry.is_local(option.model)]
    if leader.stepped_down:
        assert "would not fit under the cap" in why
        return
    if leading:
        assert net(leader) >= max(map(net, leading)) - 1e-12
    if why.startswith("the best expected quality in this plan"):
        assert not better
        assert f"{leader.expected_quality:.0%}" in why
        return
    claim = GAIN.match(why)
    assert claim, why
    rival = options[claim["name"]]
    points, more = 100 * (rival.expected_quality - leader.expected_quality), rival.typical_usd - leader.typical_usd
    assert points > 0
    assert points < 0.1 if claim["points"].startswith("less") else abs(points - float(claim["points"])) <= 0.051
    side = "more" if more > 0 else "less"
    assert claim["price"] == ("at the same cost" if more == 0 else f"for {show_usd(abs(more))} {side}")
    if claim["no"]:
        assert not claim["chain"]
        assert more > 0
        assert show_usd(worth) in claim["no"]
        assert all(net(option) < net(leader) for option in better)
    else:
        assert claim["chain"]
        assert net(rival) >= net(leader) - 1e-12


@pytest.mark.parametrize(("worth", "has_cascade"), [("0.05", True), ("0.2", False), ("1000", False)])
def test_a_cascade_is_added_if_its_worth_minus_cost_is_higher(worth: str, has_cascade: bool) -> None:
    """The cascade costs $0.0016 less than the strong model, and is 1.2 points worse."""

    def capable(name: str, level: float, price: str) -> ModelSpec:
        return model(name, price=price, provider=name, capability=dict.fromkeys(TIERS, level))

    asked = router(capable("strong", 4, "4/20"), capable("cheap", 0.5, "0.1/0.5"), capable("other", 0.5, "0.11/0.5"))
    plan = asked.plan("Which is it?\nA) one\nB) two\nC) three\nOnly the letter.", worth=worth)
    assert plan.candidates[0].model.id == "strong"
    assert (plan.cascade is not None) == has_cascade


def test_a_high_worth_buys_effort_above_the_default_and_a_low_one_does_not() -> None:
    levels = EffortLevels(
        default=Effort.LOW,
        params={Effort.LOW: {}, Effort.HIGH: {}},
        capability_steps={Effort.LOW: {}, Effort.HIGH: dict.fromkeys(TIERS, 0.5)},
        reasoning_tokens={Effort.LOW: dict.fromkeys(TIERS, 50.0), Effort.HIGH: dict.fromkeys(TIERS, 2_000.0)},
    )
    asked = router(model("thinker", effort=levels, max_output_tokens=10_000))
    cheap, expensive = (asked.plan("Prove it.", worth=worth).candidates[0] for worth in ("0.0001", "100"))
    assert (cheap.effort, expensive.effort) == (Effort.LOW, Effort.HIGH)
    assert re.match(
        r"thinker \(effort high\) would be \d+\.\d points better for \$[\d.]+ more: not worth it", cheap.why
    )
    assert expensive.why.startswith("the best expected quality in this plan")
    assert asked.plan("Prove it.").candidates[0].effort is Effort.LOW


@settings(max_examples=50, deadline=None)
@given(cases(), st.sampled_from([0.0, 0.9, 0.965, 1.0]))
def test_the_sentence_about_quality_is_true(case: Any, quality: float) -> None:
    request, registry, context = case
    plan = make_plan(dataclasses.replace(request, worth_usd=None, quality=quality), UNCERTAIN, registry, context)
    if not plan.candidates:
        return
    leader, minimum = plan.candidates[0], plan.minimum_quality - 1e-9
    builder = CandidateBuilder(plan.request, UNCERTAIN, context, registry)
    usable = [entry for entry in map(builder.build, registry) if isinstance(entry, Candidate)]
    rivals = [entry for entry in usable if entry.model.tiers and not registry.is_local(entry.model)]
    if "at least" in leader.why:
        assert leader.expected_quality >= minimum
    if leader.why.startswith("the cheapest first choice"):
        assert all(leader.typical_usd <= rival.typical_usd for rival in rivals if rival.expected_quality >= minimum)
    if leader.why.startswith("nothing better can be used"):
        assert max(entry.expected_quality for entry in usable) <= leader.expected_quality + 1e-9


def test_a_better_model_of_another_tier_is_not_denied() -> None:
    """The head of the chain has no key; its fallback leads, and the better model is not in the chain."""
    low, high = (dict.fromkeys(TIERS, level) for level in (0.0, 2.0))
    first = model("first", capability=dict.fromkeys(TIERS, 3.0), tiers=(TaskTier.STANDARD,), fallback_id="weak")
    other = model("other", capability=high, tiers=(TaskTier.BULK,), provider="other")
    registry = Registry(
        models=[first, model("weak", capability=low, tiers=()), other],
        providers=[ProviderSpec(name="cloud"), ProviderSpec(name="other")],
    )
    context = PlanContext(
        now=NOON,
        left_usd=lambda _: None,
        unavailable=lambda spec: "no key" if spec.id == "first" else None,
        circuit=lambda _: Circuit(),
    )
    leader = make_plan(Request(prompt="hello"), UNCERTAIN, registry, context).candidates[0]
    assert leader.model.id == "weak"
    assert leader.why.startswith("the first usable model of the chain: its expected quality is ")
