"""Candidates, each at its cost, or the reason why a model can't serve a request. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from llm_magic import prices
from llm_magic.budget import show_usd
from llm_magic.errors import UnknownPrice
from llm_magic.health import Circuit
from llm_magic.plan.exploration import is_exploring
from llm_magic.plan.lengths import Lengths, Unmeasured, VerdictLengths
from llm_magic.plan.levels import TOLERANCE, net_worth, quality_at, requirement, usable_levels
from llm_magic.plan.prefixes import Prefixes
from llm_magic.plan.quotes import ModelQuote, Quoter
from llm_magic.registry import Registry
from llm_magic.types import ZERO, Candidate, Classification, Effort, ModelSpec, Request, Skipped


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlanContext:
    """State on which a plan depends.

    left_usd: tightest headroom for a model once the attempts in flight are settled; None without a cap. unavailable:
    the reason why a model's provider can't be used now, or None. lengths: of earlier answers. seed: of exploration.
    counted: input tokens by model id, where the provider has counted them.
    """

    now: datetime
    left_usd: Callable[[ModelSpec], Decimal | None]
    unavailable: Callable[[ModelSpec], str | None]
    circuit: Callable[[str], Circuit]
    lengths: Lengths = dataclasses.field(default_factory=Unmeasured)
    prefixes: Prefixes = dataclasses.field(default_factory=Prefixes)
    seed: str = ""
    counted: Mapping[str, int] = dataclasses.field(default_factory=dict[str, int])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """The level of a model, with its expected quality, and the better ones that are not worth their cost."""

    quote: ModelQuote
    quality: float
    better: Sequence[tuple[ModelQuote, float]] = ()


class CandidateBuilder:
    """Builds the candidate of each model, at the cheapest effort that is good enough.

    A model that is not good enough at any effort is asked at its provider's default.
    """

    def __init__(
        self, request: Request, classification: Classification, context: PlanContext, registry: Registry
    ) -> None:
        self.context = context
        self.quoter = Quoter(request, classification, context.now, context.lengths, context.prefixes, context.counted)
        self.requirement = requirement(request.quality, classification, registry, has_margins=not is_exploring(request))
        self._registry = registry
        self._request = request
        self.classification = classification
        self._choices: dict[str, _Choice] = {}
        self._at_efforts: dict[Effort | None, CandidateBuilder] = {}

    def limited_to(self, max_output_tokens: int) -> CandidateBuilder:
        limit = min(max_output_tokens, self._request.max_output_tokens or max_output_tokens)
        request = dataclasses.replace(self._request, max_output_tokens=limit)
        return CandidateBuilder(request, self.classification, self.context, self._registry)

    def for_verdicts(self, max_output_tokens: int) -> CandidateBuilder:
        limited = self.limited_to(max_output_tokens)
        limited.context = dataclasses.replace(limited.context, lengths=VerdictLengths(limited.context.lengths))
        return limited.at_effort(self._request.effort)

    def at_lowest_effort(self, model: ModelSpec) -> Candidate | Skipped:
        lowest = usable_levels(model, None)[0]
        if lowest not in self._at_efforts:
            self._at_efforts[lowest] = self.at_effort(lowest)
        return self._at_efforts[lowest].build(model)

    def at_effort(self, effort: Effort | None) -> CandidateBuilder:
        request = dataclasses.replace(self._request, effort=effort)
        return CandidateBuilder(request, self.classification, self.context, self._registry)

    def build(self, model: ModelSpec, *, include_cooling: bool = False) -> Candidate | Skipped:
        if reason := self.context.unavailable(model):
            return dataclasses.replace(self._skipped(model, reason), is_configured=False)
        blocked = self.context.circuit(model.id).blocked_reason
        if blocked and not include_cooling:
            return self._skipped(model, blocked)
        rated = self.price(model)
        return dataclasses.replace(rated, cooling=True) if blocked and isinstance(rated, Candidate) else rated

    def levels_of(self, candidate: Candidate) -> tuple[Candidate, ...]:
        """Return a candidate's model at each level of effort at which it can be asked under the caps."""
        model = candidate.model
        left = self.context.left_usd(model)
        levels = usable_levels(model, self._request.effort, above_default=self._request.worth_usd is not None)
        rated = (
            self._fitted(quote.at(self.context.now), quality_at(self.classification, model, quote.effort), left)
            for quote in self.quoter.quotes(model, levels)
            if quote.max_output_tokens >= self.quoter.minimum_tokens(model)
        )
        return tuple(filter(None, rated))

    def price(self, model: ModelSpec) -> Candidate | Skipped:
        if self.quoter.images and not model.image_tokens:
            return self._skipped(model, "can't see images")
        if self._request.flex and not prices.has_flex(model, self.context.now):
            return self._skipped(model, "has no flex tier: leave out --flex to use it")
        try:
            choice = self._chosen(model)
            chosen, quality = choice.quote, choice.quality
            if chosen.max_output_tokens < self.quoter.minimum_tokens(model):
                window = f"{chosen.input_tokens:,} tokens for a window of {model.input_limit:,}"
                return self._skipped(model, f"context too small: about {window}")
            quote = chosen.at(self.context.now)
        except UnknownPrice as error:
            return Skipped(model=model, reason=str(error))
        left = self.context.left_usd(model)
        fitted = self._fitted(quote, quality, left)
        if fitted is None:
            reason = f"over budget: up to {show_usd(quote.worst_usd)}, {show_usd(left or ZERO)} left"
            return dataclasses.replace(self._skipped(model, reason), asked_usd=quote.worst_usd)
        better = (self._fitted(other.at(self.context.now), value, left) for other, value in choice.better)
        return dataclasses.replace(fitted, better_levels=tuple(filter(None, better)))

    def _fitted(self, quote: ModelQuote, quality: float, left_usd: Decimal | None) -> Candidate | None:
        candidate = Candidate(quote=quote, expected_quality=quality)
        if left_usd is None or quote.worst_usd <= left_usd:
            return candidate
        return candidate.fit(left_usd, self.context.now)

    def typical_usd(self, model: ModelSpec) -> Decimal:
        """Return the cost of a typical answer at the model's default effort. Raises UnknownPrice."""
        default = None if model.effort is None else model.effort.default
        return self.quoter.quotes(model, [default])[0].typical_usd

    def measured_reasoning(self, model: ModelSpec) -> float | None:
        default = None if model.effort is None else model.effort.default
        return self.context.lengths.reasoning_tokens(model, default, self.quoter.kind)

    def _chosen(self, model: ModelSpec) -> _Choice:
        if model.id not in self._choices:
            levels = usable_levels(model, self._request.effort, above_default=self._request.worth_usd is not None)
            self._choices[model.id] = self._choose(self.quoter.quotes(model, levels))
        return self._choices[model.id]

    def _choose(self, quotes: Sequence[ModelQuote]) -> _Choice:
        if (worth_usd := self._request.worth_usd) is not None:
            rated = [(quote, quality_at(self.classification, quote.model, quote.effort)) for quote in quotes]
            chosen, quality = max(rated, key=lambda pair: (net_worth(worth_usd, pair[1], pair[0].typical_usd), pair[1]))
            better = [pair for pair in rated if pair[1] > quality + TOLERANCE]
            return _Choice(quote=chosen, quality=quality, better=better)
        cheapest_first = sorted(quotes, key=lambda quote: quote.typical_usd)
        meeting = (quote for quote in cheapest_first if self.requirement.is_met(quote.model, quote.effort))
        chosen = next(meeting, quotes[-1])
        return _Choice(quote=chosen, quality=quality_at(self.classification, chosen.model, chosen.effort))

    def _skipped(self, model: ModelSpec, reason: str) -> Skipped:
        try:
            typical = self._chosen(model).quote.typical_usd
        except UnknownPrice:
            typical = None
        return Skipped(model=model, reason=reason, typical_usd=typical)
