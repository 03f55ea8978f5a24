"""Cheap models first: agreement, checks and judges; the money and the rows of it; leaving in the middle."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_magic import (
    AllAttemptsFailed,
    BadRequest,
    BudgetExceeded,
    Ledger,
    LedgerError,
    Overloaded,
    RequestError,
    Router,
    TaskTier,
)
from llm_magic.answers.agreement import SAME_MISTAKE, SAME_RIGHT
from llm_magic.budget import Budget
from llm_magic.events import AttemptEnded, AttemptStarted, RunEnded, TextDelta, Waiting
from llm_magic.execute import RetryPolicy
from llm_magic.execute.hedge import stop_all
from llm_magic.ledger import Hold, owners
from llm_magic.plan.acceptance import estimate_cascade
from llm_magic.plan.cascade import comparable
from llm_magic.providers.base import Finished, ProviderEvent, ProviderRequest, UsageReport
from llm_magic.testing import Failure, Reply, ScriptedProvider
from llm_magic.types import Attempt, Confirmation, Doubt, Skipped, Usage
from tests.support import builders
from tests.support.builders import Gate, attempt, model
from tests.support.fuzzing import examples

HARD = {"tier": "complex"}
Answers = dict[str, str | Failure]


def cascading(
    answers: Answers | Callable[[ProviderRequest], Reply | Failure], *, level: float = 1.2, **parts: Any
) -> Router:
    """A strong model, and three cheap ones of two providers, with a level of capability on complex prompts."""

    def reply(request: ProviderRequest) -> Reply | Failure:
        if callable(answers):
            return answers(request)
        answer = answers[request.model.id]
        return answer if isinstance(answer, Failure) else Reply(chunks=tuple(answer))

    cheap: dict[str, Any] = {"tiers": (TaskTier.BULK,), "capability": {TaskTier.COMPLEX: level, TaskTier.BULK: 2.2}}
    return builders.router(
        model("strong", price="4/20", tiers=(TaskTier.COMPLEX,)),
        model("kin", provider="one", price="0.11/0.5", **cheap),
        model("cheap", provider="one", price="0.1/0.5", **cheap),
        model("other", provider="two", price="0.2/1", **cheap),
        replies=reply,
        **parts,
    )


def story(rows: list[Attempt] | tuple[Attempt, ...]) -> list[tuple[int, str, str]]:
    return sorted((row.attempt, row.model, row.outcome) for row in rows)


async def test_if_two_cheap_models_agree_their_answer_is_accepted() -> None:
    router = cascading({"cheap": "It is\n**1,000**", "other": "Answer: 1000.0", "strong": "no"})
    text, seen = "", []
    async with aclosing(router.stream("how many?", cascade=True, **HARD)) as events:
        async for event in events:
            seen.append(event)
            if isinstance(event, TextDelta):
                text += event.text
    ended = seen[-1]
    assert isinstance(ended, RunEnded)
    result = ended.result
    assert (result.model, result.text, text) == ("cheap", "It is\n**1,000**", "It is\n**1,000**")
    assert [(step.model, step.outcome) for step in result.path] == [("cheap", "ok"), ("other", "agreed")]
    assert story(router.ledger.rows()) == [(1, "cheap", "ok"), (2, "other", "agreed")]
    assert result.cost_usd == sum(row.cost_usd for row in router.ledger.rows()) == router.ledger.spent_usd
    kept, second = sorted(router.ledger.rows(), key=lambda row: row.attempt)
    assert kept.baseline_usd == result.baseline_usd > 0
    assert second.baseline_usd == 0
    assert router.ledger.held_usd == 0
    assert sum(isinstance(event, AttemptEnded) for event in seen) == 2


async def test_if_two_cheap_models_disagree_the_leader_is_asked() -> None:
    router = cascading({"cheap": "41", "other": "Answer: 42", "strong": "42"})
    result = await router.route("how many?", cascade="agree", **HARD)
    assert (result.model, result.text) == ("strong", "42")
    assert story(result.attempts) == [(1, "cheap", "superseded"), (2, "other", "superseded"), (3, "strong", "ok")]
    assert [step.model for step in result.path] == ["cheap", "other", "strong"]
    assert result.notes == ("cheap and other: the answers differ (41, 42); asked strong",)
    assert {row.error for row in router.ledger.rows()} == {"the answers differ", None}, "the ledger keeps no answers"
    assert {row.reason for row in router.ledger.rows()} == {Doubt.DISAGREED, None}
    assert [row.confirmation for row in sorted(router.ledger.rows(), key=lambda row: row.attempt)] == [
        Confirmation.AGREE,
        Confirmation.AGREE,
        None,
    ]
    assert router.ledger.held_usd == 0
    assert result.cost_usd == router.ledger.spent_usd


async def test_unconfirmed_text_is_never_displayed() -> None:
    router = cascading({"cheap": "wrong", "other": "also wrong", "strong": "right"})
    shown = ""
    async with aclosing(router.stream("how many?", cascade=True, **HARD)) as events:
        async for event in events:
            shown += event.text if isinstance(event, TextDelta) else ""
    assert shown == "right"


async def test_one_model_can_be_asked_twice() -> None:
    texts = ["7", "7.0"]
    router = cascading(lambda request: Reply(chunks=(texts.pop(0),)))
    result = await router.route("how many?", cascade="twice", **HARD)
    assert story(result.attempts) == [(1, "cheap", "ok"), (2, "cheap", "agreed")]
    assert result.text == "7"


async def test_json_is_compared_by_value() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}
    router = cascading({"cheap": '{"n": 1}', "other": '```json\n{"n": 1.0}\n```', "strong": '{"n": 2}'})
    result = await router.route("how many?", cascade=True, schema=schema, **HARD)
    assert (result.model, result.data) == ("cheap", {"n": 1})


async def test_a_schema_confirms_one_cheap_answer() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}
    router = cascading({"cheap": '{"n": 1}', "strong": '{"n": 2}', "kin": "", "other": ""})
    result = await router.route("how many?", cascade="schema", schema=schema, **HARD)
    assert story(result.attempts) == [(1, "cheap", "ok")]
    router = cascading({"cheap": "no JSON", "strong": '{"n": 2}', "kin": "", "other": ""})
    result = await router.route("how many?", cascade="schema", schema=schema, **HARD)
    assert story(result.attempts) == [(1, "cheap", "invalid"), (2, "cheap", "invalid"), (3, "strong", "ok")]
    assert result.data == {"n": 2}


@pytest.mark.parametrize(("good", "model_id"), [("yes", "cheap"), ("no", "strong")])
async def test_the_users_check_decides(good: str, model_id: str) -> None:
    asked: list[tuple[str, str]] = []

    def check(text: str) -> bool:
        asked.append((text, threading.current_thread().name))
        return text == "yes"

    router = cascading({"cheap": good, "strong": "maybe"})
    result = await router.route("well?", check=check, **HARD)
    assert result.model == model_id
    assert asked == [(good, "llm_magic check")]
    if model_id == "strong":
        assert story(result.attempts) == [(1, "cheap", "superseded"), (2, "strong", "ok")]
        assert result.notes == ("cheap: the check failed; asked strong",)


async def test_an_exception_in_a_check_rejects_the_answer_and_is_displayed() -> None:
    router = cascading({"cheap": "secret", "strong": "fine"})

    def check(text: str) -> bool:
        raise ValueError(f"can't read {text}")

    result = await router.route("well?", check=check, **HARD)
    assert result.model == "strong"
    assert result.notes == ("cheap: the check raised ValueError: can't read secret; asked strong",)
    assert [row.error for row in router.ledger.rows()] == ["the check raised ValueError", None]
    assert [row.reason for row in router.ledger.rows()] == [Doubt.CHECK_FAILED, None]


class Mute(Exception):
    """Does not even say what it is."""

    def __str__(self) -> str:
        raise ValueError("no")


@pytest.mark.parametrize("error", [StopIteration(), Mute(), KeyboardInterrupt(), asyncio.CancelledError()])
@pytest.mark.parametrize("how", ["check", "agree"])
async def test_any_exception_in_a_check_rejects_the_answer(error: BaseException, how: str) -> None:
    router = cascading({"cheap": "```python\na\n```", "other": "```python\nb\n```", "strong": "fine"})

    def check(text: str) -> bool:
        raise error

    async with asyncio.timeout(10):
        result = await router.route("well?", check=check, cascade=how, **HARD)
    assert result.model == "strong"
    assert f"the check raised {type(error).__name__}" in result.notes[0]


async def test_a_check_that_never_ends_is_abandoned_at_the_deadline() -> None:
    router = cascading({"cheap": "yes", "strong": "fine"}, policy=RetryPolicy(deadline_s=0.05))
    never = threading.Event()
    try:
        async with asyncio.timeout(10):
            result = await router.route("well?", check=lambda _: never.wait(), **HARD)
    finally:
        never.set()
    assert story(result.attempts) == [(1, "cheap", "superseded"), (2, "strong", "ok")], (
        "no time has passed on its clock"
    )
    assert result.notes == ("cheap: the check timed out; asked strong",)


async def test_a_cascade_is_not_started_without_enough_attempts_to_finish_it() -> None:
    router = cascading({"cheap": "41", "other": "42", "strong": "43"}, policy=RetryPolicy(attempts=2))
    result = await router.route("well?", cascade=True, **HARD)
    assert story(result.attempts) == [(1, "strong", "ok")]
    assert result.notes == ("no cascade: it may take 3 attempts, and a run may make 2",)


async def test_cheap_models_leave_an_attempt_for_the_leader() -> None:
    router = cascading(
        {"cheap": "41", "other": Failure(error=Overloaded("x")), "strong": "43"}, policy=RetryPolicy(attempts=3)
    )
    result = await router.route("well?", cascade=True, **HARD)
    assert story(result.attempts) == [(1, "cheap", "superseded"), (2, "other", "overloaded"), (3, "strong", "ok")]


async def test_if_a_hold_can_not_be_written_the_other_attempts_are_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[str] = []

    class Lingering(Slow):
        async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
            try:
                async with aclosing(super().stream(request)) as events:
                    async for event in events:
                        yield event
            finally:
                await asyncio.sleep(0)  # to close a connection takes a moment
                left.append(request.model.id)

    slow = Lingering()
    router = cascading({}, providers={"cloud": ScriptedProvider(), "one": slow, "two": slow})
    hold = router.ledger.hold

    def failing(asked: Attempt, *money: Any) -> Hold:
        if router.ledger.rows()[-1].outcome == "in_flight":
            raise LedgerError("the disk is full")
        return hold(asked, *money)

    monkeypatch.setattr(router.ledger, "hold", failing)
    with pytest.raises(LedgerError, match="the disk is full"):
        await router.route("well?", cascade=True, **HARD)
    assert left == ["cheap"]
    assert story(router.ledger.rows()) == [(1, "cheap", "cancelled")]
    assert router.ledger.held_usd == 0


async def test_stop_all_waits_for_every_task_even_if_one_raises() -> None:
    ended: list[str] = []

    async def one(name: str, error: Exception | None) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            ended.append(name)
            if error is not None:
                raise error

    tasks = [asyncio.create_task(one("first", LedgerError("no"))), asyncio.create_task(one("second", None))]
    tasks.append(asyncio.create_task(one("third", LedgerError("nor this"))))
    await asyncio.sleep(0)
    with pytest.raises(LedgerError, match=r"^no$"):
        await stop_all([SimpleNamespace(task=task) for task in tasks])  # type: ignore[misc]
    assert sorted(ended) == ["first", "second", "third"]


async def test_code_is_compared_by_the_check() -> None:
    router = cascading({"cheap": "```python\n1 + 1\n```", "other": "```python\n2\n```", "strong": "no"})
    result = await router.route("code", cascade="agree", check=lambda text: "python" in text, **HARD)
    assert story(result.attempts) == [(1, "cheap", "ok"), (2, "other", "agreed")]


@pytest.mark.parametrize(("verdict", "model_id"), [("Yes.", "cheap"), ("no, it is not", "strong"), ("well", "strong")])
async def test_a_judge_decides(verdict: str, model_id: str) -> None:
    seen: list[ProviderRequest] = []

    def reply(request: ProviderRequest) -> Reply:
        seen.append(request)
        return Reply(chunks=(verdict if request.model.id == "other" else f"from {request.model.id}",))

    router = cascading(reply)
    result = await router.route("well?", judge="other", **HARD)
    assert (result.model, result.text) == (model_id, f"from {model_id}")
    assert story(result.attempts)[:2] == [
        (1, "cheap", "ok" if model_id == "cheap" else "superseded"),
        (2, "other", "judged"),
    ]
    reasons = {"Yes.": None, "no, it is not": Doubt.JUDGED_BAD, "well": Doubt.UNUSABLE}
    assert result.attempts[0].reason == reasons[verdict]
    assert [message.content for message in seen[1].messages[:2]] == ["well?", "from cheap"]
    assert "yes or no" in seen[1].messages[2].content
    assert result.cost_usd == router.ledger.spent_usd == sum(row.cost_usd for row in router.ledger.rows())
    assert router.ledger.held_usd == 0


async def test_a_judge_that_fails_confirms_nothing() -> None:
    router = cascading({"cheap": "fine", "other": Failure(error=Overloaded("x")), "strong": "better"})
    result = await router.route("well?", judge="other", **HARD)
    assert story(result.attempts) == [(1, "cheap", "superseded"), (2, "other", "overloaded"), (3, "strong", "ok")]


async def test_if_a_cheap_model_fails_the_leader_is_asked() -> None:
    for error in (BadRequest("x"), Overloaded("x")):
        router = cascading({"cheap": "42", "other": Failure(error=error), "strong": "42"})
        result = await router.route("well?", cascade=True, **HARD)
        assert result.model == "strong"
        assert ("cheap", "superseded") in {(row.model, row.outcome) for row in result.attempts}
        assert router.ledger.held_usd == 0


async def test_two_providers_that_reject_the_prompt_of_a_cascade_end_the_run() -> None:
    router = cascading({"cheap": Failure(error=BadRequest("one")), "other": Failure(error=BadRequest("two"))})
    with pytest.raises(AllAttemptsFailed, match=r"one.*two|two.*one"):
        await router.route("well?", cascade=True, **HARD)


async def test_an_answer_that_was_cut_off_confirms_nothing() -> None:
    def reply(request: ProviderRequest) -> Reply:
        if request.model.id == "strong":
            return Reply(chunks=("42",))
        usage = Usage(input_tokens=10, output_tokens=request.max_output_tokens)
        return Reply(chunks=("42",), finish_reason="length", usage=usage)

    router = cascading(reply)
    result = await router.route("well?", cascade=True, **HARD)
    assert result.model == "strong"
    assert result.notes == ("cheap and other: cut off at the output limit; asked strong",)


class Slow:
    """Says nothing until the gate is open; counts how often it was left."""

    def __init__(self) -> None:
        self.gate, self.closed = Gate(), 0

    def unavailable(self) -> None:
        return None

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        try:
            await self.gate.wait()
            yield TextDelta(text="42")
            yield UsageReport(usage=Usage(input_tokens=3, output_tokens=1))
            yield Finished(finish_reason="stop", served_model=request.model.api_model)
        finally:
            self.closed += 1


async def test_closing_the_stream_cancels_and_settles_both_cheap_models() -> None:
    slow = Slow()
    router = cascading({}, providers={"cloud": ScriptedProvider(), "one": slow, "two": slow})
    started = 0
    async with aclosing(router.stream("well?", cascade=True, **HARD)) as events:
        async for event in events:
            started += isinstance(event, AttemptStarted)
            if started == 2:
                assert router.ledger.held_usd > 0
                break
    assert slow.closed == 2
    assert story(router.ledger.rows()) == [(1, "cheap", "cancelled"), (2, "other", "cancelled")]
    assert all(row.cost_estimated for row in router.ledger.rows())
    assert router.ledger.held_usd == 0


async def test_an_answer_stays_unconfirmed_if_the_run_ends_before_the_decision() -> None:
    slow = Slow()
    router = cascading({"cheap": "42"}, providers={"cloud": ScriptedProvider(), "one": ScriptedProvider(), "two": slow})
    async with aclosing(router.stream("well?", cascade=True, **HARD)) as events:
        async for _ in events:
            if any(row.outcome == "unconfirmed" for row in router.ledger.rows()):
                break
    assert story(router.ledger.rows()) == [(1, "cheap", "unconfirmed"), (2, "other", "cancelled")]
    assert all(row.baseline_usd == 0 for row in router.ledger.rows())
    assert router.ledger.held_usd == 0


async def test_the_leader_has_its_money_whatever_other_runs_spend_meanwhile() -> None:
    slow = Slow()
    strong = ScriptedProvider([Reply(chunks=("right",))])
    router = cascading({}, providers={"cloud": strong, "one": slow, "two": ScriptedProvider([Reply(chunks=("7",))])})
    plan = router.plan("well?", cascade=True, **HARD)
    assert plan.cascade is not None
    router.set_budget(plan.cascade.worst_usd)
    asking = asyncio.create_task(router.route("well?", cascade=True, **HARD))
    while "unconfirmed" not in {row.outcome for row in router.ledger.rows()}:
        await asyncio.sleep(0.001)
    assert (0, "strong", "reserved") in story(router.ledger.rows())
    assert router.ledger.spent_usd + router.ledger.held_usd <= plan.cascade.worst_usd
    frame = router.ledger.to_frame()
    assert frame["held_usd"].sum() == pytest.approx(float(router.ledger.held_usd))
    left = plan.cascade.worst_usd - router.ledger.spent_usd - router.ledger.held_usd
    caps = router.budget.caps(model="strong")
    router.ledger.hold(attempt(run_id="greedy", session_id=router.ledger.session_id), left, caps)
    slow.gate.set()
    result = await asking
    assert (result.model, result.text) == ("strong", "right")
    assert all(row.attempt > 0 for row in router.ledger.rows())


async def test_without_the_money_for_the_whole_cascade_the_leader_is_asked_alone() -> None:
    router = cascading({"strong": "right"})
    plan = router.plan("well?", cascade=True, **HARD)
    assert plan.cascade is not None
    router.set_budget(plan.cascade.worst_usd - Decimal("0.000001"))
    result = await router.route("well?", cascade=True, **HARD)
    assert story(result.attempts) == [(1, "strong", "ok")]
    assert "no cascade: the whole cascade could cost up to" in result.notes[0]


async def test_without_a_cheaper_model_a_plan_has_no_cascade() -> None:
    router = cascading({"cheap": "42"})
    result = await router.route("well?", cascade=True, tier="bulk")
    assert story(result.attempts) == [(1, "cheap", "ok")]
    assert result.notes == ("no cascade: no usable model is cheaper than cheap",)


async def test_many_concurrent_cascades_finish_within_the_cap() -> None:
    router = cascading({"cheap": "41", "other": "42", "strong": "43"})
    plan = router.plan("well?", cascade=True, **HARD)
    assert plan.cascade is not None
    cap = plan.cascade.worst_usd * 3
    router.set_budget(cap)
    async with asyncio.timeout(30):
        ended = await asyncio.gather(
            *(router.route("well?", cascade=True, **HARD) for _ in range(20)), return_exceptions=True
        )
    assert sum(not isinstance(result, BaseException) for result in ended) >= 3
    assert router.ledger.spent_usd <= cap
    assert router.ledger.held_usd == 0


@settings(max_examples=examples(25))
@given(
    texts=st.lists(st.sampled_from(["1", "2", "overloaded", "invalid"]), min_size=3, max_size=3),
    cap=st.sampled_from([None, "0.001", "0.03", "0.05"]),
    how=st.sampled_from(["agree", "twice", "judge", "check"]),
)
def test_every_mix_of_answers_and_failures_is_settled_within_the_cap(
    texts: list[str], cap: str | None, how: str
) -> None:
    answers: Answers = {
        name: Failure(error=Overloaded("x")) if word == "overloaded" else "" if word == "invalid" else word
        for name, word in zip(("cheap", "other", "strong"), texts, strict=True)
    }
    router = cascading({**answers, "kin": "1"}, budget=Budget(session_usd=None if cap is None else Decimal(cap)))
    more: dict[str, Any] = {"judge": {"judge": "other"}, "check": {"check": lambda text: text == "1"}}.get(how, {})
    with suppress(AllAttemptsFailed, BudgetExceeded):
        assert router.route_sync("well?", cascade=how, **more, **HARD).cost_usd == router.ledger.spent_usd
    rows = router.ledger.rows()
    assert router.ledger.held_usd == 0
    assert cap is None or router.ledger.spent_usd <= Decimal(cap)
    assert all(row.outcome not in ("in_flight", "reserved", "unconfirmed") for row in rows)
    assert sum(row.outcome == "ok" for row in rows) <= 1
    assert sorted(row.attempt for row in rows) == list(range(1, len(rows) + 1))


def test_the_plan_has_the_cost_of_its_cascade() -> None:
    router = cascading({})
    plan = router.plan("well?", cascade=True, **HARD)
    cascade = plan.cascade
    assert cascade is not None
    assert [candidate.model.id for candidate in cascade.cheap] == ["cheap", "other"], (
        "the cheapest, and the cheapest of another provider"
    )
    assert cascade.strong == plan.candidates[0]
    asked = sum(candidate.expected_usd for candidate in cascade.cheap)
    assert cascade.expected_usd == plan.expected_usd
    left = float(cascade.expected_usd - asked) / float(cascade.strong.expected_usd)
    assert left == pytest.approx(1 - cascade.acceptance_rate, abs=1e-5)
    assert cascade.worst_usd == sum((candidate.worst_usd for candidate in (*cascade.cheap, cascade.strong)), Decimal(0))
    assert not [entry for entry in plan.ranked if isinstance(entry, Skipped)]


CODE = "Write a pandas one-liner that counts rows per day"


async def test_a_cheap_answer_is_kept_if_its_form_is_valid() -> None:
    router = cascading({"cheap": "```python\nprint(1)\n```", "strong": "no"})
    result = await router.route(CODE, cascade="look", **HARD)
    assert story(result.attempts) == [(1, "cheap", "ok")]
    assert [row.confirmation for row in router.ledger.rows()] == [Confirmation.CODE]
    assert router.ledger.to_frame()["confirmation"].tolist() == ["code"]
    assert result.text == "```python\nprint(1)\n```"


@pytest.mark.parametrize(
    ("answer", "reason", "error"),
    [
        ("```python\nprint(1\n```", Doubt.MALFORMED, "the code does not parse"),
        ("Use groupby.", Doubt.UNUSABLE, "the form of the answer can't be checked"),
    ],
)
async def test_if_a_look_fails_the_leader_is_asked(answer: str, reason: Doubt, error: str) -> None:
    router = cascading({"cheap": answer, "strong": "right"})
    result = await router.route(CODE, cascade="look", **HARD)
    assert story(result.attempts) == [(1, "cheap", "superseded"), (2, "strong", "ok")]
    assert (result.attempts[0].reason, result.attempts[0].error) == (reason, error)
    assert [row.confirmation for row in result.attempts] == [Confirmation.CODE, None]
    assert router.ledger.held_usd == 0


def test_a_plan_looks_at_answers_if_that_is_cheaper_at_the_wanted_quality() -> None:
    router = cascading({}, level=2.1)
    plan = router.plan(CODE, quality=0.995)
    assert plan.cascade is not None
    assert plan.cascade.mode == "look"
    assert plan.cascade.expected_quality >= plan.minimum_quality
    assert plan.cascade.expected_usd <= Decimal("0.8") * plan.candidates[0].expected_usd
    assert router.plan(CODE, quality=0.995, cascade=False).cascade is None
    assert cascading({}, level=1.0).plan(CODE, quality=0.995).cascade is None, "a look finds few of its mistakes"
    assert router.plan("Write an essay on eigenvalues.", cascade="look", **HARD).no_cascade == (
        "the form of the answer can't be checked"
    )


async def test_any_confirmation_includes_a_judge_of_another_provider() -> None:
    def reply(request: ProviderRequest) -> Reply:
        return Reply(chunks=("yes",) if request.messages[-1].content.startswith("Now judge") else ("prose",))

    router = cascading(reply, level=1.7)
    plan = router.plan("Prove it by induction on the eigenvalues of the matrix.", cascade="any", quality=0.95, **HARD)
    assert plan.cascade is not None
    assert plan.cascade.judge is not None
    assert plan.cascade.judge.model.provider != plan.cascade.cheap[0].model.provider
    assert plan.cascade.expected_quality >= plan.minimum_quality
    result = await router.route(plan.request)
    assert [step.outcome for step in result.attempts] == ["ok", "judged"]
    assert [row.confirmation for row in result.attempts] == [Confirmation.JUDGE, None]
    poor = cascading(reply, level=-3.0).plan("Prove it by induction.", cascade="any", **HARD)
    assert poor.cascade is None
    assert "none is expected to cost at most 80%" in poor.no_cascade


@pytest.mark.parametrize("kind", [Confirmation.CODE, Confirmation.JUDGE, Confirmation.SCHEMA])
def test_a_confirmation_that_rejects_nothing_has_the_quality_of_the_cheap_model(kind: Confirmation) -> None:
    rated = cascading({}).plan("x", tier="complex").candidates[0]
    cheap, strong = (dataclasses.replace(rated, expected_quality=quality) for quality in (0.8, 0.9))
    _, quality = estimate_cascade(kind, (cheap,), strong)
    assert 0.8 <= quality < 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cascade": "vote"}, "cascade = 'vote' must be one of agree"), ({"cascade": "schema"}, "requires schema="), ({"cascade": "check"}, "requires check="),
        ({"cascade": "judge"}, "requires judge="), ({"check": 3}, "must be a function"), ({"judge": "nobody"}, "no model 'nobody'"),
        ({"cascade": False, "judge": "strong"}, "judge= can't be used with cascade=False"), ({"cascade": "agree", "judge": "strong"}, "doesn't use a judge: remove judge="),
        ({"cascade": "judge", "judge": "strong", "check": bool}, "doesn't use a check: remove check="),
    ],
)  # fmt: skip
def test_contradictory_options_are_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        cascading({}).plan("well?", **options)


def test_an_async_check_is_an_error() -> None:
    async def check(text: str) -> bool:
        return True

    with pytest.raises(RequestError, match="async"):
        cascading({}).plan("well?", check=check)


QUIZ = "Prove which it is, by induction on the eigenvalues of the matrix.\nA) one\nB) two\nC) three\nD) four"


def test_a_plan_chooses_a_cascade_if_it_is_cheaper_and_answers_can_be_compared() -> None:
    router = cascading({})
    plan = router.plan(QUIZ)
    assert plan.candidates[0].model.id == "strong"
    cascade = plan.cascade
    assert cascade is not None
    assert cascade.mode == "agree"
    assert cascade.why.startswith("expected to cost ")
    assert cascade.expected_usd < cascade.strong.expected_usd
    assert cascade.expected_quality >= plan.request.quality * cascade.strong.expected_quality
    assert plan.expected_usd == cascade.expected_usd
    assert router.plan(QUIZ, cascade=False).cascade is None
    assert cascading({}, level=-2.0).plan(QUIZ, quality=1).cascade is None, "what such models agree on is often wrong"
    assert router.plan(QUIZ, model="strong").cascade is None
    assert router.plan(QUIZ, tier="complex").cascade is None
    assert router.plan(QUIZ, hedge_s=1).cascade is None
    assert router.plan("Prove it by induction on the eigenvalues of the matrix.").cascade is None, (
        "prose can't be compared"
    )
    assert router.plan("Translate to French: A) one\nB) two\nC) three").cascade is None, "the leader is cheap"


@pytest.mark.parametrize(
    ("schema", "is_so"),
    [
        ({"type": "object", "properties": {"n": {"type": "number"}, "ok": {"type": "boolean"}}}, True),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, True), ({"type": "string", "maxLength": 20}, True), ({"type": "string", "format": "date"}, True),
        ({"type": "object", "properties": {"summary": {"type": "string"}}}, False), ({"type": "array"}, False), ({"type": "object"}, False),
        ({"anyOf": [{"type": "number"}]}, False), ({}, False),
    ],
)  # fmt: skip
def test_json_without_free_text_can_be_compared(schema: dict[str, Any], is_so: bool) -> None:
    assert comparable(cascading({}).request("x", schema=schema)) == is_so


@pytest.mark.parametrize(
    ("prompt", "is_so"),
    [
        (QUIZ, True), ("Is it? Answer yes or no.", True), ("Put the final answer in a box.", True), ("Reply with only the number.", True),
        ("Say one word.", True), ("Explain it to me.", False), ("A) is one thing.", False), ("Write an essay on yes.", False),
    ],
)  # fmt: skip
def test_a_short_answer_can_be_compared(prompt: str, is_so: bool) -> None:
    assert comparable(cascading({}).request(prompt)) == is_so


def test_interpolated_text_does_not_make_a_prompt_comparable() -> None:
    assert not comparable(cascading({}).request("Explain:\nA) x\nB) y\nC) z", routing_text="Explain:"))


@given(
    p=st.floats(0.01, 0.99),
    q=st.floats(0.01, 0.99),
    best=st.floats(0.01, 0.99),
    how=st.sampled_from(Confirmation),
)
def test_an_estimate_is_a_pair_of_shares(p: float, q: float, best: float, how: Confirmation) -> None:
    rated = cascading({}).plan("x", tier="complex").candidates[0]
    one, other, strong = (
        dataclasses.replace(rated, expected_quality=quality, why=str(position))
        for position, quality in enumerate((p, q, best))
    )
    acceptance_rate, quality = estimate_cascade(how, (one, other), strong)
    assert 0 <= acceptance_rate <= 1
    assert 0 <= quality <= 1


def test_the_estimate_matches_recorded_answers_of_two_cheap_models_and_a_strong_one() -> None:
    rated = cascading({}).plan("x", tier="complex").candidates[0]
    one, other, strong = (
        dataclasses.replace(rated, expected_quality=quality, why=str(position))
        for position, quality in enumerate((0.758, 0.732, 0.819))
    )
    acceptance_rate, quality = estimate_cascade(Confirmation.AGREE, (one, other), strong)
    assert acceptance_rate == pytest.approx(SAME_RIGHT * 0.662 + SAME_MISTAKE * 0.172, abs=0.04), (
        "ZeroEval: gpt-4o-mini, deepseek-2.5; both right .662, both wrong .172"
    )
    assert quality == pytest.approx(0.83, abs=0.02)


def test_a_reservation_of_a_dead_process_is_released_by_reconciling(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    ledger = Ledger(":memory:", session_id="s", clock=lambda: now)
    monkeypatch.setattr(owners, "process_name", lambda pid: "elsewhere 1 1.0")
    ledger.reserve(attempt(run_id="r", session_id="s"), Decimal(1), ())
    assert ledger.held_usd == 1
    now += 10_000
    assert [(row.attempt, held) for row, held in ledger.uncertain()] == [(0, Decimal(1))]
    assert ledger.reconcile("charge") == []
    assert (ledger.spent_usd, ledger.held_usd, ledger.rows()) == (0, 0, [])


async def test_an_answer_is_not_lost_if_the_ledger_can_not_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    router = cascading({"cheap": "42", "other": "42"})
    begin, broken = router.ledger.transactions.database.begin, False

    def begun(*, to_read: bool) -> Any:
        if broken and not to_read:
            raise sqlite3.DatabaseError("database or disk is full")
        return begin(to_read=to_read)

    monkeypatch.setattr(router.ledger.transactions.database, "begin", begun)
    async with aclosing(router.stream("how many?", cascade=True, **HARD)) as events:
        async for event in events:
            broken = broken or (isinstance(event, Waiting) and event.reason == "comparing the answers")
            if isinstance(event, RunEnded):
                assert event.result.text == "42"
    broken = False
    router.ledger.record(attempt(run_id="next"))
    assert router.ledger.held_usd == 0
    assert story(router.ledger.rows(run_id=event.result.run_id)) == [(1, "cheap", "ok"), (2, "other", "agreed")]
