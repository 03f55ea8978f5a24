"""The chance that a model answers a prompt well: item response theory, with a prompt's difficulty and a model's
capability on one scale. A new model needs its capability stated and nothing trained.

    P(right) = sum over tiers of P(tier) / (1 + exp(difficulty - capability[tier]))

the one-parameter logistic model of Rasch (1960), mixed over what kind of task the prompt may be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from llm_magic.types import Classification, TaskTier


def expected_quality(classification: Classification, capability: Mapping[TaskTier, float]) -> float:
    """The chance, 0..1, that a model of this capability (in logits, by tier) answers well.

    A tier that `capability` does not name counts as the lowest that it does name.
    """
    lowest = min(capability.values(), default=0.0)
    shares = classification.probabilities or {classification.tier: 1.0}
    return sum(
        share / (1.0 + math.exp(classification.difficulty - capability.get(tier, lowest)))
        for tier, share in shares.items()
    )
