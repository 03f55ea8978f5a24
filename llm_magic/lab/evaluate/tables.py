"""The reports as lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_magic.answers.agreement import SAME_RIGHT
from llm_magic.lab.evaluate.metrics import Figure
from llm_magic.lab.evaluate.multi_model import SAME_MISTAKES
from llm_magic.lab.evaluate.report import PGRS
from llm_magic.types import TaskTier

_ORDERING = {"apgr": "APGR", "cpt50": "CPT50", "cpt80": "CPT80", "auc": "AUC"}
_COSTS = {f"cost_share_at_pgr_{pgr}": f"cost share at PGR {pgr:g}" for pgr in PGRS}


def outcomes_table(report: dict[str, Any]) -> str:
    """Of `report.evaluate`."""
    lines: list[str] = []
    for name, of in report["sources"].items():
        lines += [
            f"{name}: {of['prompts']:,} prompts, {of['weak']['model']} {of['weak']['accuracy']:.3f} -> "
            f"{of['strong']['model']} {of['strong']['accuracy']:.3f} ({report['mode']})",
            *_routers(of["routers"]),
        ]
        if of["calibration_error"] is not None:
            lines.append(f"  calibration error of the expected quality: {shown(of['calibration_error'])}")
        lines += [
            f"  {point['labels']:,} labels: APGR {shown(point['apgr'])}" for point in of.get("learning_curve", ())
        ]
        if of["k_models"]:
            lines += _several(of["k_models"])
        lines.append("")
    if (many := len(report["sources"])) > 1:
        lines += [f"mean of {many} sources", *_routers(report["macro"])]
        lines += [
            f"APGR after {point['labels']:,} labels, mean: {shown(point['apgr'])}"
            for point in report.get("learning_curve", ())
        ]
    lines.append(f"APGR of ours, mean of {many}: {shown(report['apgr'])}")
    return "\n".join(lines)


def _routers(routers: Mapping[str, Mapping[str, Figure]]) -> list[str]:
    """Two tables: how well each router orders, and its cost where so much of the gap is recovered, as a share of the
    strong model's."""
    lines: list[str] = []
    for columns in (_ORDERING, _COSTS):
        if all(figures[figure]["value"] is None for figures in routers.values() for figure in columns):
            continue
        lines.append(" " * 15 + " ".join(f"{title:22}" for title in columns.values()).rstrip())
        lines += [
            f"  {router:12} " + " ".join(f"{shown(figures[figure]):22}" for figure in columns).rstrip()
            for router, figures in routers.items()
        ]
    return lines


def _several(of: dict[str, Any]) -> list[str]:
    cheap = of["best_fixed_cheap"]
    lines = [
        f"  {len(of['models'])} models: as good as {of['best_single']['model']} at "
        f"{shown(of['cost_share_to_match'])} of its cost, within a point at "
        f"{shown(of['cost_share_within_one_point'])}; {cheap['model']} alone has "
        f"{shown(cheap['accuracy_share'])} of its accuracy at {shown(cheap['cost_share'])} of its cost"
    ]
    if cascade := of["cascade"]:
        lines.append(f"    {_cascade(cascade)}")
        if cascade["anchor"]:
            lines.append(f"    {_anchor(cascade['anchor'])}")
    return lines


def _cascade(of: dict[str, Any]) -> str:
    """What it costs where cascades are weighed, too, by how often two wrong answers are taken to be the same."""
    parts = [
        f"{name} {shown(each['cost_share_to_match'])}, {shown(each['cost_share_within_one_point'])}"
        for name, each in of["same_mistake"].items()
    ]
    alike = (
        f"taken as the same: {SAME_RIGHT:.1%} of common right answers, and of common mistakes "
        f"{SAME_MISTAKES['assumed']:.0%}, or never, or always"
    )
    return (
        f"with cascades, any two of {', '.join(of['asked_first'])} first, one of {', '.join(of['then'])} where they "
        f"differ ({alike}): "
        f"as good at, within a point at: {'; '.join(parts)}"
    )


def _anchor(of: dict[str, Any]) -> str:
    """What the shares of same answers rest on: one cascade measured on full answers, simulated on the records."""
    one, two, strong = of["models"]
    measured, simulated, match = of["measured"], of["simulated"], of["would_match"]
    return (
        f"these shares rest on {one} and {two}, else {strong}: over full answers accuracy "
        f"{measured['accuracy']:.3f} at {measured['cost_share']:.0%} of its cost; simulated on these {of['prompts']:,} "
        f"train and test prompts (it alone: {of['strong_accuracy']:.3f}) {simulated['accuracy']:.3f} at "
        f"{simulated['cost_share']:.1%}; both would be equal at {match['same_right']:.3f} of common right answers and "
        f"{match['same_mistake']:.3f} of common mistakes"
    )


def tiers_table(report: dict[str, Any]) -> str:
    """Of `tiers.judged`."""
    lines: list[str] = []
    for source, of in report["sources"].items():
        recall = "  ".join(f"{tier} {shown(each)} of {each['prompts']}" for tier, each in of["recall"].items())
        alarms = "" if of["false_alarms"] is None else f"  falsely COMPLEX {shown(of['false_alarms'])}"
        lines.append(f"{source}: recall {recall}{alarms}  calibration error {shown(of['calibration_error'])}")
    lines.append("wanted \\ found  " + " ".join(f"{tier:>10}" for tier in TaskTier))
    for wanted, row in report["confusion"].items():
        lines.append(f"{wanted:14} " + " ".join(f"{many:10,}" for many in row.values()))
    error = report["calibration_error"]
    lines.append(
        f"calibration error: {shown(error['pooled'])} pooled, {shown(error['mean_of_sources'])} mean of sources"
    )
    return "\n".join(lines)


def shown(figure: Figure) -> str:
    """A figure with its interval, `0.589 [0.565, 0.611]`."""
    value, low, high = (figure[name] for name in ("value", "low", "high"))
    if value is None:
        return "-"
    return f"{value:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")
