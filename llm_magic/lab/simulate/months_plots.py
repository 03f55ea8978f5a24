"""Simulated months as PNG files. Needs matplotlib (the extra `plots`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llm_magic.errors import EvaluationError
from llm_magic.lab.simulate.months import Simulated, Spread


def plot_months(simulated: Simulated, folder: Path) -> list[Path]:
    figures = month_figures(simulated)
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=120, metadata={"Software": None})
    return paths


def month_figures(simulated: Simulated) -> dict[str, Any]:
    require_matplotlib()
    return {"monthly_cost": _cost_bars(simulated), "cost_and_success": _cost_and_success(simulated)}


def _cost_bars(simulated: Simulated) -> Any:
    # Horizontal bars are drawn from the bottom up.
    costs = {name: spreads["cost_usd"] for name, spreads in reversed(list(simulated.approaches.items()))}
    figure = new_figure(8, 3.6)
    axes = figure.subplots()
    errors = [_error(cost) for cost in costs.values()]
    axes.barh(
        list(costs),
        [cost.value for cost in costs.values()],
        xerr=[[low for low, _ in errors], [high for _, high in errors]],
        capsize=3,
    )
    axes.set_xlabel("USD per month")
    axes.set_title(f"{simulated.scenario.requests} requests per day, {simulated.source}")
    return figure


def _cost_and_success(simulated: Simulated) -> Any:
    figure = new_figure(6.5, 4.2)
    axes = figure.subplots()
    for name, spreads in simulated.approaches.items():
        cost, success = spreads["cost_usd"], spreads["success"]
        x_error, y_error = ([[low], [high]] for low, high in (_error(cost), _error(success)))
        axes.errorbar(cost.value, success.value, xerr=x_error, yerr=y_error, fmt="o", capsize=2, label=name)
    axes.set_xlabel("USD per month")
    axes.set_ylabel("success")
    axes.legend(fontsize="small")
    return figure


def require_matplotlib() -> None:
    """Raises EvaluationError if matplotlib is not installed."""
    try:
        import matplotlib.figure  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise EvaluationError("plots need matplotlib: pip install 'llm-magic[plots]'") from error


def new_figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _error(spread: Spread) -> tuple[float, float]:
    return spread.value - spread.low, spread.high - spread.value
