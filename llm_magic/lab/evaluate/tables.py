"""Reports of `llm-magic eval` as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_magic.answers.agreement import SAME_RIGHT
from llm_magic.lab.evaluate.metrics import Estimate
from llm_magic.lab.evaluate.multi_model import SAME_MISTAKES
from llm_magic.lab.evaluate.report import PGRS
from llm_magic.types import TaskTier

_ORDERING = {"apgr": "APGR", "cpt50": "CPT50", "cpt80": "CPT80", "auc": "AUC"}
_COSTS = {f"cost_share_at_pgr_{pgr}": f"cost share at PGR {pgr:g}" for pgr in PGRS}


def outcomes_table(report: dict[str, Any]) -> str:
    lines: list[str] = []
    for name, source in report["sources"].items():
        lines += [
            f"{name}: {source['prompts']:,} prompts, {source['weak']['model']} {source['weak']['accuracy']:.3f} -> "
            f"{source['strong']['model']} {source['strong']['accuracy']:.3f} ({report['mode']})",
            *_router_lines(source["routers"]),
        ]
        if source["calibration_error"] is not None:
            lines.append(f"  calibration error of the expected quality: {format_estimate(source['calibration_error'])}")
        lines += [
            f"  {point['labels']:,} labels: APGR {format_estimate(point['apgr'])}"
            for point in source.get("learning_curve", ())
        ]
        if source["k_models"]:
            lines += _many_models_lines(source["k_models"])
        lines.append("")
    if (count := len(report["sources"])) > 1:
        lines += [f"mean of {count} sources", *_router_lines(report["macro"])]
        lines += [
            f"APGR after {point['labels']:,} labels, mean: {format_estimate(point['apgr'])}"
            for point in report.get("learning_curve", ())
        ]
    lines.append(f"APGR of llm_magic, mean of {count}: {format_estimate(report['apgr'])}")
    return "\n".join(lines)


def _router_lines(routers: Mapping[str, Mapping[str, Estimate]]) -> list[str]:
    lines: list[str] = []
    for columns in (_ORDERING, _COSTS):
        if all(metrics[metric]["value"] is None for metrics in routers.values() for metric in columns):
            continue
        lines.append(" " * 15 + " ".join(f"{title:22}" for title in columns.values()).rstrip())
        lines += [
            f"  {router:12} " + " ".join(f"{format_estimate(metrics[metric]):22}" for metric in columns).rstrip()
            for router, metrics in routers.items()
        ]
    return lines


def _many_models_lines(result: dict[str, Any]) -> list[str]:
    cheap = result["best_fixed_cheap"]
    accuracy, cost = format_estimate(cheap["accuracy_share"]), format_estimate(cheap["cost_share"])
    lines = [
        f"  {len(result['models'])} models: as good as {result['best_single']['model']} at "
        f"{format_estimate(result['cost_share_to_match'])} of its cost, within a point at "
        f"{format_estimate(result['cost_share_within_one_point'])}; {cheap['model']} alone has "
        f"{accuracy} of its accuracy at {cost} of its cost"
    ]
    if cascade := result["cascade"]:
        lines.append(f"    {_cascade_text(cascade)}")
        if cascade["anchor"]:
            lines.append(f"    {_anchor_text(cascade['anchor'])}")
    return lines


def _cascade_text(cascade: dict[str, Any]) -> str:
    parts = [
        f"{name} {format_estimate(shares['cost_share_to_match'])}, "
        f"{format_estimate(shares['cost_share_within_one_point'])}"
        for name, shares in cascade["same_mistake"].items()
    ]
    rates = (
        f"assumed to agree: {SAME_RIGHT:.1%} of common correct answers, and of common mistakes "
        f"{SAME_MISTAKES['assumed']:.0%}, or never, or always"
    )
    return (
        f"with cascades, any two of {', '.join(cascade['asked_first'])} first, one of {', '.join(cascade['then'])} "
        f"if they differ ({rates}): as good at, within a point at: {'; '.join(parts)}"
    )


def _anchor_text(anchor: dict[str, Any]) -> str:
    one, two, strong = anchor["models"]
    measured, simulated, match = anchor["measured"], anchor["simulated"], anchor["would_match"]
    return (
        f"these rates come from {one} and {two}, else {strong}: over full answers accuracy "
        f"{measured['accuracy']:.3f} at {measured['cost_share']:.0%} of its cost; simulated on these "
        f"{anchor['prompts']:,} train and test prompts (it alone: {anchor['strong_accuracy']:.3f}) "
        f"{simulated['accuracy']:.3f} at {simulated['cost_share']:.1%}; both would be equal at "
        f"{match['same_right']:.3f} of common correct answers and {match['same_mistake']:.3f} of common mistakes"
    )


def tiers_table(report: dict[str, Any]) -> str:
    lines: list[str] = []
    for name, source in report["sources"].items():
        recall = "  ".join(
            f"{tier} {format_estimate(estimate)} of {estimate['prompts']}"
            for tier, estimate in source["recall"].items()
        )
        alarms = source["false_alarms"]
        wrongly = "" if alarms is None else f"  wrongly COMPLEX {format_estimate(alarms)}"
        lines.append(
            f"{name}: recall {recall}{wrongly}  calibration error {format_estimate(source['calibration_error'])}"
        )
    lines.append("expected \\ got  " + " ".join(f"{tier:>10}" for tier in TaskTier))
    for wanted, row in report["confusion"].items():
        lines.append(f"{wanted:14} " + " ".join(f"{count:10,}" for count in row.values()))
    recall = "  ".join(f"{tier} {format_estimate(estimate)}" for tier, estimate in report["recall"].items())
    lines.append(f"recall over all sources: {recall}")
    lines.append(f"falsely COMPLEX, share of all prompts: {format_estimate(report['falsely_complex'])}")
    error = report["calibration_error"]
    lines.append(
        f"calibration error: {format_estimate(error['pooled'])} pooled, "
        f"{format_estimate(error['mean_of_sources'])} mean of sources"
    )
    return "\n".join(lines)


_CHANGES = {
    "before_mean": "words before it",
    "after_mean": "words behind it",
    "talk": "a sentence about something else",
    "typos": "typos in 5% of the letters",
    "white_space": "more white space",
    "capitals": "capital letters",
    "flood_before_bulk": "a flood of words before a BULK prompt",
    "commands_before_complex": "bare commands before a COMPLEX prompt",
}


def robustness_table(rates: Mapping[str, float | None]) -> str:
    lines = [f"  {text:40} {rate:.1%}" for name, text in _CHANGES.items() if (rate := rates[name]) is not None]
    return "\n".join(["share of prompts whose tier changes with", *lines])


def format_estimate(estimate: Estimate) -> str:
    """Format a value with its interval, `0.589 [0.565, 0.611]`."""
    value, low, high = (estimate[name] for name in ("value", "low", "high"))
    if value is None:
        return "-"
    return f"{value:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")
