"""Levels of effort at which a model may be asked, and its expected quality at each of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from decimal import Decimal

from llm_magic.classify import expected_quality
from llm_magic.plan.lengths import tier_shares
from llm_magic.registry import Registry
from llm_magic.types import Classification, Effort, ModelSpec

TOLERANCE = 1e-9
"""Rounding error of expected qualities, which are compared."""


def usable_levels(
    model: ModelSpec, requested: Effort | None, *, above_default: bool = False
) -> tuple[Effort | None, ...]:
    """Return the requested level, or else those up to the provider's default, or all. None stands for unknown effort.

    If the model lacks the requested level, it is asked at the next harder one, or at its hardest.
    """
    if model.effort is None:
        return (None,)
    levels = tuple(model.effort)
    if requested is None:
        return tuple(level for level in levels if above_default or level.rank <= model.effort.default.rank)
    return (next((level for level in levels if level.rank >= requested.rank), levels[-1]),)


def quality_at(classification: Classification, model: ModelSpec, effort: Effort | None) -> float:
    if effort is None or model.effort is None:
        return expected_quality(classification, model.capability)
    steps = model.effort.capability_steps[effort]
    if not any(steps.values()):
        return expected_quality(classification, model.capability)
    lowest = min(model.capability.values(), default=0.0)
    capability = {
        tier: model.capability.get(tier, lowest) + steps.get(tier, 0.0) for tier in tier_shares(classification)
    }
    return expected_quality(classification, capability)


def leading(registry: Registry) -> list[ModelSpec]:
    return [model for model in registry if model.tiers] or [registry.baseline]


def minimum_quality(quality: float, classification: Classification, registry: Registry) -> float:
    """Return this share of the expected quality of the best model that may lead, at its provider's default effort."""
    return quality * expected_quality(classification, _best(classification, registry).capability)


def _best(classification: Classification, registry: Registry) -> ModelSpec:
    return max(leading(registry), key=lambda model: expected_quality(classification, model.capability))


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """The quality that a model needs to lead. Models other than the best need it in spite of their margins."""

    classification: Classification
    minimum_quality: float
    best_id: str
    has_margins: bool

    def is_met(self, model: ModelSpec, effort: Effort | None) -> bool:
        if self.has_margins and model.capability_margin and model.id != self.best_id:
            margins = model.capability_margin
            lowered = {tier: level - margins.get(tier, 0.0) for tier, level in model.capability.items()}
            model = dataclasses.replace(model, capability=lowered)
        return quality_at(self.classification, model, effort) >= self.minimum_quality - TOLERANCE


def requirement(
    quality: float, classification: Classification, registry: Registry, *, has_margins: bool = True
) -> Requirement:
    best = _best(classification, registry)
    return Requirement(
        classification=classification,
        minimum_quality=quality * expected_quality(classification, best.capability),
        best_id=best.id,
        has_margins=has_margins,
    )


def net_worth(worth_usd: Decimal, quality: float, cost_usd: Decimal) -> Decimal:
    """Return the expected worth of an answer minus its cost, in USD."""
    return worth_usd * Decimal(quality) - cost_usd
