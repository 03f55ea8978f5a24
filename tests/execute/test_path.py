"""The path of a run: one step for each model that was skipped, failed, is running, or answered."""

from __future__ import annotations

from contextlib import aclosing
from decimal import Decimal
from typing import Any

from llm_magic import AuthFailed, Budget
from llm_magic.events import CandidateSkipped, Note, NoteKind, RunEnded
from llm_magic.execute.path import path_of
from llm_magic.providers.base import ProviderRequest
from llm_magic.testing import Failure, Reply
from llm_magic.types import Attempt, Outcome, Plan, Step
from tests.support import builders
from tests.support.builders import attempt, model

FIRST = model("first", fallback_id="second")
SECOND = model("second", price="2/10", tiers=(), fallback_id="third")
THIRD = model("third", price="3/15", tiers=())


def chain() -> Plan:
    """A plan of first, second, third."""
    return builders.router(FIRST, SECOND, THIRD).plan("hello", tier="bulk")


def ended(number: int, model_id: str, outcome: Outcome) -> Attempt:
    return attempt(attempt=number, model=model_id, outcome=outcome)


def steps(*attempts: Attempt, cascade_models: dict[int, str] | None = None, **state: Any) -> list[tuple[str, str]]:
    path = path_of(chain(), attempts, cascade_models=cascade_models or {}, **{"skipped": {}, **state})
    return [(step.model, step.outcome) for step in path]


def test_the_path_ends_at_the_answer() -> None:
    failed, answered = ended(1, "first", Outcome.OVERLOADED), ended(2, "second", Outcome.OK)
    assert steps(failed, answered) == [("first", "overloaded"), ("second", "ok")]


def test_the_model_that_is_asked_is_running() -> None:
    failed = ended(1, "first", Outcome.OVERLOADED)
    assert steps(failed, asking="second", running=True) == [("first", "overloaded"), ("second", "running")]
    assert steps(failed, asking="second") == [("first", "overloaded")], "the run was stopped"


def test_a_retry_is_a_step_of_its_own() -> None:
    tries = ended(1, "first", Outcome.OVERLOADED), ended(2, "first", Outcome.OK)
    assert steps(*tries) == [("first", "overloaded"), ("first", "ok")]


def test_a_candidate_that_was_not_asked_is_skipped_with_its_reason() -> None:
    path = path_of(chain(), [ended(1, "second", Outcome.OK)], cascade_models={}, skipped={"first": "over budget"})
    assert path == (
        Step(model="first", outcome=Outcome.SKIPPED, detail="over budget"),
        Step(model="second", outcome=Outcome.OK),
    )


def test_the_cascade_comes_first_in_the_order_of_its_attempts() -> None:
    cascade = {1: "second", 2: "third"}
    second, third = ended(1, "second", Outcome.SUPERSEDED), ended(2, "third", Outcome.SUPERSEDED)
    assert steps(third, cascade_models=cascade, running=True) == [("second", "running"), ("third", "superseded")]
    assert steps(third, second, cascade_models=cascade, running=True) == [
        ("second", "superseded"),
        ("third", "superseded"),
    ]
    answered = ended(3, "first", Outcome.OK)
    assert steps(answered, third, second, cascade_models=cascade) == [
        ("second", "superseded"),
        ("third", "superseded"),
        ("first", "ok"),
    ]


def test_a_confirmed_answer_of_the_cascade_is_the_whole_path() -> None:
    cascade = {1: "second", 2: "third"}
    answers = ended(1, "second", Outcome.OK), ended(2, "third", Outcome.AGREED)
    assert steps(*answers, cascade_models=cascade) == [("second", "ok"), ("third", "agreed")]


async def test_a_candidate_that_does_not_fit_any_more_is_skipped_by_an_event() -> None:
    def lower_the_cap(request: ProviderRequest) -> Reply | Failure:
        router.set_budget(0)
        return Failure(error=AuthFailed("bad key")) if request.model.id == "first" else Reply()

    free = model("third", price="0/0", tiers=())
    router = builders.router(FIRST, SECOND, free, replies=lower_the_cap)
    skipped: list[CandidateSkipped] = []
    async with aclosing(router.stream("hello", tier="bulk")) as events:
        async for event in events:
            if isinstance(event, CandidateSkipped):
                skipped.append(event)
            if isinstance(event, RunEnded):
                path = [(step.model, step.outcome, step.detail) for step in event.result.path]
    assert skipped == [CandidateSkipped(model_id="second", reason="over budget")]
    assert path == [("first", "auth_failed", "bad key"), ("second", "skipped", "over budget"), ("third", "ok", "")]


async def test_a_note_has_a_kind() -> None:
    router = builders.router(SECOND, THIRD, budget=Budget(session_usd=Decimal("0.004")))
    kinds: list[NoteKind] = []
    async with aclosing(router.stream("hello", tier="bulk")) as events:
        async for event in events:
            if isinstance(event, Note):
                kinds.append(event.kind)
    assert kinds == [NoteKind.OUTPUT_LIMITED]
