"""Routers to compare with: ones that need nothing, one that is told the task, and one that knows the answer."""

from __future__ import annotations

import numpy as np

from llm_magic.classify import features_of
from llm_magic.classify.features import Features
from llm_magic.classify.heads import Heads
from llm_magic.lab.data import Recorded
from llm_magic.lab.evaluate.metrics import Array
from llm_magic.lab.fit.adapt import TASK_SHRINK, AdaptedHead, adapt


def difficulties(features: list[Features], source: str, heads: Heads) -> Array:
    """Return each prompt's difficulty by the head that was not trained on the source."""
    return np.array([heads.difficulty_of(prompt, without=source) for prompt in features])


def baseline_scores(test: Recorded, weak: str, strong: str, train: Recorded | None) -> dict[str, Array]:
    """Return scores by router name. `task_prior` needs training data, and `random` scores all prompts equally."""
    scores = {
        "random": np.zeros(len(test)),
        "length": np.array([float(len(prompt)) for prompt in test.prompts]),
        "oracle": test.scores_of(strong) - test.scores_of(weak),
    }
    if train is not None:
        scores["task_prior"] = _task_prior(train, test, weak, strong)
    return scores


def _task_prior(train: Recorded, test: Recorded, weak: str, strong: str) -> Array:
    gains = train.scores_of(strong) - train.scores_of(weak)
    overall = float(gains.mean())
    sums: dict[str, tuple[float, int]] = {}
    for task, gain in zip(train.tasks, gains, strict=True):
        total, count = sums.get(task, (0.0, 0))
        sums[task] = (total + float(gain), count + 1)
    means = {task: (total + TASK_SHRINK * overall) / (count + TASK_SHRINK) for task, (total, count) in sums.items()}
    return np.array([means.get(task, overall) for task in test.tasks])


def fit_adapted(train: Recorded, weak: str, strong: str, heads: Heads) -> AdaptedHead:
    features = [features_of(prompt) for prompt in train.prompts]
    return adapt(
        features,
        train.scores_of(weak),
        train.scores_of(strong),
        difficulty=difficulties(features, train.source, heads),
        kinds=train.tasks,
    )
