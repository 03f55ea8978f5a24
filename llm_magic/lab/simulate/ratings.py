"""Whether learning from ratings works: `python -m llm_magic.lab.simulate.ratings FOLDER`.

A router that starts from assumed capabilities answers the folder's `train` prompts; every answer is rated by its
recorded score, and `%route_tune`'s step is applied after every 300. Printed is how it then routes the `dev` prompts.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np

from llm_magic.lab.simulate.lineups import CASTS, Cast, Role
from llm_magic.lab.simulate.make_dataset import read
from llm_magic.lab.simulate.simulator import choices
from llm_magic.lab.simulate.table import Array, Outcomes
from llm_magic.registry import Registry
from llm_magic.tuning import tune, tuned
from llm_magic.types import Attempt, ModelSpec, Outcome, ProviderSpec, TaskTier, Usage

AT_ONCE = 300
"""Ratings between two applications."""
LABELS = (0, 300, 1_500)
_TIERS = list(TaskTier)
_SERVES: dict[Role, TaskTier] = {"top": TaskTier.COMPLEX, "mid": TaskTier.STANDARD, "cheap": TaskTier.BULK}


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """How a router does after so many ratings."""

    labels: int
    score: float
    """Mean, on the prompts that it is judged on."""
    cost_share: float
    """Of asking the top model for everything."""


def assumed(cast: Cast) -> Registry:
    """The models of a cast as ones that nobody has measured."""
    return Registry(
        models=[
            ModelSpec(
                id=player.model,
                provider=player.provider,
                tiers=(_SERVES[player.role],),
                context_window=128_000,
                max_output_tokens=4_096,
            )
            for player in cast.players
        ],
        providers=[ProviderSpec(name=name) for name in dict.fromkeys(player.provider for player in cast.players)],
    )


def learn(
    rated: Outcomes, judged: Outcomes, cast: Cast, quality: float, seed: int, labels: Sequence[int] = LABELS
) -> Iterator[Learnt]:
    """After each number of ratings, how the router does. The prompts come in an order that the seed shuffles."""
    packaged = now = assumed(cast)
    order = np.random.default_rng(seed).permutation(len(rated))
    rows: list[Attempt] = []
    for many in labels:
        while len(rows) < min(many, len(order)):
            part = order[len(rows) : len(rows) + min(AT_ONCE, many - len(rows))]
            chosen, _ = choices(_as_in(now, rated), cast, quality)
            rows += [_rated(rated, int(row), int(chosen[row])) for row in part]
            now = tuned(packaged, tune(rows, packaged))
        chosen, _ = choices(_as_in(now, judged), cast, quality)
        every = np.arange(len(judged))
        top = judged.costs[:, judged.column(cast.models("top")[0])].mean()
        yield Learnt(
            labels=many,
            score=float(judged.scores[every, chosen].mean()),
            cost_share=float(judged.costs[every, chosen].mean() / top),
        )


def _as_in(registry: Registry, outcomes: Outcomes) -> Outcomes:
    """The outcomes with what the registry thinks of the models."""
    capability: Array = np.array([[registry[model].capability[tier] for tier in _TIERS] for model in outcomes.models])
    return dataclasses.replace(outcomes, capability=capability)


def _rated(outcomes: Outcomes, row: int, column: int) -> Attempt:
    """The row of an answer, rated by its score."""
    tier = _TIERS[int(outcomes.probabilities[row].argmax())]
    return Attempt(
        run_id=str(row),
        attempt=1,
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        tier=tier,
        confidence=float(outcomes.probabilities[row].max()),
        difficulty=float(outcomes.difficulty[row]),
        provider="",
        model=outcomes.models[column],
        served_model=None,
        outcome=Outcome.OK,
        error=None,
        fallback_from=None,
        usage=Usage(),
        cost_usd=Decimal(0),
        cost_estimated=False,
        baseline_usd=Decimal(0),
        price_source="",
        ttft_s=None,
        latency_s=0.0,
        session_id="",
        tags=(),
        rating=1 if outcomes.scores[row, column] >= 0.5 else -1,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m llm_magic.lab.simulate.ratings", description=__doc__)
    parser.add_argument("folder", type=Path, help="with {train,dev}_{prompts,outcomes}.parquet")
    parser.add_argument("--quality", type=float, nargs="+", default=[0.9, 0.97])
    parser.add_argument("--seeds", type=int, default=20)
    args = parser.parse_args()
    for rated, judged in read(args.folder):
        cast = CASTS[judged.source]
        best = max(judged.scores[:, judged.column(model)].mean() for model in cast.models())
        for quality in args.quality:
            runs = [list(learn(rated, judged, cast, quality, seed)) for seed in range(args.seeds)]
            told = "; ".join(
                f"{each[0].labels:,}: {np.mean([one.score for one in each]):.3f} at "
                f"{np.mean([one.cost_share for one in each]):.0%}"
                for each in zip(*runs, strict=True)
            )
            sys.stdout.write(f"{judged.source}, quality {quality}: wanted {quality * best:.3f}; {told}\n")


if __name__ == "__main__":
    main()
