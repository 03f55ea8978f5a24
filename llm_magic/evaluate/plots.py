"""The curves of a report as pictures. Needs matplotlib (the extra `plots`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llm_magic.errors import EvaluationError


def draw(report: dict[str, Any], folder: Path) -> list[Path]:
    """Per source: APGR of every router with its interval; and, of many models, accuracy against cost. PNG files."""
    try:
        import matplotlib
    except ImportError as error:
        raise EvaluationError("--plots needs matplotlib: pip install 'llm-magic[plots]'") from error
    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    drawn: list[Path] = []
    for name, of in report["sources"].items():
        drawn.append(_routers(name, of, folder / f"{_safe(name)}-apgr.png"))
        if of["k_models"]:
            drawn.append(_models(name, of["k_models"], folder / f"{_safe(name)}-models.png"))
    return drawn


def _safe(name: str) -> str:
    return "".join(char if char.isalnum() or char in "-_" else "_" for char in name)


def _routers(name: str, of: dict[str, Any], path: Path) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    routers = [(router, figures["apgr"]) for router, figures in of["routers"].items()]
    for place, (_, apgr) in enumerate(routers):
        axes.plot([apgr["low"], apgr["high"]], [place, place], color="0.5", linewidth=3)
        axes.plot([apgr["value"]], [place], "o", color="C0")
    axes.axvline(0.5, color="0.8", zorder=0)
    axes.set_yticks(range(len(routers)), [router for router, _ in routers])
    axes.invert_yaxis()
    axes.set_xlabel("APGR with its 95 % interval")
    axes.set_title(f"{name}: {of['weak']['model']} to {of['strong']['model']}", fontsize=9)
    figure.savefig(path, dpi=120)
    return path


def _models(name: str, of: dict[str, Any], path: Path) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([p["cost_usd"] for p in of["curve"]], [p["accuracy"] for p in of["curve"]], ".-", label="ours")
    for label in ("best_single", "best_fixed_cheap"):
        axes.plot([of[label]["cost_usd"]], [of[label]["accuracy"]], "o", label=f"{of[label]['model']} alone")
    axes.set_xscale("log")
    axes.set_xlabel("USD a prompt")
    axes.set_ylabel("accuracy")
    axes.set_title(name, fontsize=9)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)
    return path
