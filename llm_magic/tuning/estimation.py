"""Estimation of capability shifts from evidence.

In each tier, two things may differ from the packaged estimates (in logits): how hard this user's prompts are, for all
models alike, and how good each model is. Both are estimated as the posterior mode under normal priors around zero with
standard deviations PROMPTS_SD and MODEL_SD, or ASSUMED_SD for a model whose capability is not stated. Each answer
counts at its prompt's difficulty. So prompts that are hard for all models do not count against one of them,
and a model that was never asked does not look better for it. The width of the posterior is that of a normal
distribution with the same curvature at the mode.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from llm_magic.registry import Registry
from llm_magic.tuning.comparisons import Comparisons, Pairing, collect_comparisons, information, log_likelihood
from llm_magic.tuning.evidence import Evidence, ModelTier, collect, effective_difficulty
from llm_magic.types import Attempt, TaskTier, Verdict

PROMPTS_SD = 0.6
MODEL_SD = 0.4
ASSUMED_SD = 1.0
MAX_SHIFT = 1.5
"""In logits, of either shift."""
_MAX_ROUNDS = 200
_BISECTIONS = 50
_STEP = 1e-3

Pairs = Mapping[Pairing, Mapping[Verdict, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """Shifts of the packaged capabilities, in logits.

    prompts: by tier, for every model; negative if the user's prompts are harder than typical ones.
    models: by model and tier, in addition. widths: standard deviations of the sum of both.
    """

    prompts: Mapping[TaskTier, float] = dataclasses.field(default_factory=dict[TaskTier, float])
    models: Mapping[ModelTier, float] = dataclasses.field(default_factory=dict[ModelTier, float])
    widths: Mapping[ModelTier, float] = dataclasses.field(default_factory=dict[ModelTier, float])

    def __bool__(self) -> bool:
        return bool(self.prompts or self.models)

    def shift(self, model: str, tier: TaskTier) -> float:
        return self.prompts.get(tier, 0.0) + self.models.get((model, tier), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """The shifts in one tier: common to all models, of each model in addition, and the width of the sum, in logits."""

    common: float
    own: Mapping[str, float]
    widths: Mapping[str, float]


def tune(rows: Iterable[Attempt], registry: Registry) -> Tuning:
    attempts = list(rows)
    collected = {key: evidence for key, evidence in collect(attempts, registry).items() if key[0] in registry}
    comparisons = comparisons_of(attempts, registry)
    prompts: dict[TaskTier, float] = {}
    models: dict[ModelTier, float] = {}
    widths: dict[ModelTier, float] = {}
    for tier in TaskTier:
        in_tier = {model: evidence for (model, tier_of_model), evidence in collected.items() if tier_of_model is tier}
        pairs = comparisons.of_tier(tier)
        if not any(evidence.explicit_count for evidence in in_tier.values()):
            in_tier = {}  # without any complaint or praise, silence says nothing
        if not pairs and not in_tier:
            continue
        posterior = posterior_of(tier, in_tier, pairs, registry)
        prompts[tier] = round(posterior.common, 3)
        models |= {(model, tier): round(shift, 3) for model, shift in posterior.own.items()}
        widths |= {(model, tier): round(width, 3) for model, width in posterior.widths.items()}
    return Tuning(
        prompts={tier: shift for tier, shift in prompts.items() if shift},
        models={key: shift for key, shift in models.items() if shift},
        widths=widths,
    )


def comparisons_of(rows: Iterable[Attempt], registry: Registry) -> Comparisons:
    known = (row for row in rows if row.model in registry or row.is_shadow)
    return collect_comparisons(known, lambda row: effective_difficulty(row, registry))


def apply_tuning(registry: Registry, tuning: Tuning) -> Registry:
    if not tuning:
        return registry
    return registry.with_models(
        dataclasses.replace(
            model,
            capability={tier: level + tuning.shift(model.id, tier) for tier, level in model.capability.items()},
            capability_width={tier: width for (name, tier), width in tuning.widths.items() if name == model.id},
        )
        for model in registry
    )


def prior_width(model: str, registry: Registry) -> float:
    return math.hypot(PROMPTS_SD, _own_sd(model, registry.assumed_ids))


def posterior_of(tier: TaskTier, evidence: Mapping[str, Evidence], comparisons: Pairs, registry: Registry) -> Posterior:
    """Return the posterior in one tier, for the models with evidence."""
    pairs = {
        pairing: counts
        for pairing, counts in comparisons.items()
        if pairing.shown in registry and pairing.shadow in registry and pairing.shown != pairing.shadow
    }
    compared = {model for pairing in pairs for model in (pairing.shown, pairing.shadow)}
    everything = {**{model: Evidence() for model in sorted(compared)}, **evidence}
    capability = {model: registry[model].capability.get(tier, 0.0) for model in everything}
    common, own = posterior_mode(capability, everything, registry.assumed_ids, pairs)
    levels = {model: capability[model] + common + own[model] for model in everything}
    widths = _widths(levels, everything, registry.assumed_ids, pairs)
    return Posterior(common=common, own=own, widths=widths)


def posterior_mode(
    capability: Mapping[str, float],
    evidence: Mapping[str, Evidence],
    assumed: Collection[str] = (),
    pairs: Pairs | None = None,
) -> tuple[float, dict[str, float]]:
    """Return the shift for all models and the shift of each model, by coordinate ascent.

    assumed: models of unknown capability, which few answers may shift far. pairs: comparisons of answers.
    """
    compared = pairs or {}
    common, own = 0.0, dict.fromkeys(evidence, 0.0)
    for _ in range(_MAX_ROUNDS):
        last_common, last_own = common, dict(own)
        levels = {model: capability[model] + own[model] for model in evidence}
        common = _best_shift([(levels[model], part) for model, part in evidence.items()], PROMPTS_SD, levels, compared)
        for model, part in evidence.items():
            levels = {other: capability[other] + common + own[other] for other in evidence}
            levels[model] = capability[model] + common
            mentioned = {one: counts for one, counts in compared.items() if model in (one.shown, one.shadow)}
            own[model] = _best_shift([(levels[model], part)], _own_sd(model, assumed), levels, mentioned, model)
        if abs(common - last_common) + sum(abs(own[model] - last_own[model]) for model in own) < 1e-6:
            break
    return common, own


def _own_sd(model: str, assumed: Collection[str]) -> float:
    return ASSUMED_SD if model in assumed else MODEL_SD


def _best_shift(
    parts: Sequence[tuple[float, Evidence]],
    sd: float,
    levels: Mapping[str, float],
    pairs: Pairs,
    shifted: str | None = None,
) -> float:
    """Return the shift x of one model's level, or of all levels, at the maximum of the posterior, by bisection.

    Without pairs, it solves sum(good - (good + bad) / (1 + exp(difficulty - level - x))) = x / sd ** 2.
    """
    margins = [
        (level - difficulty, good, good + bad)
        for level, evidence in parts
        for difficulty, (good, bad) in evidence.weights.items()
    ]
    compared = [
        (
            levels[pairing.shown] - pairing.shown_difficulty,
            levels[pairing.shadow] - pairing.shadow_difficulty,
            shifted in (None, pairing.shown),
            shifted in (None, pairing.shadow),
            counts,
        )
        for pairing, counts in pairs.items()
    ]

    def of_pairs(shift: float) -> float:
        return sum(
            log_likelihood(counts, shown + shift * moves_shown, shadow + shift * moves_shadow)
            for shown, shadow, moves_shown, moves_shadow, counts in compared
        )

    def slope(shift: float) -> float:
        likelihood = sum(good - total / (1.0 + math.exp(-margin - shift)) for margin, good, total in margins)
        by_pairs = (of_pairs(shift + _STEP) - of_pairs(shift - _STEP)) / (2 * _STEP) if compared else 0.0
        return likelihood + by_pairs - shift / sd**2

    low, high = -MAX_SHIFT, MAX_SHIFT
    if slope(high) >= 0:
        return high
    if slope(low) <= 0:
        return low
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return (low + high) / 2


def _widths(
    levels: Mapping[str, float], evidence: Mapping[str, Evidence], assumed: Collection[str], pairs: Pairs
) -> dict[str, float]:
    """Return the standard deviation of each model's level, from the expected information at the mode."""
    import numpy as np

    models = list(levels)
    index = {model: position for position, model in enumerate(models)}
    precision = np.zeros((len(models), len(models)))
    for model, part in evidence.items():
        for difficulty, (good, bad) in part.weights.items():
            chance = 1.0 / (1.0 + math.exp(difficulty - levels[model]))
            precision[index[model], index[model]] += (good + bad) * chance * (1 - chance)
    for pairing, counts in pairs.items():
        shown, shadow, common = information(
            levels[pairing.shown] - pairing.shown_difficulty, levels[pairing.shadow] - pairing.shadow_difficulty
        )
        weight, one, other = sum(counts.values()), index[pairing.shown], index[pairing.shadow]
        precision[one, one] += weight * shown
        precision[other, other] += weight * shadow
        precision[one, other] += weight * common
        precision[other, one] += weight * common
    own_variances = [_own_sd(model, assumed) ** 2 for model in models]
    prior = np.diag(own_variances) + PROMPTS_SD**2
    covariance = np.linalg.inv(np.linalg.inv(prior) + precision)
    return {model: float(math.sqrt(covariance[position, position])) for model, position in index.items()}
