from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from llm_magic import prices, tokens
from llm_magic.attachments import user_message
from llm_magic.plan.lengths import Lengths, kind_of
from llm_magic.plan.prefixes import MIN_TOKENS, Prefixes, Seen, prefix_of
from llm_magic.types import ZERO, Classification, Cost, Effort, Message, ModelSpec, Request, Usage

DEFAULT_MAX_OUTPUT_TOKENS = 8_192
LIMIT_OF_EXPECTED = 5
# Of the simulated hard prompts at maximum effort, 1 in 100 has an output of over 4.2 times the mean.

MIN_OUTPUT_TOKENS = 256
_COUNT_MARGIN, _COUNT_MARGIN_TOKENS = 0.05, 256
"""Counts of providers are estimates that can differ from what is billed by a small amount."""


def messages_of(request: Request) -> tuple[Message, ...]:
    return (*request.history, user_message(request))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelQuote:
    """Cost of a request on a model at an effort. `short_usd` is for an answer with a quarter of the expected length."""

    model: ModelSpec
    effort: Effort | None
    input_tokens: int
    input_tokens_bound: int
    output_tokens: int
    max_output_tokens: int
    wanted_output_tokens: int
    full_output_tokens: int
    marks_prefix: bool
    is_counted: bool
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

    def with_output_limit(self, limit: int, now: datetime) -> ModelQuote:
        lowered = dataclasses.replace(
            self,
            wanted_output_tokens=min(limit, self.wanted_output_tokens),
            full_output_tokens=min(limit, self.full_output_tokens),
        )
        return lowered._limited(min(limit, self.max_output_tokens), now)

    def with_full_output(self, now: datetime) -> ModelQuote:
        full = max(self.full_output_tokens, self.max_output_tokens)
        return dataclasses.replace(self, wanted_output_tokens=full)._limited(full, now)

    def with_messages(self, messages: tuple[Message, ...], now: datetime) -> ModelQuote | None:
        input_tokens = self.input_tokens + tokens.estimate_input(messages, None, self.model)
        limit = min(self.max_output_tokens, self.model.output_space(input_tokens))
        if limit < min(MIN_OUTPUT_TOKENS, self.max_output_tokens):
            return None
        bound = self.input_tokens_bound + tokens.bound_input(messages, None)
        longer = dataclasses.replace(
            self,
            input_tokens=input_tokens,
            input_tokens_bound=bound,
            wanted_output_tokens=limit,
            full_output_tokens=min(self.full_output_tokens, self.model.output_space(input_tokens)),
        )
        return longer._limited(limit, now)

    def with_expected_input(self, input_tokens: int, now: datetime) -> ModelQuote:
        more = prices.cost(self.model, Usage(input_tokens=input_tokens), now).usd
        return dataclasses.replace(self, typical_usd=self.typical_usd + more)

    def with_input(
        self, input_tokens: int, input_tokens_bound: int, max_output_tokens: int, now: datetime
    ) -> ModelQuote:
        changed = dataclasses.replace(self, input_tokens=input_tokens, input_tokens_bound=input_tokens_bound)
        return changed._limited(max_output_tokens, now)

    def _limited(self, max_output_tokens: int, now: datetime) -> ModelQuote:
        worst = prices.worst_case(
            self.model, input_tokens=self.input_tokens_bound, output_tokens=max_output_tokens, at=now
        )
        return dataclasses.replace(self, max_output_tokens=max_output_tokens, worst_usd=worst)


class Quoter:
    def __init__(
        self,
        request: Request,
        classification: Classification,
        now: datetime,
        lengths: Lengths,
        prefixes: Prefixes,
        counted: Mapping[str, int],
    ) -> None:
        self.request = request
        self.messages = messages_of(request)
        self.images = [image for message in self.messages for image in message.images]
        self._now = now
        self._schema = "" if request.schema is None else request.schema.text
        self._bound = tokens.bound_input(self.messages, request.system, self._schema)
        self._lengths = lengths
        self._prefixes = prefixes
        self._counted = counted
        self.prefix = prefix_of(request)
        self.kind = kind_of(classification, "" if request.schema is None else request.schema.digest)

    def input_tokens(self, model: ModelSpec) -> int:
        """Return the provider's own count, or else an estimate."""
        if model.id in self._counted:
            return self._counted[model.id]
        return tokens.estimate_input(self.messages, self.request.system, model, self._schema)

    def input_usage(self, model: ModelSpec, input_tokens: int) -> Usage:
        """Return what is expected to be billed for the input, without any output."""
        ratio = 1.0 if model.id in self._counted else self._lengths.input_ratio(model)
        billed = round(input_tokens * ratio)
        thread = self.request.thread
        if thread is not None:
            warm = min(billed, thread.warm_tokens if thread.warm_model == model.id else 0)
            is_written = model.prompt_cache in ("breakpoints", "explicit") and billed >= MIN_TOKENS[model.prompt_cache]
            return Usage(
                input_tokens=billed, cached_input_tokens=warm, cache_write_tokens=billed - warm if is_written else 0
            )
        shared = min(billed, round(self.prefix_tokens(model) * billed / max(1, input_tokens)))
        if self.marks_prefix(model) and self._seen(model) is not Seen.CACHED:
            return Usage(input_tokens=billed, cache_write_tokens=shared)
        is_read = shared >= MIN_TOKENS[model.prompt_cache] and self._seen(model) is Seen.CACHED
        return Usage(input_tokens=billed, cached_input_tokens=shared if is_read else 0)

    def prefix_tokens(self, model: ModelSpec) -> int:
        """Return the estimated tokens of the prefix that the prompt shares with others; 0 without one."""
        if self.prefix is None:
            return 0
        images = [attachment.image for attachment in self.prefix.attachments if attachment.image is not None]
        message = Message(role="user", content=self.prefix.text, images=tuple(images))
        return tokens.estimate_input((message,), self.prefix.system, model, self._schema)

    def marks_prefix(self, model: ModelSpec) -> bool:
        """True if the prefix is to be cached: it is long enough, and other prompts have it, or it is forced to be."""
        if self.prefix is None or model.prompt_cache not in ("breakpoints", "explicit"):
            return False
        is_wanted = self.request.cache_prefix or self._seen(model) is not Seen.NEVER
        return is_wanted and self.prefix_tokens(model) >= MIN_TOKENS[model.prompt_cache]

    def _seen(self, model: ModelSpec) -> Seen:
        if self.request.shared_chars is not None:  # the first row writes it, the others read it
            return Seen.CACHED
        return Seen.NEVER if self.prefix is None else self._prefixes.seen(model, self.prefix.digest, self._now)

    def output_tokens(self, model: ModelSpec, effort: Effort | None) -> float:
        """Return the expected number of output tokens, including reasoning, without regard to any limit."""
        return self._lengths.expected_tokens(model, effort, self.kind)

    def output_limit(self, model: ModelSpec, effort: Effort | None, output_tokens: float) -> int:
        """Return the limit that the request states, or else what an answer may need."""
        if self.request.max_output_tokens is not None:
            return min(self.request.max_output_tokens, model.max_output_tokens)
        needed = self._lengths.limit_tokens(model, effort, self.kind)
        if needed is None:
            return self._full_output(model, output_tokens)
        return min(needed, model.max_output_tokens)

    def _full_output(self, model: ModelSpec, output_tokens: float) -> int:
        """Return the limit without regard to the lengths of earlier answers."""
        stated = self.request.max_output_tokens
        wanted = stated or max(DEFAULT_MAX_OUTPUT_TOKENS, math.ceil(LIMIT_OF_EXPECTED * output_tokens))
        return min(wanted, model.max_output_tokens)

    def quotes(self, model: ModelSpec, levels: Iterable[Effort | None]) -> list[ModelQuote]:
        """Return a quote for each level, without its worst case. Raises UnknownPrice.

        `max_output_tokens` is too low, or negative, if the prompt does not fit into the model's window.
        """
        input_tokens = self.input_tokens(model)
        tier = "flex" if self.request.flex else None
        input_cost = prices.cost(model, self.input_usage(model, input_tokens), self._now, tier)
        bound = self._bound + len(self.images) * model.image_tokens
        if model.id in self._counted:
            bound = min(bound, math.ceil(input_tokens * (1 + _COUNT_MARGIN)) + _COUNT_MARGIN_TOKENS)
        window_left = model.output_space(input_tokens)
        marks_prefix = self.marks_prefix(model)
        made: list[ModelQuote] = []
        for effort in levels:
            output_tokens = self.output_tokens(model, effort)
            wanted = self.output_limit(model, effort, output_tokens)
            quote = ModelQuote(
                model=model,
                effort=effort,
                input_tokens=input_tokens,
                input_tokens_bound=bound,
                output_tokens=round(output_tokens),
                max_output_tokens=min(wanted, window_left),
                wanted_output_tokens=min(wanted, window_left),
                full_output_tokens=min(max(wanted, self._full_output(model, output_tokens)), window_left),
                marks_prefix=marks_prefix,
                is_counted=model.id in self._counted,
                short_usd=_with_output(input_cost, min(output_tokens / 4, wanted)),
                typical_usd=_with_output(input_cost, min(output_tokens, wanted)),
                worst_usd=ZERO,
            )
            made.append(quote)
        return made

    def minimum_tokens(self, model: ModelSpec) -> int:
        """Return the output limit below which a request is not sent."""
        return min(MIN_OUTPUT_TOKENS, self.request.max_output_tokens or MIN_OUTPUT_TOKENS, model.max_output_tokens)


def _with_output(input_cost: Cost, output_tokens: float) -> Decimal:
    return input_cost.usd + round(output_tokens) * input_cost.output_price / prices.MILLION
