"""Days of requests over recorded outcomes: what each approach costs, how long it takes, how often it is right."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_magic.answers.agreement import SAME_MISTAKE
from llm_magic.lab.evaluate.cascades import agreement
from llm_magic.lab.simulate.lineups import CASTS, Cast
from llm_magic.lab.simulate.table import Array, Outcomes
from llm_magic.types import DEFAULT_QUALITY

Columns = NDArray[np.intp]

TRIES = 3
"""Of one model, as the router's own policy has it."""
BACKOFF_S = (0.25, 0.5)
"""Mean waits before the second and the third try."""
FAILED_S = 1.0
"""Until a provider's error arrives."""
SPEED = {"top": (0.9, 60.0), "mid": (0.6, 90.0), "cheap": (0.5, 110.0)}
"""Seconds to the first token, and tokens a second after it. Assumed: the records hold no times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What days are like."""

    requests: int = 200
    """A day."""
    days: int = 30
    routine: tuple[float, float] = (0.6, 0.7)
    """Each day's share of routine requests, drawn evenly from between these."""
    faults: float = 0.02
    """Share of requests that a provider answers with a passing error, each try by itself."""
    outages: float = 0.005
    """Share of a provider's hours in which it answers nothing but errors."""
    same_mistake: float = SAME_MISTAKE
    quality: float = DEFAULT_QUALITY
    """The router's dial: the least share of the best candidate's expected quality that will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """What one month came to under one approach."""

    cost_usd: float
    p50_s: float
    """Seconds until the whole answer, at assumed speeds; so is `p95_s`."""
    p95_s: float
    success: float
    """Mean score, an unanswered request counting 0."""
    answered: float
    fallbacks: float
    """Share of requests that another model answered because the chosen one failed."""
    escalated: float
    """Share of requests that went from cheap models to the top one."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One month's chance: which requests come when, and what fails. All approaches meet the same."""

    prompts: NDArray[np.intp]
    down: NDArray[np.bool_]
    """requests x models: its provider is down at that hour."""
    luck: Array
    """requests x models x tries: a try fails where it is below the rate of faults."""
    same: Array
    """requests: two wrong answers are the same where it is below `same_mistake`."""


Approach = Callable[[Outcomes, Cast, Scenario, Draw], "SimulatedRun"]


@dataclass(frozen=True, slots=True)
class SimulatedRun:
    """Each request under one approach."""

    score: Array
    cost: Array
    seconds: Array
    answered: NDArray[np.bool_]
    fell_back: NDArray[np.bool_]
    escalated: NDArray[np.bool_]


def draw(outcomes: Outcomes, cast: Cast, world: Scenario, chance: np.random.Generator) -> Draw:
    """A month's requests, from a sample of the recorded prompts with replacement: who has seen other prompts."""
    is_routine = np.isin(outcomes.tasks, cast.routine)
    pools = [chance.choice(rows, len(rows)) for rows in (np.flatnonzero(is_routine), np.flatnonzero(~is_routine))]
    routine = [round(world.requests * chance.uniform(*world.routine)) for _ in range(world.days)]
    picked = [
        np.concatenate([chance.choice(pools[0], many), chance.choice(pools[1], world.requests - many)])
        for many in routine
    ]
    prompts = np.concatenate(picked)
    many = len(prompts)
    providers = sorted({player.provider for player in cast.players})
    hour = np.concatenate([day * 24 + chance.integers(0, 24, world.requests) for day in range(world.days)])
    out = chance.random((len(providers), world.days * 24)) < world.outages
    down = np.zeros((many, len(outcomes.models)), bool)
    for player in cast.players:
        down[:, outcomes.column(player.model)] = out[providers.index(player.provider)][hour]
    luck = chance.random((many, len(outcomes.models), TRIES))
    return Draw(prompts, down, luck, chance.random(many))


def ask(outcomes: Outcomes, cast: Cast, world: Scenario, drawn: Draw, columns: Columns) -> SimulatedRun:
    """Ask one model a request (`columns[i]` of request i), up to three tries."""
    rows = np.arange(len(columns))
    failed = (drawn.luck[rows, columns] < world.faults) | drawn.down[rows, columns][:, None]
    fails = np.cumprod(failed, axis=1).sum(axis=1)
    answered = fails < TRIES
    first_s, speed = _speeds(outcomes, cast)
    seconds = fails * FAILED_S + np.array([0.0, *np.cumsum(BACKOFF_S), sum(BACKOFF_S)])[fails]
    took = first_s[columns] + outcomes.output_tokens[drawn.prompts, columns] / speed[columns]
    return SimulatedRun(
        score=np.where(answered, outcomes.scores[drawn.prompts, columns], 0.0),
        cost=np.where(answered, outcomes.costs[drawn.prompts, columns], 0.0),
        seconds=seconds + np.where(answered, took, 0.0),
        answered=answered,
        fell_back=np.zeros(len(columns), bool),
        escalated=np.zeros(len(columns), bool),
    )


def _speeds(outcomes: Outcomes, cast: Cast) -> tuple[Array, Array]:
    role = {player.model: player.role for player in cast.players}
    pairs = np.array([SPEED[role.get(model, "mid")] for model in outcomes.models])
    return pairs[:, 0], pairs[:, 1]


def in_turn(outcomes: Outcomes, cast: Cast, world: Scenario, drawn: Draw, turns: Sequence[Columns]) -> SimulatedRun:
    """The first model of each request, and the next where it fails."""
    played = ask(outcomes, cast, world, drawn, turns[0])
    for columns in turns[1:]:
        other = ask(outcomes, cast, world, drawn, columns)
        failed = ~played.answered
        played = SimulatedRun(
            score=np.where(failed, other.score, played.score),
            cost=played.cost + np.where(failed, other.cost, 0.0),
            seconds=played.seconds + np.where(failed, other.seconds, 0.0),
            answered=played.answered | other.answered,
            fell_back=played.fell_back | (failed & other.answered),
            escalated=played.escalated,
        )
    return played


def always(model: str) -> Approach:
    """One model for everything, tried again where it fails."""

    def play(outcomes: Outcomes, cast: Cast, world: Scenario, drawn: Draw) -> SimulatedRun:
        return ask(outcomes, cast, world, drawn, np.full(len(drawn.prompts), outcomes.column(model)))

    return play


def routed(outcomes: Outcomes, cast: Cast, world: Scenario, drawn: Draw) -> SimulatedRun:
    """The plan's choice for each prompt; where it fails, the next one of another provider."""
    chosen, after = choices(outcomes, cast, world.quality)
    return in_turn(outcomes, cast, world, drawn, [chosen[drawn.prompts], after[drawn.prompts]])


def choices(outcomes: Outcomes, cast: Cast, quality: float) -> tuple[Columns, Columns]:
    """For each prompt the cheapest model whose expected quality is `quality` times the best one's or more, and the
    cheapest such one of another provider (for want of one, the best of another provider)."""
    columns = np.array([outcomes.column(model) for model in cast.models()])
    providers = np.array([cast.provider(model) for model in cast.models()])
    expected = outcomes.expected_quality()[:, columns]
    usd = outcomes.typical_usd[columns]
    will_do = expected >= quality * expected.max(axis=1, keepdims=True)
    first = np.where(will_do, usd, np.inf).argmin(axis=1)
    other = providers[None, :] != providers[first][:, None]
    cost = np.where(will_do & other, usd, np.inf)
    best = np.where(other, expected, -1.0).argmax(axis=1)
    second = np.where(np.isfinite(cost).any(axis=1), cost.argmin(axis=1), best)
    return columns[first], columns[second]


def cascaded(outcomes: Outcomes, cast: Cast, world: Scenario, drawn: Draw) -> SimulatedRun:
    """Two cheap models at once; where they differ or one fails, the top one, and where that fails another.

    Of answers that are both right nearly all agree, one right and one wrong differ, both wrong agree by chance
    (`same_mistake`).
    """
    first, second = (np.full(len(drawn.prompts), outcomes.column(model)) for model in cast.models("cheap")[:2])
    one, two = (ask(outcomes, cast, world, drawn, columns) for columns in (first, second))
    agree = one.answered & two.answered & (drawn.same < agreement(one.score, two.score, world.same_mistake))
    tops = [np.full(len(drawn.prompts), outcomes.column(model)) for model in fallbacks(cast)]
    strong = in_turn(outcomes, cast, world, drawn, tops)
    return SimulatedRun(
        score=np.where(agree, one.score, strong.score),
        cost=one.cost + two.cost + np.where(agree, 0.0, strong.cost),
        seconds=np.maximum(one.seconds, two.seconds) + np.where(agree, 0.0, strong.seconds),
        answered=agree | strong.answered,
        fell_back=~agree & strong.fell_back,
        escalated=~agree,
    )


def routed_or_cascaded(outcomes: Outcomes, cast: Cast, world: Scenario, drawn: Draw) -> SimulatedRun:
    """A cheap model where the plan chooses one; where it would choose a dearer one, the cascade before it."""
    chosen, _ = choices(outcomes, cast, world.quality)
    cheap = np.isin(chosen, [outcomes.column(model) for model in cast.models("cheap")])[drawn.prompts]
    one, two = routed(outcomes, cast, world, drawn), cascaded(outcomes, cast, world, drawn)
    names = [part.name for part in dataclasses.fields(SimulatedRun)]
    return SimulatedRun(*(np.where(cheap, getattr(one, name), getattr(two, name)) for name in names))


def fallbacks(cast: Cast) -> tuple[str, ...]:
    """The top model, then the best one of another provider."""
    top = cast.models("top")[0]
    others = [model for model in cast.models() if cast.provider(model) != cast.provider(top)]
    return (top, *others[:1])


def month(played: SimulatedRun, world: Scenario) -> Month:
    share = 30 / world.days
    return Month(
        cost_usd=float(played.cost.sum()) * share,
        p50_s=float(np.median(played.seconds)),
        p95_s=float(np.quantile(played.seconds, 0.95)),
        success=float(played.score.mean()),
        answered=float(played.answered.mean()),
        fallbacks=float(played.fell_back.mean()),
        escalated=float(played.escalated.mean()),
    )


def approaches(source: str) -> dict[str, Approach]:
    """By name, in the order of the table."""
    cast = CASTS[source]
    top, mid, cheap = (cast.models(role)[0] for role in ("top", "mid", "cheap"))
    return {
        f"top only: {top}": always(top),
        f"mid only: {mid}": always(mid),
        f"cheap only: {cheap}": always(cheap),
        "ours: routing": routed,
        "ours: cascade": cascaded,
        "ours: routing, then cascade": routed_or_cascaded,
    }
