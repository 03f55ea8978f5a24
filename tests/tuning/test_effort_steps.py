"""Learning how much a level of effort gains, from ratings and from comparisons of levels."""

from __future__ import annotations

import dataclasses
import math
import random
from pathlib import Path

import pytest

from llm_magic import Registry, TaskTier, TuningError, tuning
from llm_magic.ledger import Ledger
from llm_magic.routing import Router
from llm_magic.testing import ScriptedProvider
from llm_magic.tuning import EffortSteps, Tuning
from llm_magic.tuning.steps import MAX_FACTOR, PRIOR_WIDTH
from llm_magic.types import SHADOW_TAG, Attempt, Effort, Outcome, Verdict
from tests.support.builders import attempt

COMPLEX = TaskTier.COMPLEX
MODEL = "claude-opus-5-5"
PROMPT = "Prove that there are infinitely many primes of the form 4n + 3."
PACKAGED = Registry.load("current")
LEVELS = tuple(PACKAGED[MODEL].effort or ())


def gains(registry: Registry) -> dict[Effort, float]:
    levels = registry[MODEL].effort
    assert levels is not None
    return {effort: levels.capability_steps[effort][COMPLEX] for effort in levels}


def rated(factor: float, count: int, seed: int = 1) -> list[Attempt]:
    """Rows of a user whose ratings follow steps that are `factor` times the assumed ones."""
    draw = random.Random(seed)  # noqa: S311 - a sample
    rows: list[Attempt] = []
    for number in range(count):
        effort, difficulty = draw.choice(LEVELS), draw.gauss(1.5, 1.0)
        margin = PACKAGED[MODEL].capability[COMPLEX] + factor * gains(PACKAGED)[effort] - difficulty
        good = draw.random() < 1 / (1 + math.exp(-margin))
        rows.append(row(number, effort, good, difficulty))
    return rows


def row(number: int, effort: Effort, good: bool, difficulty: float = 1.5) -> Attempt:
    rating = 1 if good else -1
    return attempt(run_id=str(number), model=MODEL, effort=effort, tier=COMPLEX, difficulty=difficulty, rating=rating)


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.0, 3.0])
def test_steps_are_recovered_within_their_interval_from_simulated_ratings(factor: float) -> None:
    learned = [tuning.tune(rated(factor, 600, seed), PACKAGED).effort for seed in range(4)]
    covered = [low <= factor <= high for low, high in (steps.interval(1.96) for steps in learned)]
    assert sum(covered) >= 3, learned
    assert all(steps.width < 0.8 * PRIOR_WIDTH for steps in learned), learned


def test_more_ratings_narrow_the_interval() -> None:
    few, many = (tuning.tune(rated(2.0, count), PACKAGED).effort for count in (150, 2_000))
    assert few.width > many.width > 0


@pytest.mark.parametrize("count", [1, 8, 20])
def test_few_ratings_leave_the_assumed_steps(count: int) -> None:
    assert tuning.tune(rated(3.0, count), PACKAGED).effort == EffortSteps()


def test_ratings_at_the_default_level_leave_the_assumed_steps() -> None:
    default = LEVELS[0] if (levels := PACKAGED[MODEL].effort) is None else levels.default
    assert (
        tuning.tune([row(number, default, number % 2 == 0) for number in range(200)], PACKAGED).effort == EffortSteps()
    )


@pytest.mark.parametrize("is_higher_better", [True, False])
def test_contradicting_ratings_keep_the_steps_bounded(is_higher_better: bool) -> None:
    low, high = LEVELS[0], LEVELS[-1]
    rows = [
        row(number, effort, (effort is high) == is_higher_better) for number, effort in enumerate([low, high] * 300)
    ]
    learned = tuning.tune(rows, PACKAGED)
    assert 1 / MAX_FACTOR <= learned.effort.factor <= MAX_FACTOR
    assert (learned.effort.factor > 1.5) == is_higher_better
    steps = gains(tuning.apply_tuning(PACKAGED, learned))
    assert list(steps.values()) == sorted(steps.values()), "a higher level is never expected to answer worse"
    mixed = tuning.tune([row(n, effort, n % 4 < 2) for n, effort in enumerate([low, high] * 300)], PACKAGED)
    assert mixed.effort.factor < 1, "the ratings do not depend on the effort"


def test_comparisons_of_two_levels_of_a_model_move_the_steps() -> None:
    rows: list[Attempt] = []
    for number in range(400):
        shown = row(number, LEVELS[-1], good=True)
        shadow = dataclasses.replace(
            shown, run_id=f"shadow {number}", parent_run_id=shown.run_id, effort=LEVELS[0], rating=None,
            outcome=Outcome.SHADOW, verdict=Verdict.WORSE if number % 2 else Verdict.TIE, tags=(SHADOW_TAG,),
        )  # fmt: skip
        rows += [dataclasses.replace(shown, rating=None), shadow]
    assert tuning.tune(rows, PACKAGED).effort.factor > 1.5


def test_the_steps_survive_the_file(clean_environment: Path) -> None:
    learned = tuning.tune(rated(0.3, 600), PACKAGED)
    path = tuning.save(learned)
    assert f"[effort]\nfactor = {learned.effort.factor:.3f}" in path.read_text("utf-8")
    assert tuning.load() == learned
    tuning.save(Tuning(prompts={COMPLEX: 0.5}))
    assert "\n[effort]" not in path.read_text("utf-8")
    assert tuning.load().effort == EffortSteps()


@pytest.mark.parametrize("line", ["factor = 9", "factor = 0", 'factor = "1"', "factor = true", "width = 2", "x = 1"])
def test_the_error_names_a_broken_table(clean_environment: Path, line: str) -> None:
    clean_environment.mkdir()
    (clean_environment / "tuning.toml").write_text(f"[effort]\n{line}")
    with pytest.raises(TuningError, match=r"tuning\.toml: .*effort\.\w.*--reset"):
        tuning.load()


@pytest.mark.parametrize(
    ("factor", "quality", "before", "after"),
    [(0.2, 0.965, Effort.MEDIUM, Effort.LOW), (3.0, 0.93, Effort.LOW, Effort.MEDIUM)],
)
def test_applied_ratings_change_the_effort_of_the_plan(
    clean_environment: Path, factor: float, quality: float, before: Effort, after: Effort
) -> None:
    def chosen() -> Effort | None:
        router = Router(registry=PACKAGED, ledger=Ledger(":memory:"), providers={"anthropic": ScriptedProvider()})
        return router.plan(PROMPT, model=MODEL, tier="COMPLEX", quality=quality).candidates[0].effort

    assert chosen() is before
    tuning.save(Tuning(effort=tuning.tune(rated(factor, 600), PACKAGED).effort))
    assert chosen() is after
