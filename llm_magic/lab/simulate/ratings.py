"""Simulation of tuning by ratings: `python -m llm_magic.lab.simulate.ratings FOLDER`.

A router with assumed capabilities answers the `train` prompts of a folder. Every answer is rated by its recorded score,
and capabilities are tuned (as by `%route_tune`) after every 300. The output is how it then routes the `dev` prompts.
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

from llm_magic.lab.simulate.dataset import Array, Outcomes
from llm_magic.lab.simulate.lineups import LINEUPS, Lineup, Role
from llm_magic.lab.simulate.make_dataset import train_and_dev_outcomes
from llm_magic.lab.simulate.simulator import planned_choices
from llm_magic.registry import Registry
from llm_magic.tuning import apply_tuning, tune
from llm_magic.types import Attempt, ModelSpec, Outcome, ProviderSpec, TaskTier, Usage

RATINGS_PER_UPDATE = 300
RATING_COUNTS = (0, 300, 1_500)
_TIERS = list(TaskTier)
_TIER_OF_ROLE: dict[Role, TaskTier] = {"top": TaskTier.COMPLEX, "mid": TaskTier.STANDARD, "cheap": TaskTier.BULK}


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningResult:
    """The routing of the evaluation prompts after a number of ratings.

    cost_share: cost relative to the top model's for all prompts.
    """

    ratings: int
    score: float
    cost_share: float


def assumed_registry(lineup: Lineup) -> Registry:
    providers = dict.fromkeys(member.provider for member in lineup.members)
    return Registry(
        models=[
            ModelSpec(
                id=member.model,
                provider=member.provider,
                tiers=(_TIER_OF_ROLE[member.role],),
                context_window=128_000,
                max_output_tokens=4_096,
            )
            for member in lineup.members
        ],
        providers=[ProviderSpec(name=name) for name in providers],
    )


def simulate_tuning(
    train: Outcomes,
    evaluation: Outcomes,
    lineup: Lineup,
    quality: float,
    seed: int,
    rating_counts: Sequence[int] = RATING_COUNTS,
) -> Iterator[TuningResult]:
    """Yield the result after each number of ratings. The seed shuffles the training prompts."""
    base = tuned_registry = assumed_registry(lineup)
    order = np.random.default_rng(seed).permutation(len(train))
    rows: list[Attempt] = []
    for count in rating_counts:
        while len(rows) < min(count, len(order)):
            part = order[len(rows) : len(rows) + min(RATINGS_PER_UPDATE, count - len(rows))]
            chosen, _ = planned_choices(_with_capabilities(train, tuned_registry), lineup, quality)
            rows += [_rated_attempt(train, int(row), int(chosen[row])) for row in part]
            tuned_registry = apply_tuning(base, tune(rows, base))
        chosen, _ = planned_choices(_with_capabilities(evaluation, tuned_registry), lineup, quality)
        prompts = np.arange(len(evaluation))
        top_usd = evaluation.costs[:, evaluation.column(lineup.models("top")[0])].mean()
        yield TuningResult(
            ratings=count,
            score=float(evaluation.scores[prompts, chosen].mean()),
            cost_share=float(evaluation.costs[prompts, chosen].mean() / top_usd),
        )


def _with_capabilities(outcomes: Outcomes, registry: Registry) -> Outcomes:
    capability: Array = np.array([[registry[model].capability[tier] for tier in _TIERS] for model in outcomes.models])
    return dataclasses.replace(outcomes, capability=capability)


def _rated_attempt(outcomes: Outcomes, row: int, column: int) -> Attempt:
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
    parser = argparse.ArgumentParser(
        prog="python -m llm_magic.lab.simulate.ratings", description="Simulate tuning by ratings."
    )
    parser.add_argument("folder", type=Path, help="with {train,dev}_{prompts,outcomes}.parquet")
    parser.add_argument("--quality", type=float, nargs="+", default=[0.9, 0.97])
    parser.add_argument("--seeds", type=int, default=20)
    args = parser.parse_args()
    for train, evaluation in train_and_dev_outcomes(args.folder):
        lineup = LINEUPS[evaluation.source]
        best = max(evaluation.scores[:, evaluation.column(model)].mean() for model in lineup.models())
        for quality in args.quality:
            runs = [list(simulate_tuning(train, evaluation, lineup, quality, seed)) for seed in range(args.seeds)]
            results = "; ".join(
                f"{results[0].ratings:,}: {np.mean([result.score for result in results]):.3f} at "
                f"{np.mean([result.cost_share for result in results]):.0%}"
                for results in zip(*runs, strict=True)
            )
            sys.stdout.write(f"{evaluation.source}, quality {quality}: wanted {quality * best:.3f}; {results}\n")


if __name__ == "__main__":
    main()
