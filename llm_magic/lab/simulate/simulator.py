"""Simulation of one month of requests under an approach: cost, latency, success and fallbacks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from llm_magic.answers.agreement import SAME_MISTAKE
from llm_magic.lab.evaluate.cascades import agreement_probability
from llm_magic.lab.simulate.dataset import Array, Outcomes
from llm_magic.lab.simulate.lineups import LINEUPS, Lineup
from llm_magic.types import DEFAULT_QUALITY

Columns = NDArray[np.intp]

MAX_TRIES = 3
BACKOFFS_S = (0.25, 0.5)
FAILED_TRY_S = 1.0
# Assumed seconds to the first token, and tokens per second after it. The records hold no times.
SPEED = {"top": (0.9, 60.0), "mid": (0.6, 90.0), "cheap": (0.5, 110.0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The traffic and the faults of a simulated month.

    requests: per day.
    routine: bounds of the routine share of requests, drawn for each day.
    faults: probability that a try fails with a transient error.
    outages: share of a provider's hours in which every try fails.
    same_mistake: probability that two wrong answers agree.
    quality: minimum expected quality, as a share of the best candidate's.
    """

    requests: int = 200
    days: int = 30
    routine: tuple[float, float] = (0.6, 0.7)
    faults: float = 0.02
    outages: float = 0.005
    same_mistake: float = SAME_MISTAKE
    quality: float = DEFAULT_QUALITY


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """The metrics of one month under one approach.

    p50_s, p95_s: latency of the whole answer, at assumed speeds.
    success: mean score. A request without an answer scores 0.
    fallbacks: share of requests answered by another model because the chosen one failed.
    escalated: share of requests escalated from cheap models to the top one.
    """

    cost_usd: float
    p50_s: float
    p95_s: float
    success: float
    answered: float
    fallbacks: float
    escalated: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomDraws:
    """The random events of one month, common to all approaches.

    prompts: row of the outcomes, per request.
    down: requests x models, True if the provider has an outage.
    fault: requests x models x tries, uniform in 0..1: a try fails below `Scenario.faults`.
    agreement: per request, uniform in 0..1: cheap answers agree below their probability of agreement.
    """

    prompts: NDArray[np.intp]
    down: NDArray[np.bool_]
    fault: Array
    agreement: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRun:
    score: Array
    cost: Array
    seconds: Array
    answered: NDArray[np.bool_]
    fell_back: NDArray[np.bool_]
    escalated: NDArray[np.bool_]


Approach = Callable[[Outcomes, Lineup, Scenario, RandomDraws], SimulatedRun]


def draw_month(outcomes: Outcomes, lineup: Lineup, scenario: Scenario, rng: np.random.Generator) -> RandomDraws:
    """Draw requests and faults. The recorded prompts are resampled first, so that months see different prompts."""
    is_routine = np.isin(outcomes.tasks, lineup.routine_tasks)
    pools = [rng.choice(rows, len(rows)) for rows in (np.flatnonzero(is_routine), np.flatnonzero(~is_routine))]
    routine_counts = [round(scenario.requests * rng.uniform(*scenario.routine)) for _ in range(scenario.days)]
    days = [
        np.concatenate([rng.choice(pools[0], count), rng.choice(pools[1], scenario.requests - count)])
        for count in routine_counts
    ]
    prompts = np.concatenate(days)
    providers = sorted({member.provider for member in lineup.members})
    hour = np.concatenate([day * 24 + rng.integers(0, 24, scenario.requests) for day in range(scenario.days)])
    is_out = rng.random((len(providers), scenario.days * 24)) < scenario.outages
    down = np.zeros((len(prompts), len(outcomes.models)), np.bool_)
    for member in lineup.members:
        down[:, outcomes.column(member.model)] = is_out[providers.index(member.provider)][hour]
    fault = rng.random((len(prompts), len(outcomes.models), MAX_TRIES))
    return RandomDraws(prompts=prompts, down=down, fault=fault, agreement=rng.random(len(prompts)))


def ask_models(
    outcomes: Outcomes, lineup: Lineup, scenario: Scenario, draws: RandomDraws, columns: Columns
) -> SimulatedRun:
    """Ask one model per request, with up to three tries."""
    rows = np.arange(len(columns))
    failed = (draws.fault[rows, columns] < scenario.faults) | draws.down[rows, columns][:, None]
    failures = np.cumprod(failed, axis=1).sum(axis=1)
    answered = failures < MAX_TRIES
    first_token_s, tokens_per_s = _speeds(outcomes, lineup)
    waits = np.array([0.0, *np.cumsum(BACKOFFS_S), sum(BACKOFFS_S)])[failures]
    answer_s = first_token_s[columns] + outcomes.output_tokens[draws.prompts, columns] / tokens_per_s[columns]
    return SimulatedRun(
        score=np.where(answered, outcomes.scores[draws.prompts, columns], 0.0),
        cost=np.where(answered, outcomes.costs[draws.prompts, columns], 0.0),
        seconds=failures * FAILED_TRY_S + waits + np.where(answered, answer_s, 0.0),
        answered=answered,
        fell_back=np.zeros(len(columns), np.bool_),
        escalated=np.zeros(len(columns), np.bool_),
    )


def _speeds(outcomes: Outcomes, lineup: Lineup) -> tuple[Array, Array]:
    roles = {member.model: member.role for member in lineup.members}
    speeds = np.array([SPEED[roles.get(model, "mid")] for model in outcomes.models])
    return speeds[:, 0], speeds[:, 1]


def ask_with_fallbacks(
    outcomes: Outcomes, lineup: Lineup, scenario: Scenario, draws: RandomDraws, choices: Sequence[Columns]
) -> SimulatedRun:
    """Ask the first choice of each request, and the next ones if it fails."""
    run = ask_models(outcomes, lineup, scenario, draws, choices[0])
    for columns in choices[1:]:
        fallback = ask_models(outcomes, lineup, scenario, draws, columns)
        failed = ~run.answered
        run = SimulatedRun(
            score=np.where(failed, fallback.score, run.score),
            cost=run.cost + np.where(failed, fallback.cost, 0.0),
            seconds=run.seconds + np.where(failed, fallback.seconds, 0.0),
            answered=run.answered | fallback.answered,
            fell_back=run.fell_back | (failed & fallback.answered),
            escalated=run.escalated,
        )
    return run


def single_model(model: str) -> Approach:

    def run(outcomes: Outcomes, lineup: Lineup, scenario: Scenario, draws: RandomDraws) -> SimulatedRun:
        columns = np.full(len(draws.prompts), outcomes.column(model))
        return ask_models(outcomes, lineup, scenario, draws, columns)

    return run


def route(outcomes: Outcomes, lineup: Lineup, scenario: Scenario, draws: RandomDraws) -> SimulatedRun:
    first, second = planned_choices(outcomes, lineup, scenario.quality)
    return ask_with_fallbacks(outcomes, lineup, scenario, draws, [first[draws.prompts], second[draws.prompts]])


def planned_choices(
    outcomes: Outcomes, lineup: Lineup, quality: float, margins: Array | None = None
) -> tuple[Columns, Columns]:
    """Return the first and the second choice for each prompt.

    First: the cheapest model with at least `quality` times the best expected quality. Second: the cheapest such model
    of another provider, or else the best model of another provider. margins: m x 4, in logits, of models other than the
    best one.
    """
    columns = np.array([outcomes.column(model) for model in lineup.models()])
    providers = np.array([lineup.provider_of(model) for model in lineup.models()])
    expected = outcomes.expected_quality()[:, columns]
    usd = outcomes.typical_usd[columns]
    best = expected.max(axis=1, keepdims=True)
    sure = expected
    if margins is not None:
        lowered = dataclasses.replace(outcomes, capability=outcomes.capability - margins).expected_quality()[:, columns]
        sure = np.where(expected == best, expected, lowered)
    is_enough = sure >= quality * best
    first = np.where(is_enough, usd, np.inf).argmin(axis=1)
    is_other = providers[None, :] != providers[first][:, None]
    cost = np.where(is_enough & is_other, usd, np.inf)
    best_other = np.where(is_other, expected, -1.0).argmax(axis=1)
    second = cast("Columns", np.where(np.isfinite(cost).any(axis=1), cost.argmin(axis=1), best_other))
    return columns[first], columns[second]


def cascade(outcomes: Outcomes, lineup: Lineup, scenario: Scenario, draws: RandomDraws) -> SimulatedRun:
    """Ask two cheap models at once, and the top one, with a fallback, if they differ or one fails."""
    cheap = [np.full(len(draws.prompts), outcomes.column(model)) for model in lineup.models("cheap")[:2]]
    one, two = (ask_models(outcomes, lineup, scenario, draws, columns) for columns in cheap)
    chance = agreement_probability(one.score, two.score, scenario.same_mistake)
    agree = one.answered & two.answered & (draws.agreement < chance)
    tops = [np.full(len(draws.prompts), outcomes.column(model)) for model in _top_models(lineup)]
    strong = ask_with_fallbacks(outcomes, lineup, scenario, draws, tops)
    return SimulatedRun(
        score=np.where(agree, one.score, strong.score),
        cost=one.cost + two.cost + np.where(agree, 0.0, strong.cost),
        seconds=np.maximum(one.seconds, two.seconds) + np.where(agree, 0.0, strong.seconds),
        answered=agree | strong.answered,
        fell_back=~agree & strong.fell_back,
        escalated=~agree,
    )


def route_or_cascade(outcomes: Outcomes, lineup: Lineup, scenario: Scenario, draws: RandomDraws) -> SimulatedRun:
    """Use the plan's choice if it is a cheap model, and the cascade otherwise."""
    first, _ = planned_choices(outcomes, lineup, scenario.quality)
    is_cheap = np.isin(first, [outcomes.column(model) for model in lineup.models("cheap")])[draws.prompts]
    routed = route(outcomes, lineup, scenario, draws)
    cascaded = cascade(outcomes, lineup, scenario, draws)
    return SimulatedRun(
        score=np.where(is_cheap, routed.score, cascaded.score),
        cost=np.where(is_cheap, routed.cost, cascaded.cost),
        seconds=np.where(is_cheap, routed.seconds, cascaded.seconds),
        answered=np.where(is_cheap, routed.answered, cascaded.answered).astype(np.bool_),
        fell_back=np.where(is_cheap, routed.fell_back, cascaded.fell_back).astype(np.bool_),
        escalated=np.where(is_cheap, routed.escalated, cascaded.escalated).astype(np.bool_),
    )


def _top_models(lineup: Lineup) -> tuple[str, ...]:
    top = lineup.models("top")[0]
    others = [model for model in lineup.models() if lineup.provider_of(model) != lineup.provider_of(top)]
    return (top, *others[:1])


def summarize(run: SimulatedRun, scenario: Scenario) -> Month:
    return Month(
        cost_usd=float(run.cost.sum()) * (30 / scenario.days),
        p50_s=float(np.median(run.seconds)),
        p95_s=float(np.quantile(run.seconds, 0.95)),
        success=float(run.score.mean()),
        answered=float(run.answered.mean()),
        fallbacks=float(run.fell_back.mean()),
        escalated=float(run.escalated.mean()),
    )


def approaches(source: str) -> dict[str, Approach]:
    """Return the approaches by name, in the order of the table. The first one is the reference."""
    lineup = LINEUPS[source]
    top, mid, cheap = (lineup.models(role)[0] for role in ("top", "mid", "cheap"))
    return {
        f"top only: {top}": single_model(top),
        f"mid only: {mid}": single_model(mid),
        f"cheap only: {cheap}": single_model(cheap),
        "ours: routing": route,
        "ours: cascade": cascade,
        "ours: routing, then cascade": route_or_cascade,
    }
