"""Learning which share of right and of wrong answers the confirmations of cascades accept."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_magic import Registry, TuningError, tuning
from llm_magic.jupyter.magics import tuning_report
from llm_magic.ledger import Ledger
from llm_magic.plan.acceptance import ASSUMED
from llm_magic.routing import Router
from llm_magic.testing import ScriptedProvider
from llm_magic.tuning import Tuning
from llm_magic.tuning.acceptance import MIN_ANSWERS
from llm_magic.tuning.comparisons import FINDS, INVENTS, REVERSES
from llm_magic.types import SHADOW_TAG, Accepted, Attempt, Confirmation, Doubt, Outcome, Plan, TaskTier, Verdict
from tests.support.builders import attempt

MODEL = "claude-haiku-5-5"
STANDARD = TaskTier.STANDARD
PACKAGED = Registry.load("current")
LEVEL = PACKAGED[MODEL].capability[STANDARD]
PROSE = "Explain how a hash table works."
PROMPT = "Write a Python function that merges two sorted lists."


def row(number: int, kind: Confirmation, is_accepted: bool, rating: int | None = None, model: str = MODEL) -> Attempt:
    return attempt(
        run_id=str(number), model=model, tier=STANDARD, difficulty=LEVEL, rating=rating, confirmation=kind,
        outcome=Outcome.OK if is_accepted else Outcome.SUPERSEDED,
    )  # fmt: skip


def looked_at(
    kind: Confirmation, accepted: Accepted, count: int, *, rated: float = 0.0, seed: int = 1
) -> list[Attempt]:
    """Rows of answers of which half are right, accepted with these shares, some of them rated."""
    draw = random.Random(seed)  # noqa: S311 - a sample
    rows: list[Attempt] = []
    for number in range(count):
        is_right = draw.random() < 0.5
        is_accepted = draw.random() < (accepted.right if is_right else accepted.wrong)
        is_rated = is_accepted and draw.random() < rated
        rows.append(row(number, kind, is_accepted, (1 if is_right else -1) if is_rated else None))
    return rows


@pytest.mark.parametrize("kind", [Confirmation.CODE, Confirmation.LABEL, Confirmation.JUDGE])
@pytest.mark.parametrize("true", [Accepted(0.95, 0.3), Accepted(0.8, 0.6)])
def test_both_shares_are_recovered_from_rated_answers(kind: Confirmation, true: Accepted) -> None:
    learned = [
        tuning.tune(looked_at(kind, true, 600, rated=0.5, seed=seed), PACKAGED).acceptance[kind] for seed in range(4)
    ]
    for share in (0, 1):
        assert sum(low <= true[share] <= high for low, high in (one.interval(2.5)[share] for one in learned)) >= 3


def test_without_ratings_the_rate_of_acceptance_is_learned() -> None:
    found = tuning.tune(looked_at(Confirmation.CODE, Accepted(0.9, 0.4), 400), PACKAGED).acceptance[Confirmation.CODE]
    assert sum(found.shares) / 2 == pytest.approx(0.65, abs=0.06)
    assert sum(found.shares) < sum(ASSUMED[Confirmation.CODE]) - 0.2


def test_ratings_narrow_the_intervals() -> None:
    few, many = (
        tuning.tune(looked_at(Confirmation.DATA, Accepted(0.9, 0.5), count, rated=1.0), PACKAGED).acceptance[
            Confirmation.DATA
        ]
        for count in (30, 900)
    )
    assert all(before > after > 0 for before, after in zip(few.widths, many.widths, strict=True))


def test_few_answers_keep_the_assumed_shares() -> None:
    rows = [row(number, Confirmation.CODE, False) for number in range(MIN_ANSWERS - 1)]
    assert not tuning.tune(rows, PACKAGED).acceptance
    assert tuning.tune([*rows, row(99, Confirmation.CODE, False)], PACKAGED).acceptance


def test_agreement_is_learned_from_runs_of_two_answers() -> None:
    def rows(is_accepted: bool) -> list[Attempt]:
        return [
            row(number, Confirmation.AGREE, is_accepted, model=model)
            for number in range(60)
            for model in (MODEL, "gpt-6-luna")
        ]

    never, always = (
        tuning.tune(rows(answer), PACKAGED).acceptance[Confirmation.AGREE].shares for answer in (False, True)
    )
    assert never.right < ASSUMED[Confirmation.AGREE].right
    assert always.wrong > ASSUMED[Confirmation.AGREE].wrong


def test_answers_that_did_not_fit_a_schema_are_not_counted_by_half() -> None:
    rows = [row(number, Confirmation.SCHEMA, True) for number in range(30)]
    assert not tuning.tune(rows, PACKAGED).acceptance


def test_the_shares_survive_the_file(clean_environment: Path) -> None:
    learned = tuning.tune(looked_at(Confirmation.CODE, Accepted(0.9, 0.4), 50), PACKAGED)
    path = tuning.save(learned)
    assert f"[acceptance.code]\nright = {learned.acceptance[Confirmation.CODE].shares.right:.3f}" in path.read_text()
    assert tuning.load() == learned
    tuning.save(Tuning(prompts={STANDARD: 0.5}))
    assert not tuning.load().acceptance


@pytest.mark.parametrize(
    "text",
    ["[acceptance.code]\nright = 1", "[acceptance.look]\nright = 1", "acceptance = 1",
     "[acceptance.code]\nright = 2\nwrong = 0\nright_width = 0\nwrong_width = 0",
     "[acceptance.code]\nright = true\nwrong = 0\nright_width = 0\nwrong_width = 0"],
)  # fmt: skip
def test_the_error_names_a_broken_table(clean_environment: Path, text: str) -> None:
    clean_environment.mkdir()
    (clean_environment / "tuning.toml").write_text(text)
    with pytest.raises(TuningError, match=r"tuning\.toml: .*--reset"):
        tuning.load()


def test_applied_shares_change_the_cascade_of_the_plan_and_the_report_shows_both(clean_environment: Path) -> None:
    rows = looked_at(Confirmation.CODE, Accepted(0.9, 0.1), 300, rated=0.3)
    ledger = Ledger(":memory:")
    for entry in rows:
        ledger.settle(entry)
    providers = {name: ScriptedProvider() for name in PACKAGED.providers}
    router = Router(registry=PACKAGED, ledger=ledger, providers=providers)

    def accepted() -> float:
        cascade = router.plan(PROMPT, cascade="look", tier="STANDARD").cascade
        assert cascade is not None
        return cascade.acceptance_rate

    before = accepted()
    count = sum(entry.outcome is Outcome.OK for entry in rows)
    preview = tuning_report.preview(router)
    assert f"looks at code: {count} of 300 accepted; right answers 95% → " in preview
    assert "wrong answers 88% → " in preview
    tuning_report.apply(router)
    assert accepted() < before


def shadowed(
    accepted: Accepted, count: int, verdict: Callable[[bool, bool, random.Random], Verdict], seed: int = 1
) -> list[Attempt]:
    """Rows of shadow runs: 75 % of the cheap answers are right, and 90 % of those that they are compared with."""
    draw = random.Random(seed)  # noqa: S311 - a sample
    rows: list[Attempt] = []
    for number in range(count):
        luck = draw.random()
        is_right, is_strong_right = luck < 0.75, luck < 0.65 or draw.random() < 0.714
        is_accepted = draw.random() < (accepted.right if is_right else accepted.wrong)
        shown = attempt(run_id=f"{number}", model="claude-opus-5-5", tier=STANDARD, difficulty=0.0)
        cheap = dataclasses.replace(
            shown, run_id=f"{number} shadow", parent_run_id=shown.run_id, model=MODEL, outcome=Outcome.SHADOW,
            tags=(SHADOW_TAG,), verdict=verdict(is_right, is_strong_right, draw),
        )  # fmt: skip
        judged = dataclasses.replace(
            cheap, run_id=f"{number} judge", parent_run_id=cheap.run_id, model="gpt-6.1-terra",
            outcome=Outcome.JUDGED, verdict=None,
        )  # fmt: skip
        confirming = dataclasses.replace(
            judged, run_id=f"{number} confirming", confirmation=Confirmation.JUDGE,
            reason=None if is_accepted else Doubt.JUDGED_BAD,
        )  # fmt: skip
        rows += [shown, cheap, judged, confirming]
    return rows


def fair(is_right: bool, is_strong_right: bool, draw: random.Random) -> Verdict:
    """Judge as often right as a judge is assumed to be."""
    better, worse = (FINDS, REVERSES) if is_right else (REVERSES, FINDS)
    if is_right == is_strong_right:
        better = worse = INVENTS
    return draw.choices([Verdict.BETTER, Verdict.WORSE, Verdict.TIE], [better, worse, 1 - better - worse])[0]


def learned_from(rows: list[Attempt]) -> tuning.Acceptance:
    return tuning.tune(rows, PACKAGED).acceptance[Confirmation.JUDGE]


@pytest.mark.parametrize("true", [Accepted(0.95, 0.2), Accepted(0.8, 0.6)])
def test_both_shares_are_recovered_from_shadow_runs(true: Accepted) -> None:
    learned = [learned_from(shadowed(true, 600, fair, seed)) for seed in range(4)]
    for share in (0, 1):
        assert sum(low <= true[share] <= high for low, high in (one.interval(2.5)[share] for one in learned)) >= 3
    assert all(one.is_measured(Confirmation.JUDGE) for one in learned)


def plan_after(learned: tuning.Acceptance | None) -> Plan:
    acceptance = {} if learned is None else {Confirmation.JUDGE: learned}
    registry = tuning.apply_tuning(PACKAGED, Tuning(acceptance=acceptance))
    providers = {name: ScriptedProvider() for name in PACKAGED.providers}
    return Router(registry=registry, ledger=Ledger(":memory:"), providers=providers).plan(PROSE, quality=0.95)


def test_a_plan_asks_a_judge_on_its_own_once_its_shares_are_measured() -> None:
    assert plan_after(None).cascade is None
    cascade = plan_after(learned_from(shadowed(Accepted(0.95, 0.1), 400, fair))).cascade
    assert cascade is not None
    assert cascade.mode == "judge"
    assert cascade.expected_quality >= plan_after(None).minimum_quality


def test_the_report_says_that_plans_use_a_measured_judge(clean_environment: Path) -> None:
    ledger = Ledger(":memory:")
    for entry in shadowed(Accepted(0.95, 0.1), 200, fair):
        ledger.settle(entry)
    router = Router(
        registry=PACKAGED, ledger=ledger, providers={name: ScriptedProvider() for name in PACKAGED.providers}
    )
    assert "once applied, plans use them without --cascade" in tuning_report.preview(router)


def test_a_judge_that_accepts_everything_is_never_asked_by_default() -> None:
    learned = learned_from(shadowed(Accepted(1.0, 1.0), 400, fair))
    assert learned.shares.wrong > ASSUMED[Confirmation.JUDGE].wrong + 0.2
    assert plan_after(learned).cascade is None


def test_few_comparisons_do_not_make_a_plan_ask_a_judge() -> None:
    assert plan_after(learned_from(shadowed(Accepted(0.95, 0.1), 12, fair))).cascade is None


def test_verdicts_of_a_judge_that_prefers_the_first_answer_leave_the_chances_as_they_were() -> None:
    rows = shadowed(Accepted(0.9, 0.4), 200, fair)
    inconsistent, alone = (
        learned_from([dataclasses.replace(row, verdict=verdict if row.verdict else None) for row in rows])
        for verdict in (Verdict.INCONSISTENT, None)
    )
    assert inconsistent == alone


def test_a_comparison_of_an_accepted_answer_measures_the_judge_and_not_the_model() -> None:
    def rows(verdict: Verdict) -> list[Attempt]:
        made: list[Attempt] = []
        for number in range(60):
            shown = attempt(
                run_id=f"{number}", model=MODEL, tier=STANDARD, difficulty=LEVEL, confirmation=Confirmation.JUDGE
            )
            shadow = dataclasses.replace(
                shown, run_id=f"{number} shadow", parent_run_id=shown.run_id, model="claude-opus-5-5",
                outcome=Outcome.SHADOW, tags=(SHADOW_TAG,), verdict=verdict, confirmation=None,
            )  # fmt: skip
            judged = dataclasses.replace(
                shadow, run_id=f"{number} judge", parent_run_id=shadow.run_id, model="gpt-6.1-terra",
                outcome=Outcome.JUDGED, verdict=None,
            )  # fmt: skip
            made += [shown, shadow, judged]
        return made

    beaten, equal = tuning.tune(rows(Verdict.BETTER), PACKAGED), tuning.tune(rows(Verdict.TIE), PACKAGED)
    wrong = [one.acceptance[Confirmation.JUDGE].shares.wrong for one in (beaten, equal)]
    assert wrong[0] > wrong[1] + 0.05
    assert not beaten.models
