"""What a model would cost for a request, and whether it can serve it. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from llm_magic import prices, tokens
from llm_magic.attachments import message_of
from llm_magic.budget import show_usd
from llm_magic.classify import expected_quality
from llm_magic.errors import UnknownPrice
from llm_magic.health import Circuit
from llm_magic.types import (
    Candidate,
    Classification,
    Message,
    ModelSpec,
    Request,
    Skipped,
    TaskTier,
    Usage,
)

DEFAULT_MAX_OUTPUT_TOKENS = 8_192
"""Asked for where the caller states nothing, and held for: what a long answer needs, not what a model could do."""

MIN_OUTPUT_TOKENS = 256
"""Near a cap, the output is limited down to this, never below; then the model is passed over."""

EXPECTED_OUTPUT_TOKENS = {
    TaskTier.COMPLEX: 900,
    TaskTier.STANDARD: 450,
    TaskTier.STRUCTURED: 250,
    TaskTier.BULK: 120,
}
"""o200k_base tokens of a typical answer: a rough prior, for comparing candidates and showing an expected cost."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlanContext:
    """What a plan needs to know of the moment it is made in."""

    now: datetime
    left_usd: Callable[[ModelSpec], Decimal | None]
    """What the tightest cap leaves for a model, once the attempts under way have been settled; None: no cap."""
    unavailable: Callable[[ModelSpec], str | None]
    """Why a model's provider can't be used now, e.g. `"no OPENAI_API_KEY"`."""
    circuit: Callable[[str], Circuit]
    """How a model stands, by its id."""


def input_bound(request: Request, messages: tuple[Message, ...]) -> int:
    return tokens.bound_input(messages, request.system, _schema_of(request))


def _schema_of(request: Request) -> str:
    """The schema as the JSON that is sent; empty where there is none."""
    return "" if request.schema is None else json.dumps(request.schema, ensure_ascii=False)


def messages_of(request: Request) -> tuple[Message, ...]:
    """What is sent: the history, then the prompt with what is attached to it."""
    return (*request.history, message_of(request))


def fit_to_budget(candidate: Candidate, left_usd: Decimal, now: datetime) -> Candidate | None:
    """The candidate with its output lowered until its worst case fits into `left_usd`; None where it can't."""
    least = min(MIN_OUTPUT_TOKENS, candidate.max_output_tokens)
    fits = prices.affordable_output(
        candidate.model,
        input_tokens=candidate.input_tokens_bound,
        left_usd=left_usd,
        wanted=candidate.max_output_tokens,
        at=now,
    )
    if fits < least:
        return None
    worst = prices.worst_case(candidate.model, input_tokens=candidate.input_tokens_bound, output_tokens=fits, at=now)
    return dataclasses.replace(
        candidate,
        max_output_tokens=fits,
        low_usd=min(candidate.low_usd, worst),
        expected_usd=min(candidate.expected_usd, worst),
        worst_usd=worst,
    )


def with_messages(candidate: Candidate, more: tuple[Message, ...], now: datetime) -> Candidate | None:
    """The candidate with further messages to send, at what it costs then; None where its window is too small."""
    input_tokens = candidate.input_tokens + tokens.estimate_input(more, None, candidate.model)
    bound = candidate.input_tokens_bound + tokens.bound_input(more, None)
    wanted = min(candidate.max_output_tokens, candidate.model.context_window - input_tokens)
    if wanted < min(MIN_OUTPUT_TOKENS, candidate.max_output_tokens):
        return None
    return dataclasses.replace(
        candidate,
        input_tokens=input_tokens,
        input_tokens_bound=bound,
        max_output_tokens=wanted,
        worst_usd=prices.worst_case(candidate.model, input_tokens=bound, output_tokens=wanted, at=now),
    )


def cost_order(
    model: ModelSpec, messages: tuple[Message, ...], request: Request, classification: Classification, now: datetime
) -> tuple[bool, Decimal]:
    try:
        return False, expected_usd(model, messages, request, classification, now)
    except UnknownPrice:
        return True, Decimal(0)


def expected_usd(
    model: ModelSpec, messages: tuple[Message, ...], request: Request, classification: Classification, now: datetime
) -> Decimal:
    input_tokens = tokens.estimate_input(messages, request.system, model, _schema_of(request))
    return prices.cost(model, usage_of(model, input_tokens, classification, request, share=1.0), now).usd


def usage_of(
    model: ModelSpec, input_tokens: int, classification: Classification, request: Request, share: float
) -> Usage:
    wanted = request.max_output_tokens or DEFAULT_MAX_OUTPUT_TOKENS
    shares = classification.probabilities or {classification.tier: 1.0}
    typical = sum(chance * EXPECTED_OUTPUT_TOKENS[tier] for tier, chance in shares.items())
    output = round(typical * model.token_ratio * share)
    thread = request.thread
    warm = min(thread.warm_tokens, input_tokens) if thread is not None and thread.warm_model == model.id else 0
    return Usage(
        input_tokens=input_tokens,
        cached_input_tokens=warm,
        output_tokens=min(output, wanted, model.max_output_tokens),
    )


def candidate_of(
    model: ModelSpec,
    request: Request,
    messages: tuple[Message, ...],
    bound: int,
    classification: Classification,
    standing: PlanContext,
) -> Candidate | Skipped:
    """The model with its costs, or the reason why it can't serve this request."""
    images = [image for message in messages for image in message.images]
    if images and not model.image_tokens:
        return Skipped(model=model, reason="can't see images")
    bound += len(images) * model.image_tokens
    input_tokens = tokens.estimate_input(messages, request.system, model, _schema_of(request))
    wanted = min(request.max_output_tokens or DEFAULT_MAX_OUTPUT_TOKENS, model.max_output_tokens)
    room = model.context_window - input_tokens
    if room < min(MIN_OUTPUT_TOKENS, wanted):
        reason = f"context too small: about {input_tokens:,} tokens for a window of {model.context_window:,}"
        return Skipped(model=model, reason=reason)
    wanted = min(wanted, room)
    now = standing.now
    try:
        low, expected = (
            prices.cost(model, usage_of(model, input_tokens, classification, request, share), now).usd
            for share in (0.25, 1.0)
        )
        worst = prices.worst_case(model, input_tokens=bound, output_tokens=wanted, at=now)
    except UnknownPrice as error:
        return Skipped(model=model, reason=str(error))
    candidate = Candidate(
        model=model,
        input_tokens=input_tokens,
        input_tokens_bound=bound,
        max_output_tokens=wanted,
        low_usd=low,
        expected_usd=expected,
        worst_usd=worst,
        expected_quality=expected_quality(classification, model.capability),
    )
    left = standing.left_usd(model)
    if left is None or worst <= left:
        return candidate
    fitted = fit_to_budget(candidate, left, now)
    if fitted is None:
        reason = f"over budget: up to {show_usd(worst)}, {show_usd(left)} left"
        return Skipped(model=model, reason=reason, asked_usd=worst)
    return fitted
