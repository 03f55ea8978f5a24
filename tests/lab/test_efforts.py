"""Policies of effort on simulated models that reason."""

from __future__ import annotations

import numpy as np
import pytest

from llm_magic import Registry, TaskTier
from llm_magic.__main__ import main
from llm_magic.lab.simulate.efforts import COLD, DEFAULT, LEARNED, ORACLE, TODAY, compare, to_json, to_text
from llm_magic.lab.simulate.thinkers import Thinkers, World, draw_prompts, planning
from llm_magic.types import Effort

SMALL = World(prompts=250)


@pytest.mark.lab
def test_the_plan_saves_against_today_without_losing_success() -> None:
    compared = compare(SMALL, users=4)
    cold, learned = compared.policies[COLD], compared.policies[LEARNED]
    assert cold["of_today"].value < 0.75
    assert cold["success_of_today"].value >= 0.99
    assert learned["of_oracle"].value < 1.15
    assert compared.policies[DEFAULT]["of_today"].value > 0.9
    assert compared.policies[ORACLE]["of_oracle"].value == compared.policies[TODAY]["of_today"].value == 1
    assert 0.8 < compared.calibration.value < 1.2


@pytest.mark.lab
@pytest.mark.parametrize("scale", [1 / 3, 3.0])
def test_wrong_assumptions_pass_no_cap_and_are_learned(scale: float) -> None:
    compared = compare(World(prompts=200, reasoning_scale=scale), users=2)
    for name, figures in compared.policies.items():
        assert figures["hold_share"].high <= 1, name
    assert compared.policies[LEARNED]["success_of_today"].value >= 0.97
    assert 0.7 < compared.calibration.value < 1.3


def test_the_reasoning_of_a_simulated_model_grows_with_its_effort() -> None:
    rng = np.random.default_rng(0)
    registry = Registry.load("current")
    thinkers = Thinkers(SMALL, registry, rng)
    prompt = next(prompt for prompt in draw_prompts(SMALL, 100, rng) if prompt.tier is TaskTier.STANDARD)
    candidate = planning(registry)(prompt)
    counts = [
        thinkers.play(prompt, candidate, effort).usage.reasoning_tokens for effort in candidate.model.effort or ()
    ]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_the_command_prints_its_assumptions_and_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    main(["simulate", "--efforts", "--users", "1", "--prompts", "20"])
    shown = capsys.readouterr().out
    assert "65% routine" in shown
    assert "1 × the registry's table" in shown
    assert " to " in shown
    assert COLD in shown
    assert main(["simulate", "--efforts", "--users", "0"])


def test_the_comparison_is_reproducible_and_can_be_saved() -> None:
    world = World(prompts=15)
    one, same, other = (compare(world, users=1, seed=seed) for seed in (1, 1, 2))
    assert to_text(one) == to_text(same) != to_text(other)
    assert to_json(one)["policies"][COLD]["success"]["value"] == one.policies[COLD]["success"].value
    assert Effort.NONE.rank == 0


def test_a_scale_out_of_range_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--efforts", "--step-scale", "-1"])
    assert "--step-scale" in capsys.readouterr().err
