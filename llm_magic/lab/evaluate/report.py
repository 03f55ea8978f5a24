"""`llm-magic eval`: the figures of ours and of its rivals, per source and macro."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from llm_magic.classify import features_of
from llm_magic.classify.features import Features
from llm_magic.classify.heads import Heads, shipped_heads
from llm_magic.errors import EvaluationError
from llm_magic.lab.evaluate import multi_model
from llm_magic.lab.evaluate.data import Recorded, read_outcomes
from llm_magic.lab.evaluate.metrics import (
    RESAMPLES,
    Array,
    Figure,
    auc,
    calibration_error,
    curve,
    intervals,
    reliability,
    resampled,
)
from llm_magic.lab.evaluate.routers import adapted, difficulties, rivals

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """One source: its report, and what the macro figures are the mean of."""

    report: dict[str, Any]
    routers: dict[str, Array]
    """Of each router its figures, over all prompts and over each resample."""
    learning: list[Array]
    """APGR of ours after each number of labels, in the same way."""


def evaluate(task: Task, heads: Heads | None = None) -> dict[str, Any]:
    """The report, with `apgr` (of ours; the mean over sources where there are several) at the top."""
    if task.mode == "adapted" and (task.train_prompts is None or task.train_outcomes is None):
        raise EvaluationError("--mode adapted learns from --train-prompts and --train-outcomes: give both")
    wanted = None if task.source is None else (task.source,)
    tests = read_outcomes(task.prompts, task.outcomes, wanted)
    trains: dict[str, Recorded] = {}
    if task.train_prompts is not None and task.train_outcomes is not None:
        trains = read_outcomes(task.train_prompts, task.train_outcomes, wanted)
    heads = heads or shipped_heads()
    judged = {name: _source(task, test, trains.get(name), *_pair(task, name), heads) for name, test in tests.items()}
    routers = {name: macro([each.routers[name] for each in judged.values()]) for name in _common(judged)}
    report: dict[str, Any] = {
        "format": 2,
        "mode": task.mode,
        "apgr": routers["ours"]["apgr"],
        "sources": {name: each.report for name, each in judged.items()},
        "macro": {name: {figure: each[figure] for figure in MACRO} for name, each in routers.items()},
    }
    if len(judged) == 1:
        return {**report, **next(iter(report["sources"].values())), "apgr": report["apgr"]}
    if all(each.learning for each in judged.values()):
        report["learning_curve"] = [
            {"labels": labels, "apgr": macro([each.learning[place] for each in judged.values()])["apgr"]}
            for place, labels in enumerate(task.labels)
        ]
    return report


def _common(judged: dict[str, _Judged]) -> list[str]:
    """The routers that every source has."""
    first, *others = judged.values()
    return [name for name in first.routers if all(name in other.routers for other in others)]


def _pair(task: Task, source: str) -> tuple[str, str]:
    if task.weak is not None and task.strong is not None:
        return task.weak, task.strong
    if source not in PAIRS:
        raise EvaluationError(f"{source}: say which models to route between, with --weak and --strong")
    return PAIRS[source]


def _source(task: Task, test: Recorded, train: Recorded | None, weak: str, strong: str, heads: Heads) -> _Judged:
    test = _answered(test, weak, strong)
    features = [features_of(prompt) for prompt in test.prompts]
    difficulty = difficulties(features, test.source, heads)
    ours: dict[str, Array] = {"shipped": difficulty}
    learning: list[Array] = []
    if train is not None:
        train = _answered(train, weak, strong)
        ours["adapted"] = adapted(train, weak, strong, heads).scores(features, difficulty)
        learning = [
            _figures(test, score, weak, strong, task.resamples)
            for score in _learnt(task.labels, features, train, weak, strong, heads, difficulty)
        ]
    scores = {"ours": ours.pop(task.mode), **{f"ours_{mode}": score for mode, score in ours.items()}}
    scores |= rivals(test, weak, strong, train)
    routers = {name: _figures(test, score, weak, strong, task.resamples) for name, score in scores.items()}
    report: dict[str, Any] = {
        "source": test.source,
        "prompts": len(test),
        "weak": {"model": weak, "accuracy": _mean(test.of(weak)), "cost_usd": _mean(_costs(test, weak))},
        "strong": {"model": strong, "accuracy": _mean(test.of(strong)), "cost_usd": _mean(_costs(test, strong))},
        "trained_without_source": test.source in heads.difficulty or test.source not in _seen(heads),
        "routers": {
            name: {**_named(drawn), "curve": _points(test, scores[name], weak, strong)}
            for name, drawn in routers.items()
        },
        **_calibration(test, difficulty, weak, strong, train, task.resamples),
        "k_models": None if train is None else multi_model.figures(train, test, task.resamples),
    }
    if train is not None and learning:
        report["learning_curve"] = [
            {"labels": min(labels, len(train)), "apgr": _named(drawn)["apgr"]}
            for labels, drawn in zip(task.labels, learning, strict=True)
        ]
    return _Judged(report=report, routers=routers, learning=learning)


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


MACRO = ("apgr", "cpt50", "cpt80", "auc", *(f"cost_share_at_pgr_{pgr}" for pgr in PGRS))
"""The figures that have a mean over sources; a cost is one of these as a share of the strong model's."""
_NAMES = (*MACRO, *(f"cost_usd_at_pgr_{pgr}" for pgr in PGRS))


def _figures(test: Recorded, score: Array, weak: str, strong: str, resamples: int) -> Array:
    """The figures of one router, in the order of `_NAMES`, over all prompts and over each resample."""
    low, high, cost_low, cost_high = test.of(weak), test.of(strong), _costs(test, weak), _costs(test, strong)

    def all_of(rows: np.ndarray[Any, np.dtype[np.intp]]) -> Array:
        drawn = curve(score[rows], low[rows], high[rows], cost_low[rows], cost_high[rows])
        costs = np.array([drawn.cost_at(pgr) for pgr in PGRS])
        kept = [drawn.apgr, drawn.threshold(0.5), drawn.threshold(0.8), auc(score[rows], low[rows], high[rows])]
        return np.concatenate([kept, costs / (drawn.cost[-1] or np.nan), costs])

    return resampled(all_of, test.groups, resamples=resamples)


def _named(drawn: Array) -> dict[str, Figure]:
    return dict(zip(_NAMES, intervals(drawn), strict=True))


def macro(drawn: Sequence[Array]) -> dict[str, Figure]:
    """The figures as means over the sources, which are resampled independently."""
    return _named(np.mean(np.stack(drawn), axis=0))


def _points(test: Recorded, score: Array, weak: str, strong: str) -> dict[str, list[float]]:
    """PGR by the share of prompts that the strong model gets, to draw."""
    drawn, share = curve(score, test.of(weak), test.of(strong)), np.linspace(0.0, 1.0, 51)
    return {
        "share": share.round(2).tolist(),
        "pgr": np.interp(share, drawn.share, drawn.pgr).round(4).tolist(),
    }


def _calibration(
    test: Recorded, difficulty: Array, weak: str, strong: str, train: Recorded | None, resamples: int
) -> dict[str, Any]:
    """How far the expected quality of the two models is off, once their level on this source is known from training."""
    if train is None:
        return {"calibration_error": None, "reliability": None}
    expected = [_expected(difficulty, train.of(model)) for model in (weak, strong)]
    right = [test.of(model) for model in (weak, strong)]

    def error(rows: np.ndarray[Any, np.dtype[np.intp]]) -> Array:
        errors = [calibration_error(one[rows], other[rows]) for one, other in zip(expected, right, strict=True)]
        return np.array([sum(errors) / len(errors)])

    (found,) = intervals(resampled(error, test.groups, resamples=resamples))
    return {
        "calibration_error": found,
        "reliability": reliability(np.concatenate(expected), np.concatenate(right)),
    }


def _expected(difficulty: Array, learnt: Array) -> Array:
    """The expected quality of a model that scored so in training."""
    level = _level(difficulty, float(np.clip(learnt.mean(), 0.01, 0.99)))
    return 1 / (1 + np.exp(difficulty - level))


def _level(difficulty: Array, accuracy: float) -> float:
    """The capability at which the expected quality is `accuracy` on average, by bisection."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 / (1 + np.exp(difficulty - middle))).mean() < accuracy else (low, middle)
    return low


def _learnt(
    labels: Sequence[int],
    features: list[Features],
    train: Recorded,
    weak: str,
    strong: str,
    heads: Heads,
    difficulty: Array,
) -> Iterator[Array]:
    """The scores of the adapted mode after the first n prompts of the training set, in an order drawn once."""
    order = np.random.default_rng(0).permutation(len(train))
    for many in labels:
        part = train.take(np.sort(order[:many]))
        yield adapted(part, weak, strong, heads).scores(features, difficulty) if many else difficulty
