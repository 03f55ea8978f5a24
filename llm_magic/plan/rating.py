"""Candidates, each at its cost, or the reason why a model can't serve a request. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from llm_magic.budget import show_usd
from llm_magic.classify import expected_quality
from llm_magic.errors import UnknownPrice
from llm_magic.health import Circuit
from llm_magic.plan.quotes import DEFAULT_MAX_OUTPUT_TOKENS, MIN_OUTPUT_TOKENS, Quoter
from llm_magic.types import Candidate, Classification, ModelSpec, Request, Skipped


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlanContext:
    """State on which a plan depends.

    left_usd: tightest headroom for a model once the attempts in flight are settled; None without a cap. unavailable:
    the reason why a model's provider can't be used now, or None.
    """

    now: datetime
    left_usd: Callable[[ModelSpec], Decimal | None]
    unavailable: Callable[[ModelSpec], str | None]
    circuit: Callable[[str], Circuit]


class CandidateBuilder:
    def __init__(self, request: Request, classification: Classification, context: PlanContext) -> None:
        self.context = context
        self.quoter = Quoter(request, classification, context.now)
        self._request = request
        self._classification = classification

    def limited_to(self, max_output_tokens: int) -> CandidateBuilder:
        limit = min(max_output_tokens, self._request.max_output_tokens or max_output_tokens)
        request = dataclasses.replace(self._request, max_output_tokens=limit)
        return CandidateBuilder(request, self._classification, self.context)

    def build(self, model: ModelSpec, *, include_cooling: bool = False) -> Candidate | Skipped:
        if reason := self.context.unavailable(model):
            return self._skipped(model, reason)
        blocked = self.context.circuit(model.id).blocked_reason
        if blocked and not include_cooling:
            return self._skipped(model, blocked)
        rated = self.price(model)
        return dataclasses.replace(rated, cooling=True) if blocked and isinstance(rated, Candidate) else rated

    def price(self, model: ModelSpec) -> Candidate | Skipped:
        if self.quoter.images and not model.image_tokens:
            return self._skipped(model, "can't see images")
        wanted = min(self._request.max_output_tokens or DEFAULT_MAX_OUTPUT_TOKENS, model.max_output_tokens)
        input_tokens = self.quoter.input_tokens(model)
        window_left = model.context_window - input_tokens
        if window_left < min(MIN_OUTPUT_TOKENS, wanted):
            reason = f"context too small: about {input_tokens:,} tokens for a window of {model.context_window:,}"
            return self._skipped(model, reason)
        try:
            quote = self.quoter.quote(model, min(wanted, window_left))
        except UnknownPrice as error:
            return Skipped(model=model, reason=str(error))
        quality = expected_quality(self._classification, model.capability)
        candidate = Candidate(quote=quote, expected_quality=quality)
        left = self.context.left_usd(model)
        if left is None or quote.worst_usd <= left:
            return candidate
        fitted = candidate.fit(left, self.context.now)
        if fitted is None:
            reason = f"over budget: up to {show_usd(quote.worst_usd)}, {show_usd(left)} left"
            return dataclasses.replace(self._skipped(model, reason), asked_usd=quote.worst_usd)
        return fitted

    def _skipped(self, model: ModelSpec, reason: str) -> Skipped:
        try:
            typical = self.quoter.typical_usd(model)
        except UnknownPrice:
            typical = None
        return Skipped(model=model, reason=reason, typical_usd=typical)
