"""The ledger summed up, filtered, written to files, and drawn."""

from __future__ import annotations

import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_magic import Ledger, LedgerError, TaskTier
from llm_magic.jupyter.render.tables import format_figure
from llm_magic.ledger.columns import FRAME_DTYPES
from llm_magic.ledger.plot import adapt_to_themes, amount_label, headline, subline
from llm_magic.types import CostBasis, Effort, Usage
from tests.support.builders import NOON, attempt
from tests.support.fuzzing import examples
from tests.support.shell import Shell


def ledger_of(*rows: dict[str, Any]) -> Ledger:
    ledger = Ledger(":memory:", session_id="session")
    for number, row in enumerate(rows):
        ledger.record(attempt(**{"run_id": f"run {number}", **row}))
    return ledger


MIXED = (
    {"model": "cheap", "cost_usd": Decimal("0.5"), "baseline_usd": Decimal(2), "latency_s": 1.0, "tags": ("a", "b")},
    {"model": "strong", "tier": TaskTier.COMPLEX, "cost_usd": Decimal(3), "baseline_usd": Decimal(3), "latency_s": 3.0},
    {"run_id": "x", "model": "strong", "outcome": "timed_out", "cost_usd": Decimal(1), "cost_estimated": True},
    {"run_id": "x", "attempt": 2, "model": "cheap", "cost_usd": Decimal("0.5"), "baseline_usd": Decimal(1), "tags": ("b",)},
    {"model": "cheap", "outcome": "cached", "baseline_usd": Decimal(2), "started_at": NOON + timedelta(hours=5), "tags": ("ab",)},
    {"model": "cheap", "outcome": "cancelled", "cost_usd": Decimal("0.25"), "session_id": "other"},
)  # fmt: skip


def test_report_totals() -> None:
    report = ledger_of(*MIXED).report()
    totals = report.totals
    assert (totals["runs"], totals["answered"], totals["from_cache"], totals["attempts"]) == (5, 4, 1, 5)
    assert totals["failed_attempts"] == 1
    assert totals["fallback_rate"] == 1 / 4
    assert (totals["spent_usd"], totals["baseline_usd"], totals["saved_usd"]) == (5.25, 8.0, 2.75)
    assert totals["saved_share"] == 2.75 / 8
    assert totals["estimated_usd"] == 1.0
    assert totals["latency_p50_s"] == 1.0
    assert totals["latency_p95_s"] == pytest.approx(2.8)
    by_model = report.by_model
    assert list(by_model.index) == ["strong", "cheap"]
    assert list(by_model["cost_usd"]) == [4.0, 1.25]
    assert list(by_model["saved_usd"]) == [-1.0, 3.75], "signed, failed attempts included"
    assert list(by_model["answers"]) == [1, 3]
    assert list(by_model["attempts"]) == [2, 3]
    assert list(by_model["failed"]) == [1, 0]
    assert list(report.by_tier.index) == ["COMPLEX", "BULK"]
    assert list(report.over_time["cost_usd"]) == [5.25, 0.0]
    assert list(report.over_time["cumulative_saved_usd"]) == [0.75, 2.75]
    assert str(report.over_time.index.dtype) == "datetime64[us, UTC]"


def test_retries_of_one_model_are_no_fallback_and_a_cascade_is_none() -> None:
    report = ledger_of(
        {"run_id": "x", "model": "a", "outcome": "overloaded"},
        {"run_id": "x", "model": "a", "attempt": 2},
        {"run_id": "y", "model": "a", "outcome": "superseded"},
        {"run_id": "y", "model": "b", "attempt": 2},
    ).report()
    assert report.totals["fallback_rate"] == 0
    assert report.totals["failed_attempts"] == 1


@pytest.mark.parametrize(("hours", "periods"), [(0.5, 2), (2, 2), (50, 2), (400, 2)])
def test_periods_suit_the_span(hours: float, periods: int) -> None:
    report = ledger_of({}, {"started_at": NOON + timedelta(hours=hours)}).report()
    assert len(report.over_time) == periods


money = st.decimals(0, 100, places=6)


@settings(max_examples=examples(25))
@given(
    st.lists(st.tuples(money, money, st.sampled_from(["a", "b", "c"]), st.sampled_from(list(TaskTier))), max_size=12)
)
def test_every_table_sums_to_the_ledger(rows: list[tuple[Decimal, Decimal, str, TaskTier]]) -> None:
    ledger = ledger_of(
        *({"cost_usd": cost, "baseline_usd": top, "model": name, "tier": tier} for cost, top, name, tier in rows)
    )
    report = ledger.report()
    assert report.totals["spent_usd"] == pytest.approx(float(ledger.spent_usd))
    for table in (report.by_model, report.by_tier, report.over_time):
        assert table["cost_usd"].sum() == pytest.approx(float(ledger.spent_usd))
        assert table["saved_usd"].sum() == pytest.approx(report.totals["saved_usd"], abs=1e-6)
    ledger.close()


def test_rows_by_tag_and_by_session(location: str) -> None:
    ledger = Ledger(location, session_id="session")
    for number, row in enumerate(MIXED):
        ledger.record(attempt(**{"run_id": str(number), **row}))
    assert len(ledger.to_frame(tags=["b"])) == 2
    assert len(ledger.to_frame(tags=["a", "b"])) == 1
    assert len(ledger.to_frame(tags=["%"])) == 0
    assert len(ledger.to_frame(session_id="other")) == 1
    assert len(ledger.to_frame(session_id="other", tags=["b"])) == 0
    assert ledger.report(tags=["b"]).totals["spent_usd"] == 1.0
    ledger.close()


def test_a_csv_comes_back_as_it_was(tmp_path: Path) -> None:
    ledger = ledger_of(*MIXED, {"usage": Usage(input_tokens=3), "model": "@cf/llama", "rating": -1, "ttft_s": 0.25})
    ledger.to_csv(tmp_path / "ledger.csv")
    dtypes = {name: kind for name, kind in FRAME_DTYPES.items() if kind not in ("datetime64[us, UTC]",)}
    back = pd.read_csv(
        tmp_path / "ledger.csv", dtype=dtypes, keep_default_na=False, na_values={n: [""] for n in NULLABLE}
    )
    back["started_at"] = pd.to_datetime(back["started_at"]).astype("datetime64[us, UTC]")
    pd.testing.assert_frame_equal(back, ledger.to_frame())
    ledger.to_csv(tmp_path / "some.csv", tags=["b"])
    assert len(pd.read_csv(tmp_path / "some.csv")) == 2


NULLABLE = [name for name in FRAME_DTYPES if name not in ("run_id", "tags", "price_source", "session_id")]


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-1", "@x", "\tx", "\rx"])
def test_a_spreadsheet_runs_nothing_that_a_provider_wrote(text: str, tmp_path: Path) -> None:
    ledger = ledger_of({"error": text, "served_model": text}, {"error": "HTTP 500: =1"})
    ledger.to_csv(tmp_path / "ledger.csv")
    back = pd.read_csv(tmp_path / "ledger.csv", lineterminator="\n")
    assert list(back["error"]) == [f"'{text}", "HTTP 500: =1"]
    assert back["served_model"][0] == f"'{text}"
    assert ledger.to_frame()["error"][0] == text


def test_a_parquet_file_keeps_the_types(tmp_path: Path) -> None:
    for ledger in (ledger_of(*MIXED), ledger_of()):
        ledger.to_parquet(tmp_path / "ledger.parquet")
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "ledger.parquet"), ledger.to_frame())


def test_a_file_that_can_not_be_written_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = ledger_of(*MIXED)
    for write in (ledger.to_csv, ledger.to_parquet):
        with pytest.raises(LedgerError, match="can't be written"):
            write(tmp_path / "nowhere" / "ledger")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "fastparquet", None)
    with pytest.raises(LedgerError, match=r"needs pyarrow: pip install llm-magic\[parquet\]"):
        ledger.to_parquet(tmp_path / "ledger.parquet")


@pytest.mark.parametrize(
    "rows",
    [
        (),
        ({},),
        MIXED,
        tuple({"model": f"model $x$ number {number} of many", "cost_usd": Decimal(number)} for number in range(12)),
        ({"cost_usd": Decimal(2), "baseline_usd": Decimal(1)}, {"started_at": NOON + timedelta(days=90)}),
    ],
)
def test_a_report_can_be_drawn(rows: tuple[dict[str, Any], ...], tmp_path: Path) -> None:
    figure: Any = ledger_of(*rows).report().plot()
    figure.savefig(tmp_path / "report.png", dpi=30)
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    assert tuple(figure.get_size_inches()) == (16.0, 9.0)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    if len(rows) == 12:
        assert any("(1 answer)" in text for text in texts)


@pytest.mark.parametrize(("seconds", "labels"), [(0.5, ["start", "attempt 3"]), (1_000, None)])
def test_attempts_within_a_minute_are_drawn_one_after_the_other(seconds: float, labels: list[str] | None) -> None:
    rows = ({"started_at": NOON + timedelta(seconds=seconds * number)} for number in range(3))
    figure: Any = ledger_of(*rows).report().plot()
    shown = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert (shown == labels) is (labels is not None)


def test_in_a_notebook_a_plot_is_readable_on_light_and_dark_pages() -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.text import Text

    figure: Any = ledger_of(*MIXED).report().plot()
    adapt_to_themes(figure)
    assert all(part.patch.get_alpha() == 0 for part in (figure, *figure.axes))
    for text in figure.findobj(Text):
        if text.get_text():
            red, green, blue = (((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(text.get_color()))
            luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
            is_large = text.get_fontsize() >= 14 and text.get_fontweight() == "bold"
            assert min(1.05 / (luminance + 0.05), (luminance + 0.05) / 0.0556) > (2.9 if is_large else 4), text


def test_reported_and_estimated_costs_are_summed_separately() -> None:
    exact = {"cost_usd": Decimal("1.23")}
    vague: dict[str, Any] = {"cost_estimated": True, "cost_basis": CostBasis.ESTIMATED}
    ledger = ledger_of(
        exact,
        {**vague, "cost_usd": Decimal("0.03"), "cost_low_usd": Decimal("0.01"), "cost_high_usd": Decimal("0.05")},
        {**vague, "cost_usd": Decimal("0.01"), "cost_low_usd": Decimal("0.01"), "cost_high_usd": Decimal("0.04")},
    )
    totals = ledger.report().totals
    assert totals["spending"] == "$1.23 reported, $0.040 estimated ($0.020 to $0.090)"
    assert totals["reported_usd"] == 1.23
    assert totals["estimated_usd"] == pytest.approx(0.04)
    assert totals["estimated_low_usd"] == pytest.approx(0.02)
    assert totals["estimated_high_usd"] == pytest.approx(0.09)
    assert totals["spending"] in subline(totals)
    assert ledger_of(exact).report().totals["spending"] == "$1.23 reported"


REPORTED = {"cost_usd": Decimal("1.23"), "cost_basis": CostBasis.REPORTED}
FREE = {"cost_usd": Decimal(0), "cost_basis": CostBasis.COUNTED, "outcome": "rate_limited"}
CACHED = {"cost_usd": Decimal(0), "outcome": "cached"}


def estimate(usd: str, low_usd: str, high_usd: str, basis: CostBasis = CostBasis.ESTIMATED) -> dict[str, Any]:
    bounds = {"cost_low_usd": Decimal(low_usd), "cost_high_usd": Decimal(high_usd)}
    return {"cost_usd": Decimal(usd), "cost_estimated": True, "cost_basis": basis, "outcome": "timed_out", **bounds}


@pytest.mark.parametrize(
    ("rows", "spending"),
    [
        ([], "$0 reported"),
        ([FREE, CACHED], "$0 reported"),
        ([REPORTED, REPORTED, FREE], "$2.46 reported"),
        ([estimate("0.5", "0", "0.5", CostBasis.HELD)], "$0 reported, $0.500 estimated ($0 to $0.500)"),
        (
            [REPORTED, estimate("0.04", "0.02", "0.09"), estimate("0.001", "0.001", "0.3", CostBasis.COUNTED), CACHED],
            "$1.23 reported, $0.041 estimated ($0.021 to $0.390)",
        ),
        ([REPORTED, estimate("0.0000004", "0", "0.09")], "$1.23 reported, <$0.001 estimated ($0 to $0.090)"),
    ],
)
def test_the_sentence_on_spending_sums_every_basis(rows: list[dict[str, Any]], spending: str) -> None:
    assert ledger_of(*rows).report().totals["spending"] == spending


def test_the_headline_of_a_plot_states_the_totals() -> None:
    totals = ledger_of(*MIXED).report().totals
    assert headline(totals) == "$5.25 spent, $2.75 saved against the top model (34%)"
    assert subline(totals).split("   ·   ") == [
        "5 runs, 5 attempts", "$4.25 reported, $1.00 estimated ($1.00 to $1.00)", "1 from the cache", "25.0% answered by a fallback",
        "half of the answers within 1.0 s, 95% within 2.8 s",
    ]  # fmt: skip
    worse = ledger_of({"cost_usd": Decimal("0.0002"), "baseline_usd": Decimal("0.0001")}).report().totals
    assert headline(worse) == "<$0.001 spent, <$0.001 lost against the top model (100%)"
    assert headline(ledger_of().report().totals) == "Nothing spent yet"


def test_without_matplotlib_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(LedgerError, match=r"a plot needs matplotlib.*: pip install llm-magic\[plots\]"):
        ledger_of(*MIXED).report().plot()


def test_the_magic_gives_the_numbers_and_shows_the_plot(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.run("%route --tag x hello")
    shell.run("%route hello")
    out = shell.run("%route_report")
    assert "<$0.001 spent" in out
    assert "by model" in out
    shell.run(
        "report = %route_report --tag x\nsession = %route_report --session\nrows = %route_ledger --tag x --session"
    )
    assert shell["report"].totals["runs"] == 1
    assert shell["session"].totals["runs"] == 2
    assert len(shell["rows"]) == 1
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, **_: shown.append(bundle))
    monkeypatch.setattr(shell.shell, "kernel", object(), raising=False)
    shell.router.ledger.hold(attempt(model="\x1b\0模型 $x$"), Decimal(0), ())
    shell.run("report = %route_report")  # and no warning of letters that its font does not have
    assert set(shown[0]) == {"image/png", "text/plain"}
    assert shown[0]["text/plain"].startswith("<$0.001 spent, <$0.001 ")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    shell.run("report = %route_report")
    assert "pip install llm-magic[plots]" in shown[1]["text/plain"]
    monkeypatch.delattr(shell.shell, "kernel")
    found, _ = shell.shell.display_formatter.format(shell["report"])
    assert set(found) == {"text/html", "text/markdown", "text/plain"}
    assert found["text/html"].count("<table") == 3
    by_model = found["text/html"].split("by model")[1]
    for figure in (">model</th>", ">cheap</td>", "&lt;$0.001", " s</td>"):
        assert figure in by_model, "as people read it"
    assert max(map(len, found["text/plain"].splitlines())) <= 120
    assert format_figure("saved_share", float("nan")) == "–"
    out, _ = shell.fail("%route_report --nope")
    assert "UsageError: unrecognized arguments: --nope" in out


def test_loading_the_extension_loads_no_plotting_library(shell: Shell) -> None:
    import subprocess

    code = (
        "from IPython.core.interactiveshell import InteractiveShell as S; import sys; s = S.instance(); "
        "s.run_line_magic('load_ext', 'llm_magic'); print([n for n in ('matplotlib', 'pandas', 'pyarrow') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_report_compares_expected_with_billed_costs_by_model_and_effort() -> None:
    thought = Usage(input_tokens=10, output_tokens=1_000, reasoning_tokens=800)
    rows = (
        {"model": "a", "effort": Effort.LOW, "cost_usd": Decimal("0.010"), "expected_usd": Decimal("0.008")},
        {"model": "a", "effort": Effort.LOW, "cost_usd": Decimal("0.006"), "expected_usd": Decimal("0.008")},
        {"model": "a", "effort": Effort.HIGH, "cost_usd": Decimal("0.020"), "expected_usd": Decimal("0.010"),
         "usage": thought, "output_price": Decimal(20)},
        {"model": "old", "cost_usd": Decimal("0.5")},
        {"model": "a", "outcome": "timed_out", "effort": Effort.HIGH, "cost_usd": Decimal(1), "expected_usd": Decimal(1)},
    )  # fmt: skip
    report = ledger_of(*rows).report()
    table = report.by_effort
    assert list(table.index) == ["old, unknown", "a, high", "a, low"]
    assert list(table["billed_share"])[1:] == [pytest.approx(2.0), pytest.approx(1.0)]
    assert pd.isna(table.loc["old, unknown", "billed_share"])
    assert table.loc["a, high", "reasoning_share"] == pytest.approx(0.8)
    assert report.totals["billed_of_expected_share"] == pytest.approx(0.036 / 0.026)
    assert report.totals["reasoning_usd"] == pytest.approx(0.016)


def test_the_calibration_of_an_empty_ledger_is_empty() -> None:
    report = Ledger(":memory:").report()
    assert report.by_effort.empty
    assert pd.isna(report.totals["billed_of_expected_share"])


@pytest.mark.parametrize(
    ("value", "step", "label"),
    [(0.125, 0.025, "$0.125"), (0.15, 0.05, "$0.15"), (0.0005, 0.0005, "$0.0005"), (40, 20, "$40.00"), (0, 20, "$0")],
)
def test_the_labels_of_an_axis_show_the_whole_step(value: float, step: float, label: str) -> None:
    assert amount_label(value, step=step) == label
