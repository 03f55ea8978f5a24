"""`llm-magic eval`: the figures of ours and of its rivals, per source and macro, as a table and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from llm_magic.classify import features_of
from llm_magic.classify.heads import Heads, shipped
from llm_magic.errors import EvaluationError
from llm_magic.evaluate import several
from llm_magic.evaluate.data import Recorded, read_outcomes
from llm_magic.evaluate.metrics import RESAMPLES, Array, auc, bootstrap, calibration_error, curve, interval
from llm_magic.evaluate.routers import adapted, difficulties, rivals

Mode = Literal["shipped", "adapted"]
PAIRS = {
    "routellm": ("mixtral-8x7b-instruct-v0.1", "gpt-4-1106-preview"),
    "zeroeval": ("claude-3-haiku-20240307", "claude-3-5-sonnet-20241022"),
    "mmlupro": ("llama-3.1-8b-instruct", "llama-3.1-70b-instruct"),
    "bfcl": ("claude-3-haiku-20240307", "claude-3-5-sonnet-20240620"),
    "routerbench": ("mistralai/mixtral-8x7b-chat", "gpt-4-1106-preview"),
    "fusion": ("mistral-7b-instruct-v0.3", "llama-3.1-nemotron-51b-instruct"),
}
"""The weak and the strong model of the sources that the macro figure is the mean of (MACRO6)."""
PGRS = (0.5, 0.8, 0.95, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be judged."""

    prompts: Path
    outcomes: Path
    train_prompts: Path | None = None
    train_outcomes: Path | None = None
    mode: Mode = "shipped"
    weak: str | None = None
    strong: str | None = None
    source: str | None = None
    labels: tuple[int, ...] = ()
    """For the learning curve: how many of the training prompts the adapted mode sees."""
    resamples: int = RESAMPLES


def evaluate(task: Task, heads: Heads | None = None) -> dict[str, Any]:
    """The report, with `apgr` (of ours; the mean over sources where there are several) at the top."""
    if task.mode == "adapted" and (task.train_prompts is None or task.train_outcomes is None):
        raise EvaluationError("--mode adapted learns from --train-prompts and --train-outcomes: give both")
    wanted = None if task.source is None else (task.source,)
    tests = read_outcomes(task.prompts, task.outcomes, wanted)
    trains: dict[str, Recorded] = {}
    if task.train_prompts is not None and task.train_outcomes is not None:
        trains = read_outcomes(task.train_prompts, task.train_outcomes, wanted)
    heads = heads or shipped()
    sources: dict[str, Any] = {}
    curves: dict[str, Array] = {}
    learning: dict[str, list[Array]] = {}
    for name, test in tests.items():
        weak, strong = _pair(task, name)
        sources[name], curves[name], learning[name] = _source(task, test, trains.get(name), weak, strong, heads)
    report: dict[str, Any] = {"format": 1, "mode": task.mode, "apgr": macro(curves), "sources": sources}
    if len(sources) > 1 and all(learning.values()):
        report["learning_curve"] = [
            {"labels": labels, "apgr": macro({name: points[place] for name, points in learning.items()})}
            for place, labels in enumerate(task.labels)
        ]
    return report if len(sources) > 1 else {**report, **next(iter(sources.values())), "apgr": report["apgr"]}


def _pair(task: Task, source: str) -> tuple[str, str]:
    if task.weak is not None and task.strong is not None:
        return task.weak, task.strong
    if source not in PAIRS:
        raise EvaluationError(f"{source}: say which models to route between, with --weak and --strong")
    return PAIRS[source]


def _source(
    task: Task, test: Recorded, train: Recorded | None, weak: str, strong: str, heads: Heads
) -> tuple[dict[str, Any], Array, list[Array]]:
    """The report of one source, and for the macro figures the resampled APGR of ours, and of it after each number of
    labels."""
    test = _answered(test, weak, strong)
    features = [features_of(prompt) for prompt in test.prompts]
    difficulty = difficulties(features, test.source, heads)
    learning: list[Array] = []
    ours = difficulty
    if train is not None:
        train = _answered(train, weak, strong)
        if task.mode == "adapted":
            ours = adapted(train, weak, strong, heads).scores(features, difficulty)
        learning = _learning(task, test, train, weak, strong, heads, difficulty)
    scores = {"ours": ours, **rivals(test, weak, strong, train)}
    figures = {name: _router(test, score, weak, strong, task.resamples) for name, score in scores.items()}
    drawn = resampled(test, ours, weak, strong, task.resamples)
    found: dict[str, Any] = {
        "source": test.source,
        "prompts": len(test),
        "weak": {"model": weak, "accuracy": _mean(test.of(weak)), "cost_usd": _mean(_costs(test, weak))},
        "strong": {"model": strong, "accuracy": _mean(test.of(strong)), "cost_usd": _mean(_costs(test, strong))},
        "trained_without_source": test.source in heads.difficulty or test.source not in _seen(heads),
        "routers": figures,
        "calibration_error": _calibration(test, difficulty, weak, strong, train),
        "k_models": None if train is None else several.figures(train, test, task.resamples),
    }
    if train is not None and learning:
        found["learning_curve"] = [
            {"labels": min(labels, len(train)), "apgr": interval(float(points[0]), points[1:])}
            for labels, points in zip(task.labels, learning, strict=True)
        ]
    return found, drawn, learning


def _seen(heads: Heads) -> set[str]:
    return set(heads.difficulty) - {""}


def _answered(recorded: Recorded, weak: str, strong: str) -> Recorded:
    """The prompts that both models answered."""
    both = np.flatnonzero(np.isfinite(recorded.of(weak)) & np.isfinite(recorded.of(strong)))
    if not len(both):
        raise EvaluationError(f"{recorded.source}: no prompt was answered by both {weak!r} and {strong!r}")
    kept = recorded.take(both)
    if abs(float((kept.of(strong) - kept.of(weak)).sum())) < 1e-9:
        raise EvaluationError(f"{recorded.source}: {weak!r} and {strong!r} are equally good: no gap to recover")
    return kept


def _costs(recorded: Recorded, model: str) -> Array:
    return recorded.costs[:, recorded.column(model)]


def _mean(values: Array) -> float | None:
    return round(float(np.nanmean(values)), 9) if np.isfinite(values).any() else None


_NAMES = ("apgr", "cpt50", "cpt80", "auc", *(f"cost_usd_at_pgr_{pgr}" for pgr in PGRS))


def _router(test: Recorded, score: Array, weak: str, strong: str, resamples: int) -> dict[str, Any]:
    """The figures of one router, each with its interval."""
    low, high, cost_low, cost_high = test.of(weak), test.of(strong), _costs(test, weak), _costs(test, strong)

    def all_of(rows: np.ndarray[Any, np.dtype[np.intp]]) -> Array:
        drawn = curve(score[rows], low[rows], high[rows], cost_low[rows], cost_high[rows])
        return np.array(
            [
                drawn.apgr,
                drawn.threshold(0.5),
                drawn.threshold(0.8),
                auc(score[rows], low[rows], high[rows]),
                *(drawn.cost_at(pgr) for pgr in PGRS),
            ]
        )

    return dict(zip(_NAMES, bootstrap(all_of, test.groups, resamples=resamples), strict=True))


def resampled(test: Recorded, score: Array, weak: str, strong: str, resamples: int) -> Array:
    """APGR of the whole, then of each resample."""
    kept: list[float] = []

    def one(rows: np.ndarray[Any, np.dtype[np.intp]]) -> Array:
        kept.append(curve(score[rows], test.of(weak)[rows], test.of(strong)[rows]).apgr)
        return np.array([kept[-1]])

    bootstrap(one, test.groups, resamples=resamples)
    return np.array([kept[-1], *kept[:-1]])


def macro(curves: dict[str, Array]) -> dict[str, float | None]:
    """The mean over the sources, which are resampled independently."""
    mean = np.mean(np.stack(list(curves.values())), axis=0)
    return interval(float(mean[0]), mean[1:])


def _calibration(test: Recorded, difficulty: Array, weak: str, strong: str, train: Recorded | None) -> float | None:
    """How far the expected quality of the two models is off, once their level on this source is known from training."""
    if train is None:
        return None
    errors: list[float] = []
    for model in (weak, strong):
        accuracy = float(np.clip(train.of(model).mean(), 0.01, 0.99))
        level = _level(difficulty, accuracy)
        errors.append(calibration_error(1 / (1 + np.exp(difficulty - level)), test.of(model)))
    return round(float(np.mean(errors)), 6)


def _level(difficulty: Array, accuracy: float) -> float:
    """The capability at which the expected quality is `accuracy` on average, by bisection."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 / (1 + np.exp(difficulty - middle))).mean() < accuracy else (low, middle)
    return low


def _learning(
    task: Task, test: Recorded, train: Recorded, weak: str, strong: str, heads: Heads, difficulty: Array
) -> list[Array]:
    """Resampled APGR of the adapted mode after the first n prompts of the training set, in an order drawn once."""
    order = np.random.default_rng(0).permutation(len(train))
    features = [features_of(prompt) for prompt in test.prompts] if task.labels else []
    found: list[Array] = []
    for labels in task.labels:
        score = difficulty
        if labels:
            part = train.take(np.sort(order[:labels]))
            score = adapted(part, weak, strong, heads).scores(features, difficulty)
        found.append(resampled(test, score, weak, strong, task.resamples))
    return found


def table(report: dict[str, Any]) -> str:
    """The report in lines for people."""
    lines: list[str] = []
    for name, of in report["sources"].items():
        lines.append(
            f"{name}: {of['prompts']:,} prompts, {of['weak']['model']} {of['weak']['accuracy']:.3f} -> "
            f"{of['strong']['model']} {of['strong']['accuracy']:.3f} ({report['mode']})"
        )
        for router, figures in of["routers"].items():
            parts = [f"{figure.upper()} {_shown(figures[figure])}" for figure in ("apgr", "cpt50", "cpt80", "auc")]
            lines.append(f"  {router:11} {'  '.join(parts)}")
        for point in of.get("learning_curve", ()):
            lines.append(f"  {point['labels']:,} labels: APGR {_shown(point['apgr'])}")
        if several_ := of["k_models"]:
            cheap = several_["best_fixed_cheap"]
            lines.append(
                f"  {len(several_['models'])} models: as good as {several_['best_single']['model']} at "
                f"{_shown(several_['cost_share_to_match'])} of its cost, within a point at "
                f"{_shown(several_['cost_share_within_one_point'])}; {cheap['model']} alone has "
                f"{_shown(cheap['accuracy_share'])} of its accuracy at {_shown(cheap['cost_share'])} of its cost"
            )
            if several_["cascade"]:
                lines.append(f"    {_cascade(several_['cascade'])}")
    if len(report["sources"]) > 1:
        for point in report.get("learning_curve", ()):
            lines.append(f"APGR after {point['labels']:,} labels, mean: {_shown(point['apgr'])}")
    lines.append(f"APGR of ours, mean of {len(report['sources'])}: {_shown(report['apgr'])}")
    return "\n".join(lines)


def _cascade(of: dict[str, Any]) -> str:
    """What a cascade before the dear models costs, by how often two wrong answers are assumed to be the same."""
    parts = [
        f"{name} {_shown(each['cost_share_to_match'])}, {_shown(each['cost_share_within_one_point'])}"
        for name, each in of["same_mistake"].items()
    ]
    alike = f"{several.SAME_MISTAKES['assumed']:.0%} of their common mistakes assumed the same, or never, or always"
    return (
        f"with {' and '.join(of['asked_first'])} asked before dearer ones, and kept where they agree ({alike}): "
        f"as good at, within a point at: {'; '.join(parts)}"
    )


def _shown(figure: dict[str, float | None]) -> str:
    value, low, high = (figure[name] for name in ("value", "low", "high"))
    if value is None:
        return "-"
    return f"{value:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")
