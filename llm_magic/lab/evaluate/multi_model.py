"""Choosing among many models, not two: what it costs to be as good as the best single one.

For each prompt and model, the chance of a good answer is expected from what the model scored in training on prompts of
the same kind, moved by how hard the prompt looks; the cost from what it cost there. The router takes the model with the
highest chance less lambda times cost; lambda from none to much draws a curve of accuracy against cost. With cascades,
each is weighed as one more model, by what it would have scored and cost in training. Which model is the best single
one, which the best cheap one, and which cascades there are, is decided in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_magic.answers.agreement import SAME_MISTAKE
from llm_magic.classify import features_of
from llm_magic.lab.evaluate.cascades import Cascade, anchor, cascaded, cascades
from llm_magic.lab.evaluate.data import Recorded
from llm_magic.lab.evaluate.metrics import Array, bootstrap
from llm_magic.lab.fit.adapt import kinds_of
from llm_magic.lab.fit.linear import Matrix, ridge

CHEAP = 0.5
"""A cheap model costs at most this share of the best single one."""
COVERED = 0.9
"""A model takes part where it answered this share of the prompts, at a known cost."""
SHRINK = 20.0
SAME_MISTAKES = {"assumed": SAME_MISTAKE, "never": 0.0, "always": 1.0}
"""How often two cheap models that are both wrong say the same, for a cascade: as anchored, and its bounds."""
LAMBDAS = np.concatenate([[0.0], np.geomspace(1e-3, 30.0, 120)])
"""Points of quality that the price of the best single model's answer is worth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is expected of each prompt (rows) on each model, and then each cascade (columns)."""

    quality: Array
    cost: Array

    def choices(self, price: float) -> list[NDArray[np.intp]]:
        """What each prompt is sent to, by column, at each of `LAMBDAS`. price: USD that these points are worth."""
        return [np.argmax(self.quality - weight * self.cost / price, axis=1) for weight in LAMBDAS]


def costed(recorded: Recorded) -> list[int]:
    """The columns of the models that take part."""
    there = np.isfinite(recorded.scores) & np.isfinite(recorded.costs)
    return [int(column) for column in np.flatnonzero(there.mean(axis=0) >= COVERED)]


def expected(train: Recorded, prompts: Sequence[str], columns: Sequence[int], more: Sequence[Cascade] = ()) -> Expected:
    """Learned from the outcomes in `train`: for these prompts, the models in these columns and cascades of them, whose
    own columns are places among these."""
    seen = [features_of(prompt) for prompt in train.prompts]
    asked = [features_of(prompt) for prompt in prompts]
    kinds = kinds_of(seen, train.tasks)
    matrix, other = Matrix.of(seen, kinds.scales), Matrix.of(asked, kinds.scales)
    models = train.scores[:, columns]
    scores, costs = _joined(models, train.costs[:, columns], more, SAME_MISTAKE)
    quality = kinds.expect(other, kinds.means(scores, SHRINK))
    mean = np.nanmean(models, axis=1)
    deviation = mean - kinds.expect(matrix, kinds.means(mean[:, None], SHRINK))[:, 0]
    weights, level = ridge(matrix, deviation, alpha=10.0, iterations=40)
    easier = other.times(weights) + level
    typical = float(np.clip(mean.mean(), 0.05, 0.95))
    logits = np.log(quality.clip(0.01, 0.99) / (1 - quality.clip(0.01, 0.99)))
    moved = logits + (easier / (typical * (1 - typical)))[:, None]
    return Expected(quality=1 / (1 + np.exp(-moved)), cost=kinds.expect(other, kinds.means(costs, SHRINK)))


def figures(train: Recorded, test: Recorded, resamples: int) -> dict[str, Any] | None:
    """The best single model, the best cheap one, and what ours costs to match the former; None without costs."""
    names = [test.models[column] for column in costed(test)]
    names = [name for name in names if name in train.models and train.column(name) in costed(train)]
    if len(names) < 2:
        return None
    of_train = [train.column(name) for name in names]
    of_test = [test.column(name) for name in names]
    accuracy, cost = np.nanmean(train.scores[:, of_train], axis=0), np.nanmean(train.costs[:, of_train], axis=0)
    best = int(np.argmax(accuracy))
    cheaper = [place for place in range(len(names)) if cost[place] <= CHEAP * cost[best]]
    cheap = max(cheaper, key=lambda place: accuracy[place]) if cheaper else best
    more = cascades(_known(train.scores[:, of_train]), _known(train.costs[:, of_train]), cheaper)
    weighed = expected(train, test.prompts, of_train, more)
    guess = Expected(quality=weighed.quality[:, : len(names)], cost=weighed.cost[:, : len(names)])
    scores, costs = _known(test.scores[:, of_test]), _known(test.costs[:, of_test])
    ways = {"": _outcomes(guess.choices(cost[best]), scores, costs)}
    got, paid = ways[""]
    if more:
        chosen = weighed.choices(cost[best])
        for name, same in SAME_MISTAKES.items():
            ways[name] = _outcomes(chosen, *_joined(scores, costs, more, same))

    def all_of(drawn: np.ndarray[Any, np.dtype[np.intp]]) -> Array:
        own, price = float(scores[drawn, best].mean()), float(costs[drawn, best].mean())
        shares = [float(scores[drawn, cheap].mean()) / own, float(costs[drawn, cheap].mean()) / price]
        for reached, spent in ways.values():
            # To ask the best single model always is a setting too.
            levels = np.append(reached[:, drawn].mean(axis=1), own)
            prices = np.append(spent[:, drawn].mean(axis=1), price)
            shares += [_least(levels, prices, own) / price, _least(levels, prices, own - 0.01) / price]
        return np.array(shares)

    cheap_score, cheap_cost, *found = bootstrap(all_of, test.groups, resamples=resamples)
    costs_of = {name: _shares(found[2 * place : 2 * place + 2]) for place, name in enumerate(ways)}
    return {
        "models": names,
        "alone": [_of(name, scores[:, place], costs[:, place]) for place, name in enumerate(names)],
        "best_single": _of(names[best], scores[:, best], costs[:, best]),
        "best_fixed_cheap": {
            **_of(names[cheap], scores[:, cheap], costs[:, cheap]),
            "accuracy_share": cheap_score,
            "cost_share": cheap_cost,
        },
        **costs_of.pop(""),
        "cascade": {
            "asked_first": [names[place] for place in sorted({at for each in more for at in (each.one, each.two)})],
            "then": [names[place] for place in sorted({each.strong for each in more})],
            "same_mistake": costs_of,
            "anchor": anchor(train, test),
        }
        if more
        else None,
        "curve": [
            {"accuracy": round(float(a), 6), "cost_usd": round(float(c), 9)}
            for a, c in zip(got.mean(axis=1), paid.mean(axis=1), strict=True)
        ],
        "dial": dial(guess, scores, costs, best),
    }


def _joined(scores: Array, costs: Array, more: Sequence[Cascade], same_mistake: float) -> tuple[Array, Array]:
    """The scores and costs of the models, and behind them those of the cascades."""
    known, spent = _known(scores), _known(costs)
    of_them = [cascaded(each, known, spent, same_mistake) for each in more]
    return np.column_stack([scores, *(one for one, _ in of_them)]), np.column_stack(
        [costs, *(two for _, two in of_them)]
    )


def _outcomes(chosen: list[NDArray[np.intp]], scores: Array, costs: Array) -> tuple[Array, Array]:
    """What each choice (rows) gets for each prompt (columns), and what it pays."""
    rows = np.arange(len(scores))
    return np.stack([scores[rows, pick] for pick in chosen]), np.stack([costs[rows, pick] for pick in chosen])


def _known(values: Array) -> Array:
    return np.where(np.isfinite(values), values, 0.0)


def _shares(found: list[dict[str, float | None]]) -> dict[str, dict[str, float | None]]:
    return dict(zip(("cost_share_to_match", "cost_share_within_one_point"), found, strict=True))


def dial(guess: Expected, scores: Array, costs: Array, best: int) -> list[dict[str, float]]:
    """Accuracy and cost against the best single model's for settings of `quality`, as the plan uses it: the cheapest
    model whose expected quality is at least that share of the best candidate's."""
    rows = np.arange(len(scores))
    settings: list[dict[str, float]] = []
    for quality in (0.8, 0.85, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 1.0):
        enough = guess.quality >= quality * guess.quality.max(axis=1, keepdims=True) - 1e-9
        pick = np.argmin(np.where(enough, guess.cost, np.inf), axis=1)
        settings.append(
            {
                "quality": quality,
                "accuracy_share": round(float(scores[rows, pick].mean() / scores[:, best].mean()), 6),
                "accuracy_points": round(float(scores[rows, pick].mean() - scores[:, best].mean()), 6),
                "cost_share": round(float(costs[rows, pick].mean() / costs[:, best].mean()), 6),
            }
        )
    return settings


def _least(reached: Array, spent: Array, wanted: float) -> float:
    """The least cost at which the accuracy is reached, mixing neighbouring points of the curve."""
    order = np.argsort(spent, kind="stable")
    reached, spent = np.maximum.accumulate(reached[order]), spent[order]
    above = np.flatnonzero(reached >= wanted - 1e-12)
    if not len(above):
        return float("nan")
    after = int(above[0])
    if after == 0 or reached[after] == reached[after - 1]:
        return float(spent[after])
    part = (wanted - reached[after - 1]) / (reached[after] - reached[after - 1])
    return float(spent[after - 1] + part * (spent[after] - spent[after - 1]))


def _of(name: str, scores: Array, costs: Array) -> dict[str, Any]:
    return {"model": name, "accuracy": round(float(scores.mean()), 6), "cost_usd": round(float(costs.mean()), 9)}
