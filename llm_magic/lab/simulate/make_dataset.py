"""Generator of outcomes.npz: `python -m llm_magic.lab.simulate.make_dataset FOLDER`.

It uses the `dev` prompts of a folder of recorded outcomes, which no head was trained on, and stores the classifier's
results for them instead of the prompts. Capabilities and typical costs come from the `train` prompts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from llm_magic.classify import LinearClassifier, features_of
from llm_magic.classify.heads import Heads, shipped_heads
from llm_magic.lab.data import Recorded, read_outcomes
from llm_magic.lab.simulate.dataset import Array, Outcomes, save_outcomes
from llm_magic.lab.simulate.lineups import LINEUPS
from llm_magic.types import TaskTier

# Weight of a model's overall level in its capability per tier, in prompts, so that rare tiers count little.
PRIOR_PROMPTS = 20.0


def dev_outcomes(folder: Path) -> list[Outcomes]:
    dev, train = _read(folder)
    return [_outcomes(dev[source], train[source], shipped_heads()) for source in LINEUPS]


def train_and_dev_outcomes(folder: Path) -> list[tuple[Outcomes, Outcomes]]:
    dev, train = _read(folder)
    heads = shipped_heads()
    return [
        (_outcomes(train[source], train[source], heads), _outcomes(dev[source], train[source], heads))
        for source in LINEUPS
    ]


def _read(folder: Path) -> tuple[dict[str, Recorded], dict[str, Recorded]]:
    dev, train = (
        read_outcomes(folder / f"{part}_prompts.parquet", folder / f"{part}_outcomes.parquet", tuple(LINEUPS))
        for part in ("dev", "train")
    )
    return dev, train


def _outcomes(recorded: Recorded, train: Recorded, heads: Heads) -> Outcomes:
    models = LINEUPS[recorded.source].models()
    columns = [recorded.column(model) for model in models]
    has_scores = np.isfinite(recorded.scores[:, columns]).all(axis=1)
    complete = recorded.take(np.flatnonzero(has_scores & np.isfinite(recorded.costs[:, columns]).all(axis=1)))
    probabilities, difficulty = _classify(complete, heads)
    train_columns = [train.column(model) for model in models]
    return Outcomes(
        source=recorded.source,
        models=models,
        tasks=complete.tasks,
        scores=complete.scores[:, columns],
        costs=complete.costs[:, columns],
        output_tokens=np.nan_to_num(complete.output_tokens[:, columns]),
        probabilities=probabilities,
        difficulty=difficulty,
        capability=_capabilities(train.scores[:, train_columns], *_classify(train, heads)),
        typical_usd=np.nanmean(train.costs[:, train_columns], axis=0),
    )


def _classify(recorded: Recorded, heads: Heads) -> tuple[Array, Array]:
    classifier = LinearClassifier(heads)
    results = [classifier.classify(prompt) for prompt in recorded.prompts]
    probabilities = np.array([[result.probabilities[tier] for tier in TaskTier] for result in results])
    difficulty = np.array(
        [heads.difficulty_of(features_of(prompt), without=recorded.source) for prompt in recorded.prompts]
    )
    return probabilities, difficulty


def _capabilities(scores: Array, probabilities: Array, difficulty: Array) -> Array:
    """Return models x tiers: the levels at which the expected number of correct answers is the recorded one."""
    levels = np.zeros((scores.shape[1], probabilities.shape[1]))
    for model in range(scores.shape[1]):
        answered = np.isfinite(scores[:, model])
        correct, hard, weights = scores[answered, model], difficulty[answered], probabilities[answered]
        overall = _level(correct, hard, np.ones(len(correct)), around=0.0, prior=1.0)
        for tier in range(probabilities.shape[1]):
            levels[model, tier] = _level(correct, hard, weights[:, tier], around=overall, prior=PRIOR_PROMPTS)
    return levels


def _level(correct: Array, difficulty: Array, weight: Array, *, around: float, prior: float) -> float:
    """Solve sum of weight * (correct - chance) = prior * 0.25 * (level - around) by Newton's method."""
    level = around
    for _ in range(50):
        chance = 1 / (1 + np.exp(difficulty - level))
        gradient = float(weight @ (correct - chance)) - prior * 0.25 * (level - around)
        step = gradient / (float(weight @ (chance * (1 - chance))) + prior * 0.25)
        level += max(-2.0, min(2.0, step))
        if abs(step) < 1e-9:
            break
    return level


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m llm_magic.lab.simulate.make_dataset", description="Generate outcomes.npz."
    )
    parser.add_argument("folder", type=Path, help="with {train,dev}_{prompts,outcomes}.parquet")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("outcomes.npz"))
    args = parser.parse_args()
    sources = dev_outcomes(args.folder)
    with args.out.open("wb") as file:
        save_outcomes(file, sources)
    counts = ", ".join(f"{outcomes.source} {len(outcomes):,}" for outcomes in sources)
    sys.stderr.write(f"{args.out}: {counts} prompts\n")


if __name__ == "__main__":
    main()
