"""Exploration: the choice among models that are good enough varies with what was learned."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

from llm_magic import Router, TaskTier
from llm_magic.types import Shadowing
from tests.support.builders import model, router

TIERS = tuple(TaskTier)


def capable(name: str, level: float, width: float | None, **fields: Any) -> Any:
    widths = {} if width is None else dict.fromkeys(TIERS, width)
    return model(name, capability=dict.fromkeys(TIERS, level), capability_width=widths, **fields)


def asking(width: float | None, *, explore: bool | None = True, session_id: str = "a", **parts: Any) -> Router:
    return router(
        capable("top", 2.2, width, price="4/20"),
        capable("middle", 2.0, width, price="1/5"),
        capable("bad", 0.5, width, price="0.1/0.5"),
        shadow=Shadowing(explore=explore),
        session_id=session_id,
        quality=0.96,
        **parts,
    )


def leaders(router: Router) -> Counter[str]:
    return Counter(router.plan(f"Explain tide number {number}.").candidates[0].model.id for number in range(60))


def test_the_choice_varies_and_never_falls_below_the_requested_quality() -> None:
    found = leaders(asking(0.5))
    assert set(found) == {"top", "middle"}
    assert 5 < found["top"] < 55


def test_a_model_just_below_the_requested_quality_is_not_explored_although_it_might_be_good_enough() -> None:
    planning = router(
        capable("top", 2.2, 0.8, price="4/20"),
        capable("almost", 1.5, 0.8, price="0.1/0.5"),
        shadow=Shadowing(explore=True),
        quality=0.96,
    )
    plan = planning.plan("Explain tide number 1.")
    qualities = {one.model.id: one.expected_quality for one in plan.candidates}
    assert 0.95 * plan.minimum_quality < qualities["almost"] < plan.minimum_quality
    assert set(leaders(planning)) == {"top"}


def test_the_less_is_known_the_more_it_varies() -> None:
    assert leaders(asking(0.05))["top"] < leaders(asking(0.5))["top"]


def test_exploration_is_off_with_a_setting_without_shadow_runs_and_before_anything_was_learned() -> None:
    assert set(leaders(asking(0.5, explore=False))) == {"middle"}
    assert set(leaders(asking(0.5, explore=None))) == {"middle"}
    assert set(leaders(asking(None))) == {"middle"}


def test_a_session_repeats_its_choices_and_another_one_makes_others() -> None:
    prompts = [f"Explain tide number {number}." for number in range(40)]

    def choices(session_id: str) -> list[str]:
        planning = asking(0.5, session_id=session_id)
        return [planning.plan(prompt).candidates[0].model.id for prompt in prompts]

    assert choices("a") == choices("a") != choices("b")


def test_an_explored_plan_says_so_and_what_it_costs_more() -> None:
    planning = asking(0.5)
    plans = [planning.plan(f"Explain tide number {number}.") for number in range(60)]
    reasons = {plan.candidates[0].model.id: plan.candidates[0].why for plan in plans}
    assert reasons["top"].startswith("explored, for $0.0")
    assert "middle may not be as good as expected" in reasons["top"]
    assert reasons["middle"].startswith("the cheapest first choice")


def test_a_named_model_and_a_stated_tier_are_not_explored() -> None:
    planning = asking(0.5)
    assert {planning.plan(f"Tide {n}", tier=TaskTier.BULK).candidates[0].model.id for n in range(30)} == {"bad"}
    request = dataclasses.replace(planning.request("Tide"), model="middle")
    assert planning.plan(request).candidates[0].model.id == "middle"
