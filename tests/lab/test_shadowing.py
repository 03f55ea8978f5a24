"""Simulated shadow runs: what they teach on recorded outcomes, and how their judge errs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from llm_magic.lab.simulate.comparisons import Replayed, replayed
from llm_magic.lab.simulate.dataset import shipped_outcomes
from llm_magic.lab.simulate.judges import SimulatedJudge
from llm_magic.types import Verdict


def verdicts(judge: SimulatedJudge, shown: float, shadow: float, count: int = 400) -> list[Verdict]:
    rng = np.random.default_rng(1)
    return [judge.verdict(shown, shadow, rng)[0] for _ in range(count)]


def test_a_judge_that_knows_the_truth_prefers_the_good_answer() -> None:
    perfect = SimulatedJudge(right=1.0, tie=0.0, tie_if_equal=1.0, first=0.0)
    assert set(verdicts(perfect, 1.0, 0.0)) == {Verdict.WORSE}
    assert set(verdicts(perfect, 0.0, 1.0)) == {Verdict.BETTER}
    assert set(verdicts(perfect, 1.0, 1.0)) == {Verdict.TIE}


def test_a_judge_that_always_names_the_first_answer_contradicts_itself() -> None:
    assert set(verdicts(SimulatedJudge(first=1.0), 1.0, 0.0)) == {Verdict.INCONSISTENT}


def test_equal_answers_need_no_judge() -> None:
    rng = np.random.default_rng(1)
    assert SimulatedJudge(same_right=1.0).verdict(1.0, 1.0, rng) == (Verdict.TIE, False)


COSTS_AND_SCORES = [field.name for field in dataclasses.fields(Replayed) if field.name != "source"]


@pytest.mark.lab
@pytest.mark.parametrize("source", ["zeroeval", "mmlupro", "routerbench"])
def test_shadow_runs_keep_the_requested_quality_and_never_cost_two_points_more(source: str) -> None:
    judge = SimulatedJudge(same_right=0.967, same_mistake=0.27)
    runs = [replayed(shipped_outcomes()[source], 0.96, judge, seed) for seed in range(4)]
    means = {name: np.mean([getattr(run, name) for run in runs]) for name in COSTS_AND_SCORES}
    if means["score_before"] >= 0.96:  # the assumed capabilities choose too cheaply on RouterBench
        assert means["cost_after"] <= means["cost_before"] + 0.02
    assert means["cascade_cost_after"] <= means["cascade_cost_before"] + 0.02
    assert means["score_after"] >= 0.96
    assert means["cascade_score_after"] >= 0.96


@pytest.mark.lab
def test_a_judge_that_always_names_the_first_answer_changes_no_route() -> None:
    """Equal answers, which need no judge, still teach; there are none here."""
    run = replayed(shipped_outcomes()["routerbench"], 0.965, SimulatedJudge(first=1.0), 0)
    assert (run.cost_after, run.score_after) == (run.cost_before, run.score_before)
