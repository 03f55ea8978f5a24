"""Makes outcomes.npz from a folder of recorded outcomes: `python -m llm_magic.lab.simulate.make_dataset FOLDER`.

The prompts are the folder's `dev` ones, which no head has seen; the router's scores of them are recorded, not the
prompts. Capabilities and typical costs come from its `train` ones. The same folder gives the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from llm_magic.classify import HeadsClassifier, features_of
from llm_magic.classify.heads import Heads, shipped_heads
from llm_magic.lab.evaluate.data import Recorded, read_outcomes
from llm_magic.lab.simulate.lineups import CASTS
from llm_magic.lab.simulate.table import Array, Outcomes, save
from llm_magic.types import TaskTier

PRIOR = 20.0
"""Prompts that a tier's capability counts for at the model's level over all tiers, so that a rare tier says little."""


def build(folder: Path) -> list[Outcomes]:
    """The `dev` outcomes of each source that has a cast."""
    dev, train = _recorded(folder)
    return [_outcomes(dev[source], train[source], shipped_heads()) for source in CASTS]


def read(folder: Path) -> list[tuple[Outcomes, Outcomes]]:
    """The `train` and the `dev` outcomes of each source that has a cast."""
    dev, train = _recorded(folder)
    return [
        (
            _outcomes(train[source], train[source], shipped_heads()),
            _outcomes(dev[source], train[source], shipped_heads()),
        )
        for source in CASTS
    ]


def _recorded(folder: Path) -> tuple[dict[str, Recorded], dict[str, Recorded]]:
    dev, train = (
        read_outcomes(folder / f"{part}_prompts.parquet", folder / f"{part}_outcomes.parquet", tuple(CASTS))
        for part in ("dev", "train")
    )
    return dev, train


def _outcomes(dev: Recorded, train: Recorded, heads: Heads) -> Outcomes:
    models = CASTS[dev.source].models()
    columns = [dev.column(model) for model in models]
    whole = np.isfinite(dev.scores[:, columns]).all(axis=1) & np.isfinite(dev.costs[:, columns]).all(axis=1)
    kept = dev.take(np.flatnonzero(whole))
    shares, hard = _judged(kept, heads)
    train_columns = [train.column(model) for model in models]
    return Outcomes(
        source=dev.source,
        models=models,
        tasks=kept.tasks,
        scores=kept.scores[:, columns],
        costs=kept.costs[:, columns],
        output_tokens=np.nan_to_num(kept.output_tokens[:, columns]),
        probabilities=shares,
        difficulty=hard,
        capability=_capability(train.scores[:, train_columns], *_judged(train, heads)),
        typical_usd=np.nanmean(train.costs[:, train_columns], axis=0),
    )


def _judged(recorded: Recorded, heads: Heads) -> tuple[Array, Array]:
    """What the router makes of each prompt, its difficulty by the head that has not seen this source."""
    classifier = HeadsClassifier(heads)
    read = [classifier.classify(text) for text in recorded.prompts]
    shares = np.array([[one.probabilities[tier] for tier in TaskTier] for one in read])
    hard = np.array([heads.difficulty_of(features_of(text), without=recorded.source) for text in recorded.prompts])
    return shares, hard


def _capability(scores: Array, shares: Array, hard: Array) -> Array:
    """By model and tier, in logits: the level at which the expected right answers are those that were given."""
    levels = np.zeros((scores.shape[1], shares.shape[1]))
    for model in range(scores.shape[1]):
        there = np.isfinite(scores[:, model])
        right, difficulty, weights = scores[there, model], hard[there], shares[there]
        overall = _level(right, difficulty, np.ones(len(right)), 0.0, 1.0)
        for tier in range(shares.shape[1]):
            levels[model, tier] = _level(right, difficulty, weights[:, tier], overall, PRIOR)
    return levels


def _level(right: Array, difficulty: Array, weight: Array, around: float, prior: float) -> float:
    """Newton's method on sum of weight * (right - chance) = prior * spread * (level - around)."""
    level = around
    for _ in range(50):
        chance = 1 / (1 + np.exp(difficulty - level))
        gradient = float(weight @ (right - chance)) - prior * 0.25 * (level - around)
        step = gradient / (float(weight @ (chance * (1 - chance))) + prior * 0.25)
        level += max(-2.0, min(2.0, step))
        if abs(step) < 1e-9:
            break
    return level


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m llm_magic.lab.simulate.make_dataset", description=__doc__)
    parser.add_argument("folder", type=Path, help="with {train,dev}_{prompts,outcomes}.parquet")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("outcomes.npz"))
    args = parser.parse_args()
    many = build(args.folder)
    with args.out.open("wb") as file:
        save(file, many)
    sys.stderr.write(f"{args.out}: {', '.join(f'{each.source} {len(each):,}' for each in many)} prompts\n")


if __name__ == "__main__":
    main()
