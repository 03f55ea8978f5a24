"""Expected lengths of answers, from the registry's tables and from what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from llm_magic.types import Classification, Effort, ModelSpec, TaskTier

EXPECTED_ANSWER_TOKENS = {
    TaskTier.COMPLEX: 900,
    TaskTier.STANDARD: 450,
    TaskTier.STRUCTURED: 250,
    TaskTier.BULK: 120,
}
"""Without reasoning, in o200k_base tokens; a rough prior until answers are measured."""


class Lengths(Protocol):
    """Lengths of answers that were measured, in the model's own tokens, by model, effort and tier."""

    def expected_tokens(self, model: ModelSpec, effort: Effort | None, tier: TaskTier, *, prior: float) -> float:
        """Return the mean number of output tokens, including reasoning. prior: without any measurement."""
        ...

    def limit_tokens(self, model: ModelSpec, effort: Effort | None, tier: TaskTier) -> int | None:
        """Return an output limit that nearly all answers stay below; None if too few were measured."""
        ...

    def reasoning_tokens(self, model: ModelSpec, effort: Effort | None, tier: TaskTier) -> float | None:
        """Return the mean number of reasoning tokens; None if too few answers were measured."""
        ...


class Unmeasured:
    """Lengths without any measurement."""

    def expected_tokens(self, model: ModelSpec, effort: Effort | None, tier: TaskTier, *, prior: float) -> float:
        del model, effort, tier
        return prior

    def limit_tokens(self, model: ModelSpec, effort: Effort | None, tier: TaskTier) -> int | None:
        del model, effort, tier
        return None

    def reasoning_tokens(self, model: ModelSpec, effort: Effort | None, tier: TaskTier) -> float | None:
        del model, effort, tier
        return None


_NO_REASONING: Mapping[TaskTier, float] = {}


def prior_tokens(model: ModelSpec, effort: Effort | None, shares: Mapping[TaskTier, float]) -> float:
    """Return the expected number of output tokens of the model, with reasoning, by the chances of the tiers."""
    thought = _NO_REASONING
    if effort is not None and model.effort is not None:
        thought = model.effort.reasoning_tokens.get(effort, _NO_REASONING)
    o200k_tokens = sum(
        share * (EXPECTED_ANSWER_TOKENS[tier] + thought.get(tier, 0.0)) for tier, share in shares.items()
    )
    return model.token_ratio * o200k_tokens


def tier_shares(classification: Classification) -> Mapping[TaskTier, float]:
    return classification.probabilities or {classification.tier: 1.0}
