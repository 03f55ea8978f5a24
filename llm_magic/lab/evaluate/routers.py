"""What ours is compared with: routers that need nothing, one that is told the task, and one that knows the answer."""

from __future__ import annotations

import numpy as np

from llm_magic.classify import features_of
from llm_magic.classify.features import Features
from llm_magic.classify.heads import Heads
from llm_magic.lab.evaluate.data import Recorded
from llm_magic.lab.evaluate.metrics import Array
from llm_magic.lab.fit.adapt import Adapted, adapt

TASK_SHRINK = 20.0
"""A task with so many prompts has a mean half of its own, half of all."""


def difficulties(features: list[Features], source: str, heads: Heads) -> Array:
    """The shipped head's difficulty of each prompt, by the head that has not seen the source's outcomes."""
    return np.array([heads.difficulty_of(each, without=source) for each in features])


def rivals(test: Recorded, weak: str, strong: str, train: Recorded | None) -> dict[str, Array]:
    """Scores by name: random (all equal), length, oracle, and the task prior where it can be learned."""
    gain = test.of(strong) - test.of(weak)
    found = {
        "random": np.zeros(len(test)),
        "length": np.array([float(len(prompt)) for prompt in test.prompts]),
        "oracle": gain,
    }
    if train is not None:
        found["task_prior"] = task_prior(train, test, weak, strong)
    return found


def task_prior(train: Recorded, test: Recorded, weak: str, strong: str) -> Array:
    """The mean gain that the prompt's task, which it is told, had in training."""
    gain = train.of(strong) - train.of(weak)
    mean = float(gain.mean())
    sums: dict[str, tuple[float, int]] = {}
    for task, each in zip(train.tasks, gain, strict=True):
        total, many = sums.get(task, (0.0, 0))
        sums[task] = (total + float(each), many + 1)
    means = {task: (total + TASK_SHRINK * mean) / (many + TASK_SHRINK) for task, (total, many) in sums.items()}
    return np.array([means.get(task, mean) for task in test.tasks])


def adapted(train: Recorded, weak: str, strong: str, heads: Heads) -> Adapted:
    """Ours, after it has seen these outcomes."""
    features = [features_of(prompt) for prompt in train.prompts]
    return adapt(
        features,
        train.of(weak),
        train.of(strong),
        difficulty=difficulties(features, train.source, heads),
        kinds=train.tasks,
    )
