"""Priors for the capability of models for which none is stated: by name, by size, or by tiers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from llm_magic.types import ModelSpec, TaskTier

# In logits: nine good answers in ten to a typical prompt of its kind.
BEST_CAPABILITY = 2.2

# From one price role to the next, in logits: the mean of pairs of 2024 that were measured, 0.35 (gpt-4o-mini to gpt-4o,
# mathematics and code), 0.7 (Mixtral to GPT-4, MMLU), 0.7 (Llama 3.1 8B to 70B, MMLU-Pro), 1.25 (Claude 3 Haiku to
# Claude 3.5 Sonnet, mathematics and code).
CAPABILITY_STEP = 0.75

# Models with 8 billion parameters were about 1.9 below the best of 2024, and 0.75 less so with ten times as many. The
# gap is wider on harder tiers, in the proportions of the packaged 0.5-billion model.
_GAP_OF_8B = 1.9
_GAP_PER_DECADE = 0.75
_GAP_BY_TIER = {TaskTier.COMPLEX: 1.6, TaskTier.STANDARD: 1.05, TaskTier.STRUCTURED: 0.85, TaskTier.BULK: 0.45}
# The usual size on a machine of one's own: Ollama's default tags have 1 to 14 billion.
_TYPICAL_BILLIONS = 8.0
_BILLIONS = re.compile(r"(?<![a-z0-9.])(?:(\d{1,3})x)?(\d{1,4}(?:\.\d+)?)b(?![a-z0-9])", re.IGNORECASE)
_MILLIONS = re.compile(r"(?<![a-z0-9.])(\d{2,3})m(?![a-z0-9])", re.IGNORECASE)

Capability = Mapping[TaskTier, float]


def assumed(model: ModelSpec, stated: Mapping[str, Capability]) -> tuple[Capability, str]:
    """Return a prior in logits and its source, in words.

    stated: capabilities by model id. A model of the same name behind another endpoint is as capable.
    """
    for name in (model.api_model, model.id):
        if (base := name.rpartition("/")[2]) in stated:
            return stated[base], f"assumed: that of {base}, by its name"
    billions = billions_of(model.api_model) or billions_of(model.id)
    by_tiers = from_tiers(model.tiers)
    if billions is None and not _is_free(model):
        return by_tiers, "assumed from its tiers"
    by_size = from_size(billions or _TYPICAL_BILLIONS)
    capability = {tier: min(by_size[tier], by_tiers[tier]) for tier in TaskTier}
    if billions is None:
        return (
            capability,
            f"not known: assumed for {_TYPICAL_BILLIONS:g} billion parameters until it is stated or tuned",
        )
    return capability, f"assumed for the {billions:g} billion parameters in its name"


def from_tiers(tiers: tuple[TaskTier, ...]) -> dict[TaskTier, float]:
    """Return the best capability on the hardest of these tiers and on easier ones, one step less on each harder one.

    A model that serves no tier starts one step below on the easiest.
    """
    from_hardest = list(TaskTier)
    hardest = min((from_hardest.index(tier) for tier in tiers), default=len(from_hardest))
    return {tier: BEST_CAPABILITY - CAPABILITY_STEP * max(0, hardest - rank) for rank, tier in enumerate(from_hardest)}


def from_size(billions: float) -> dict[TaskTier, float]:
    gap = max(0.0, _GAP_OF_8B - _GAP_PER_DECADE * math.log10(billions / 8.0))
    return {tier: round(BEST_CAPABILITY - gap * share, 2) for tier, share in _GAP_BY_TIER.items()}


def strength(model: ModelSpec) -> tuple[float, ...]:
    """Return the capabilities from the hardest tier down: the greater tuple is that of the better model."""
    lowest = min(model.capability.values(), default=0.0)
    return tuple(model.capability.get(tier, lowest) for tier in TaskTier)


def billions_of(name: str) -> float | None:
    """Return the number of parameters that a name states, in billions: `8x7b`, `llama-3.1-70b`, `gemma3:270m`."""
    if match := _BILLIONS.search(name):
        return (int(match.group(1) or 1) * float(match.group(2))) or None
    if match := _MILLIONS.search(name):
        return int(match.group(1)) / 1_000
    return None


def _is_free(model: ModelSpec) -> bool:
    return model.price is not None and model.price.input == model.price.output == 0
