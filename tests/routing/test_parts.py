"""Routers with a classifier or a planner of the user's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from llm_magic import RequestError, TaskTier, routing
from llm_magic.registry import Registry
from llm_magic.types import Candidate, Classification, Request, Skipped
from tests.support import builders


class LengthClassifier:
    def classify(self, text: str) -> Classification:
        tier = TaskTier.COMPLEX if len(text) > 20 else TaskTier.BULK
        return Classification(tier=tier, confidence=0.75, reasons=(f"{len(text)} characters",))


class Reversed:
    def order(
        self,
        request: Request,
        classification: Classification,
        registry: Registry,
        rated: Sequence[Candidate | Skipped],
    ) -> Sequence[Candidate | Skipped]:
        return list(reversed(rated))


class Returning:
    """A classifier that returns or raises a given value."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def classify(self, text: str) -> Any:
        if isinstance(self._value, Exception):
            raise self._value
        return self._value


def test_a_custom_classifier_decides_the_tier_and_gives_the_reasons() -> None:
    router = builders.router(classifier=LengthClassifier())
    assert router.plan("hi").tier == "BULK"
    result = router.route_sync("a prompt of more than twenty characters")
    assert (result.tier, result.confidence, result.reasons) == ("COMPLEX", 0.75, ("39 characters",))


def test_a_custom_classifier_reads_the_routing_text_only() -> None:
    router = builders.router(classifier=LengthClassifier())
    assert router.plan("a prompt of more than twenty characters", routing_text="hi").tier == "BULK"


def test_a_stated_tier_is_not_classified() -> None:
    router = builders.router(classifier=Returning(RuntimeError("not called")))
    assert router.plan("hi", tier="complex").tier == "COMPLEX"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (ZeroDivisionError("oops"), r"^Returning\.classify raised ZeroDivisionError: oops$"),
        ("BULK", r"^Returning\.classify must return a Classification, not 'BULK'$"),
        (None, r"^Returning\.classify must return a Classification, not None$"),
        (Classification(tier="bulk", confidence=1.0), r"returned tier = 'bulk': it must be a TaskTier$"),  # type: ignore[arg-type]
        (Classification(tier=TaskTier.BULK, confidence=2.0), r"returned confidence = 2\.0: it must be from 0 to 1$"),
        (Classification(tier=TaskTier.BULK, confidence=float("nan")), "it must be from 0 to 1"),
    ],
)
def test_a_failing_classifier_is_named_and_nothing_is_sent(value: Any, message: str) -> None:
    router = builders.router(classifier=Returning(value))
    with pytest.raises(RequestError, match=message):
        router.route_sync("hi")
    assert router.ledger.rows() == []


def test_a_custom_planner_decides_who_is_asked() -> None:
    assert builders.router().route_sync("hi", tier="complex").model == "strong"
    router = builders.router(planner=Reversed())
    assert [entry.model.id for entry in router.plan("hi", tier="complex").candidates] == ["cheap", "strong"]
    assert router.route_sync("hi", tier="complex").model == "cheap"


def test_a_planner_that_adds_a_model_is_rejected() -> None:
    class Inventing(Reversed):
        def order(self, request: Request, classification: Any, registry: Registry, rated: Any) -> Any:
            return [dataclasses.replace(entry, expected_quality=1.0) for entry in rated]

    with pytest.raises(RequestError, match=r"^Inventing\.order returned an entry for 'strong' that it was not given"):
        builders.router(planner=Inventing()).plan("hi")


def test_classifier_and_planner_survive_a_switch_of_the_profile() -> None:
    router = routing.use_router(builders.router(classifier=LengthClassifier(), planner=Reversed(), quality=0.5))
    routing.switch_profile("article")
    switched = routing.session_router()
    assert switched.registry.profile == "article"
    assert switched.ledger is router.ledger
    assert (switched.classifier, switched.planner, switched.quality) == (router.classifier, router.planner, 0.5)
