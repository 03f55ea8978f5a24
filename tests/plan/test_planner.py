"""Planners of the user's: any order of the given candidates is accepted, anything else is an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest

from llm_magic import Registry, RequestError, TaskTier
from llm_magic.health import Circuit
from llm_magic.plan import PlanContext, make_plan
from llm_magic.types import Candidate, Classification, Plan, Request, Skipped
from tests.support.builders import NOON, model, registry, replaced

MODELS = registry(model("cheap", price="0.1/0.5"), model("middle", price="1/5"), model("expensive", price="10/50"))


class ByFunction:
    """Orders candidates by a function of the rated entries."""

    def __init__(self, function: Callable[[Sequence[Candidate | Skipped]], Any]) -> None:
        self._function = function

    def order(
        self,
        request: Request,
        classification: Classification,
        registry: Registry,
        rated: Sequence[Candidate | Skipped],
    ) -> Sequence[Candidate | Skipped]:
        return self._function(rated)


def plan(
    function: Callable[[Sequence[Candidate | Skipped]], Any],
    *,
    left: str | None = None,
    missing: Sequence[str] = (),
    cooling: Sequence[str] = (),
    **options: Any,
) -> Plan:
    context = PlanContext(
        now=NOON,
        left_usd=lambda _: None if left is None else Decimal(left),
        unavailable=lambda spec: "no key" if spec.id in missing else None,
        circuit=lambda name: Circuit(state="open", remaining_s=9.0) if name in cooling else Circuit(),
    )
    classification = Classification(tier=TaskTier.BULK, confidence=1.0)
    request = Request(prompt="hello", **options)
    return make_plan(request, classification, MODELS, context, planner=ByFunction(function))


def most_expensive_first(rated: Sequence[Candidate | Skipped]) -> list[Candidate]:
    candidates = [entry for entry in rated if isinstance(entry, Candidate)]
    return sorted(candidates, key=lambda candidate: candidate.expected_usd, reverse=True)


def test_a_planner_decides_the_order() -> None:
    made = plan(most_expensive_first)
    assert [candidate.model.id for candidate in made.candidates] == ["expensive", "middle", "cheap"]
    assert [candidate.why for candidate in made.candidates] == ["chosen by ByFunction", "fallback", "fallback"]


def test_a_planner_may_state_its_reasons() -> None:
    made = plan(lambda rated: [replaced(entry, why="the weekday's model") for entry in rated])
    assert {candidate.why for candidate in made.candidates} == {"the weekday's model"}


def test_a_planner_sees_skipped_models_with_their_reasons_and_places_them() -> None:
    made = plan(lambda rated: rated, missing=["middle"])
    assert [(type(entry), entry.model.id) for entry in made.ranked] == [
        (Candidate, "cheap"),
        (Skipped, "middle"),
        (Candidate, "expensive"),
    ]


def test_a_planner_gets_candidates_that_are_fitted_to_the_cap() -> None:
    made = plan(most_expensive_first, left="0.004")
    assert [candidate.model.id for candidate in made.candidates] == ["middle", "cheap"]
    assert all(candidate.worst_usd <= Decimal("0.004") for candidate in made.candidates)


def test_a_planner_is_asked_again_with_cooling_models_when_it_has_no_candidate() -> None:
    made = plan(most_expensive_first, cooling=["cheap", "middle", "expensive"])
    assert [candidate.cooling for candidate in made.candidates] == [True, True, True]


def test_a_plan_without_candidates_has_the_reasons_even_if_the_planner_left_them_out() -> None:
    made = plan(most_expensive_first, missing=["cheap", "middle", "expensive"])
    assert [skipped.reason for skipped in made.skipped] == ["no key"] * 3


def test_a_cascade_asks_only_models_that_the_planner_returned() -> None:
    def without_cheap(rated: Sequence[Candidate | Skipped]) -> list[Candidate]:
        return [candidate for candidate in most_expensive_first(rated) if candidate.model.id != "cheap"]

    made = plan(without_cheap, cascade="twice")
    assert made.cascade is not None
    assert {candidate.model.id for candidate in made.cascade.cheap} == {"middle"}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda rated: None, "ByFunction.order must return a sequence of the candidates it is given, not None"),
        (lambda rated: ["cheap"], "ByFunction.order must return the candidates it is given, not 'cheap'"),
        (lambda rated: [rated[0], rated[0]], "ByFunction.order returned 'cheap' twice"),
        (
            lambda rated: [replaced(rated[0], expected_quality=1.0)],
            "ByFunction.order returned an entry for 'cheap' that it was not given",
        ),
    ],
)
def test_a_planner_that_returns_anything_else_is_an_error(function: Any, message: str) -> None:
    with pytest.raises(RequestError, match=f"^{message}"):
        plan(function)


def test_an_unknown_model_is_an_error_before_the_planner_is_asked() -> None:
    with pytest.raises(RequestError, match="no model 'gpt-1'"):
        plan(most_expensive_first, model="gpt-1")
