"""Judges of cheap answers: the models that may judge, and what that is expected to cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from llm_magic.plan.lengths import prior_tokens, tier_shares
from llm_magic.plan.rating import CandidateBuilder
from llm_magic.registry import Registry
from llm_magic.types import Candidate, ModelSpec, Skipped

JUDGE_MAX_OUTPUT_TOKENS = 1_024


class Judges:
    """The usable models as judges, at their lowest effort."""

    def __init__(self, usable: Sequence[Candidate], registry: Registry, builder: CandidateBuilder) -> None:
        self._verdicts = builder.for_verdicts(JUDGE_MAX_OUTPUT_TOKENS)
        self._shares = tier_shares(builder.classification)
        rated = (self._verdicts.at_lowest_effort(one.model) for one in usable if not registry.is_local(one.model))
        self._cheapest_first = sorted(
            (one for one in rated if isinstance(one, Candidate)), key=lambda judge: judge.expected_usd
        )

    def of(self, cheap: Candidate) -> Candidate | None:
        """Return the cheapest judge of another provider that is expected to be as good as the model that it judges."""
        return next(
            (
                self._reading(judge, cheap)
                for judge in self._cheapest_first
                if judge.model.provider != cheap.model.provider and judge.expected_quality >= cheap.expected_quality
            ),
            None,
        )

    def named(self, model: ModelSpec, cheap: Candidate) -> Candidate | Skipped:
        judge = self._verdicts.at_lowest_effort(model)
        return self._reading(judge, cheap) if isinstance(judge, Candidate) else judge

    def _reading(self, judge: Candidate, cheap: Candidate) -> Candidate:
        """Add the expected cost of reading the answer, without its reasoning."""
        answer, reasoning = prior_tokens(cheap.model, cheap.effort, self._shares)
        tokens = cheap.quote.output_tokens * answer / (answer + reasoning)
        own_tokens = round(tokens * judge.model.token_ratio / cheap.model.token_ratio)
        quote = judge.quote.with_expected_input(own_tokens, self._verdicts.context.now)
        return dataclasses.replace(judge, quote=quote)
