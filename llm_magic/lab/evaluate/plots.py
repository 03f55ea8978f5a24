"""Reports of `llm-magic eval` as PNG files. Needs matplotlib (the extra `plots`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llm_magic.errors import EvaluationError

_MAIN_COLOR, _OTHER_COLORS = "#0b6fb8", ("#c4560c", "#6b4fa0", "#4d4d4d", "#2a8a5f", "#a63a6b")
_LINES = ("--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))


def plot_report(report: dict[str, Any], folder: Path) -> list[Path]:
    """Write one file per source of outcomes, one more for many models, or one for tiers. Returns their paths."""
    try:
        import matplotlib
    except ImportError as error:
        raise EvaluationError("--plots needs matplotlib: pip install 'llm-magic[plots]'") from error
    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    if "tiers" in report:
        return [_plot_tiers(report["tiers"], folder / "tiers.png")]
    paths: list[Path] = []
    for name, source in report["sources"].items():
        paths.append(_plot_routers(name, source, folder / f"{_file_name(name)}-routers.png"))
        if source["k_models"]:
            paths.append(_plot_models(name, source["k_models"], folder / f"{_file_name(name)}-models.png"))
    return paths


def _file_name(name: str) -> str:
    return "".join(char if char.isalnum() or char in "-_" else "_" for char in name)


def _plot_routers(name: str, source: dict[str, Any], path: Path) -> Path:
    panels = 3 if source["reliability"] else 2
    figure = _figure(4.3 * panels, 3.6)
    curves, apgr, *calibration = figure.subplots(1, panels)
    routers = source["routers"]
    styles = _styles(list(routers))
    for router, metrics in routers.items():
        curves.plot(metrics["curve"]["share"], metrics["curve"]["pgr"], label=_label(router), **styles[router])
    curves.set_xlabel(f"share of prompts sent to {source['strong']['model']}", fontsize=8)
    curves.set_ylabel("share of the gap recovered (PGR)", fontsize=8)
    curves.legend(fontsize=8)
    colors = [styles[router]["color"] for router in routers]
    _plot_intervals(apgr, [metrics["apgr"] for metrics in routers.values()], colors)
    apgr.axvline(0.5, color="0.8", zorder=0)
    apgr.set_yticks(range(len(routers)), [_label(router) for router in routers])
    apgr.set_xlabel("mean over all shares (APGR), 95% interval", fontsize=8)
    if calibration:
        _plot_reliability(calibration[0], source["reliability"], "expected quality")
    figure.suptitle(f"{name}: {source['weak']['model']} to {source['strong']['model']}", fontsize=9)
    figure.savefig(path, dpi=120)
    return path


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _styles(routers: list[str]) -> dict[str, dict[str, Any]]:
    others = [router for router in routers if router != "ours"]
    styles: dict[str, dict[str, Any]] = {"ours": {"color": _MAIN_COLOR, "linestyle": "-", "linewidth": 2.4}}
    for index, router in enumerate(others):
        color, line = _OTHER_COLORS[index % len(_OTHER_COLORS)], _LINES[index % len(_LINES)]
        styles[router] = {"color": color, "linestyle": line, "linewidth": 1.2}
    return styles


def _label(router: str) -> str:
    return router.replace("ours", "llm_magic").replace("_", " ").replace("llm magic", "llm_magic")


def _plot_intervals(axes: Any, estimates: list[dict[str, float]], colors: list[str]) -> None:
    for row, (estimate, color) in enumerate(zip(estimates, colors, strict=True)):
        axes.plot([estimate["low"], estimate["high"]], [row, row], color=color, alpha=0.4, linewidth=4)
        axes.plot([estimate["value"]], [row], "o", color=color)
    axes.invert_yaxis()


def _plot_reliability(axes: Any, bins: list[dict[str, float]], label: str) -> None:
    largest = max(group["prompts"] for group in bins)
    confidence, correct = [group["confidence"] for group in bins], [group["right"] for group in bins]
    axes.plot([0, 1], [0, 1], color="0.8", zorder=0)
    axes.plot(confidence, correct, color=_MAIN_COLOR, linewidth=1)
    axes.scatter(confidence, correct, s=[8 + 90 * group["prompts"] / largest for group in bins], color=_MAIN_COLOR)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel(label, fontsize=8)
    axes.set_ylabel("share correct", fontsize=8)


def _plot_models(name: str, result: dict[str, Any], path: Path) -> Path:
    figure = _figure(7, 4.4)
    axes = figure.subplots()
    points, alone = result["curve"], result["alone"]
    axes.plot(_costs(points), _accuracies(points), color=_MAIN_COLOR, label="llm_magic")
    axes.scatter(_costs(alone), _accuracies(alone), s=14, color="0.6", label="each model alone")
    for key, marker, color in (("best_single", "s", _OTHER_COLORS[0]), ("best_fixed_cheap", "D", _OTHER_COLORS[3])):
        model = result[key]
        axes.plot([model["cost_usd"]], [model["accuracy"]], marker, color=color, label=f"{model['model']} alone")
    axes.axhline(result["best_single"]["accuracy"], color="0.85", zorder=0)
    axes.set_xscale("log")
    axes.set_xlabel("USD per prompt")
    axes.set_ylabel("accuracy")
    axes.set_title(name, fontsize=9)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)
    return path


def _costs(points: list[dict[str, Any]]) -> list[float]:
    return [point["cost_usd"] for point in points]


def _accuracies(points: list[dict[str, Any]]) -> list[float]:
    return [point["accuracy"] for point in points]


def _plot_tiers(report: dict[str, Any], path: Path) -> Path:
    rows = [
        (f"{name}: {tier} ({estimate['prompts']:,})", estimate)
        for name, source in report["sources"].items()
        for tier, estimate in source["recall"].items()
    ]
    figure = _figure(13, max(3.6, 0.32 * len(rows) + 1))
    recall, confusion, calibration = figure.subplots(1, 3, width_ratios=[1.2, 1, 1])
    _plot_intervals(recall, [estimate for _, estimate in rows], [_MAIN_COLOR] * len(rows))
    recall.set_yticks(range(len(rows)), [label for label, _ in rows], fontsize=8)
    recall.set_xlim(-0.02, 1.02)
    recall.set_xlabel("recall, 95% interval", fontsize=8)
    _plot_confusion(confusion, report["confusion"])
    _plot_reliability(calibration, report["reliability"], "confidence")
    figure.suptitle(f"tiers of {report['prompts']:,} prompts", fontsize=9)
    figure.savefig(path, dpi=120)
    return path


def _plot_confusion(axes: Any, confusion: dict[str, dict[str, int]]) -> None:
    tiers = list(confusion)
    counts = [list(row.values()) for row in confusion.values()]
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for wanted, row in enumerate(counts):
        for predicted, count in enumerate(row):
            color = "white" if shares[wanted][predicted] > 0.5 else "black"
            axes.text(predicted, wanted, f"{count:,}", ha="center", va="center", color=color)
    axes.set_xticks(range(len(tiers)), tiers, fontsize=7)
    axes.set_yticks(range(len(tiers)), tiers, fontsize=7)
    axes.set_xlabel("found", fontsize=8)
    axes.set_ylabel("wanted", fontsize=8)
