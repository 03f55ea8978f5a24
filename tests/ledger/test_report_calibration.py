"""The picture of expected against billed costs, and its text."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from llm_magic import Ledger
from llm_magic.jupyter.render.tables import report_bundle
from llm_magic.ledger.plot import calibration_line
from llm_magic.ledger.report import Report
from llm_magic.types import Effort, Usage
from tests.support.builders import attempt


def report(*, expected_usd: str) -> Report:
    ledger = Ledger(":memory:")
    for number in range(4):
        ledger.record(
            attempt(
                run_id=f"run{number}",
                model="strong",
                effort=Effort.MEDIUM,
                cost_usd=Decimal("0.02"),
                expected_usd=Decimal(expected_usd),
                output_price=Decimal(20),
                usage=Usage(input_tokens=10, output_tokens=1_000, reasoning_tokens=500),
            )
        )
    return ledger.report()


def texts_of(drawn: Report) -> list[str]:
    figure: Any = drawn.plot()
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_the_picture_shows_the_bill_against_what_was_expected_and_its_reasoning() -> None:
    assert "125% of expected, 50% reasoning" in texts_of(report(expected_usd="0.016"))


def test_the_text_has_the_figures_of_the_picture() -> None:
    line = "billed 125% of what was expected; 50% of the bill was reasoning"
    drawn = report(expected_usd="0.016")
    assert calibration_line(drawn.totals) == line
    bundle = report_bundle(drawn)
    assert line in bundle["text/plain"]
    assert line in bundle["text/html"]


def test_nothing_is_compared_if_nothing_was_expected() -> None:
    drawn = report(expected_usd="0")
    assert calibration_line(drawn.totals) == ""
    assert not any("of expected" in text for text in texts_of(drawn))
