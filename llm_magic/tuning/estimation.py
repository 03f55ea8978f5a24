"""Estimation of capability shifts from evidence.

In each tier, two things may differ from the packaged estimates (in logits): how hard this user's prompts are, for all
models alike, and how good each model is. Both are estimated as the posterior mode under normal priors around zero with
standard deviations PROMPTS_SD and MODEL_SD, or ASSUMED_SD for a model whose capability is not stated. Each answer
counts at its prompt's difficulty. So prompts that are hard for all models do not count against one of them,
and a model that was never asked does not look better for it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from llm_magic.registry import Registry
from llm_magic.tuning.evidence import Evidence, ModelTier, collect
from llm_magic.types import Attempt, TaskTier

PROMPTS_SD = 0.6
MODEL_SD = 0.4
ASSUMED_SD = 1.0
MAX_SHIFT = 1.5
"""In logits, of either shift."""
_MAX_ROUNDS = 200
_BISECTIONS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """Shifts of the packaged capabilities, in logits.

    prompts: by tier, for every model; negative if the user's prompts are harder than typical ones.
    models: by model and tier, in addition.
    """

    prompts: Mapping[TaskTier, float] = dataclasses.field(default_factory=dict[TaskTier, float])
    models: Mapping[ModelTier, float] = dataclasses.field(default_factory=dict[ModelTier, float])

    def __bool__(self) -> bool:
        return bool(self.prompts or self.models)

    def shift(self, model: str, tier: TaskTier) -> float:
        return self.prompts.get(tier, 0.0) + self.models.get((model, tier), 0.0)


def tune(rows: Iterable[Attempt], registry: Registry) -> Tuning:
    collected = {key: evidence for key, evidence in collect(rows, registry).items() if key[0] in registry}
    prompts: dict[TaskTier, float] = {}
    models: dict[ModelTier, float] = {}
    for tier in TaskTier:
        in_tier = {model: evidence for (model, tier_of_model), evidence in collected.items() if tier_of_model is tier}
        if not any(evidence.explicit_count for evidence in in_tier.values()):
            continue
        capability = {model: registry[model].capability.get(tier, 0.0) for model in in_tier}
        assumed = registry.assumed_ids
        common, own = posterior_mode(capability, in_tier, assumed)
        prompts[tier] = round(common, 3)
        models |= {(model, tier): round(shift, 3) for model, shift in own.items()}
    return Tuning(
        prompts={tier: shift for tier, shift in prompts.items() if shift},
        models={key: shift for key, shift in models.items() if shift},
    )


def apply_tuning(registry: Registry, tuning: Tuning) -> Registry:
    if not tuning:
        return registry
    return registry.with_models(
        dataclasses.replace(
            model,
            capability={tier: level + tuning.shift(model.id, tier) for tier, level in model.capability.items()},
        )
        for model in registry
    )


def posterior_mode(
    capability: Mapping[str, float], evidence: Mapping[str, Evidence], assumed: Collection[str] = ()
) -> tuple[float, dict[str, float]]:
    """Return the shift for all models and the shift of each model, by coordinate ascent.

    assumed: models of unknown capability, which few answers may shift far.
    """
    common, own = 0.0, dict.fromkeys(evidence, 0.0)
    for _ in range(_MAX_ROUNDS):
        last_common, last_own = common, own
        common = _best_shift([(capability[model] + own[model], part) for model, part in evidence.items()], PROMPTS_SD)
        own = {
            model: _best_shift([(capability[model] + common, part)], ASSUMED_SD if model in assumed else MODEL_SD)
            for model, part in evidence.items()
        }
        if abs(common - last_common) + sum(abs(own[model] - last_own[model]) for model in own) < 1e-6:
            break
    return common, own


def _best_shift(parts: Sequence[tuple[float, Evidence]], sd: float) -> float:
    """Solve sum(good - (good + bad) / (1 + exp(difficulty - level - x))) = x / sd ** 2 for x, by bisection."""
    margins = [
        (level - difficulty, good, good + bad)
        for level, evidence in parts
        for difficulty, (good, bad) in evidence.weights.items()
    ]

    def slope(shift: float) -> float:
        likelihood = sum(good - total / (1.0 + math.exp(-margin - shift)) for margin, good, total in margins)
        return likelihood - shift / sd**2

    low, high = -MAX_SHIFT, MAX_SHIFT
    if slope(high) >= 0:
        return high
    if slope(low) <= 0:
        return low
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return (low + high) / 2
