"""Tuning: the evidence in a ledger, the shifts estimated from it, and the file that stores them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_magic import Registry, TaskTier, TuningError, tuning
from llm_magic.tuning import Tuning
from llm_magic.tuning.estimation import MAX_SHIFT, posterior_mode
from llm_magic.tuning.evidence import UNRATED_GOOD_WEIGHT, Evidence, collect
from llm_magic.types import Attempt, Doubt
from tests.support.builders import attempt, model, registry

BULK, COMPLEX = TaskTier.BULK, TaskTier.COMPLEX


STRONG_AND_CHEAP = registry(
    model("strong", tiers=(COMPLEX,)), model("cheap", tiers=(BULK,)), model("other", tiers=(BULK,))
)


def rows(*fields: dict[str, Any]) -> list[Attempt]:
    return [attempt(run_id=str(number), **row) for number, row in enumerate(fields)]


def evidence(*fields: dict[str, Any]) -> Evidence:
    return collect(rows(*fields), STRONG_AND_CHEAP)["cheap", BULK]


def test_a_rating_has_weight_one() -> None:
    collected = evidence(
        {"rating": 1, "difficulty": 0.3}, {"rating": 1, "difficulty": 0.2}, {"rating": -1, "difficulty": -1.0}
    )
    assert collected == Evidence(
        weights={(0.25, 0.0): (2, 0), (-1.0, 0.0): (0, 1)}, counts={"rated good": 2, "rated bad": 1}
    )
    assert (collected.good, collected.bad, collected.explicit_count) == (2, 1, 3)


def test_an_unrated_answer_counts_a_little_as_good() -> None:
    assert (evidence({}, {}).good, evidence({}, {}).bad) == (2 * UNRATED_GOOD_WEIGHT, 0)
    assert evidence({}, {}).explicit_count == 0


def test_a_step_to_a_better_model_counts_as_bad_and_a_repeat_and_a_comparison_do_not_count() -> None:
    harder = {"parent_run_id": "0", "tier": COMPLEX, "model": "strong"}
    assert evidence({}, harder).counts == {"escalated": 1}
    assert evidence({}, {"parent_run_id": "0", "model": "strong"}).counts == {"escalated": 1}
    assert evidence({}, {"parent_run_id": "0"}).counts == {"unrated": 1}, "the second run, not the first"
    assert evidence({}, {"parent_run_id": "0", "model": "other"}).counts == {"unrated": 1}
    assert evidence({}, {"parent_run_id": "0", "model": "gone"}).counts == {"unrated": 1}
    assert evidence({"rating": 1}, harder).counts == {"rated good": 1}, "a rating overrides other evidence"


def test_invalid_answers_and_failed_checks_count_against_the_model() -> None:
    assert evidence({"outcome": "invalid"}).bad == 1
    assert evidence({"outcome": "superseded", "reason": Doubt.CHECK_FAILED}).counts == {"check failed": 1}
    assert evidence({"outcome": "superseded", "reason": Doubt.JUDGED_BAD}).counts == {"check failed": 1}
    assert (
        collect(
            rows(
                {"outcome": "superseded", "reason": Doubt.DISAGREED},
                {"outcome": "superseded", "reason": Doubt.UNUSABLE},
                {"outcome": "overloaded"},
                {"outcome": "cancelled"},
            ),
            STRONG_AND_CHEAP,
        )
        == {}
    )


def test_superseded_rows_of_older_ledgers_have_no_reason_and_give_no_evidence() -> None:
    assert collect(rows({"outcome": "superseded", "error": "the check failed"}), STRONG_AND_CHEAP) == {}


def shifts(level: float, **weights: tuple[float, float]) -> tuple[float, dict[str, float]]:
    """Return the shifts for models of one capability, each with its good and bad weight on typical prompts."""
    return posterior_mode(
        dict.fromkeys(weights, level), {name: Evidence(weights={(0.0, 0.0): pair}) for name, pair in weights.items()}
    )


def test_one_complaint_shifts_little_and_fifty_shift_more() -> None:
    one, fifty = (sum((shift, own["m"])) for shift, own in (shifts(2.0, m=(0, 1)), shifts(2.0, m=(0, 50))))
    assert -0.5 < one < 0
    assert fifty < -1.5
    shift, own = shifts(2.0, m=(88, 12))
    assert (shift, own["m"]) == pytest.approx((0, 0), abs=0.02), "as expected"


def test_prompts_that_are_hard_for_all_models_do_not_count_against_one() -> None:
    shift, own = shifts(2.0, one=(20, 20), other=(20, 20))
    assert shift < -0.7
    assert own["one"] == pytest.approx(own["other"])
    shift, own = shifts(2.0, one=(5, 35), other=(35, 5))
    assert own["one"] < -0.5 < 0.2 < own["other"]


def test_a_bad_answer_to_a_hard_prompt_shifts_less() -> None:
    easy, hard = (
        posterior_mode({"m": 1.0}, {"m": Evidence(weights={(difficulty, 0.0): (0.0, 3.0)})})[0]
        for difficulty in (-2.0, 2.0)
    )
    assert easy < hard < 0


def test_failures_of_a_model_of_unknown_capability_count_mostly_against_all_such_models() -> None:
    ratings = [{"tier": BULK, "model": "cheap", "rating": rating} for rating in [1] * 60 + [-1] * 40]
    stated = model("stated", capability=dict.fromkeys(TaskTier, 2.0))
    learned = tuning.tune(rows(*ratings), registry(stated, model("cheap"), model("other")))
    rated, unrated = learned.shift("cheap", BULK), learned.shift("other", BULK)
    assert rated < unrated < 0.6 * rated < 0
    assert rated < learned.shift("stated", BULK) < 0, "only the prompts may be hard for it"
    assert ("stated", BULK) not in learned.widths
    assert learned.widths["other", BULK] < tuning.prior_width("other", registry(stated, model("cheap"), model("other")))


@given(st.floats(-4, 4), st.floats(0, 100), st.floats(0, 100))
def test_a_shift_is_bounded_and_has_the_right_sign(level: float, good: float, bad: float) -> None:
    shift, own = shifts(level, m=(good, bad))
    for value in (shift, own["m"]):
        assert -MAX_SHIFT <= value <= MAX_SHIFT
        expected = (good + bad) / (1 + math.exp(-level))
        if abs(good - expected) > 0.01:
            assert (value > 0) == (good > expected)


def specs() -> Registry:
    return registry(
        model("cheap", price="0.1/0.5", capability=dict.fromkeys(TaskTier, 1.5)),
        model("strong", price="4/20", capability=dict.fromkeys(TaskTier, 2.0)),
    )


def test_the_file_is_readable_and_loads_to_the_same_tuning(clean_environment: Path) -> None:
    learned = tuning.tune(
        rows(*[{"rating": -1}] * 20, {"model": "strong", "rating": 1}, {"model": "gone", "rating": -1}), specs()
    )
    assert set(learned.models) == {("cheap", BULK), ("strong", BULK)}
    assert set(learned.prompts) == {BULK}
    path = tuning.save(learned)
    assert path == clean_environment / "tuning.toml"
    assert f'[capability."cheap"]\nBULK = {learned.models["cheap", BULK]:+.3f}' in path.read_text("utf-8")
    assert tuning.load() == learned
    assert tuning.reset()
    assert not tuning.reset()
    assert tuning.load() == Tuning()


@given(
    st.dictionaries(
        st.tuples(st.text(min_size=1), st.sampled_from(TaskTier)),
        st.floats(-MAX_SHIFT, MAX_SHIFT).map(lambda x: round(x, 3)),
        max_size=4,
    )
)
def test_any_model_name_survives_the_file(by_model: dict[Any, float]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tuning.toml"
        tuning.save(Tuning(models=by_model, prompts={BULK: 0.5}), path)
        assert tuning.load(path) == Tuning(models=by_model, prompts={BULK: 0.5})


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
def test_the_error_names_a_broken_file(clean_environment: Path, text: str) -> None:
    clean_environment.mkdir()
    (clean_environment / "tuning.toml").write_text(text)
    with pytest.raises(TuningError, match=r"tuning\.toml.*--reset"):
        tuning.load()


def test_only_tuned_capabilities_are_shifted() -> None:
    after = tuning.apply_tuning(specs(), Tuning(models={("cheap", BULK): -0.5}, prompts={COMPLEX: -0.25}))
    assert after["cheap"].capability == {**dict.fromkeys(TaskTier, 1.5), BULK: 1.0, COMPLEX: 1.25}
    assert after["strong"].capability == {**dict.fromkeys(TaskTier, 2.0), COMPLEX: 1.75}
    assert after.baseline.id == specs().baseline.id
    assert after.profile == specs().profile
