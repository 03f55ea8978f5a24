"""Learning from shadow runs, and from judges that can't be relied on."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable

import numpy as np
import pytest

from llm_magic import TaskTier, tuning
from llm_magic.tuning.comparisons import Judging
from llm_magic.tuning.observations import information, verdict_chances
from llm_magic.types import SHADOW_TAG, Attempt, Outcome, Verdict
from tests.support.builders import attempt, model, registry

BULK = TaskTier.BULK
MODELS = registry(
    model("top", capability={BULK: 2.0}), model("low", capability={BULK: 2.0}), model("judge", capability={BULK: 2.0})
)


def shadowed(*verdicts: Verdict | None, judged: bool = True) -> list[Attempt]:
    """Rows of runs that `top` answered and `low` was compared with."""
    rows: list[Attempt] = []
    for number, verdict in enumerate(verdicts):
        mark = {"tags": (SHADOW_TAG,), "parent_run_id": f"run {number}"}
        rows.append(attempt(run_id=f"run {number}", model="top"))
        rows.append(attempt(run_id=f"shadow {number}", model="low", outcome=Outcome.SHADOW, verdict=verdict, **mark))
        if judged:
            mark["parent_run_id"] = f"shadow {number}"
            rows.append(attempt(run_id=f"judge {number}", model="judge", outcome=Outcome.JUDGED, **mark))
    return rows


def shift(rows: list[Attempt], model_id: str = "low") -> float:
    return tuning.tune(rows, MODELS).shift(model_id, BULK)


def test_losses_lower_a_model_and_wins_raise_it() -> None:
    losses = shadowed(*[Verdict.WORSE] * 20, *[Verdict.TIE] * 40)
    assert shift(losses) < -0.3 < shift(losses, "top")
    wins = shadowed(*[Verdict.BETTER] * 20, *[Verdict.TIE] * 40)
    assert shift(wins) > shift(wins, "top")


def test_the_width_of_the_posterior_shrinks_with_the_number_of_comparisons() -> None:
    few, many = (
        tuning.tune(shadowed(*[Verdict.WORSE] * count, *[Verdict.TIE] * 5 * count), MODELS) for count in (2, 60)
    )
    prior = tuning.prior_width("low", MODELS)
    assert prior > few.widths["low", BULK] > many.widths["low", BULK] > 0


def test_the_truth_is_found_by_a_judge_that_errs_as_assumed() -> None:
    draw = random.Random(3)  # noqa: S311 - a sample
    better, worse, tie = verdict_chances(np.array([2.0]), np.array([1.0]))
    chances = [float(better[0]), float(worse[0]), float(tie[0])]
    verdicts = draw.choices([Verdict.BETTER, Verdict.WORSE, Verdict.TIE], chances, k=1500)
    learned = tuning.tune(shadowed(*verdicts), MODELS)
    gap = learned.shift("low", BULK) - learned.shift("top", BULK)
    assert gap == pytest.approx(-1.0, abs=0.35)


def test_ties_between_equal_answers_do_not_raise_the_level_of_all_models() -> None:
    """Many equal answers mean that few could be preferred by mistake, not that all models are better than assumed."""
    draw = random.Random(5)  # noqa: S311 - a sample
    rows: list[Attempt] = []
    for number in range(600):
        shown, shadow = correlated_successes(draw, 0.73, 0.6)
        same = shown == shadow and draw.random() < (0.97 if shown else 0.27)
        found = draw.random() < 0.75
        verdict = Verdict.TIE if same or shown == shadow or not found else Verdict.WORSE if shown else Verdict.BETTER
        rows += [
            dataclasses.replace(
                row,
                run_id=f"{number} {row.run_id}",
                parent_run_id=None if row.parent_run_id is None else f"{number} {row.parent_run_id}",
            )
            for row in shadowed(verdict, judged=not same)
        ]
    learned = tuning.tune(rows, MODELS)
    assert MODELS["top"].capability[BULK] + learned.shift("top", BULK) < 1.7  # true is 1.0, assumed are 2.0
    assert learned.shift("low", BULK) - learned.shift("top", BULK) == pytest.approx(-0.6, abs=0.3)


def correlated_successes(draw: random.Random, one: float, other: float, correlation: float = 0.45) -> tuple[bool, bool]:
    both = one * other + correlation * (one * (1 - one) * other * (1 - other)) ** 0.5
    outcomes = [(True, True), (True, False), (False, True), (False, False)]
    return draw.choices(outcomes, [both, one - both, other - both, 1 - one - other + both])[0]


FIRST = [Verdict.INCONSISTENT]
GUESSES = [Verdict.INCONSISTENT, Verdict.BETTER, Verdict.INCONSISTENT, Verdict.WORSE]


@pytest.mark.parametrize("verdicts", [FIRST, [Verdict.TIE], GUESSES], ids=["prefers the first", "only ties", "guesses"])
def test_an_unreliable_judge_teaches_nothing(verdicts: list[Verdict]) -> None:
    rows = shadowed(*itertools.islice(itertools.cycle(verdicts), 2000))
    learned = tuning.tune(rows, MODELS)
    assert abs(learned.shift("low", BULK)) < 0.05
    assert learned.widths.get(("low", BULK), 9.0) > 0.9 * tuning.prior_width("low", MODELS)


def test_comparisons_without_a_judge_have_full_weight() -> None:
    assert shift(shadowed(*[Verdict.WORSE] * 20, judged=False)) < shift(shadowed(*[Verdict.WORSE] * 20)) < 0


def margins(rows: list[Attempt]) -> dict[str, float]:
    applied = tuning.apply_tuning(MODELS, tuning.tune(rows, MODELS))
    return {model.id: model.capability_margin.get(BULK, 0.0) for model in applied}


def test_margins_begin_at_zero_and_shrink_as_a_model_becomes_known() -> None:
    assert set(margins([]).values()) == {0.0}
    one, some, most = (
        margins(shadowed(*[Verdict.WORSE] * count, *[Verdict.BETTER] * count, *[Verdict.TIE] * 3 * count))
        for count in (1, 20, 400)
    )
    assert 0 < one["low"] < some["low"] > most["low"] > 0
    assert one["low"] < 0.05


def test_a_model_that_was_never_compared_has_the_margin_of_what_was_assumed() -> None:
    some = margins(shadowed(*[Verdict.WORSE] * 40, *[Verdict.BETTER] * 40))
    assert some["judge"] > some["low"] > 0


def test_equal_answers_count_no_more_than_judged_ones() -> None:
    """Otherwise the verdicts of a judge that errs are outweighed by ties that it never saw."""
    judged = shadowed(*[Verdict.WORSE] * 30, *[Verdict.INCONSISTENT] * 10, *[Verdict.TIE] * 20)
    equal = shadowed(*[Verdict.TIE] * 60, judged=False)
    rows = judged + [renumbered(row) for row in equal]
    (counts,) = tuning.comparisons_of(rows, MODELS).of_tier(BULK).values()
    assert counts[Verdict.WORSE] / (counts[Verdict.TIE] + counts[Verdict.INCONSISTENT]) == pytest.approx(30 / 90)
    assert sum(counts.values()) < 120


def test_equal_answers_teach_nothing_if_the_judge_of_the_others_is_unreliable() -> None:
    rows = shadowed(*[Verdict.INCONSISTENT] * 60) + [
        renumbered(row) for row in shadowed(*[Verdict.TIE] * 60, judged=False)
    ]
    assert shift(rows) == 0.0


def renumbered(row: Attempt) -> Attempt:
    parent = None if row.parent_run_id is None else f"other {row.parent_run_id}"
    return dataclasses.replace(row, run_id=f"other {row.run_id}", parent_run_id=parent)


@pytest.mark.parametrize(
    ("judging", "expected"),
    [
        (Judging(), (0.79, 0.81)),
        (Judging(comparisons=100, decided=40, inconsistent=5), (0.85, 0.95)),
        (Judging(comparisons=100, decided=50, inconsistent=50), (0.0, 0.0)),
        (Judging(comparisons=100, decided=0, inconsistent=0), (0.0, 0.0)),
    ],
)
def test_a_judge_counts_by_how_consistent_it_is(judging: Judging, expected: tuple[float, float]) -> None:
    assert expected[0] <= judging.weight <= expected[1]


def test_the_chances_of_the_verdicts_add_up_and_are_symmetric() -> None:
    for shown, shadow in itertools.product((-3.0, 0.0, 2.0, 9.0), repeat=2):
        one, other = np.array([shown]), np.array([shadow])
        there, back = verdict_chances(one, other), verdict_chances(other, one)
        assert float(sum(there)[0]) == pytest.approx(1.0)
        assert all(float(chance[0]) > 0 for chance in there)
        assert float(there[0][0]) == pytest.approx(float(back[1][0]))
        assert min(information(shown, shadow)) >= 0


def test_shadow_rows_are_evidence_of_nothing_else() -> None:
    from llm_magic.tuning.evidence import collect
    from llm_magic.tuning.replay import replay

    rows = shadowed(Verdict.WORSE)
    assert {key: evidence.counts for key, evidence in collect(rows, MODELS).items()} == {("top", BULK): {"unrated": 1}}
    assert (replay(rows, MODELS).runs, replay(rows, MODELS).left_out) == (0, 1)


def test_widths_are_stored_with_the_tuning(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_MAGIC_HOME", str(tmp_path))
    learned = tuning.tune(shadowed(*[Verdict.WORSE] * 20), MODELS)
    tuning.save(learned)
    assert tuning.load() == learned


def test_a_judge_is_reported_with_its_reliability() -> None:
    judge: Callable[..., Judging] = lambda rows: tuning.comparisons_of(rows, MODELS).judges["judge"]  # noqa: E731
    judging = judge(shadowed(*[Verdict.INCONSISTENT] * 3, Verdict.WORSE))
    assert (judging.comparisons, judging.decided, judging.inconsistent) == (4, 1, 3)
