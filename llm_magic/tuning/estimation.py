"""Estimation of capability shifts from evidence.

In each tier, two things may differ from the packaged estimates (in logits): how hard this user's prompts are, for all
models alike, and how good each model is. Both are estimated as the posterior mode under normal priors around zero with
standard deviations PROMPTS_SD and MODEL_SD. If the capability of a model is not stated, its prior is wider: ASSUMED_SD
of its own, and ASSUMED_COMMON_SD that all such models share, because one rule assumes them all. Each answer counts at
its prompt's difficulty, less the step of its effort (see `llm_magic.tuning.steps`). So prompts that are hard for all
models do not count against one of them, and a model that was never asked does not look better for it. The width
of the posterior is that of a normal distribution with the same curvature at the mode.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from llm_magic.registry import Registry
from llm_magic.tuning import acceptance, steps
from llm_magic.tuning.acceptance import Acceptance
from llm_magic.tuning.comparisons import Comparisons, collect_comparisons
from llm_magic.tuning.evidence import Evidence, ModelTier, collect, effort_step
from llm_magic.tuning.observations import Observations, Pairs, Vector
from llm_magic.tuning.steps import EffortSteps
from llm_magic.types import Attempt, Confirmation, EffortLevels, ModelSpec, TaskTier

PROMPTS_SD = 0.6
MODEL_SD = 0.4
ASSUMED_SD = 0.6
ASSUMED_COMMON_SD = 0.8
"""Rounded from recorded outcomes of 19 models: 0.62 around the mean of a source and tier, and 0.79 for the means."""
MAX_SHIFT = 1.5
"""In logits, of either shift."""
CAUTION = 0.5
"""In widths. A model leads in place of the best one only if it is good enough with a capability lower by this, times
the share of the uncertainty that was removed in the tier. Otherwise, of several uncertain models that seem good enough,
the cheapest is often an overrated one."""
_MAX_ROUNDS = 100
_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """Shifts of the packaged capabilities, in logits.

    prompts: by tier, for every model; negative if the user's prompts are harder than typical ones.
    models: by model and tier, in addition. widths: standard deviations of the sum of both.
    effort: of the capability steps between levels of effort. acceptance: of the confirmations of cascades.
    """

    prompts: Mapping[TaskTier, float] = dataclasses.field(default_factory=dict[TaskTier, float])
    models: Mapping[ModelTier, float] = dataclasses.field(default_factory=dict[ModelTier, float])
    widths: Mapping[ModelTier, float] = dataclasses.field(default_factory=dict[ModelTier, float])
    effort: EffortSteps = dataclasses.field(default_factory=EffortSteps)
    acceptance: Mapping[Confirmation, Acceptance] = dataclasses.field(default_factory=dict[Confirmation, Acceptance])

    def __bool__(self) -> bool:
        return bool(self.prompts or self.models or self.effort or self.acceptance)

    def shift(self, model: str, tier: TaskTier) -> float:
        return self.prompts.get(tier, 0.0) + self.models.get((model, tier), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """The shifts in one tier: common to all models, of each model in addition, and the width of the sum, in logits.

    log_evidence: of the data, up to a constant.
    """

    common: float
    own: Mapping[str, float]
    widths: Mapping[str, float]
    log_evidence: float = 0.0


def tune(rows: Iterable[Attempt], registry: Registry) -> Tuning:
    attempts = list(rows)
    learned = _tuned_capabilities(attempts, registry)
    if not acceptance.confirmed_runs(attempts):
        return learned
    # Ratings of accepted answers would count twice: their selection is what is to be estimated.
    independent = _tuned_capabilities([row for row in attempts if row.confirmation is None], registry)

    def chance(row: Attempt) -> float:
        level = registry[row.model].capability.get(row.tier, 0.0) if row.model in registry else 0.0
        step = independent.effort.factor * effort_step(row, registry)
        return 1.0 / (1.0 + math.exp(row.difficulty - level - step - independent.shift(row.model, row.tier)))

    return dataclasses.replace(learned, acceptance=acceptance.estimate(attempts, chance))


def _tuned_capabilities(attempts: Sequence[Attempt], registry: Registry) -> Tuning:
    collected = {key: evidence for key, evidence in collect(attempts, registry).items() if key[0] in registry}
    comparisons = comparisons_of(attempts, registry)
    tiers: dict[TaskTier, tuple[Mapping[str, Evidence], Pairs]] = {}
    for tier in TaskTier:
        in_tier = {model: evidence for (model, tier_of_model), evidence in collected.items() if tier_of_model is tier}
        pairs = comparisons.of_tier(tier)
        if not any(evidence.explicit_count for evidence in in_tier.values()):
            in_tier = {}  # without any complaint or praise, silence says nothing
        if pairs or in_tier:
            tiers[tier] = (in_tier, pairs)
    effort = _effort_steps(tiers, registry)
    prompts: dict[TaskTier, float] = {}
    models: dict[ModelTier, float] = {}
    widths: dict[ModelTier, float] = {}
    for tier, (in_tier, pairs) in tiers.items():
        found = posterior_of(tier, in_tier, pairs, registry, effort.factor)
        prompts[tier] = round(found.common, 3)
        models |= {(model, tier): round(shift, 3) for model, shift in found.own.items()}
        widths |= {(model, tier): round(width, 3) for model, width in found.widths.items()}
    return Tuning(
        prompts={tier: shift for tier, shift in prompts.items() if shift},
        models={key: shift for key, shift in models.items() if shift},
        widths=widths,
        effort=effort,
    )


def _effort_steps(tiers: Mapping[TaskTier, tuple[Mapping[str, Evidence], Pairs]], registry: Registry) -> EffortSteps:
    """Return the prior unless some evidence is of another level of effort than the default."""
    stepped = {
        tier: (evidence, pairs)
        for tier, (evidence, pairs) in tiers.items()
        if any(step for part in evidence.values() for _, step in part.weights)
        or any(pairing.shown_step or pairing.shadow_step for pairing in pairs)
    }
    if not stepped:
        return EffortSteps()
    return steps.estimate(
        lambda factor: sum(
            posterior_of(tier, evidence, pairs, registry, factor).log_evidence
            for tier, (evidence, pairs) in stepped.items()
        )
    )


def comparisons_of(rows: Iterable[Attempt], registry: Registry) -> Comparisons:
    known = (row for row in rows if row.model in registry or row.is_shadow)
    return collect_comparisons(known, registry)


def apply_tuning(registry: Registry, tuning: Tuning) -> Registry:
    if not tuning:
        return registry
    learned = _learned_shares(registry, tuning)
    models = (
        dataclasses.replace(
            model,
            capability={tier: level + tuning.shift(model.id, tier) for tier, level in model.capability.items()},
            capability_width={tier: width for (name, tier), width in tuning.widths.items() if name == model.id},
            capability_margin={
                tier: CAUTION * share * tuning.widths.get((model.id, tier), prior_width(model.id, registry))
                for tier, share in learned.items()
            },
            effort=_scaled(model, tuning.effort.factor),
        )
        for model in registry
    )
    return registry.with_models(
        models,
        accepted={kind: found.shares for kind, found in tuning.acceptance.items()},
        proven={kind: found.cautious for kind, found in tuning.acceptance.items() if found.is_measured(kind)},
    )


def _learned_shares(registry: Registry, tuning: Tuning) -> dict[TaskTier, float]:
    """Return the share of the prior variance that evidence has removed in each tier, of the best known model."""
    shares: dict[TaskTier, float] = {}
    for (model, tier), width in tuning.widths.items():
        share = max(0.0, 1.0 - (width / prior_width(model, registry)) ** 2)
        shares[tier] = max(shares.get(tier, 0.0), share)
    return shares


def _scaled(model: ModelSpec, factor: float) -> EffortLevels | None:
    if model.effort is None:
        return None
    scaled = {
        effort: {tier: factor * step for tier, step in by_tier.items()}
        for effort, by_tier in model.effort.capability_steps.items()
    }
    return dataclasses.replace(model.effort, capability_steps=scaled)


def prior_width(model: str, registry: Registry) -> float:
    return math.hypot(
        PROMPTS_SD, _own_sd(model, registry.assumed_ids), ASSUMED_COMMON_SD * (model in registry.assumed_ids)
    )


def posterior_of(
    tier: TaskTier, evidence: Mapping[str, Evidence], comparisons: Pairs, registry: Registry, effort_factor: float = 1.0
) -> Posterior:
    """Return the posterior in one tier, for the models with evidence and, if one is assumed, for all assumed ones."""
    pairs = {
        pairing: counts
        for pairing, counts in comparisons.items()
        if pairing.shown in registry
        and pairing.shadow in registry
        and (pairing.shown, pairing.shown_step) != (pairing.shadow, pairing.shadow_step)
    }
    compared = {model for pairing in pairs for model in (pairing.shown, pairing.shadow)}
    answered = compared | set(evidence)
    related = registry.assumed_ids if registry.assumed_ids & answered else frozenset[str]()
    everything = {**{model: Evidence() for model in sorted(compared | related)}, **evidence}
    capability = {model: registry[model].capability.get(tier, 0.0) for model in everything}
    return posterior(capability, everything, registry.assumed_ids, pairs, effort_factor)


def posterior_mode(
    capability: Mapping[str, float], evidence: Mapping[str, Evidence], assumed: Collection[str] = ()
) -> tuple[float, dict[str, float]]:
    """Return the shift for all models and the shift of each model. assumed: models of unknown capability."""
    found = posterior(capability, evidence, assumed)
    return found.common, dict(found.own)


def posterior(
    capability: Mapping[str, float],
    evidence: Mapping[str, Evidence],
    assumed: Collection[str] = (),
    pairs: Pairs | None = None,
    effort_factor: float = 1.0,
) -> Posterior:
    """Find the mode by Fisher scoring on the sums of both shifts, which have a joint normal prior.

    assumed: models of unknown capability, which few answers may shift far. pairs: comparisons of answers.
    """
    import numpy as np

    models = list(capability)
    if not models:
        return Posterior(common=0.0, own={}, widths={})
    data = Observations(models, evidence, pairs or {}, effort_factor)
    is_assumed = np.array([model in assumed for model in models])
    prior = np.diag([_own_sd(model, assumed) ** 2 for model in models]) + PROMPTS_SD**2
    prior += ASSUMED_COMMON_SD**2 * np.outer(is_assumed, is_assumed)
    prior_precision = np.linalg.inv(prior)
    base = np.array([capability[model] for model in models])
    shift = np.zeros(len(models))

    def objective(shift: Vector) -> float:
        return data.log_likelihood(base + shift) - float(shift @ prior_precision @ shift) / 2

    best = objective(shift)
    for _ in range(_MAX_ROUNDS):
        gradient = data.gradient(base + shift) - prior_precision @ shift
        step = np.linalg.solve(prior_precision + data.information(base + shift), gradient)
        while (value := objective(shift + step)) < best and np.abs(step).max() > _TOLERANCE:
            step = step / 2
        shift, best = shift + step, max(best, value)
        if np.abs(step).max() < _TOLERANCE:
            break
    common = min(MAX_SHIFT, max(-MAX_SHIFT, PROMPTS_SD**2 * float((prior_precision @ shift).sum())))
    covariance = np.linalg.inv(prior_precision + data.information(base + shift))
    return Posterior(
        common=common,
        own={
            model: min(MAX_SHIFT, max(-MAX_SHIFT, float(shift[position]) - common))
            for position, model in enumerate(models)
        },
        widths={model: math.sqrt(float(covariance[position, position])) for position, model in enumerate(models)},
        log_evidence=best + float(np.linalg.slogdet(covariance)[1]) / 2,
    )


def _own_sd(model: str, assumed: Collection[str]) -> float:
    return ASSUMED_SD if model in assumed else MODEL_SD
