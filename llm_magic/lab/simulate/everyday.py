"""Shadow runs on simulated models: the bill and the success of the everyday mix, cold and after comparisons.

Each simulated user has models whose true capabilities differ from the assumed ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from llm_magic import tuning
from llm_magic.lab.simulate.judges import SimulatedJudge
from llm_magic.lab.simulate.thinkers import (
    Policy,
    Prompt,
    Thinkers,
    World,
    attempt_of,
    draw_prompts,
    planning,
    simulated_context,
)
from llm_magic.ledger import Ledger
from llm_magic.plan import make_plan
from llm_magic.plan.lengths import Lengths, Unmeasured
from llm_magic.plan.rating import CandidateBuilder
from llm_magic.registry import Registry
from llm_magic.shadow.choice import Chooser
from llm_magic.shadow.verdicts import judge_request, shadow_request
from llm_magic.tuning.evidence import ModelTier
from llm_magic.tuning.lengths import LearnedLengths
from llm_magic.types import SHADOW_TAG, Attempt, Candidate, Outcome, Request, TaskTier

COMPARISONS = 300
SHARE = 0.05
WORTH_USD = Decimal("0.50")
MODEL_SPREAD, PROMPTS_SPREAD = 0.4, 0.4
"""Standard deviations, in logits, of the true capability of a model and of all models, around the assumed ones."""
_PER_UPDATE = 30
_ANSWER = "word " * 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Cost and success relative to always asking the top model at its default effort."""

    cost: float
    quality: float


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    cold: Figures
    learned: Figures
    learned_worth: Figures
    lengths_only: Figures
    oracle: Figures
    shadow_share: float
    """Cost of the shadow runs, as a share of what the runs cost of which they are SHARE."""


def simulate_user(world: World, seed: Sequence[int], judge: SimulatedJudge) -> User:
    rng = np.random.default_rng(list(seed))
    assumed = Registry.load("current")
    true = true_registry(assumed, rng)
    thinkers = Thinkers(world, true, rng)
    prompts = draw_prompts(world, world.prompts, rng)
    lengths = LearnedLengths(Ledger(":memory:", session_id="simulated"), assumed)
    rows, shadow_usd, shown_usd = _compare(
        thinkers, assumed, lengths, draw_prompts(world, COMPARISONS, rng), judge, rng
    )
    learned = tuning.apply_tuning(assumed, tuning.tune(rows, assumed))
    top = always_top(assumed)
    return User(
        cold=_relative(thinkers, planning(assumed), top, prompts),
        learned=_relative(thinkers, planning(learned, lengths), top, prompts),
        learned_worth=_relative(thinkers, planning(learned, lengths, worth_usd=WORTH_USD), top, prompts),
        lengths_only=_relative(thinkers, planning(assumed, lengths), top, prompts),
        oracle=_relative(thinkers, planning(true, lengths), top, prompts),
        shadow_share=SHARE * shadow_usd / shown_usd,
    )


def true_registry(assumed: Registry, rng: np.random.Generator) -> Registry:
    common = {tier: rng.normal(0.0, PROMPTS_SPREAD) for tier in TaskTier}
    return assumed.with_models(
        dataclasses.replace(
            model,
            capability={
                tier: level + common[tier] + rng.normal(0.0, MODEL_SPREAD) for tier, level in model.capability.items()
            },
        )
        for model in assumed
    )


def _compare(
    thinkers: Thinkers,
    assumed: Registry,
    lengths: LearnedLengths,
    prompts: Sequence[Prompt],
    judge: SimulatedJudge,
    rng: np.random.Generator,
) -> tuple[list[Attempt], float, float]:
    """Return the rows of the comparisons, their cost, and that of the shown answers, in USD."""
    rows: list[Attempt] = []
    registry, widths = assumed, dict[ModelTier, float]()
    shadow_usd = shown_usd = 0.0
    for number, prompt in enumerate(prompts):
        if number % _PER_UPDATE == 0:
            learned = tuning.tune(rows, assumed)
            registry, widths = tuning.apply_tuning(assumed, learned), dict(learned.widths)
        shown = planning(registry, lengths)(prompt)
        played = thinkers.play(prompt, shown)
        answer = attempt_of(number, prompt, shown, played)
        lengths.observe(answer)
        shown_usd += played.usd
        rows.append(answer)
        choice = _chooser(prompt, registry, lengths, widths).choose(shown.model.id, shown.effort)
        if choice is None:
            continue
        other = thinkers.play(prompt, choice.shadow)
        verdict, _ = judge.verdict(float(played.success), float(other.success), rng)
        shadow_usd += other.usd + 2 * float(choice.judge.typical_usd)
        shadow = dataclasses.replace(
            attempt_of(number, prompt, choice.shadow, other),
            run_id=f"{number} shadow",
            parent_run_id=answer.run_id,
            outcome=Outcome.SHADOW,
            tags=(SHADOW_TAG,),
            verdict=verdict,
            cost_usd=Decimal(0),
        )
        lengths.observe(shadow)
        judged = dataclasses.replace(
            shadow,
            run_id=f"{number} judge",
            parent_run_id=shadow.run_id,
            model=choice.judge.model.id,
            outcome=Outcome.JUDGED,
            verdict=None,
        )
        rows += [shadow, judged]
    return rows, shadow_usd, shown_usd


def _chooser(prompt: Prompt, registry: Registry, lengths: Lengths, widths: dict[ModelTier, float]) -> Chooser:
    context, classification = simulated_context(lengths), prompt.classification

    def width(model: str) -> float:
        return widths.get((model, classification.tier)) or tuning.prior_width(model, registry)

    def builder(request: Request) -> CandidateBuilder:
        return CandidateBuilder(request, classification, context, registry)

    return Chooser(
        plan=make_plan(prompt.request, classification, registry, context),
        registry=registry,
        builder=builder(shadow_request(prompt.request, parent_run_id="")),
        judging=builder(judge_request(prompt.request, _ANSWER, _ANSWER, parent_run_id="")),
        width=width,
        left_usd=lambda _: None,
    )


def always_top(registry: Registry) -> Policy:
    """Return the policy that asks the top model at its default effort."""
    context, top = simulated_context(Unmeasured()), registry.baseline

    def choose(prompt: Prompt) -> Candidate:
        effort = None if top.effort is None else top.effort.default
        request = dataclasses.replace(prompt.request, model=top.id, effort=effort)
        return make_plan(request, prompt.classification, registry, context).candidates[0]

    return choose


def _relative(thinkers: Thinkers, policy: Policy, top: Policy, prompts: Sequence[Prompt]) -> Figures:
    own = [thinkers.play(prompt, policy(prompt)) for prompt in prompts]
    always = [thinkers.play(prompt, top(prompt)) for prompt in prompts]
    return Figures(
        cost=sum(played.usd for played in own) / sum(played.usd for played in always),
        quality=sum(played.success for played in own) / sum(played.success for played in always),
    )
