"""The report of `%route_tune` on effort and on shadow runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llm_magic import Ledger, Registry, Router
from llm_magic.jupyter.magics import tuning_report
from llm_magic.types import Attempt, Effort, Verdict
from tests.support import builders
from tests.support.builders import attempt
from tests.tuning.test_comparisons import MODELS, shadowed
from tests.tuning.test_effort_steps import MODEL, gains, rated


def router_with(rows: list[Attempt]) -> Router:
    ledger = Ledger(":memory:")
    for row in rows:
        ledger.record(row)
    return Router(registry=Registry.load("current"), ledger=ledger, providers={})


def test_the_gain_per_level_is_shown_before_and_after_with_its_interval_and_applied(clean_environment: Path) -> None:
    router = router_with(rated(3.0, 300))
    shown = re.search(
        r"effort: the gain per level becomes (\d+)% of the assumed one "
        r"\(95% interval: 26% to 389% → (\d+)% to (\d+)%\)",
        tuning_report.preview(router),
    )
    assert shown is not None
    percent, low, high = map(int, shown.groups())
    assert 150 < low < percent < high < 600
    before = gains(router.registry)[Effort.LOW]
    assert "the gain per level becomes" in tuning_report.apply(router)
    assert gains(router.registry)[Effort.LOW] < before < 0
    assert "This is what is applied." in tuning_report.preview(router)


def test_too_few_ratings_at_other_levels_are_reported(clean_environment: Path) -> None:
    router = router_with(rated(3.0, 6))
    assert "the evidence at levels other than the default is too little to change the assumed gain" in (
        tuning_report.preview(router)
    )
    tuning_report.apply(router)
    assert gains(router.registry) == gains(router.base_registry)


def test_effort_is_not_mentioned_without_answers_that_have_one(clean_environment: Path) -> None:
    rows = [attempt(run_id=str(number), model=MODEL, rating=-1) for number in range(12)]
    assert "effort" not in tuning_report.preview(router_with(rows))


def test_a_model_that_is_shifted_without_an_answer_says_why(clean_environment: Path) -> None:
    registry = builders.registry(builders.model("cheap"), builders.model("other"))
    ledger = Ledger(":memory:")
    for number in range(40):
        ledger.record(attempt(run_id=str(number), model="cheap", rating=-1))
    report = tuning_report.preview(Router(registry=registry, ledger=ledger, providers={}))
    assert re.search(r"cheap, .*\(40 rated bad\)", report)
    assert re.search(r"other, .*\(assumed like others, no answers yet\)", report)


@pytest.mark.parametrize(
    ("verdict", "line"),
    [
        (Verdict.INCONSISTENT, "in 40 (100%), and preferred an answer in 0: its verdicts are not used"),
        (Verdict.TIE, "in 0 (0%), and preferred an answer in 0: its verdicts are not used"),
        (None, "judge gave no readable verdict on 40 pairs, and the estimates stay as they were"),
        (Verdict.WORSE, "judge judged 40 pairs and contradicted itself in 0 (0%): its verdicts count 97%"),
    ],
    ids=["favors the first", "always a tie", "always says yes", "decides"],
)
def test_the_report_says_if_a_judge_taught_nothing(verdict: Verdict | None, line: str, clean_environment: Path) -> None:
    ledger = Ledger(":memory:")
    for row in shadowed(*[verdict] * 40):
        ledger.record(row)
    router = Router(registry=MODELS, ledger=ledger, providers={})
    report = tuning_report.preview(router)
    assert line in report
    assert ("Nothing to learn from yet" in report) == (verdict is not Verdict.WORSE)
