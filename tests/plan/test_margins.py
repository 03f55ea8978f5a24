"""Margins: a model that is cheaper than the best one leads only if it is good enough in spite of what is uncertain."""

from __future__ import annotations

from typing import Any

import pytest

from llm_magic import Router, TaskTier
from llm_magic.types import Shadowing
from tests.support.builders import model, router

TIERS = tuple(TaskTier)


def capable(name: str, level: float, margin: float, price: str, **fields: Any) -> Any:
    margins = dict.fromkeys(TIERS, margin) if margin else {}
    capability = dict.fromkeys(TIERS, level)
    return model(name, price=price, capability=capability, capability_margin=margins, **fields)


def asking(margin: float, **options: Any) -> Router:
    models = (capable("top", 2.2, margin, "4/20"), capable("middle", 2.0, margin, "1/5"))
    return router(*models, quality=0.96, **options)


@pytest.mark.parametrize(("margin", "leader"), [(0.0, "middle"), (0.05, "middle"), (0.8, "top")])
def test_a_cheaper_model_leads_only_if_it_is_good_enough_less_its_margin(margin: float, leader: str) -> None:
    assert asking(margin).plan("Explain tides.").candidates[0].model.id == leader


def test_the_best_model_needs_no_margin() -> None:
    planning = router(capable("top", 2.2, 3.0, "4/20"), capable("other", 0.0, 0.0, "1/5"), quality=0.96)
    assert planning.plan("Explain tides.").candidates[0].model.id == "top"


def test_the_plan_names_the_cheaper_model_that_is_not_known_well_enough() -> None:
    leader = asking(0.8).plan("Explain tides.").candidates[0]
    assert leader.why == (
        "at least 96% of the best expected quality; middle is cheaper, but too little is known of it on your prompts"
    )


def test_the_expected_quality_that_is_shown_has_no_margin() -> None:
    with_margin, without = (asking(margin).plan("Explain tides.") for margin in (0.8, 0.0))
    qualities = [{one.model.id: one.expected_quality for one in plan.candidates} for plan in (with_margin, without)]
    assert qualities[0]["middle"] == qualities[1]["middle"]
    assert with_margin.minimum_quality == without.minimum_quality


def test_exploration_varies_the_choice_in_place_of_margins() -> None:
    planning = asking(0.8, shadow=Shadowing(explore=True))
    assert planning.plan("Explain tides.").candidates[0].model.id == "middle"
