"""Routing among many models: the cost of matching the accuracy of the best single one.

For each prompt and model, the expected quality comes from training scores on prompts of the same kind, shifted by the
prompt's difficulty, and the expected cost from training costs. The router maximizes quality - lambda * cost; varying
lambda gives a curve of accuracy against cost. A cascade counts as one more model. The best single model, the best cheap
one and the cascades are chosen on training data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_magic.answers.agreement import SAME_MISTAKE
from llm_magic.classify import features_of
from llm_magic.lab.data import Recorded
from llm_magic.lab.evaluate.cascades import CascadeColumns, anchor, candidate_cascades, expected_outcome
from llm_magic.lab.evaluate.metrics import Array, Estimate, Rows, bootstrap
from llm_magic.lab.fit.adapt import fit_kind_model
from llm_magic.lab.fit.linear import Matrix, ridge

MAX_CHEAP_COST_SHARE = 0.5
# Share of prompts with a score and a cost that a model needs to take part.
MIN_COVERAGE = 0.9
SHRINK = 20.0
# Rates at which two wrong answers of a cascade agree: as measured, and the bounds.
SAME_MISTAKES = {"assumed": SAME_MISTAKE, "never": 0.0, "always": 1.0}
# Quality points that the cost of the best single model's answer is worth.
LAMBDAS = np.concatenate([[0.0], np.geomspace(1e-3, 30.0, 120)])
DIAL_SETTINGS = (0.8, 0.85, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Expected quality and cost: prompts x (models, then cascades)."""

    quality: Array
    cost: Array

    def first(self, count: int) -> Expected:
        return Expected(quality=self.quality[:, :count], cost=self.cost[:, :count])

    def choices(self, reference_usd: float) -> list[NDArray[np.intp]]:
        """Return the chosen column per prompt at each of `LAMBDAS`."""
        return [np.argmax(self.quality - weight * self.cost / reference_usd, axis=1) for weight in LAMBDAS]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Models:
    """The models that take part, and the roles that training gives them, as indices into `names`."""

    names: list[str]
    train_columns: list[int]
    test_columns: list[int]
    best: int
    best_usd: float
    cheap: int
    cascades: tuple[CascadeColumns, ...]


def evaluate_many_models(train: Recorded, test: Recorded, resamples: int) -> dict[str, Any] | None:
    """Report the best single model, the best cheap one, and the cost of matching the former. None without costs."""
    models = _choose_models(train, test)
    if models is None:
        return None
    names, best, cheap = models.names, models.best, models.cheap
    expected = expect(train, test.prompts, models.train_columns, models.cascades)
    expected_alone = expected.first(len(names))
    scores, costs = _zero_filled(test.scores[:, models.test_columns]), _zero_filled(test.costs[:, models.test_columns])
    curves = {"": _outcomes(expected_alone.choices(models.best_usd), scores, costs)}
    if models.cascades:
        choices = expected.choices(models.best_usd)
        for name, rate in SAME_MISTAKES.items():
            curves[name] = _outcomes(choices, *_with_cascades(scores, costs, models.cascades, rate))
    cheap_accuracy, cheap_cost, shares = _cost_shares(
        curves, scores[:, [best, cheap]], costs[:, [best, cheap]], test.groups, resamples
    )
    accuracies, spent = curves[""]
    return {
        "models": names,
        "alone": [_summary(name, scores[:, index], costs[:, index]) for index, name in enumerate(names)],
        "best_single": _summary(names[best], scores[:, best], costs[:, best]),
        "best_fixed_cheap": {
            **_summary(names[cheap], scores[:, cheap], costs[:, cheap]),
            "accuracy_share": cheap_accuracy,
            "cost_share": cheap_cost,
        },
        **shares.pop(""),
        "cascade": {**_cascade_models(models), "same_mistake": shares, "anchor": anchor(train, test)}
        if models.cascades
        else None,
        "curve": [
            {"accuracy": round(float(accuracy), 6), "cost_usd": round(float(usd), 9)}
            for accuracy, usd in zip(accuracies.mean(axis=1), spent.mean(axis=1), strict=True)
        ],
        "dial": quality_dial(expected_alone, scores, costs, best),
    }


def _choose_models(train: Recorded, test: Recorded) -> _Models | None:
    trained = {train.models[column] for column in covered_columns(train)}
    names = [test.models[column] for column in covered_columns(test) if test.models[column] in trained]
    if len(names) < 2:
        return None
    columns = [train.column(name) for name in names]
    accuracy, cost = np.nanmean(train.scores[:, columns], axis=0), np.nanmean(train.costs[:, columns], axis=0)
    best = int(np.argmax(accuracy))
    cheaper = [index for index in range(len(names)) if cost[index] <= MAX_CHEAP_COST_SHARE * cost[best]]
    return _Models(
        names=names,
        train_columns=columns,
        test_columns=[test.column(name) for name in names],
        best=best,
        best_usd=float(cost[best]),
        cheap=max(cheaper, key=lambda index: accuracy[index]) if cheaper else best,
        cascades=candidate_cascades(
            _zero_filled(train.scores[:, columns]), _zero_filled(train.costs[:, columns]), cheaper
        ),
    )


def covered_columns(recorded: Recorded) -> list[int]:
    is_complete = np.isfinite(recorded.scores) & np.isfinite(recorded.costs)
    return [int(column) for column in np.flatnonzero(is_complete.mean(axis=0) >= MIN_COVERAGE)]


def expect(
    train: Recorded, prompts: Sequence[str], columns: Sequence[int], cascades: Sequence[CascadeColumns] = ()
) -> Expected:
    """Predict quality and cost for prompts from the outcomes in `train`.

    columns: of the models in `train`. The columns of a cascade are indices into `columns`.
    """
    train_features = [features_of(prompt) for prompt in train.prompts]
    features = [features_of(prompt) for prompt in prompts]
    kinds = fit_kind_model(train_features, train.tasks)
    train_matrix = Matrix.from_features(train_features, kinds.scales)
    matrix = Matrix.from_features(features, kinds.scales)
    model_scores = train.scores[:, columns]
    scores, costs = _with_cascades(model_scores, train.costs[:, columns], cascades, SAME_MISTAKE)
    quality = kinds.expect(matrix, kinds.means(scores, SHRINK))
    mean_score = np.nanmean(model_scores, axis=1)
    deviation = mean_score - kinds.expect(train_matrix, kinds.means(mean_score[:, None], SHRINK))[:, 0]
    weights, level = ridge(train_matrix, deviation, alpha=10.0, iterations=40)
    ease = matrix.times(weights) + level
    typical = float(np.clip(mean_score.mean(), 0.05, 0.95))
    logits = np.log(quality.clip(0.01, 0.99) / (1 - quality.clip(0.01, 0.99)))
    shifted = logits + (ease / (typical * (1 - typical)))[:, None]
    return Expected(quality=1 / (1 + np.exp(-shifted)), cost=kinds.expect(matrix, kinds.means(costs, SHRINK)))


def _cost_shares(
    curves: dict[str, tuple[Array, Array]], scores: Array, costs: Array, groups: Sequence[str], resamples: int
) -> tuple[Estimate, Estimate, dict[str, dict[str, Estimate]]]:
    """Return the cheap model's accuracy and cost as shares of the best one's, and each curve's cost of matching it.

    scores, costs: of the best and the cheap model.
    """

    def statistics(rows: Rows) -> Array:
        accuracy, usd = float(scores[rows, 0].mean()), float(costs[rows, 0].mean())
        shares = [float(scores[rows, 1].mean()) / accuracy, float(costs[rows, 1].mean()) / usd]
        for reached, spent in curves.values():
            # Always choosing the best single model is a point of every curve.
            levels = np.append(reached[:, rows].mean(axis=1), accuracy)
            prices = np.append(spent[:, rows].mean(axis=1), usd)
            shares += [_lowest_cost(levels, prices, wanted) / usd for wanted in (accuracy, accuracy - 0.01)]
        return np.array(shares)

    cheap_accuracy, cheap_cost, *rest = bootstrap(statistics, groups, resamples=resamples)
    shares = {
        name: {"cost_share_to_match": rest[2 * index], "cost_share_within_one_point": rest[2 * index + 1]}
        for index, name in enumerate(curves)
    }
    return cheap_accuracy, cheap_cost, shares


def _cascade_models(models: _Models) -> dict[str, list[str]]:
    cheap = sorted({column for cascade in models.cascades for column in (cascade.one, cascade.two)})
    strong = sorted({cascade.strong for cascade in models.cascades})
    return {
        "asked_first": [models.names[index] for index in cheap],
        "then": [models.names[index] for index in strong],
    }


def _with_cascades(
    scores: Array, costs: Array, cascades: Sequence[CascadeColumns], same_mistake: float
) -> tuple[Array, Array]:
    known_scores, known_costs = _zero_filled(scores), _zero_filled(costs)
    outcomes = [expected_outcome(cascade, known_scores, known_costs, same_mistake) for cascade in cascades]
    return (
        np.column_stack([scores, *(score for score, _ in outcomes)]),
        np.column_stack([costs, *(cost for _, cost in outcomes)]),
    )


def _outcomes(choices: list[NDArray[np.intp]], scores: Array, costs: Array) -> tuple[Array, Array]:
    """Return scores and costs as choices x prompts."""
    rows = np.arange(len(scores))
    return (
        np.stack([scores[rows, columns] for columns in choices]),
        np.stack([costs[rows, columns] for columns in choices]),
    )


def _zero_filled(values: Array) -> Array:
    return np.where(np.isfinite(values), values, 0.0)


def quality_dial(expected: Expected, scores: Array, costs: Array, best: int) -> list[dict[str, float]]:
    """Return accuracy and cost relative to the best single model for settings of `quality`.

    The rule is the plan's: the cheapest model with at least that share of the best candidate's expected quality.
    """
    rows = np.arange(len(scores))
    settings: list[dict[str, float]] = []
    for quality in DIAL_SETTINGS:
        is_enough = expected.quality >= quality * expected.quality.max(axis=1, keepdims=True) - 1e-9
        columns = np.argmin(np.where(is_enough, expected.cost, np.inf), axis=1)
        accuracy, best_accuracy = scores[rows, columns].mean(), scores[:, best].mean()
        settings.append(
            {
                "quality": quality,
                "accuracy_share": round(float(accuracy / best_accuracy), 6),
                "accuracy_points": round(float(accuracy - best_accuracy), 6),
                "cost_share": round(float(costs[rows, columns].mean() / costs[:, best].mean()), 6),
            }
        )
    return settings


def _lowest_cost(accuracies: Array, costs: Array, wanted: float) -> float:
    """Return the lowest cost that reaches an accuracy, mixing neighboring points of the curve."""
    order = np.argsort(costs, kind="stable")
    accuracies, costs = np.maximum.accumulate(accuracies[order]), costs[order]
    reached = np.flatnonzero(accuracies >= wanted - 1e-12)
    if not len(reached):
        return float("nan")
    after = int(reached[0])
    if after == 0 or accuracies[after] == accuracies[after - 1]:
        return float(costs[after])
    part = (wanted - accuracies[after - 1]) / (accuracies[after] - accuracies[after - 1])
    return float(costs[after - 1] + part * (costs[after] - costs[after - 1]))


def _summary(name: str, scores: Array, costs: Array) -> dict[str, Any]:
    return {"model": name, "accuracy": round(float(scores.mean()), 6), "cost_usd": round(float(costs.mean()), 9)}
