"""Learning which share of right and of wrong answers the confirmations of cascades accept."""

from __future__ import annotations

import random
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
from llm_magic.types import Accepted, Attempt, Confirmation, Outcome, TaskTier
from tests.support.builders import attempt

MODEL = "claude-haiku-5-5"
STANDARD = TaskTier.STANDARD
PACKAGED = Registry.load("current")
LEVEL = PACKAGED[MODEL].capability[STANDARD]
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
