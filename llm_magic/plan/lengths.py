"""Expected lengths of answers, from the registry's tables and from what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from llm_magic.types import Classification, Effort, ModelSpec, TaskTier

EXPECTED_ANSWER_TOKENS = {
    TaskTier.COMPLEX: 900,
    TaskTier.STANDARD: 450,
    TaskTier.STRUCTURED: 250,
    TaskTier.BULK: 120,
}
"""Without reasoning, in o200k_base tokens; a rough prior until answers are measured."""
VERDICT_TOKENS = 8

_NO_REASONING: Mapping[TaskTier, float] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Prompts that are expected to have answers of similar length.

    shares: the chances of the tiers. schema: a digest of the answer's schema; empty without one.
    """

    tier: TaskTier
    shares: Mapping[TaskTier, float]
    schema: str = ""


class Lengths(Protocol):
    """Lengths of answers, in the model's own tokens; None if too few were measured.

    expected_tokens: mean of the output, including reasoning. limit_tokens: nearly all answers stay below it.
    input_ratio: input tokens that are billed for each estimated one.
    """

    def expected_tokens(self, model: ModelSpec, effort: Effort | None, kind: Kind) -> float: ...
    def limit_tokens(self, model: ModelSpec, effort: Effort | None, kind: Kind) -> int | None: ...
    def reasoning_tokens(self, model: ModelSpec, effort: Effort | None, kind: Kind) -> float | None: ...
    def input_ratio(self, model: ModelSpec) -> float: ...


class Unmeasured:
    def expected_tokens(self, model: ModelSpec, effort: Effort | None, kind: Kind) -> float:
        answer, reasoning = prior_tokens(model, effort, kind.shares)
        return answer + reasoning

    def limit_tokens(self, model: ModelSpec, effort: Effort | None, kind: Kind) -> int | None:
        del model, effort, kind
        return None

    def reasoning_tokens(self, model: ModelSpec, effort: Effort | None, kind: Kind) -> float | None:
        del model, effort, kind
        return None

    def input_ratio(self, model: ModelSpec) -> float:
        del model
        return 1.0


class VerdictLengths:
    """Lengths of one-word answers: the reasoning before them is that of other answers."""

    def __init__(self, lengths: Lengths) -> None:
        self._lengths = lengths

    def expected_tokens(self, model: ModelSpec, effort: Effort | None, kind: Kind) -> float:
        measured = self._lengths.reasoning_tokens(model, effort, kind)
        reasoning = prior_tokens(model, effort, kind.shares)[1] if measured is None else measured
        return VERDICT_TOKENS * model.token_ratio + reasoning

    def limit_tokens(self, model: ModelSpec, effort: Effort | None, kind: Kind) -> int | None:
        return self._lengths.limit_tokens(model, effort, kind)

    def reasoning_tokens(self, model: ModelSpec, effort: Effort | None, kind: Kind) -> float | None:
        return self._lengths.reasoning_tokens(model, effort, kind)

    def input_ratio(self, model: ModelSpec) -> float:
        return self._lengths.input_ratio(model)


def prior_tokens(
    model: ModelSpec,
    effort: Effort | None,
    shares: Mapping[TaskTier, float],
    answer_factors: Mapping[TaskTier, float] | None = None,
) -> tuple[float, float]:
    """Return the expected tokens of the answer and of the reasoning before it, in the model's own tokens."""
    factors = answer_factors or {}
    thought = _NO_REASONING
    if effort is not None and model.effort is not None:
        thought = model.effort.reasoning_tokens.get(effort, _NO_REASONING)
    answer = sum(share * EXPECTED_ANSWER_TOKENS[tier] * factors.get(tier, 1.0) for tier, share in shares.items())
    reasoning = sum(share * thought.get(tier, 0.0) for tier, share in shares.items())
    return model.token_ratio * answer, model.token_ratio * reasoning


def kind_of(classification: Classification, schema_digest: str = "") -> Kind:
    return Kind(tier=classification.tier, shares=tier_shares(classification), schema=schema_digest)


def tier_shares(classification: Classification) -> Mapping[TaskTier, float]:
    return classification.probabilities or {classification.tier: 1.0}
