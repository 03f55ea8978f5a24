"""A plot of a report in the format of a slide: spending against the baseline, over time, by model and by tier."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from llm_magic.budget import short_usd
from llm_magic.errors import LedgerError

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs] - it ships none
    from matplotlib.figure import Figure

_MIDTONE = "#767676"
"""Readable on white and on the black of dark pages."""
INK, FAINT, SPENT, TOP, SAVED, OVER = "#1f2933", "#6b7785", "#1565c0", "#8a94a0", "#2e7d32", "#c62828"
_MAX_BARS, _MAX_CALIBRATED = 6, 6
_MAX_POINTS = 2_000
"""With more attempts than this, periods are drawn instead."""
_SHORT = timedelta(minutes=1)
"""Attempts within this time are drawn one after the other: on an axis of time they would be one vertical line."""


def draw(
    *,
    rows: pd.DataFrame,
    totals: pd.Series,
    over_time: pd.DataFrame,
    by_model: pd.DataFrame,
    by_tier: pd.DataFrame,
    by_effort: pd.DataFrame,
) -> Figure:
    """Draw the parts of a report on 16 by 9 inches. Raises LedgerError if matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise LedgerError(f"a plot needs {error.name}: pip install llm-magic[plots]") from error

    figure: Any = Figure(figsize=(16, 9), dpi=100, facecolor="white")
    grid = figure.add_gridspec(
        3, 2, width_ratios=(1.45, 1), left=0.09, right=0.97, top=0.79, bottom=0.06, wspace=0.42, hspace=0.45
    )
    figure.text(0.1, 0.92, headline(totals), fontsize=25, fontweight="bold", color=INK, parse_math=False)
    figure.text(0.1, 0.865, subline(totals), fontsize=14, color=FAINT, parse_math=False)
    _draw_over_time(figure.add_subplot(grid[:, 0]), rows, over_time)
    _draw_bars(figure.add_subplot(grid[0, 1]), by_model, "by model")
    _draw_bars(figure.add_subplot(grid[1, 1]), by_tier, "by tier")
    draw_calibration(figure.add_subplot(grid[2, 1]), by_effort)
    return figure


def adapt_to_themes(figure: Figure) -> None:
    """Make a plot readable on light and dark pages: without a background, and with texts between both."""
    from matplotlib.collections import LineCollection
    from matplotlib.text import Text

    parts: Any = figure
    for part in (parts, *parts.axes):
        part.patch.set_alpha(0)
    for text in parts.findobj(Text):
        if text.get_color() in (INK, FAINT):
            text.set_color(_MIDTONE)
    for line in parts.findobj(LineCollection):
        line.set_color(_MIDTONE)


def headline(totals: Any) -> str:
    """Return the spending and the savings in one line."""
    if not totals["runs"]:
        return "Nothing spent yet"
    saved = totals["saved_usd"]
    word = "saved" if saved >= 0 else "lost"
    share = "" if totals["saved_share"] != totals["saved_share"] else f" ({abs(totals['saved_share']):.0%})"
    spent, difference = _money(totals["spent_usd"]), _money(abs(saved))
    return f"{spent} spent, {difference} {word} against the top model{share}"


def subline(totals: Any) -> str:
    """Return the counts of runs and attempts, the share of fallbacks, and the latencies in one line."""
    parts = [
        ", ".join(
            f"{count:,} {noun}{'s' * (count != 1)}"
            for noun, count in (("run", totals["runs"]), ("attempt", totals["attempts"]))
        )
    ]
    if totals["estimated_usd"]:
        parts.append(totals["spending"])
    if count := totals["not_comparable"]:
        parts.append(f"{count:,} answer{'s' * (count != 1)} not comparable with the top model")
    if totals["from_cache"]:
        parts.append(f"{totals['from_cache']:,} from the cache")
    if totals["answered"]:
        parts.append(f"{totals['fallback_rate']:.1%} answered by a fallback")
    if totals["latency_p50_s"] == totals["latency_p50_s"]:
        parts.append(
            f"half of the answers within {totals['latency_p50_s']:.1f} s, 95% within {totals['latency_p95_s']:.1f} s"
        )
    return "   ·   ".join(parts)


def calibration_line(totals: Any) -> str:
    """Return the bills as a share of what plans expected, and the share of reasoning; empty if nothing was expected."""
    if not totals["expected_usd"]:
        return ""
    billed, reasoning = totals["billed_of_expected_share"], totals["reasoning_of_billed_share"]
    return f"billed {billed:.0%} of what was expected; {reasoning:.0%} of the bill was reasoning"


def _draw_over_time(axes: Any, rows: Any, over_time: Any) -> None:
    axes.set_title("Spent, and what the top model would have cost", loc="left", fontsize=15, color=INK, pad=14)
    _strip(axes)
    if not len(rows):
        axes.set_xticks([])
        axes.set_yticks([])
        return
    axes.grid(axis="y", color="#80808040", linewidth=1)
    moments, cost, top = _running_sums(rows, over_time)
    is_short = moments[-1] - moments[0] < _SHORT
    if is_short:
        moments = list(range(len(moments)))
    axes.plot(moments, top, color=TOP, linewidth=2.5, linestyle=(0, (5, 2)))
    axes.plot(moments, cost, color=SPENT, linewidth=3.5)
    axes.fill_between(moments, cost, top, where=top >= cost, color=SAVED, alpha=0.12, linewidth=0, interpolate=True)
    axes.fill_between(moments, cost, top, where=top < cost, color=OVER, alpha=0.15, linewidth=0, interpolate=True)
    axes.set_ylim(bottom=0)
    span = moments[-1] - moments[0]
    axes.set_xlim(moments[0] - span / 40, moments[-1] + span / 3.6)
    lowest, highest = sorted(((cost[-1], "spent", SPENT), (top[-1], "top model", TOP)))
    for (value, words, color), place in ((lowest, "top"), (highest, "bottom")):
        axes.annotate(
            f"{words}\n{_money(value)}", (moments[-1], value), xytext=(10, 8 if place == "top" else -8), va=place,
            textcoords="offset points", fontsize=14, fontweight="bold", color=color,
        )  # fmt: skip

    def tick_label(value: float, _: int) -> str:
        first, second, *_rest = axes.get_yticks()
        return amount_label(value, step=second - first)

    axes.yaxis.set_major_formatter(tick_label)
    if is_short:
        axes.set_xticks([0, moments[-1]], ["start", f"attempt {moments[-1]:,}"])
    else:
        _draw_dates(axes.xaxis)


def _draw_dates(axis: Any) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=7)
    axis.set_major_locator(locator)
    axis.set_major_formatter(ConciseDateFormatter(locator))


def amount_label(value: float, *, step: float) -> str:
    if value == 0:
        return "$0"
    decimals = -int(Decimal(f"{step:.3g}").normalize().as_tuple().exponent)
    return f"${value:,.{max(2, decimals)}f}"


def _running_sums(rows: Any, over_time: Any) -> tuple[Any, Any, Any]:
    """Return moments, with the cost and the baseline summed up to each; both start at zero."""
    import numpy as np
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs] - it ships none

    frames: Any = pd
    rows = rows.sort_values("started_at", kind="stable")
    table = over_time if len(rows) > _MAX_POINTS else rows.set_index("started_at")
    naive = frames.DatetimeIndex(table.index).tz_convert(None).to_pydatetime()
    money = table[["cost_usd", "baseline_usd"]]
    sums = np.vstack([np.zeros(2), money.to_numpy(dtype=float).cumsum(axis=0)])
    return np.concatenate([naive[:1], naive]), sums[:, 0], sums[:, 1]


def _draw_bars(axes: Any, table: Any, grouping: str) -> None:
    axes.set_title(f"Spent {grouping}", loc="left", fontsize=15, color=INK, pad=12)
    _strip(axes)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    shown = table.head(_MAX_BARS)
    names, costs = [str(name) for name in shown.index], shown["cost_usd"].to_numpy()
    if len(table) > _MAX_BARS:
        names.append(f"{len(table) - _MAX_BARS} more")
        costs = [*costs, table["cost_usd"].iloc[_MAX_BARS:].sum()]
    positions = range(len(names))
    axes.barh(positions, costs, color=SPENT, height=0.62)
    axes.set_yticks(
        positions,
        [_short_name(name) for name in names],
        fontsize=12,
        color=INK,
        parse_math=False,
    )
    axes.set_ylim(max(len(names), 4) - 0.5, -0.5)
    largest = max(costs, default=0.0) or 1.0
    axes.set_xlim(0, largest * 1.6)
    answers = [*shown["answers"], *([table["answers"].iloc[_MAX_BARS:].sum()] if len(table) > _MAX_BARS else [])]
    for position, cost, count in zip(positions, costs, answers, strict=True):
        words = f"{_money(cost)}  ({count:,} answer{'' if count == 1 else 's'})"
        axes.text(cost + largest * 0.02, position, words, va="center", fontsize=11, color=INK)


def draw_calibration(axes: Any, table: Any, title: str = "Billed, against expected (line)") -> None:
    """Draw the bills against what was expected, by model and effort, with the part that was reasoning."""
    axes.set_title(title, loc="left", fontsize=15, color=INK, pad=12)
    _strip(axes)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    shown = table.loc[table["expected_usd"] > 0].head(_MAX_CALIBRATED)
    positions = range(len(shown))
    expected = shown["expected_usd"].to_numpy(dtype=float)
    billed = expected * shown["billed_share"].to_numpy(dtype=float)
    reasoning = billed * shown["reasoning_share"].fillna(0.0).to_numpy(dtype=float)
    axes.barh(positions, billed, color=SPENT, height=0.62)
    axes.barh(positions, reasoning, color=TOP, height=0.62)
    axes.vlines(expected, [at - 0.42 for at in positions], [at + 0.42 for at in positions], color=INK, linewidth=2.5)
    axes.set_yticks(positions, [_short_name(name) for name in shown.index], fontsize=12, color=INK, parse_math=False)
    axes.set_ylim(max(len(shown), _MAX_CALIBRATED) - 0.5, -0.5)
    largest = max([*billed, *expected], default=0.0) or 1.0
    axes.set_xlim(0, largest * 2.1)
    ends = zip(positions, billed, expected, shown["billed_share"], shown["reasoning_share"].fillna(0.0), strict=True)
    for position, bill, line, share, thought in ends:
        words = f"{share:.0%} of expected, {thought:.0%} reasoning"
        axes.text(max(bill, line) + largest * 0.02, position, words, va="center", fontsize=11, color=INK)


def _short_name(name: object) -> str:
    text = str(name)
    return text if len(text) <= 24 else f"{text[:23]}…"


def _strip(axes: Any) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#80808073")
    axes.tick_params(length=0, labelcolor=FAINT, labelsize=12)


def _money(amount: float) -> str:
    return short_usd(Decimal(str(round(float(amount), 12))))
