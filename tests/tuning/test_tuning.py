"""What ratings, escalations, repeats and failed checks teach; applied on a yes, taken back on another."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_magic import Registry, TaskTier, TuningError, tuning
from llm_magic.tuning import LARGEST, SILENCE, Evidence, Tuning, evidence, step
from llm_magic.types import Attempt, Doubt
from tests.support.builders import attempt, model, registry

BULK, COMPLEX = TaskTier.BULK, TaskTier.COMPLEX


def rows(*said: dict[str, Any]) -> list[Attempt]:
    return [attempt(run_id=str(number), **fields) for number, fields in enumerate(said)]


def of(*said: dict[str, Any]) -> Evidence:
    return evidence(rows(*said))["cheap", BULK]


def test_a_rating_counts_one() -> None:
    found = of({"rating": 1, "difficulty": 0.3}, {"rating": 1, "difficulty": 0.2}, {"rating": -1, "difficulty": -1.0})
    assert found == Evidence(marks={0.25: (2, 0), -1.0: (0, 1)}, why={"rated good": 2, "rated bad": 1})
    assert (found.good, found.bad, found.spoken) == (2, 1, 3)


def test_silence_is_a_little_good() -> None:
    assert (of({}, {}).good, of({}, {}).bad) == (2 * SILENCE, 0)
    assert of({}, {}).spoken == 0


def test_an_escalation_and_a_repeat_are_bad_a_comparison_is_nothing() -> None:
    harder = {"parent_run_id": "0", "tier": COMPLEX, "model": "strong"}
    assert of({}, harder).why == {"escalated": 1}
    assert of({}, {"parent_run_id": "0"}).why == {"asked again": 1, "unrated": 1}
    assert of({}, {"parent_run_id": "0", "model": "other"}).why == {"unrated": 1}
    assert of({"rating": 1}, harder).why == {"rated good": 1}, "what is said outweighs what is guessed"


def test_failures_of_form_count_against_the_model() -> None:
    assert of({"outcome": "invalid"}).bad == 1
    assert of({"outcome": "superseded", "reason": Doubt.CHECK_FAILED}).why == {"check failed": 1}
    assert of({"outcome": "superseded", "reason": Doubt.JUDGED_BAD}).why == {"check failed": 1}
    assert (
        evidence(
            rows(
                {"outcome": "superseded", "reason": Doubt.DISAGREED},
                {"outcome": "superseded", "reason": Doubt.UNUSABLE},
                {"outcome": "overloaded"},
                {"outcome": "cancelled"},
            )
        )
        == {}
    )


def test_superseded_rows_of_older_ledgers_have_no_reason_and_give_no_evidence() -> None:
    assert evidence(rows({"outcome": "superseded", "error": "the check said no"})) == {}


def moved(level: float, **seen: tuple[float, float]) -> tuple[float, dict[str, float]]:
    """The step for models of one capability, each seen so good and so bad on typical prompts."""
    return step(dict.fromkeys(seen, level), {name: Evidence(marks={0.0: marks}) for name, marks in seen.items()})


def test_one_complaint_moves_little_and_fifty_more() -> None:
    one, fifty = (sum((shift, own["m"])) for shift, own in (moved(2.0, m=(0, 1)), moved(2.0, m=(0, 50))))
    assert -0.5 < one < 0
    assert fifty < -1.5
    shift, own = moved(2.0, m=(88, 12))
    assert (shift, own["m"]) == pytest.approx((0, 0), abs=0.02), "as expected: nothing to learn"


def test_prompts_that_are_hard_for_all_are_not_held_against_a_model() -> None:
    shift, own = moved(2.0, one=(20, 20), other=(20, 20))
    assert shift < -0.7
    assert own["one"] == pytest.approx(own["other"])
    shift, own = moved(2.0, one=(5, 35), other=(35, 5))
    assert own["one"] < -0.5 < 0.2 < own["other"]


def test_a_bad_answer_to_a_hard_prompt_says_less() -> None:
    easy, hard = (step({"m": 1.0}, {"m": Evidence(marks={at: (0.0, 3.0)})})[0] for at in (-2.0, 2.0))
    assert easy < hard < 0


@given(st.floats(-4, 4), st.floats(0, 100), st.floats(0, 100))
def test_a_step_is_bounded_and_goes_the_right_way(level: float, good: float, bad: float) -> None:
    shift, own = moved(level, m=(good, bad))
    for each in (shift, own["m"]):
        assert -LARGEST <= each <= LARGEST
        expected = (good + bad) / (1 + math.exp(-level))
        if abs(good - expected) > 0.01:
            assert (each > 0) == (good > expected)


def specs() -> Registry:
    return registry(
        model("cheap", price="0.1/0.5", capability=dict.fromkeys(TaskTier, 1.5)),
        model("strong", price="4/20", capability=dict.fromkeys(TaskTier, 2.0)),
    )


def test_a_file_keeps_it_and_a_person_can_read_it(clean_environment: Path) -> None:
    learnt = tuning.tune(
        rows(*[{"rating": -1}] * 20, {"model": "strong", "rating": 1}, {"model": "gone", "rating": -1}), specs()
    )
    assert set(learnt.models) == {("cheap", BULK), ("strong", BULK)}
    assert set(learnt.prompts) == {BULK}
    path = tuning.save(learnt)
    assert path == clean_environment / "tuning.toml"
    assert f'[capability."cheap"]\nBULK = {learnt.models["cheap", BULK]:+.3f}' in path.read_text("utf-8")
    assert tuning.load() == learnt
    assert tuning.reset()
    assert not tuning.reset()
    assert tuning.load() == Tuning()


@given(
    st.dictionaries(
        st.tuples(st.text(min_size=1), st.sampled_from(TaskTier)),
        st.floats(-LARGEST, LARGEST).map(lambda x: round(x, 3)),
        max_size=4,
    )
)
def test_any_model_name_comes_back(shifts: dict[Any, float]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tuning.toml"
        tuning.save(Tuning(models=shifts, prompts={BULK: 0.5}), path)
        assert tuning.load(path) == Tuning(models=shifts, prompts={BULK: 0.5})


@pytest.mark.parametrize(
    "text",
    [
        "[capability.x",
        "a = 1",
        "[capability.x]\nBULK = 9",
        "[capability.x]\nEASY = 0.1",
        '[capability.x]\nBULK = "1"',
        "[capability]\nx = 1",
    ],
)
def test_a_broken_file_is_named(clean_environment: Path, text: str) -> None:
    clean_environment.mkdir()
    (clean_environment / "tuning.toml").write_text(text)
    with pytest.raises(TuningError, match=r"tuning\.toml.*--reset"):
        tuning.load()


def test_only_what_was_learnt_is_moved() -> None:
    after = tuning.tuned(specs(), Tuning(models={("cheap", BULK): -0.5}, prompts={COMPLEX: -0.25}))
    assert after["cheap"].capability == {**dict.fromkeys(TaskTier, 1.5), BULK: 1.0, COMPLEX: 1.25}
    assert after["strong"].capability == {**dict.fromkeys(TaskTier, 2.0), COMPLEX: 1.75}
    assert after.baseline.id == specs().baseline.id
    assert after.profile == specs().profile
