"""The report of `llm-magic eval` on outcomes: routing between two models, per source and overall."""

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
from llm_magic.lab.data import Recorded, read_outcomes
from llm_magic.lab.evaluate.metrics import (
    RESAMPLES,
    Array,
    Estimate,
    Rows,
    auc,
    calibration_error,
    estimates,
    reliability,
    resample,
    routing_curve,
)
from llm_magic.lab.evaluate.multi_model import evaluate_many_models
from llm_magic.lab.evaluate.routers import baseline_scores, difficulties, fit_adapted

Mode = Literal["shipped", "adapted"]

# The weak and the strong model of each source of MACRO6, the mean over six sources.
MODEL_PAIRS = {
    "routellm": ("mixtral-8x7b-instruct-v0.1", "gpt-4-1106-preview"),
    "zeroeval": ("claude-3-haiku-20240307", "claude-3-5-sonnet-20241022"),
    "mmlupro": ("llama-3.1-8b-instruct", "llama-3.1-70b-instruct"),
    "bfcl": ("claude-3-haiku-20240307", "claude-3-5-sonnet-20240620"),
    "routerbench": ("mistralai/mixtral-8x7b-chat", "gpt-4-1106-preview"),
    "fusion": ("mistral-7b-instruct-v0.3", "llama-3.1-nemotron-51b-instruct"),
}
PGRS = (0.5, 0.8, 0.95, 1.0)
# Metrics that can be averaged over sources. Costs are shares of the strong model's.
MACRO_METRICS = ("apgr", "cpt50", "cpt80", "auc", *(f"cost_share_at_pgr_{pgr}" for pgr in PGRS))
METRICS = (*MACRO_METRICS, *(f"cost_usd_at_pgr_{pgr}" for pgr in PGRS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    prompts: Path
    outcomes: Path
    train_prompts: Path | None = None
    train_outcomes: Path | None = None
    mode: Mode = "shipped"
    weak: str | None = None
    strong: str | None = None
    source: str | None = None
    learning_sizes: tuple[int, ...] = ()
    resamples: int = RESAMPLES


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """One source with two models that every prompt was answered by."""

    test: Recorded
    train: Recorded | None
    weak: str
    strong: str
    heads: Heads
    features: list[Features]
    difficulty: Array
    resamples: int

    def metrics(self, score: Array) -> Array:
        """Return resamples x `METRICS` of one router."""
        weak, strong = self.test.scores_of(self.weak), self.test.scores_of(self.strong)
        weak_cost, strong_cost = self.test.costs_of(self.weak), self.test.costs_of(self.strong)

        def statistics(rows: Rows) -> Array:
            curve = routing_curve(score[rows], weak[rows], strong[rows], weak_cost[rows], strong_cost[rows])
            costs = np.array([curve.cost_at(pgr) for pgr in PGRS])
            ordering = [
                curve.apgr,
                curve.threshold(0.5),
                curve.threshold(0.8),
                auc(score[rows], weak[rows], strong[rows]),
            ]
            return np.concatenate([ordering, costs / (curve.cost[-1] or np.nan), costs])

        return resample(statistics, self.test.groups, resamples=self.resamples)

    def points(self, score: Array) -> dict[str, list[float]]:
        curve = routing_curve(score, self.test.scores_of(self.weak), self.test.scores_of(self.strong))
        share = np.linspace(0.0, 1.0, 51)
        return {
            "share": share.round(2).tolist(),
            "pgr": np.interp(share, curve.share, curve.pgr).round(4).tolist(),
        }

    def model(self, name: str) -> dict[str, Any]:
        return {
            "model": name,
            "accuracy": _mean(self.test.scores_of(name)),
            "cost_usd": _mean(self.test.costs_of(name)),
        }

    def adapted_scores(self, train: Recorded) -> Array:
        return fit_adapted(train, self.weak, self.strong, self.heads).scores(self.features, self.difficulty)

    def learning_scores(self, sizes: Sequence[int]) -> Iterator[Array]:
        """Yield the adapted scores after the first n training prompts, in one random order."""
        if self.train is None:
            return
        order = np.random.default_rng(0).permutation(len(self.train))
        for count in sizes:
            yield self.adapted_scores(self.train.take(np.sort(order[:count]))) if count else self.difficulty

    def calibration(self) -> dict[str, Any]:
        """Report the calibration of expected quality, with each model's level known from training."""
        if self.train is None:
            return {"calibration_error": None, "reliability": None}
        models = (self.weak, self.strong)
        expected = [_expected_quality(self.difficulty, self.train.scores_of(model)) for model in models]
        correct = [self.test.scores_of(model) for model in models]

        def statistics(rows: Rows) -> Array:
            errors = [calibration_error(one[rows], two[rows]) for one, two in zip(expected, correct, strict=True)]
            return np.array([sum(errors) / len(errors)])

        (error,) = estimates(resample(statistics, self.test.groups, resamples=self.resamples))
        return {
            "calibration_error": error,
            "reliability": reliability(np.concatenate(expected), np.concatenate(correct)),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _SourceResult:
    report: dict[str, Any]
    routers: dict[str, Array]
    learning: list[Array]


def evaluate(task: Task, heads: Heads | None = None) -> dict[str, Any]:
    """Return the report. Its `apgr` is that of llm_magic, averaged over the sources."""
    if task.mode == "adapted" and (task.train_prompts is None or task.train_outcomes is None):
        raise EvaluationError("--mode adapted learns from --train-prompts and --train-outcomes: give both")
    sources = None if task.source is None else (task.source,)
    tests = read_outcomes(task.prompts, task.outcomes, sources)
    trains: dict[str, Recorded] = {}
    if task.train_prompts is not None and task.train_outcomes is not None:
        trains = read_outcomes(task.train_prompts, task.train_outcomes, sources)
    heads = heads or shipped_heads()
    results = {name: _evaluate_source(task, test, trains.get(name), heads) for name, test in tests.items()}
    routers = {name: macro([result.routers[name] for result in results.values()]) for name in _common(results)}
    report: dict[str, Any] = {
        "format": 2,
        "mode": task.mode,
        "apgr": routers["ours"]["apgr"],
        "sources": {name: result.report for name, result in results.items()},
        "macro": {name: {metric: metrics[metric] for metric in MACRO_METRICS} for name, metrics in routers.items()},
    }
    if len(results) == 1:
        return {**report, **next(iter(report["sources"].values())), "apgr": report["apgr"]}
    if all(result.learning for result in results.values()):
        report["learning_curve"] = [
            {"labels": size, "apgr": macro([result.learning[index] for result in results.values()])["apgr"]}
            for index, size in enumerate(task.learning_sizes)
        ]
    return report


def macro(resampled: Sequence[Array]) -> dict[str, Estimate]:
    """Average the metrics of one router over the sources, which are resampled independently."""
    return _named(np.mean(np.stack(resampled), axis=0))


def _common(results: dict[str, _SourceResult]) -> list[str]:
    first, *others = results.values()
    return [name for name in first.routers if all(name in other.routers for other in others)]


def _evaluate_source(task: Task, test: Recorded, train: Recorded | None, heads: Heads) -> _SourceResult:
    pair = _pair(task, test, train, heads)
    own_scores: dict[str, Array] = {"shipped": pair.difficulty}
    if pair.train is not None:
        own_scores["adapted"] = pair.adapted_scores(pair.train)
    learning = [pair.metrics(score) for score in pair.learning_scores(task.learning_sizes)]
    scores = {"ours": own_scores.pop(task.mode), **{f"ours_{mode}": score for mode, score in own_scores.items()}}
    scores |= baseline_scores(pair.test, pair.weak, pair.strong, pair.train)
    routers = {name: pair.metrics(score) for name, score in scores.items()}
    report: dict[str, Any] = {
        "source": pair.test.source,
        "prompts": len(pair.test),
        "weak": pair.model(pair.weak),
        "strong": pair.model(pair.strong),
        "trained_without_source": True,  # every source of the training data has a head that was trained without it
        "routers": {
            name: {**_named(resampled), "curve": pair.points(scores[name])} for name, resampled in routers.items()
        },
        **pair.calibration(),
        "k_models": None if pair.train is None else evaluate_many_models(pair.train, pair.test, task.resamples),
    }
    if pair.train is not None and learning:
        report["learning_curve"] = [
            {"labels": min(size, len(pair.train)), "apgr": _named(resampled)["apgr"]}
            for size, resampled in zip(task.learning_sizes, learning, strict=True)
        ]
    return _SourceResult(report=report, routers=routers, learning=learning)


def _pair(task: Task, test: Recorded, train: Recorded | None, heads: Heads) -> _Pair:
    if task.weak is not None and task.strong is not None:
        weak, strong = task.weak, task.strong
    elif test.source in MODEL_PAIRS:
        weak, strong = MODEL_PAIRS[test.source]
    else:
        raise EvaluationError(f"{test.source}: say which models to route between, with --weak and --strong")
    answered = _answered_by_both(test, weak, strong)
    features = [features_of(prompt) for prompt in answered.prompts]
    return _Pair(
        test=answered,
        train=None if train is None else _answered_by_both(train, weak, strong),
        weak=weak,
        strong=strong,
        heads=heads,
        features=features,
        difficulty=difficulties(features, test.source, heads),
        resamples=task.resamples,
    )


def _answered_by_both(recorded: Recorded, weak: str, strong: str) -> Recorded:
    rows = np.flatnonzero(np.isfinite(recorded.scores_of(weak)) & np.isfinite(recorded.scores_of(strong)))
    if not len(rows):
        raise EvaluationError(f"{recorded.source}: no prompt was answered by both {weak!r} and {strong!r}")
    answered = recorded.take(rows)
    if abs(float((answered.scores_of(strong) - answered.scores_of(weak)).sum())) < 1e-9:
        raise EvaluationError(f"{recorded.source}: {weak!r} and {strong!r} are equally good: no gap to recover")
    return answered


def _mean(values: Array) -> float | None:
    return round(float(np.nanmean(values)), 9) if np.isfinite(values).any() else None


def _named(resampled: Array) -> dict[str, Estimate]:
    return dict(zip(METRICS, estimates(resampled), strict=True))


def _expected_quality(difficulty: Array, training_scores: Array) -> Array:
    level = _capability_level(difficulty, float(np.clip(training_scores.mean(), 0.01, 0.99)))
    return 1 / (1 + np.exp(difficulty - level))


def _capability_level(difficulty: Array, accuracy: float) -> float:
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 / (1 + np.exp(difficulty - middle))).mean() < accuracy else (low, middle)
    return low
