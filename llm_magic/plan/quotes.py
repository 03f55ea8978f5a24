from __future__ import annotations

import dataclasses
from datetime import datetime
from decimal import Decimal

from llm_magic import prices, tokens
from llm_magic.attachments import user_message
from llm_magic.types import Classification, Message, ModelSpec, Request, TaskTier, Usage

DEFAULT_MAX_OUTPUT_TOKENS = 8_192

MIN_OUTPUT_TOKENS = 256

EXPECTED_OUTPUT_TOKENS = {
    TaskTier.COMPLEX: 900,
    TaskTier.STANDARD: 450,
    TaskTier.STRUCTURED: 250,
    TaskTier.BULK: 120,
}
"""In o200k_base tokens; a rough prior, for comparing candidates and showing an expected cost."""


def messages_of(request: Request) -> tuple[Message, ...]:
    return (*request.history, user_message(request))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelQuote:
    """Cost of a request on a model. `short_usd` is that of an answer with a quarter of the typical length."""

    model: ModelSpec
    input_tokens: int
    input_tokens_bound: int
    max_output_tokens: int
    short_usd: Decimal
    typical_usd: Decimal
    worst_usd: Decimal

    @property
    def low_usd(self) -> Decimal:
        return min(self.short_usd, self.worst_usd)

    @property
    def expected_usd(self) -> Decimal:
        return min(self.typical_usd, self.worst_usd)

    def at(self, now: datetime) -> ModelQuote:
        return self._limited(self.max_output_tokens, now)

    def fit(self, left_usd: Decimal, now: datetime) -> ModelQuote | None:
        minimum = min(MIN_OUTPUT_TOKENS, self.max_output_tokens)
        affordable = self.affordable_tokens(left_usd, self.max_output_tokens, now)
        return None if affordable < minimum else self._limited(affordable, now)

    def affordable_tokens(self, left_usd: Decimal, wanted: int, now: datetime) -> int:
        return prices.affordable_output(
            self.model, input_tokens=self.input_tokens_bound, left_usd=left_usd, wanted=wanted, at=now
        )

    def with_messages(self, messages: tuple[Message, ...], now: datetime) -> ModelQuote | None:
        input_tokens = self.input_tokens + tokens.estimate_input(messages, None, self.model)
        limit = min(self.max_output_tokens, self.model.context_window - input_tokens)
        if limit < min(MIN_OUTPUT_TOKENS, self.max_output_tokens):
            return None
        bound = self.input_tokens_bound + tokens.bound_input(messages, None)
        longer = dataclasses.replace(self, input_tokens=input_tokens, input_tokens_bound=bound)
        return longer._limited(limit, now)

    def _limited(self, max_output_tokens: int, now: datetime) -> ModelQuote:
        worst = prices.worst_case(
            self.model, input_tokens=self.input_tokens_bound, output_tokens=max_output_tokens, at=now
        )
        return dataclasses.replace(self, max_output_tokens=max_output_tokens, worst_usd=worst)


class Quoter:
    def __init__(self, request: Request, classification: Classification, now: datetime) -> None:
        self.request = request
        self.messages = messages_of(request)
        self.images = [image for message in self.messages for image in message.images]
        self._now = now
        self._schema = "" if request.schema is None else request.schema.text
        self._bound = tokens.bound_input(self.messages, request.system, self._schema)
        shares = classification.probabilities or {classification.tier: 1.0}
        self._output_tokens = sum(chance * EXPECTED_OUTPUT_TOKENS[tier] for tier, chance in shares.items())

    def input_tokens(self, model: ModelSpec) -> int:
        return tokens.estimate_input(self.messages, self.request.system, model, self._schema)

    def usage(self, model: ModelSpec, input_tokens: int, *, share: float) -> Usage:
        """Return the expected usage of an answer with `share` of the typical length."""
        thread = self.request.thread
        warm = min(thread.warm_tokens, input_tokens) if thread is not None and thread.warm_model == model.id else 0
        limit = min(self.request.max_output_tokens or DEFAULT_MAX_OUTPUT_TOKENS, model.max_output_tokens)
        output = round(self._output_tokens * model.token_ratio * share)
        return Usage(input_tokens=input_tokens, cached_input_tokens=warm, output_tokens=min(output, limit))

    def typical_usd(self, model: ModelSpec) -> Decimal:
        """Return the cost of a typical answer. Raises UnknownPrice."""
        return prices.cost(model, self.usage(model, self.input_tokens(model), share=1.0), self._now).usd

    def quote(self, model: ModelSpec, max_output_tokens: int) -> ModelQuote:
        """Raises UnknownPrice."""
        input_tokens = self.input_tokens(model)
        bound = self._bound + len(self.images) * model.image_tokens
        short = self.usage(model, input_tokens, share=0.25)
        typical = self.usage(model, input_tokens, share=1.0)
        return ModelQuote(
            model=model,
            input_tokens=input_tokens,
            input_tokens_bound=bound,
            max_output_tokens=max_output_tokens,
            short_usd=prices.cost(model, short, self._now).usd,
            typical_usd=prices.cost(model, typical, self._now).usd,
            worst_usd=prices.worst_case(model, input_tokens=bound, output_tokens=max_output_tokens, at=self._now),
        )
