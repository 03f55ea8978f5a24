"""The probability that a model answers a prompt well, by item response theory.

    P(correct) = sum over tiers of P(tier) / (1 + exp(difficulty - capability[tier]))

This is the one-parameter logistic model of Rasch (1960), mixed over the tiers that the prompt may have. Difficulty and
capability share one scale, so a new model needs a capability and no training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from llm_magic.types import Classification, TaskTier


def expected_quality(classification: Classification, capability: Mapping[TaskTier, float]) -> float:
    """Return the probability that a model with this capability (in logits, per tier) answers well.

    A tier that `capability` lacks counts as the lowest one that it has.
    """
    lowest = min(capability.values(), default=0.0)
    shares = classification.probabilities or {classification.tier: 1.0}
    difficulty, quality = classification.difficulty, 0.0
    for tier, share in shares.items():
        quality += share / (1.0 + math.exp(difficulty - capability.get(tier, lowest)))
    return quality
