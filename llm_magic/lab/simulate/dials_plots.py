"""The curves of both dials as a PNG file. Needs matplotlib (the extra `plots`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_magic.lab.simulate.dials import KNOWN, UNKNOWN, Curves, Figures, Setting
from llm_magic.lab.simulate.months_plots import new_figure, require_matplotlib
from llm_magic.types import DEFAULT_QUALITY

_MAX_COST = 160
"""Costs above this share of the top model's, in percent, are not drawn: effort above the default at a high worth."""
_TITLES = {
    KNOWN: "Simulated, capabilities as assumed",
    UNKNOWN: "Simulated, other capabilities",
    "zeroeval": "ZeroEval, recorded",
    "mmlupro": "MMLU-Pro, recorded",
    "routerbench": "RouterBench, recorded",
}
_COLORS = {"--quality": "#0072b2", "--worth": "#d55e00"}
_FORMATS = {"--quality": "o-", "--worth": "s--"}


def plot_dials(curves: Curves, folder: Path) -> Path:
    require_matplotlib()
    folder.mkdir(parents=True, exist_ok=True)
    figure = new_figure(10.5, 6.2)
    panels = figure.subplots(2, 3).flat
    for axes, (source, figures) in zip(panels, curves.items(), strict=False):
        _draw(axes, _TITLES.get(source, source), figures)
    first, *_, last = figure.axes
    last.axis("off")
    last.legend(
        *first.get_legend_handles_labels(), loc="center", frameon=False, title="shaded: 95% of the users or draws"
    )
    path = folder / "dials.png"
    figure.savefig(path, dpi=120, metadata={"Software": None})
    return path


def _draw(axes: Any, title: str, figures: Mapping[Setting, Figures]) -> None:
    for dial, color in _COLORS.items():
        rows = [own for setting, own in figures.items() if setting.dial == dial]
        cost, success = ([100 * getattr(own, name).value for own in rows] for name in ("cost", "success"))
        low, high = ([100 * getattr(own.success, end) for own in rows] for end in ("low", "high"))
        order = sorted(range(len(rows)), key=cost.__getitem__)
        sorted_cost, bounds = [cost[index] for index in order], [[end[index] for index in order] for end in (low, high)]
        axes.fill_between(sorted_cost, *bounds, color=color, alpha=0.12, linewidth=0)
        axes.plot(cost, success, _FORMATS[dial], color=color, markersize=4, label=dial)
    default = next((own for setting, own in figures.items() if setting.is_default), None)
    if default is not None:
        point = 100 * default.cost.value, 100 * default.success.value
        axes.plot(
            *point,
            "*",
            color="black",
            markersize=13,
            label=f"--quality {DEFAULT_QUALITY:g}, the default",
            linestyle="none",
        )
    axes.axhline(100, color="gray", linewidth=0.8)
    axes.set_xlim(0, min(_MAX_COST, 110 * max(own.cost.value for own in figures.values())))
    axes.set_title(title, fontsize="medium")
    axes.set_xlabel("cost, % of the top model's")
    axes.set_ylabel("success, % of the top model's")
