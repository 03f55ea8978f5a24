"""Shadow runs replayed on recorded outcomes: the routing of other prompts before and after a number of comparisons."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from llm_magic import tuning
from llm_magic.answers.agreement import SAME_MISTAKE
from llm_magic.lab.evaluate.cascades import agreement_probability
from llm_magic.lab.simulate.dataset import Array, Outcomes
from llm_magic.lab.simulate.judges import SimulatedJudge
from llm_magic.lab.simulate.lineups import LINEUPS, Lineup
from llm_magic.lab.simulate.ratings import assumed_registry
from llm_magic.lab.simulate.simulator import planned_choices
from llm_magic.plan.acceptance import estimate_agreement
from llm_magic.plan.cascade import MAX_COST_SHARE
from llm_magic.registry import Registry
from llm_magic.shadow.choice import Rated, value_usd
from llm_magic.shadow.runs import MAX_COMPARED
from llm_magic.types import SHADOW_TAG, ZERO, Attempt, Outcome, TaskTier, Usage, Verdict

COMPARISONS = 300
_PER_UPDATE = 50
_TIERS = list(TaskTier)
_AT = datetime(2026, 1, 1, tzinfo=UTC)
JUDGE = "judge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """Routing of the prompts that were not compared, to one model or to cascades if they pay.

    Costs and scores are relative to the top model alone.
    """

    source: str
    cost_before: float
    score_before: float
    cost_after: float
    score_after: float
    cascade_cost_before: float
    cascade_score_before: float
    cascade_cost_after: float
    cascade_score_after: float


def replayed(outcomes: Outcomes, quality: float, judge: SimulatedJudge, seed: int) -> Replayed:
    """Compare on COMPARISONS prompts in random order, tune after every _PER_UPDATE, and route the other prompts."""
    lineup = LINEUPS[outcomes.source]
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(outcomes))
    compared, others = order[:COMPARISONS], order[COMPARISONS:]
    base = learned = assumed_registry(lineup)
    rows: list[Attempt] = []
    for start in range(0, len(compared), _PER_UPDATE):
        widths = tuning.tune(rows, base).widths
        assumed = _with_capabilities(outcomes, learned)
        chosen, _ = planned_choices(assumed, lineup, quality, _margins(outcomes, learned))
        expected = assumed.expected_quality()
        for prompt in compared[start : start + _PER_UPDATE]:
            shown, tier = int(chosen[prompt]), _tier(outcomes, int(prompt))
            ranked = [
                (_value(assumed, expected, int(prompt), shown, other, quality, lineup, learned, widths), other)
                for other in map(outcomes.column, lineup.models())
                if other != shown
            ]
            answer = _answer(outcomes, int(prompt), shown, tier)
            rows.append(answer)
            for other in _affordable(ranked, outcomes, lineup, shown):
                verdict, is_judged = judge.verdict(outcomes.scores[prompt, shown], outcomes.scores[prompt, other], rng)
                rows += _compared(answer, outcomes.models[other], verdict)[: 2 if is_judged else 1]
        learned = tuning.apply_tuning(base, tuning.tune(rows, base))
    before, after = (_routed(outcomes, registry, lineup, quality, others) for registry in (base, learned))
    first, last = (_cascaded(outcomes, registry, lineup, quality, others) for registry in (base, learned))
    return Replayed(
        source=outcomes.source,
        cost_before=before[0],
        score_before=before[1],
        cost_after=after[0],
        score_after=after[1],
        cascade_cost_before=first[0],
        cascade_score_before=first[1],
        cascade_cost_after=last[0],
        cascade_score_after=last[1],
    )


def _value(
    outcomes: Outcomes,
    expected: Array,
    prompt: int,
    shown: int,
    other: int,
    quality: float,
    lineup: Lineup,
    registry: Registry,
    widths: Mapping[tuple[str, TaskTier], float],
) -> float:
    """Return the value of a comparison per USD, as the product computes it."""
    usd = outcomes.typical_usd
    tier = _tier(outcomes, prompt)
    columns = [outcomes.column(model) for model in lineup.models()]
    minimum = quality * float(expected[prompt, columns].max())
    rated = [
        Rated(model=outcomes.models[column], quality=float(expected[prompt, column]), usd=float(usd[column]))
        for column in (shown, other)
    ]

    def width(model: str) -> float:
        return widths.get((model, tier)) or tuning.prior_width(model, registry)

    return value_usd(rated[0], rated[1], minimum, width) / _comparison_usd(outcomes, lineup, other)


def _comparison_usd(outcomes: Outcomes, lineup: Lineup, other: int) -> float:
    judging_usd = float(np.median(outcomes.typical_usd[[outcomes.column(model) for model in lineup.models()]]))
    return float(outcomes.typical_usd[other]) + judging_usd


def _affordable(ranked: Sequence[tuple[float, int]], outcomes: Outcomes, lineup: Lineup, shown: int) -> Iterator[int]:
    """Yield the most informative other model, and further ones as the product would."""
    left_usd = float(outcomes.typical_usd[shown])
    count = 0
    for value, other in sorted(ranked, reverse=True):
        usd = _comparison_usd(outcomes, lineup, other)
        if count == MAX_COMPARED or (count and (usd > left_usd or value <= 0)):
            continue
        count += 1
        left_usd -= usd
        yield other


def _routed(
    outcomes: Outcomes, registry: Registry, lineup: Lineup, quality: float, prompts: NDArray[np.int64]
) -> tuple[float, float]:
    chosen, _ = planned_choices(_with_capabilities(outcomes, registry), lineup, quality, _margins(outcomes, registry))
    top = _top(outcomes, lineup)
    cost = outcomes.costs[prompts, chosen[prompts]].mean() / outcomes.costs[prompts, top].mean()
    score = outcomes.scores[prompts, chosen[prompts]].mean() / outcomes.scores[prompts, top].mean()
    return float(cost), float(score)


def _cascaded(
    outcomes: Outcomes, registry: Registry, lineup: Lineup, quality: float, prompts: NDArray[np.int64]
) -> tuple[float, float]:
    """Return the cost and the score of the plans with the cascades by agreement that the product would choose."""
    assumed = _with_capabilities(outcomes, registry)
    chosen, _ = planned_choices(assumed, lineup, quality, _margins(outcomes, registry))
    expected = assumed.expected_quality()
    columns = sorted(map(outcomes.column, lineup.models()), key=lambda column: outcomes.typical_usd[column])
    providers = {outcomes.column(member.model): member.provider for member in lineup.members}
    pairs = [pair for pair in itertools.combinations(columns, 2) if providers[pair[0]] != providers[pair[1]]]
    costs, scores = outcomes.costs, outcomes.scores
    cost = score = 0.0
    for prompt in prompts:
        strong = int(chosen[prompt])
        minimum = quality * float(expected[prompt, columns].max())
        pair = _paying_pair(pairs, expected[prompt], outcomes.typical_usd, strong, minimum)
        if pair is None:
            cost, score = cost + float(costs[prompt, strong]), score + float(scores[prompt, strong])
            continue
        one, other = pair
        agree = float(agreement_probability(scores[prompt, one], scores[prompt, other], SAME_MISTAKE))
        cost += float(costs[prompt, one] + costs[prompt, other] + (1 - agree) * costs[prompt, strong])
        score += float(agree * scores[prompt, one] + (1 - agree) * scores[prompt, strong])
    top = _top(outcomes, lineup)
    return cost / float(costs[prompts, top].sum()), score / float(scores[prompts, top].sum())


def _paying_pair(
    pairs: Sequence[tuple[int, int]], expected: Array, usd: Array, strong: int, minimum: float
) -> tuple[int, int] | None:
    best: tuple[float, float, tuple[int, int]] | None = None
    for one, other in pairs:
        if usd[other] >= usd[strong]:
            continue
        chances = (float(expected[one]), float(expected[other]), float(expected[strong]))
        accepted, reached = estimate_agreement(*chances)
        cost = float(usd[one] + usd[other] + (1 - accepted) * usd[strong])
        if best is None or cost < best[0]:
            best = cost, reached, (one, other)
    if best is None or best[0] > MAX_COST_SHARE * usd[strong] or best[1] < minimum:
        return None
    return best[2]


def _top(outcomes: Outcomes, lineup: Lineup) -> int:
    return max(map(outcomes.column, lineup.models("top")), key=lambda column: outcomes.scores[:, column].mean())


def _with_capabilities(outcomes: Outcomes, registry: Registry) -> Outcomes:
    lowest = dict.fromkeys(_TIERS, -9.0)
    capability: Array = np.array(
        [
            [(registry[model].capability if model in registry else lowest)[tier] for tier in _TIERS]
            for model in outcomes.models
        ]
    )
    return dataclasses.replace(outcomes, capability=capability)


def _margins(outcomes: Outcomes, registry: Registry) -> Array:
    none = dict.fromkeys(_TIERS, 0.0)
    margins = [registry[model].capability_margin if model in registry else none for model in outcomes.models]
    return np.array([[by_tier.get(tier, 0.0) for tier in _TIERS] for by_tier in margins])


def _tier(outcomes: Outcomes, prompt: int) -> TaskTier:
    return _TIERS[int(outcomes.probabilities[prompt].argmax())]


def _answer(outcomes: Outcomes, prompt: int, shown: int, tier: TaskTier) -> Attempt:
    return Attempt(
        run_id=f"{prompt}",
        attempt=1,
        started_at=_AT,
        tier=tier,
        confidence=float(outcomes.probabilities[prompt].max()),
        difficulty=float(outcomes.difficulty[prompt]),
        provider="",
        model=outcomes.models[shown],
        served_model=None,
        outcome=Outcome.OK,
        error=None,
        fallback_from=None,
        usage=Usage(),
        cost_usd=Decimal(str(round(float(outcomes.costs[prompt, shown]), 12))),
        cost_estimated=False,
        baseline_usd=ZERO,
        price_source="",
        ttft_s=None,
        latency_s=0.0,
        session_id="",
        tags=(),
    )


def _compared(answer: Attempt, other: str, verdict: Verdict) -> list[Attempt]:
    shadow = dataclasses.replace(
        answer,
        run_id=f"{answer.run_id} {other}",
        parent_run_id=answer.run_id,
        model=other,
        outcome=Outcome.SHADOW,
        verdict=verdict,
        tags=(SHADOW_TAG,),
    )
    judged = dataclasses.replace(
        shadow,
        run_id=f"{shadow.run_id} judge",
        parent_run_id=shadow.run_id,
        model=JUDGE,
        outcome=Outcome.JUDGED,
        verdict=None,
    )
    return [shadow, judged]
