"""Shadow runs: what is sent, what is kept, and what they may spend."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest

from llm_magic import Budget, RequestError, Router, TaskTier
from llm_magic.errors import BudgetExceeded, Overloaded
from llm_magic.providers.base import ProviderRequest
from llm_magic.shadow.runs import MAX_COMPARED
from llm_magic.testing import Failure, FakeClock, Reply, ScriptedProvider
from llm_magic.types import SHADOW_TAG, Attempt, Confirmation, Doubt, Outcome, Request, Shadowing, Usage, Verdict
from tests.support.builders import NOON, attempt, model, router, scripted

MODELS = (
    model("top", price="4/20", capability=dict.fromkeys(TaskTier, 2.2)),
    model("middle", price="1/5", capability=dict.fromkeys(TaskTier, 1.4)),
    model("low", price="0.1/0.5", capability=dict.fromkeys(TaskTier, 1.2)),
)
USAGE = Usage(input_tokens=100, output_tokens=50)


def is_judging(request: ProviderRequest) -> bool:
    return "<answer_1>" in request.messages[-1].content


def answering(verdict: Callable[[ProviderRequest], str]) -> Callable[[ProviderRequest], Reply | Failure]:
    def reply(request: ProviderRequest) -> Reply:
        text = verdict(request) if is_judging(request) else f"An answer of some length by model {request.model.id}."
        return Reply(chunks=(text,), usage=USAGE)

    return reply


def honest(request: ProviderRequest) -> str:
    """Prefer the answer of the model `top`, wherever it is."""
    first = request.messages[-1].content.partition("<answer_1>\n")[2]
    return "1" if first.partition("</answer_1>")[0].strip().endswith("model top.") else "2"


def shadowed(verdict: Callable[[ProviderRequest], str] = honest, **parts: Any) -> Router:
    return router(*MODELS, **{"replies": answering(verdict), "shadow": 1.0, **parts})


def ask(asking: Router, prompt: str = "Explain tides.", **given: Any) -> list[Attempt]:
    asking.route_sync(prompt, **given)
    assert asking.shadows.join(10)
    return asking.ledger.rows()


def shadows(rows: list[Attempt]) -> list[Attempt]:
    return [row for row in rows if row.is_shadow]


def test_an_answer_is_compared_with_another_model_in_both_orders() -> None:
    asking = shadowed()
    answer, *others = ask(asking)
    assert (answer.outcome, answer.model, answer.tags) == (Outcome.OK, "top", ())
    assert [row.outcome for row in others] == [Outcome.SHADOW, Outcome.JUDGED, Outcome.JUDGED]
    shadow, *judged = others
    assert (shadow.parent_run_id, shadow.verdict) == (answer.run_id, Verdict.WORSE)
    assert {row.parent_run_id for row in judged} == {shadow.run_id}
    assert len({answer.model, shadow.model, judged[0].model}) == 3, "a third model judges"
    assert all(row.tags == (SHADOW_TAG,) and row.baseline_usd == 0 for row in others)
    texts = [request.messages[-1].content for request in scripted(asking).requests if is_judging(request)]
    assert len({re.sub(r"answer_[12]|top|low|middle", "", text) for text in texts}) == 1, "the orders differ, not more"


def test_the_verdict_is_that_of_the_shadow_answer() -> None:
    assert shadows(ask(shadowed(lambda request: "2" if honest(request) == "1" else "1")))[0].verdict is Verdict.BETTER
    assert shadows(ask(shadowed(lambda _: "tie")))[0].verdict is Verdict.TIE


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [("1", Verdict.INCONSISTENT), ("2", Verdict.INCONSISTENT), ("tie", Verdict.TIE), ("yes", None), ("", None)],
)
def test_a_judge_that_always_replies_the_same_prefers_neither(reply: str, verdict: Verdict | None) -> None:
    rows = shadows(ask(shadowed(lambda _: reply)))
    assert rows[0].verdict is verdict


def test_a_share_of_the_runs_is_shadowed() -> None:
    asking = shadowed(shadow=0.2)
    for number in range(60):
        asking.route_sync(f"Explain tide number {number}.")
    assert asking.shadows.join(10)
    count = sum(row.outcome is Outcome.SHADOW for row in asking.ledger.rows())
    assert 3 <= count <= 25
    assert shadows(ask(shadowed(shadow=0.0))) == []


@pytest.mark.parametrize("share", [-0.1, 1.1, True])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(RequestError, match="from 0 to 1"):
        shadowed(shadow=share)


NEVER = Shadowing(share=1.0, never_tags=("legal",), never_regex="(?i)secret")


@pytest.mark.parametrize(
    "given",
    [
        {"tags": "legal"},
        {"prompt": "Translate: the SECRET plan."},
        {"system": "You know a secret."},
        {"model": "top"},
        {"prompt": "word " * 10_000},
    ],
)
def test_a_prompt_that_may_not_leave_is_never_shadowed(given: dict[str, Any]) -> None:
    asking = shadowed(shadow=NEVER)
    assert shadows(ask(asking, **given)) == []
    assert shadows(ask(asking, tags="other")) != []


def test_a_secret_in_the_answer_or_in_the_history_is_not_sent_on() -> None:
    asking = shadowed(shadow=Shadowing(share=1.0, never_regex="of some length"))
    assert shadows(ask(asking)) == []
    from llm_magic.types import Message

    asking = shadowed(shadow=NEVER)
    earlier = [Message(role="user", content="The secret is 7."), Message(role="assistant", content="Fine.")]
    assert shadows(ask(asking, history=earlier)) == []


def test_the_user_never_waits_for_a_shadow() -> None:
    asking = shadowed()
    result = asking.route_sync("Explain tides.")
    assert (result.cost_usd, len(result.attempts)) == (result.attempts[0].cost_usd, 1)
    assert result.latency_s == 0.0


def test_the_cap_of_shadow_runs_holds_and_leaves_the_session_alone() -> None:
    asking = shadowed(budget=Budget(shadow_usd=Decimal("0.02")))
    for number in range(40):
        asking.route_sync(f"Explain tide number {number}.")
        assert asking.shadows.join(10)
        spent = sum((row.cost_usd for row in shadows(asking.ledger.rows())), Decimal(0))
        assert spent <= Decimal("0.02")
    rows = asking.ledger.rows()
    assert 0 < sum(row.outcome is Outcome.SHADOW for row in rows) < 40
    assert sum(row.outcome is Outcome.OK for row in rows) == 40


def test_shadow_runs_count_under_the_other_caps_too() -> None:
    asking = shadowed(budget=Budget(session_usd=Decimal("0.05"), shadow_usd=None, tags_usd={"draft": Decimal("0.04")}))
    for number in range(30):
        with suppress(BudgetExceeded):
            asking.route_sync(f"Explain tide number {number}.", tags="draft")
        assert asking.shadows.join(10)
        assert asking.ledger.spent_usd <= Decimal("0.04")
    assert asking.ledger.held_usd == 0


def test_a_failed_shadow_is_a_row_without_a_verdict() -> None:
    def reply(request: ProviderRequest) -> Reply | Failure:
        return Reply(usage=USAGE) if request.model.id == "top" else Failure(error=Overloaded("busy"))

    asking = shadowed(replies=reply)
    rows = shadows(ask(asking))
    assert [row.outcome for row in rows] == [Outcome.OVERLOADED], "it is tried once"
    assert rows[0].verdict is None
    assert "busy" in asking.shadows.last_problem


def test_equal_answers_and_a_check_of_the_user_need_no_judge() -> None:
    asking = shadowed(replies=[Reply(chunks=("42",), usage=USAGE)])
    rows = shadows(ask(asking))
    assert [(row.outcome, row.verdict) for row in rows] == [(Outcome.SHADOW, Verdict.TIE)]


def test_code_that_does_not_parse_loses_without_a_judge() -> None:
    def reply(request: ProviderRequest) -> Reply:
        code = "x = 1" if request.model.id == "top" else "x = ("
        return Reply(chunks=(f"```python\n{code}\n```",), usage=USAGE)

    rows = shadows(ask(shadowed(replies=reply)))
    assert [(row.outcome, row.verdict) for row in rows] == [(Outcome.SHADOW, Verdict.WORSE)]


def test_a_stated_judge_judges_and_an_unknown_one_prevents_the_run() -> None:
    asking = shadowed(shadow=Shadowing(share=1.0, judge="top"))
    assert {row.model for row in ask(asking) if row.outcome is Outcome.JUDGED} == {"top"}
    asking = shadowed(shadow=Shadowing(share=1.0, judge="gone"))
    assert shadows(ask(asking)) == []


def test_nothing_is_kept_but_the_verdict() -> None:
    asking = shadowed()
    rows = ask(asking, "Explain the word xylophone.")
    assert not any("xylophone" in str(row) for row in rows)
    assert asking.cache.count_and_bytes()[0] == 0
    assert asking.conversations.names() == []


def test_reserved_tags_are_refused() -> None:
    with pytest.raises(RequestError, match="reserved"):
        shadowed().request("x", tags=SHADOW_TAG)


def test_a_report_tells_shadow_runs_apart() -> None:
    asking = shadowed()
    rows = ask(asking)
    totals: Any = asking.ledger.report().totals
    assert (totals["runs"], totals["attempts"], totals["answered"], totals["shadow_answers"]) == (1, 1, 1, 1)
    assert totals["shadow_usd"] == pytest.approx(float(sum(row.cost_usd for row in shadows(rows))))


def test_a_request_keeps_the_settings_of_its_router() -> None:
    assert shadowed(shadow=NEVER).request("x").shadowing == NEVER
    assert Request(prompt="x").shadowing.share == 0


@pytest.mark.parametrize("hour", [0, 6, 12])
def test_the_cap_holds_while_prices_change(hour: int) -> None:
    """The price in the peak hours is twice that of the other hours."""
    clock = FakeClock(NOON.replace(hour=hour))
    cap = Decimal("0.015")
    doubled = dataclasses.replace(MODELS[2], price=None, api_model="deepseek-chat", provider="deepseek")
    provider = ScriptedProvider(answering(honest))
    asking = router(
        *MODELS[:2],
        doubled,
        providers={"cloud": provider, "deepseek": provider},
        budget=Budget(shadow_usd=cap),
        clock=clock,
        shadow=1.0,
    )
    for number in range(12):
        asking.route_sync(f"Explain tide number {number}.")
        assert asking.shadows.join(10)
        clock.advance(1800)
        assert sum((row.cost_usd for row in shadows(asking.ledger.rows())), Decimal(0)) <= cap
    assert 0 < sum(row.outcome is Outcome.SHADOW for row in asking.ledger.rows()) < 12


def test_the_cap_holds_after_ten_thousand_shadow_rows() -> None:
    asking = shadowed(budget=Budget(shadow_usd=Decimal("0.515")))
    old = attempt(
        outcome=Outcome.SHADOW, tags=(SHADOW_TAG,), cost_usd=Decimal("0.00005"), session_id=asking.ledger.session_id
    )
    with asking.ledger.transactions.writing() as db:
        for number in range(10_000):
            asking.ledger.transactions.attempts.insert(db, dataclasses.replace(old, run_id=str(number)))
    for number in range(10):
        asking.route_sync(f"Explain tide number {number}.")
        assert asking.shadows.join(30)
    rows = shadows(asking.ledger.rows())
    assert sum((row.cost_usd for row in rows), Decimal(0)) <= Decimal("0.515")
    assert 10_000 < sum(row.outcome is Outcome.SHADOW for row in rows) < 10_010


def two_providers(judge: Callable[[ProviderRequest], str], **parts: Any) -> Router:
    """A router whose cheapest model has another provider than the models that may judge it in a cascade."""

    def reply(request: ProviderRequest) -> Reply | Failure:
        if request.messages[-1].content.startswith("Now judge"):
            return Reply(chunks=(judge(request),), usage=USAGE)
        return answering(honest)(request)

    alien = dataclasses.replace(MODELS[2], provider="other")
    provider = ScriptedProvider(reply)
    providers = {"cloud": provider, "other": provider}
    return router(*MODELS[:2], alien, **{"providers": providers, "shadow": 1.0, **parts})


@pytest.mark.parametrize(("reply", "reason"), [("yes", None), ("No.", Doubt.JUDGED_BAD)])
def test_the_judge_of_a_cascade_is_asked_about_the_cheaper_answer(reply: str, reason: Doubt | None) -> None:
    asked: list[ProviderRequest] = []

    def judge(request: ProviderRequest) -> str:
        asked.append(request)
        return reply

    rows = shadows(ask(two_providers(judge)))
    shadow, *judged = rows
    assert [row.outcome for row in judged] == [Outcome.JUDGED] * 3
    confirming = judged[-1]
    assert (confirming.confirmation, confirming.reason) == (Confirmation.JUDGE, reason)
    assert (shadow.model, confirming.parent_run_id, confirming.model) == ("low", shadow.run_id, "middle")
    assert [row.confirmation for row in rows[:-1]] == [None, None, None]
    assert [message.content for message in asked[0].messages[:2]] == [
        "Explain tides.",
        "An answer of some length by model low.",
    ]


def test_a_reply_that_is_neither_yes_nor_no_confirms_nothing() -> None:
    assert not any(row.confirmation for row in ask(two_providers(lambda _: "perhaps")))


def test_a_stated_judge_is_the_only_one_that_sees_the_answers() -> None:
    rows = shadows(ask(two_providers(lambda _: "yes", shadow=Shadowing(share=1.0, judge="top"))))
    assert {row.model for row in rows if row.outcome is Outcome.JUDGED} == {"top"}


def test_the_judge_of_a_cascade_is_left_out_if_the_cap_is_too_low_for_it() -> None:
    rows = shadows(ask(two_providers(lambda _: "yes", budget=Budget(shadow_usd=Decimal("0.014")))))
    assert rows[0].verdict is not None
    assert not any(row.confirmation for row in rows)


def compared_with(**fields: Any) -> list[str]:
    """The models that one answer of `top` is compared with, among three that cost a hundredth of it."""
    others = [
        dataclasses.replace(MODELS[2], id=f"low {number}", capability=dict.fromkeys(TaskTier, 2.1), **fields)
        for number in range(4)
    ]
    rows = ask(router(MODELS[0], *others, replies=answering(honest), shadow=1.0), model=None, quality=1.0)
    assert rows[0].model == "top"
    return [row.model for row in rows if row.outcome is Outcome.SHADOW]


def test_an_answer_is_compared_with_further_models_while_they_cost_less_than_it() -> None:
    models = compared_with()
    assert len(models) == len(set(models)) == MAX_COMPARED
    assert len(compared_with(price=MODELS[0].price)) <= 1
