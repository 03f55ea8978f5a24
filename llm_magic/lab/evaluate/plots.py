"""The reports as pictures. Needs matplotlib (the extra `plots`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_magic.errors import EvaluationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OURS, _OTHERS = "#0b6fb8", ("#c4560c", "#6b4fa0", "#4d4d4d", "#2a8a5f", "#a63a6b")
_LINES = ("--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
"""Told apart by line as well as by colour."""


def draw(report: dict[str, Any], folder: Path) -> list[Path]:
    """PNG files. Of outcomes, per source: what each router recovers, its APGR, the calibration; and, of many models,
    accuracy against cost. Of tiers: recall, confusion, calibration."""
    try:
        import matplotlib
    except ImportError as error:
        raise EvaluationError("--plots needs matplotlib: pip install 'llm-magic[plots]'") from error
    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    if "tiers" in report:
        return [_tiers(report["tiers"], folder / "tiers.png")]
    drawn: list[Path] = []
    for name, of in report["sources"].items():
        drawn.append(_routers(name, of, folder / f"{_safe(name)}-routers.png"))
        if of["k_models"]:
            drawn.append(_models(name, of["k_models"], folder / f"{_safe(name)}-models.png"))
    return drawn


def _safe(name: str) -> str:
    return "".join(char if char.isalnum() or char in "-_" else "_" for char in name)


def _routers(name: str, of: dict[str, Any], path: Path) -> Path:
    from matplotlib.figure import Figure

    panels = 3 if of["reliability"] else 2
    figure = Figure(figsize=(4.3 * panels, 3.6), layout="constrained")
    curves, apgr, *calibrated = figure.subplots(1, panels)
    styles = _styles(list(of["routers"]))
    for router, figures in of["routers"].items():
        curves.plot(figures["curve"]["share"], figures["curve"]["pgr"], label=_words(router), **styles[router])
    curves.set_xlabel(f"share of prompts sent to {of['strong']['model']}", fontsize=8)
    curves.set_ylabel("share of the gap recovered (PGR)", fontsize=8)
    curves.legend(fontsize=8)
    routers = [(router, figures["apgr"]) for router, figures in of["routers"].items()]
    for place, (router, each) in enumerate(routers):
        apgr.plot([each["low"], each["high"]], [place, place], color=styles[router]["color"], alpha=0.4, linewidth=4)
        apgr.plot([each["value"]], [place], "o", color=styles[router]["color"])
    apgr.axvline(0.5, color="0.8", zorder=0)
    apgr.set_yticks(range(len(routers)), [_words(router) for router, _ in routers])
    apgr.invert_yaxis()
    apgr.set_xlabel("mean over all shares (APGR), 95 % interval", fontsize=8)
    if calibrated:
        _reliability(calibrated[0], of["reliability"], "expected quality")
    figure.suptitle(f"{name}: {of['weak']['model']} to {of['strong']['model']}", fontsize=9)
    figure.savefig(path, dpi=120)
    return path


def _styles(routers: list[str]) -> dict[str, dict[str, Any]]:
    others = [router for router in routers if router != "ours"]
    found: dict[str, dict[str, Any]] = {
        router: {
            "color": _OTHERS[place % len(_OTHERS)],
            "linestyle": _LINES[place % len(_LINES)],
            "linewidth": 1.2,
        }
        for place, router in enumerate(others)
    }
    return {"ours": {"color": _OURS, "linestyle": "-", "linewidth": 2.4}, **found}


def _words(router: str) -> str:
    return router.replace("_", " ")


def _reliability(axes: Axes, bins: list[dict[str, float]], said: str) -> None:
    """What was said against what was so; the area of a point tells how many prompts."""
    most = max(each["prompts"] for each in bins)
    axes.plot([0, 1], [0, 1], color="0.8", zorder=0)
    axes.plot([each["confidence"] for each in bins], [each["right"] for each in bins], color=_OURS, linewidth=1)
    axes.scatter(
        [each["confidence"] for each in bins],
        [each["right"] for each in bins],
        s=[8 + 90 * each["prompts"] / most for each in bins],
        color=_OURS,
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel(said, fontsize=8)
    axes.set_ylabel("share right", fontsize=8)


def _models(name: str, of: dict[str, Any], path: Path) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.plot([p["cost_usd"] for p in of["curve"]], [p["accuracy"] for p in of["curve"]], color=_OURS, label="ours")
    axes.scatter(
        [each["cost_usd"] for each in of["alone"]],
        [each["accuracy"] for each in of["alone"]],
        s=14,
        color="0.6",
        label="each model alone",
    )
    for label, marker, color in (("best_single", "s", _OTHERS[0]), ("best_fixed_cheap", "D", _OTHERS[3])):
        one = of[label]
        axes.plot([one["cost_usd"]], [one["accuracy"]], marker, color=color, label=f"{one['model']} alone")
    axes.axhline(of["best_single"]["accuracy"], color="0.85", zorder=0)
    axes.set_xscale("log")
    axes.set_xlabel("USD a prompt")
    axes.set_ylabel("accuracy")
    axes.set_title(name, fontsize=9)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)
    return path


def _tiers(of: dict[str, Any], path: Path) -> Path:
    from matplotlib.figure import Figure

    rows = [
        (f"{source}: {tier}", figure)
        for source, each in of["sources"].items()
        for tier, figure in each["recall"].items()
    ]
    figure = Figure(figsize=(13, max(3.6, 0.32 * len(rows) + 1)), layout="constrained")
    recall, confusion, calibrated = figure.subplots(1, 3, width_ratios=[1.2, 1, 1])
    for place, (_, each) in enumerate(rows):
        recall.plot([each["low"], each["high"]], [place, place], color=_OURS, alpha=0.4, linewidth=4)
        recall.plot([each["value"]], [place], "o", color=_OURS)
    recall.set_yticks(range(len(rows)), [f"{name} ({each['prompts']:,})" for name, each in rows], fontsize=8)
    recall.invert_yaxis()
    recall.set_xlim(-0.02, 1.02)
    recall.set_xlabel("recall, 95 % interval", fontsize=8)
    tiers = list(of["confusion"])
    counts = [list(row.values()) for row in of["confusion"].values()]
    shares = [[many / max(1, sum(row)) for many in row] for row in counts]
    confusion.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for wanted, row in enumerate(counts):
        for got, many in enumerate(row):
            dark = shares[wanted][got] > 0.5
            confusion.text(got, wanted, f"{many:,}", ha="center", va="center", color="white" if dark else "black")
    confusion.set_xticks(range(len(tiers)), tiers, fontsize=7)
    confusion.set_yticks(range(len(tiers)), tiers, fontsize=7)
    confusion.set_xlabel("found", fontsize=8)
    confusion.set_ylabel("wanted", fontsize=8)
    _reliability(calibrated, of["reliability"], "confidence")
    figure.suptitle(f"tiers of {of['prompts']:,} prompts", fontsize=9)
    figure.savefig(path, dpi=120)
    return path
