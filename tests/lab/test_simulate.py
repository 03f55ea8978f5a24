"""Simulated months on recorded outcomes, and the replay of a ledger at other prices."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from llm_magic import EvaluationError, Ledger, Price, Registry, TaskTier, Usage
from llm_magic.__main__ import main
from llm_magic.answers.agreement import SAME_RIGHT
from llm_magic.lab.simulate import make_dataset, ratings
from llm_magic.lab.simulate.dataset import Outcomes, load_outcomes, save_outcomes, shipped_outcomes
from llm_magic.lab.simulate.lineups import LINEUPS
from llm_magic.lab.simulate.months import simulate, to_json
from llm_magic.lab.simulate.months_plots import plot_months
from llm_magic.lab.simulate.months_text import to_text
from llm_magic.lab.simulate.simulator import (
    SPEED,
    Scenario,
    approaches,
    ask_models,
    ask_with_fallbacks,
    cascade,
    draw_month,
    planned_choices,
)
from llm_magic.tuning.replay import replay
from tests.support.builders import attempt, model, registry

CALM = Scenario(faults=0.0, outages=0.0, days=3, requests=50)
TOP, OTHER_TOP, *_ = LINEUPS["zeroeval"].models("top")
CHEAP, SECOND, *_ = LINEUPS["zeroeval"].models("cheap")


def outcomes(right: dict[str, list[float]], **fields: Any) -> Outcomes:
    """Make four prompts, two of them routine, for the zeroeval lineup. Models that are not named are always right."""
    models = LINEUPS["zeroeval"].models()
    scores = np.array([right.get(name, [1.0] * 4) for name in models]).T
    role = {member.model: member.role for member in LINEUPS["zeroeval"].members}
    usd = np.array([{"top": 0.01, "mid": 0.003, "cheap": 0.001}[role[name]] for name in models])
    made: dict[str, Any] = {
        "source": "zeroeval", "models": models, "tasks": ("gsm", "gsm", "crux", "crux"), "scores": scores,
        "costs": np.tile(usd, (4, 1)), "output_tokens": np.full((4, len(models)), 60.0), "probabilities": np.tile([0.0, 1.0, 0.0, 0.0], (4, 1)),
        "difficulty": np.array([-2.0, -2.0, 2.0, 2.0]), "capability": np.tile([[{"top": 4.0, "mid": 2.0, "cheap": 1.0}[role[name]]] * 4 for name in models], 1),
        "typical_usd": usd,
    }  # fmt: skip
    return Outcomes(**{**made, **fields})


def months(source: Outcomes, scenario: Scenario, seed: int = 0) -> dict[str, Any]:
    return dict(simulate("zeroeval", scenario, months=3, seed=seed, outcomes=source).approaches)


def test_the_top_model_alone_costs_what_its_answers_cost() -> None:
    month = months(outcomes({}), CALM)[f"top only: {TOP}"]
    assert month["cost_usd"].value == pytest.approx(50 * 30 * 0.01)
    assert (month["success"].value, month["answered"].value, month["fallbacks"].value) == (1.0, 1.0, 0.0)
    assert month["p50_s"].value == pytest.approx(0.9 + 60 / 60)


def test_two_correct_cheap_models_mostly_agree_and_a_wrong_one_differs() -> None:
    source = outcomes({CHEAP: [1, 0, 1, 0], SECOND: [1, 1, 1, 0], TOP: [1, 1, 0, 1]})
    drawn = draw_month(source, LINEUPS["zeroeval"], CALM, np.random.default_rng(0))
    for same, wrong_kept in ((0.0, False), (1.0, True)):
        played = cascade(source, LINEUPS["zeroeval"], dataclasses.replace(CALM, same_mistake=same), drawn)
        for row, prompt in enumerate(drawn.prompts):
            read_alike = drawn.agreement[row] < SAME_RIGHT
            asked_top = {0: not read_alike, 1: True, 2: not read_alike, 3: not wrong_kept}[int(prompt)]
            assert played.escalated[row] == asked_top
            assert played.cost[row] == pytest.approx(0.002 + 0.01 * asked_top)
            assert played.score[row] == {0: 1.0, 1: 1.0, 2: float(not asked_top), 3: float(asked_top)}[int(prompt)]


def test_routing_chooses_the_cheapest_model_of_sufficient_quality() -> None:
    source = outcomes({})
    easy, hard = 0, 2
    chosen, after = planned_choices(source, LINEUPS["zeroeval"], 0.95)
    assert source.models[chosen[easy]] == CHEAP
    assert source.models[chosen[hard]] in (TOP, OTHER_TOP)
    assert LINEUPS["zeroeval"].provider_of(source.models[after[hard]]) != LINEUPS["zeroeval"].provider_of(
        source.models[chosen[hard]]
    )
    assert {source.models[column] for column in planned_choices(source, LINEUPS["zeroeval"], 0.0)[0]} == {CHEAP}
    best = planned_choices(source, LINEUPS["zeroeval"], 1.0)[0]
    assert {source.models[column] for column in best} <= {TOP, OTHER_TOP}


def test_a_fault_is_retried_and_an_outage_falls_back() -> None:
    source, lineup = outcomes({}), LINEUPS["zeroeval"]
    drawn = draw_month(source, lineup, CALM, np.random.default_rng(0))
    luck = np.ones_like(drawn.fault)
    luck[0, :, 0] = 0.0
    luck[1] = 0.0
    down = np.zeros_like(drawn.down)
    down[2, source.column(TOP)] = True
    drawn = dataclasses.replace(drawn, fault=luck, down=down)
    scenario = dataclasses.replace(CALM, faults=0.5)
    columns = [np.full(len(drawn.prompts), source.column(name)) for name in (TOP, CHEAP)]
    alone = ask_models(source, lineup, scenario, drawn, columns[0])
    assert list(alone.answered[:4]) == [True, False, False, True]
    assert alone.seconds[0] == pytest.approx(alone.seconds[3] + 1.0 + 0.25)
    assert alone.cost[1] == alone.score[1] == 0
    both = ask_with_fallbacks(source, lineup, scenario, drawn, columns)
    assert list(both.answered[:4]) == [True, False, True, True]
    assert list(both.fell_back[:4]) == [False, False, True, False]
    assert both.seconds[2] > alone.seconds[2]


def test_the_routine_share_is_kept() -> None:
    source, lineup = outcomes({}), LINEUPS["zeroeval"]
    drawn = draw_month(source, lineup, dataclasses.replace(CALM, routine=(0.6, 0.7), days=20), np.random.default_rng(1))
    routine = np.isin(np.array(source.tasks)[drawn.prompts], lineup.routine_tasks).reshape(20, 50).mean(axis=1)
    assert routine.min() >= 0.6
    assert routine.max() <= 0.7
    assert len(set(routine)) > 1


def test_equal_seeds_give_equal_results_and_other_seeds_do_not() -> None:
    source = outcomes({CHEAP: [1, 0, 1, 0]})
    assert months(source, CALM, 1) == months(source, CALM, 1) != months(source, CALM, 2)


def test_the_text_report_states_its_assumptions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPEED, "mid", (0.7, 81.0))
    for scenario in (CALM, dataclasses.replace(CALM, same_mistake=0.4)):
        simulated = simulate("zeroeval", scenario, months=2, outcomes=outcomes({}))
        output = to_text(simulated)
        assert "latency p50 (assumed)" in output
        assert "0.9 and 60 (top), 0.7 and 81 (mid)" in output
        assert f"{SAME_RIGHT:.1%} of the cases where both are right and {scenario.same_mistake:.0%} of those" in output
        assert ("as set" in output) == (scenario.same_mistake == 0.4)
    assumed = to_json(simulated)["assumed"]
    assert assumed["speed"]["mid"] == {"first_token_s": 0.7, "tokens_per_s": 81.0}
    assert (assumed["failed_try_s"], assumed["waits_s"]) == (1.0, [0.25, 0.5])
    assert assumed["same_right"] == SAME_RIGHT


def test_outcomes_survive_saving_and_loading() -> None:
    source = outcomes({CHEAP: [1, 0, 0.5, 0]})
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        save_outcomes(file, [source])
    assert files[0].getvalue() == files[1].getvalue()
    files[0].seek(0)
    back = load_outcomes(files[0])["zeroeval"]
    for part in dataclasses.fields(Outcomes):
        was, now = getattr(source, part.name), getattr(back, part.name)
        assert was == now if isinstance(was, str | tuple) else np.allclose(was, now, atol=0.003), part.name


def test_the_shipped_outcomes_are_complete_small_and_without_text() -> None:
    path = Path(ratings.__file__).with_name("outcomes.npz")
    assert path.stat().st_size < 1_000_000
    with np.load(path, allow_pickle=False) as arrays:
        text = [arrays[name] for name in arrays if arrays[name].dtype.kind in "US"]
        assert max(len(word) for array in text for word in array.ravel()) < 40, "names of models and tasks, no prompt"
    for source, lineup in LINEUPS.items():
        shipped = shipped_outcomes()[source]
        assert set(lineup.models()) <= set(shipped.models)
        assert set(lineup.routine_tasks) < set(shipped.tasks)
        assert np.isfinite(shipped.scores).all()
        assert (shipped.costs > 0).all()
        assert len(shipped) > 400
    about = path.with_name("OUTCOMES.md").read_text("utf-8")
    assert all(source in about for source in LINEUPS)
    assert "bfcl" not in shipped_outcomes()


@pytest.mark.lab
def test_the_shipped_outcomes_match_the_records() -> None:
    shipped = shipped_outcomes()["zeroeval"]
    assert shipped.scores[:, shipped.column("claude-3-5-sonnet-20241022")].mean() == pytest.approx(0.8188, abs=0.001)
    assert shipped.costs[:, shipped.column("gpt-4o-mini-2024-07-18")].mean() == pytest.approx(0.000220, rel=0.01)
    simulated = simulate("zeroeval", months=20)
    top, cascaded = simulated.approaches[f"top only: {TOP}"], simulated.approaches["ours: cascade"]
    assert cascaded["cost_share"].high < 0.6
    assert cascaded["success"].value > top["success"].value - 0.02
    assert (
        simulated.cascade_bounds["never"]["cost_usd"].value
        > cascaded["cost_usd"].value
        > simulated.cascade_bounds["always"]["cost_usd"].value
    )
    assert set(simulated.approaches) == set(approaches("zeroeval"))


def test_the_command_prints_the_results_next_to_the_claims(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert (
        main(["simulate", "--months", "3", "--requests", "20", "--json", str(out), "--plots", str(tmp_path / "plots")])
        == 0
    )
    output = capsys.readouterr().out
    assert "approach" in output
    assert "claimed for routing" in output
    data = json.loads(out.read_text())
    assert data["claimed"]["cost_saved"] == 0.7
    for approach in data["approaches"].values():
        for figure in approach.values():
            assert figure["low"] <= figure["value"] <= figure["high"]
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"monthly_cost.png", "cost_and_success.png"}


@pytest.mark.parametrize(
    ("options", "output"),
    [
        (["--source", "nowhere"], "no source 'nowhere'"), (["--routine", "much"], "write a share"), (["--routine", "0.9-0.1"], "lower one first"),
        (["--faults", "2"], "between 0 and 1"), (["--requests", "0"], "1 to 100,000"), (["--profile", "article"], "are for --ledger"),
        (["--shadow", "--quality", "0.9"], "--quality can't be combined with --shadow"),
        (["--ledger", "/nowhere/ledger.db"], "no ledger at"),
    ],
)  # fmt: skip
def test_invalid_simulation_options_are_reported(
    options: list[str], output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *options]) == 1
    assert output in capsys.readouterr().err


def test_a_ledger_is_replayed_at_other_prices(
    location: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger(location)
    usage = Usage(input_tokens=1_610, output_tokens=1_610)
    for number, (tier, outcome) in enumerate([("COMPLEX", "ok"), ("BULK", "ok"), ("BULK", "overloaded")]):
        row = attempt(
            run_id=str(number),
            tier=TaskTier(tier),
            model="claude-opus-5-5",
            outcome=outcome,
            usage=usage,
            cost_usd=Decimal("0.04"),
        )
        with ledger.hold(row, Decimal(0), ()) as hold:
            hold.settle(row)
    rows = ledger.rows()
    ledger.close()
    article = Registry.load("article")
    again = replay(rows, article, known=[Registry.load("current")])
    assert (again.runs, again.left_out) == (2, 1)
    assert again.paid_usd == again.answers_usd == Decimal("0.08")
    opus, deepseek = (1_610 * 5 + 1_610 * 25), round(1_610 * 1.06 / 1.61) * (Decimal("0.27") + Decimal("1.10"))
    assert again.top_usd == Decimal(opus) * 2 / 1_000_000
    assert again.replayed_usd == (Decimal(opus) + deepseek) / 1_000_000
    assert again.moved == {("claude-opus-5-5", "claude-opus-4-7"): 1, ("claude-opus-5-5", "deepseek-v3"): 1}
    if location == ":memory:":
        return
    prices = tmp_path / "prices.toml"
    prices.write_text('[models."claude-opus-4-7"]\nprice = { input = 0, output = 0 }\n')
    assert (
        main(
            [
                "simulate",
                "--ledger",
                location,
                "--profile",
                "article",
                "--prices",
                str(prices),
                "--json",
                str(tmp_path / "o.json"),
            ]
        )
        == 0
    )
    assert "2 answered runs, replayed" in capsys.readouterr().out
    data = json.loads((tmp_path / "o.json").read_text())
    assert Decimal(data["replayed_usd"]) == deepseek / 1_000_000
    assert Decimal(data["top_usd"]) == 0


def test_a_tier_without_a_model_is_replayed_on_the_baseline() -> None:
    specs = registry(model("base", tiers=(TaskTier.COMPLEX,), price="1/1"))
    row = attempt(model="gone", usage=Usage(input_tokens=100, output_tokens=100), cost_usd=Decimal(1))
    again = replay([row], specs)
    assert again.moved == {("gone", "base"): 1}
    assert again.replayed_usd == Decimal(200) / 1_000_000
    assert Price(input=Decimal(1), output=Decimal(1)) == specs["base"].price


def recorded(folder: Path, part: str, seed: int) -> None:
    """Write prompts and outcomes of every lineup. More expensive models are better."""
    chance = np.random.default_rng(seed)
    prompts, answers = [], []
    for source, lineup in LINEUPS.items():
        for number in range(40):
            task = lineup.routine_tasks[0] if number % 3 else "hard"
            asked = f"{source}-{part}-{number}"
            prompts.append(
                {
                    "prompt_id": asked,
                    "group_id": asked,
                    "source": source,
                    "task": task,
                    "prompt": f"Question {number} on {task}: prove it.",
                }
            )
            for member in lineup.members:
                level, usd = {"top": (0.9, 0.01), "mid": (0.7, 0.003), "cheap": (0.4, 0.001)}[member.role]
                answers.append(
                    {
                        "prompt_id": asked,
                        "model": member.model,
                        "score": float(chance.random() < level),
                        "input_tokens": 9,
                        "output_tokens": 60,
                        "cost_usd": usd,
                    }
                )
    pd.DataFrame(prompts).to_parquet(folder / f"{part}_prompts.parquet")
    pd.DataFrame(answers).to_parquet(folder / f"{part}_outcomes.parquet")


def test_building_the_dataset_is_deterministic(tmp_path: Path) -> None:
    for seed, part in enumerate(("train", "dev")):
        recorded(tmp_path, part, seed)
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        save_outcomes(file, make_dataset.dev_outcomes(tmp_path))
    assert files[0].getvalue() == files[1].getvalue()
    files[0].seek(0)
    made = load_outcomes(files[0])
    assert set(made) == set(LINEUPS)
    for source, lineup in LINEUPS.items():
        built = made[source]
        assert (built.models, len(built)) == (lineup.models(), 40)
        assert built.probabilities.sum(axis=1) == pytest.approx(1, abs=0.001)
        best, worst = (built.capability[built.column(lineup.models(role)[0])].mean() for role in ("top", "cheap"))
        assert best > worst + 0.5
        assert built.typical_usd[built.column(lineup.models("top")[0])] == pytest.approx(0.01)


@pytest.mark.lab
def test_ratings_move_a_router_towards_the_requested_quality(tmp_path: Path) -> None:
    for seed, part in enumerate(("train", "dev")):
        recorded(tmp_path, part, seed)
    rated, evaluation = make_dataset.train_and_dev_outcomes(tmp_path)[0]
    results = list(ratings.simulate_tuning(rated, evaluation, LINEUPS["zeroeval"], 0.8, seed=0, rating_counts=(0, 40)))
    assert [result.ratings for result in results] == [0, 40]
    assert all(0 <= result.score <= 1 and result.cost_share > 0 for result in results)
    assert results == list(
        ratings.simulate_tuning(rated, evaluation, LINEUPS["zeroeval"], 0.8, seed=0, rating_counts=(0, 40))
    )
    after = [
        list(
            ratings.simulate_tuning(
                dataclasses.replace(rated, scores=scores),
                evaluation,
                LINEUPS["zeroeval"],
                0.8,
                seed=0,
                rating_counts=(0, 40),
            )
        )
        for scores in (np.ones_like(rated.scores), np.zeros_like(rated.scores))
    ]
    assert after[0][0] == after[1][0], "the same before"
    assert after[0][1].cost_share < after[1][1].cost_share, "all is well, or nothing is"


def test_plots_without_matplotlib_name_the_package_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    simulated = simulate("zeroeval", CALM, months=2, outcomes=outcomes({}))
    with pytest.raises(EvaluationError, match=r"llm-magic\[plots\]"):
        plot_months(simulated, tmp_path)
