"""Savings: counted for answers that are as good as what was requested, and called not comparable otherwise."""

from __future__ import annotations

import dataclasses

import pytest

from llm_magic import Ledger, Registry, Router, TaskTier
from llm_magic.jupyter.panel import facts as panel_facts
from llm_magic.jupyter.render import facts
from llm_magic.jupyter.render.run_state import RunState
from llm_magic.jupyter.render.tables import report_bundle
from llm_magic.jupyter.run import history
from llm_magic.ledger.plot import subline
from llm_magic.testing import FakeClock, Reply, ScriptedProvider, scripted_model
from llm_magic.types import ModelSpec, ProviderSpec, Usage

TIERS = tuple(TaskTier)
STRONG = dataclasses.replace(scripted_model("strong", price="4/20", tiers=TIERS), capability=dict.fromkeys(TIERS, 3.0))
WEAK = dataclasses.replace(scripted_model("weak", price="0.1/0.5", tiers=()), capability=dict.fromkeys(TIERS, -2.0))
LOCAL = dataclasses.replace(WEAK, id="local", provider="local")
WORDS = "savings not comparable: strong is expected to answer better"


def router(*models: ModelSpec, down: tuple[str, ...] = ()) -> Router:
    specs = models or (STRONG, WEAK)
    names = {spec.provider for spec in specs}
    clock = FakeClock()
    return Router(
        registry=Registry(
            models=specs,
            providers=[ProviderSpec(name=name, api="local" if name == "local" else "openai") for name in names],
        ),
        providers={name: ScriptedProvider([Reply()], unavailable="no key" if name in down else None) for name in names},
        ledger=Ledger(":memory:", clock=lambda: clock.now().timestamp()),
        clock=clock.clock(),
    )


@pytest.mark.parametrize("tier", TIERS)
def test_an_answer_of_a_much_weaker_model_is_not_comparable(tier: TaskTier) -> None:
    ours = router()
    result = ours.route_sync("hello", model="weak", tier=tier)
    assert not result.comparable
    assert result.savings_usd == 0
    assert WORDS in facts.run_facts(RunState.of_result(result)).details
    (row,) = ours.ledger.rows()
    assert (row.comparable, row.baseline_usd) == (False, row.cost_usd)


def test_an_answer_within_the_requested_share_is_a_saving() -> None:
    ours = router()
    result = ours.route_sync("hello", model="weak", quality=0.0)
    assert result.comparable
    assert result.savings_usd > 0


def test_the_embedded_model_in_place_of_one_without_a_key_is_not_comparable() -> None:
    ours = router(STRONG, LOCAL, down=("cloud",))
    plan = ours.plan("Why is the sky blue?")
    assert plan.candidates[0].why.startswith("nothing better can be used: its expected quality is ")
    result = ours.route_sync("Why is the sky blue?")
    assert result.model == "local"
    assert not result.comparable
    assert ours.ledger.saved_usd == 0


@pytest.mark.parametrize("tier", [None, "bulk", "complex"])
def test_a_plan_never_states_a_share_of_quality_for_the_embedded_model_alone(tier: str | None) -> None:
    alone = dataclasses.replace(LOCAL, tiers=TIERS)
    (only,) = router(alone).plan("Why is the sky blue?", tier=tier).candidates
    assert only.why.startswith("nothing better can be used: its expected quality is ")
    assert "%" in only.why


def test_reports_name_the_answers_that_are_not_comparable() -> None:
    ours = router()
    ours.route_sync("hello", model="weak")
    ours.route_sync("hello", model="strong")
    report = ours.ledger.report()
    assert report.totals["not_comparable"] == 1
    assert list(report.by_model["not_comparable"].sort_index()) == [0, 1]
    assert "1 answer not comparable with the top model" in subline(report.totals)
    assert "not comparable" in report_bundle(report)["text/html"].split("by model")[1]
    assert list(ours.ledger.to_frame()["comparable"]) == [False, True]


def test_the_panel_names_the_answers_of_the_session_that_are_not_comparable() -> None:
    ours = router()
    history.clear()
    request = ours.request("hello", model="weak")
    state = RunState(ledger=ours.ledger)
    for event in ours.stream_sync(request):
        state.apply(event)
    history.add(request, state)
    assert panel_facts.savings(ours).endswith(" against the top model; 1 answer not comparable")
    history.clear()


def test_a_repeated_answer_that_is_not_comparable_saves_nothing() -> None:
    ours = router()
    ours.route_sync("hello", model="weak", cache=True)
    result = ours.route_sync("hello", model="weak", cache=True)
    assert result.cached
    assert not result.comparable
    assert ours.ledger.saved_usd == 0


def test_a_cheap_answer_of_a_cascade_counts_by_the_quality_of_the_cascade() -> None:
    ours = router(STRONG, dataclasses.replace(WEAK, tiers=TIERS))
    result = ours.route_sync("hello", cascade="check", check=lambda _: True)
    plan = ours.plan("hello", cascade="check", check=lambda _: True)
    assert plan.cascade is not None
    assert result.model == "weak"
    assert result.comparable == (plan.cascade.expected_quality >= plan.minimum_quality)


def test_the_baseline_at_a_lower_effort_saves_against_its_own_default() -> None:
    top = dataclasses.replace(Registry.load("current").baseline, fallback_id=None)
    assert top.effort is not None
    lowest = next(iter(top.effort))
    assert lowest is not top.effort.default
    replies = [Reply(usage=Usage(input_tokens=10, output_tokens=1_000, reasoning_tokens=900))] * 5
    replies.append(Reply(usage=Usage(input_tokens=10, output_tokens=200, reasoning_tokens=100)))
    ours = Router(
        registry=Registry(models=[top], providers=[ProviderSpec(name=top.provider)]),
        providers={top.provider: ScriptedProvider(replies)},
        ledger=Ledger(":memory:"),
        clock=FakeClock().clock(),
    )
    defaults = [ours.route_sync("hello", tier="complex", effort=top.effort.default) for _ in range(5)]
    assert {result.savings_usd for result in defaults} == {0}
    low = ours.route_sync("hello", tier="complex", effort=lowest, quality=0.0)
    assert low.comparable
    assert low.baseline_usd == defaults[0].cost_usd, "100 tokens of answer after 900 of reasoning"
    assert low.savings_usd > 0
