"""Simulated models that reason: their tokens, and the chance of a good answer, by tier, difficulty, and effort.

Runs the real planner. Its assumptions can differ from the simulated models by stated factors.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from zlib import crc32

import numpy as np

from llm_magic import prices
from llm_magic.health import Circuit
from llm_magic.ledger import Ledger
from llm_magic.plan import PlanContext, make_plan
from llm_magic.plan.lengths import EXPECTED_ANSWER_TOKENS, Kind, Lengths, Unmeasured, prior_tokens
from llm_magic.plan.levels import quality_at
from llm_magic.registry import Registry
from llm_magic.tuning.lengths import LearnedLengths
from llm_magic.types import (
    DEFAULT_QUALITY,
    ZERO,
    Attempt,
    Candidate,
    Classification,
    Effort,
    ModelSpec,
    Outcome,
    Plan,
    Request,
    TaskTier,
    Usage,
)

OFF_PEAK = datetime(2026, 11, 24, 12, tzinfo=UTC)
ROUTINE = {TaskTier.BULK: 0.4, TaskTier.STRUCTURED: 0.25, TaskTier.STANDARD: 0.35}
OTHERS = {TaskTier.STANDARD: 0.6, TaskTier.COMPLEX: 0.4}
MISLABELED = 0.12
SECONDS_TO_FIRST_TOKEN = 0.6
TOKENS_PER_S = ((3, 60.0), (0.5, 90.0), (0, 110.0))
"""Assumed output tokens per second of models with at least this input price, in USD per million tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """True properties of the models.

    reasoning_scale, step_scale: true reasoning tokens and true gains of effort, relative to those that the registry
    assumes. model_spread: standard deviation of the logarithm of a factor of each model's reasoning.
    """

    prompts: int = 2_000
    routine: float = 0.65
    reasoning_scale: float = 1.0
    step_scale: float = 1.0
    model_spread: float = 0.4
    answer_spread: float = 0.5
    reasoning_spread: float = 0.6
    difficulty_sd: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One prompt: what is true of it, what the classifier reports, and its random events, common to all policies."""

    tier: TaskTier
    difficulty: float
    request: Request
    classification: Classification
    luck: float
    answer_factor: float
    reasoning_factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """One answer. chance: of a good answer, before the draw that decides `success`."""

    usd: float
    held_usd: float
    success: bool
    chance: float
    seconds: float
    usage: Usage


Policy = Callable[[Prompt], Candidate]


class Thinkers:
    """The models of a registry in a world, with a reasoning factor of their own."""

    def __init__(self, world: World, registry: Registry, rng: np.random.Generator) -> None:
        self.world = world
        self.registry = registry
        spread = world.model_spread
        draws = normal_by_model(registry, 1, rng)
        self._factors = {model_id: math.exp(spread * draw - spread**2 / 2) for model_id, (draw,) in draws.items()}

    def reasoning_factor(self, model: ModelSpec) -> float:
        return self.world.reasoning_scale * self._factors[model.id]

    def true_model(self, model: ModelSpec) -> ModelSpec:
        if model.effort is None:
            return model
        steps = {
            effort: {tier: self.world.step_scale * step for tier, step in by_tier.items()}
            for effort, by_tier in model.effort.capability_steps.items()
        }
        return dataclasses.replace(model, effort=dataclasses.replace(model.effort, capability_steps=steps))

    def play(self, prompt: Prompt, candidate: Candidate, effort: Effort | None = None) -> Played:
        """Answer a prompt. effort: instead of the candidate's."""
        model, effort = self.registry[candidate.model.id], effort or candidate.effort
        answer, thought = prior_tokens(model, effort, {prompt.tier: 1.0})
        harder = math.exp(0.4 * prompt.difficulty)
        reasoning = thought * self.reasoning_factor(model) * prompt.reasoning_factor * harder
        wanted = round(answer * prompt.answer_factor + reasoning)
        output = min(wanted, candidate.max_output_tokens)
        usage = Usage(
            input_tokens=candidate.input_tokens, output_tokens=output, reasoning_tokens=min(output, round(reasoning))
        )
        certain = Classification(tier=prompt.tier, confidence=1.0, difficulty=prompt.difficulty)
        chance = quality_at(certain, self.true_model(model), effort)
        cost = prices.cost(model, usage, OFF_PEAK)
        rate = next(rate for price, rate in TOKENS_PER_S if float(cost.input_price) >= price)
        return Played(
            usd=float(cost.usd),
            held_usd=float(candidate.worst_usd),
            success=output == wanted and prompt.luck < chance,
            chance=chance if output == wanted else 0.0,
            seconds=SECONDS_TO_FIRST_TOKEN + output / rate,
            usage=usage,
        )


class TrueLengths(Unmeasured):
    """The true means, for the oracle."""

    def __init__(self, thinkers: Thinkers) -> None:
        self._thinkers = thinkers

    def expected_tokens(self, model: ModelSpec, effort: Effort | None, kind: Kind) -> float:
        answer, reasoning = prior_tokens(model, effort, kind.shares)
        return answer + reasoning * self._thinkers.reasoning_factor(model)


def normal_by_model(registry: Registry, count: int, rng: np.random.Generator) -> dict[str, list[float]]:
    """Draw `count` standard normal values for each model, which do not depend on the order of the models."""
    seed = int(rng.integers(2**32))
    generators = {model.id: np.random.default_rng([seed, crc32(model.id.encode())]) for model in registry}
    return {model_id: generator.normal(size=count).tolist() for model_id, generator in generators.items()}


def draw_prompts(world: World, count: int, rng: np.random.Generator) -> list[Prompt]:
    return [_draw(world, rng) for _ in range(count)]


def _draw(world: World, rng: np.random.Generator) -> Prompt:
    shares = ROUTINE if rng.random() < world.routine else OTHERS
    tiers = list(shares)
    tier = tiers[rng.choice(len(tiers), p=list(shares.values()))]
    difficulty = rng.normal(0.0, world.difficulty_sd)
    words = int(min(4_000, rng.lognormal(math.log(60), 0.9))) + 5
    return Prompt(
        tier=tier,
        difficulty=difficulty,
        request=Request(prompt="word " * words),
        classification=_classify(tier, difficulty, rng),
        luck=rng.random(),
        answer_factor=_log_normal(world.answer_spread, rng),
        reasoning_factor=_log_normal(world.reasoning_spread, rng),
    )


def _classify(tier: TaskTier, difficulty: float, rng: np.random.Generator) -> Classification:
    """Return a classification that is wrong by one tier as often as stated, with calibrated confidence."""
    order = list(TaskTier)
    rank = order.index(tier)
    neighbors = [order[other] for other in (rank - 1, rank + 1) if 0 <= other < len(order)]
    neighbor = neighbors[rng.integers(len(neighbors))]
    label, other = (neighbor, tier) if rng.random() < MISLABELED else (tier, neighbor)
    confidence = 1 - MISLABELED
    rest = [unlikely for unlikely in order if unlikely not in (label, other)]
    return Classification(
        tier=label,
        confidence=confidence,
        probabilities={label: confidence, other: 0.8 * MISLABELED} | dict.fromkeys(rest, 0.1 * MISLABELED),
        difficulty=0.6 * difficulty + rng.normal(0.0, 0.2),
    )


def _log_normal(spread: float, rng: np.random.Generator) -> float:
    return math.exp(rng.normal(-(spread**2) / 2, spread))


def simulated_context(lengths: Lengths) -> PlanContext:
    return PlanContext(
        now=OFF_PEAK,
        left_usd=lambda _: None,
        unavailable=lambda model: "not simulated" if model.provider == "local" else None,
        circuit=lambda _: Circuit(),
        lengths=lengths,
    )


def planning(
    registry: Registry,
    lengths: Lengths | None = None,
    *,
    quality: float = DEFAULT_QUALITY,
    worth_usd: Decimal | None = None,
) -> Policy:
    plan = plans(registry, lengths, quality=quality, worth_usd=worth_usd)
    return lambda prompt: plan(prompt).candidates[0]


def plans(
    registry: Registry,
    lengths: Lengths | None = None,
    *,
    quality: float = DEFAULT_QUALITY,
    worth_usd: Decimal | None = None,
) -> Callable[[Prompt], Plan]:
    context = simulated_context(lengths or Unmeasured())

    def plan(prompt: Prompt) -> Plan:
        request = dataclasses.replace(prompt.request, quality=quality, worth_usd=worth_usd)
        return make_plan(request, prompt.classification, registry, context)

    return plan


def learn(thinkers: Thinkers, prompts: Sequence[Prompt]) -> LearnedLengths:
    """Run the prompts with a new ledger, each planned by what the ones before have shown."""
    lengths = LearnedLengths(Ledger(":memory:", session_id="simulated"), thinkers.registry)
    policy = planning(thinkers.registry, lengths)
    for number, prompt in enumerate(prompts):
        candidate = policy(prompt)
        played = thinkers.play(prompt, candidate)
        lengths.observe(attempt_of(number, prompt, candidate, played))
    return lengths


def attempt_of(number: int, prompt: Prompt, candidate: Candidate, played: Played) -> Attempt:
    return Attempt(
        run_id=str(number),
        attempt=1,
        started_at=OFF_PEAK,
        tier=prompt.classification.tier,
        confidence=prompt.classification.confidence,
        difficulty=prompt.classification.difficulty,
        provider=candidate.model.provider,
        model=candidate.model.id,
        served_model=None,
        outcome=Outcome.OK,
        error=None,
        fallback_from=None,
        usage=played.usage,
        cost_usd=Decimal(str(round(played.usd, 12))),
        cost_estimated=False,
        baseline_usd=ZERO,
        price_source="",
        ttft_s=None,
        latency_s=played.seconds,
        session_id="simulated",
        tags=(),
        effort=candidate.effort,
        expected_usd=candidate.expected_usd,
    )


def assumptions(world: World) -> list[str]:
    """Return the assumptions in words, one a line."""
    shares = {
        tier: world.routine * ROUTINE.get(tier, 0.0) + (1 - world.routine) * OTHERS.get(tier, 0.0) for tier in TaskTier
    }
    mix = ", ".join(f"{tier} {share:.0%}" for tier, share in shares.items())
    tokens = ", ".join(f"{tier} {count}" for tier, count in EXPECTED_ANSWER_TOKENS.items())
    return [
        f"{world.prompts:,} prompts, {world.routine:.0%} routine ({mix}); difficulty with a standard deviation of "
        f"{world.difficulty_sd:g} logits; {MISLABELED:.0%} classified one tier off",
        f"answers: {tokens} o200k tokens on average, log-normal with a spread of {world.answer_spread:g}",
        f"reasoning: {world.reasoning_scale:g} × the registry's table, times a factor of each model (spread "
        f"{world.model_spread:g}) and of each prompt (spread {world.reasoning_spread:g})",
        f"gain of each level of effort: {world.step_scale:g} × the registry's, in logits",
        f"first token after {SECONDS_TO_FIRST_TOKEN:g} s, then 60 to 110 tokens/s by price; DeepSeek off-peak",
    ]
