"""What is sent besides the prompt, and what it costs."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from decimal import Decimal

from llm_magic import prices, tokens
from llm_magic.plan.costs import usage_of
from llm_magic.types import (
    Candidate,
    Classification,
    Extra,
    Message,
    Request,
)


def extras_of(
    request: Request, classification: Classification, leader: Candidate | None, now: datetime
) -> tuple[Extra, ...]:
    """What is sent besides the prompt, and what it costs on the leader: with it, less without it."""
    thread = request.thread
    dropped = 0 if thread is None else thread.dropped
    if leader is None:
        return ()
    model = leader.model
    whole = usage_of(model, leader.input_tokens, classification, request, share=0.0)

    def costs(count: int, cached: int = 0) -> Decimal:
        left = dataclasses.replace(
            whole,
            input_tokens=leader.input_tokens - count,
            cached_input_tokens=whole.cached_input_tokens - cached,
        )
        return prices.cost(model, whole, now).usd - prices.cost(model, left, now).usd

    parts: list[Extra] = []
    for each in request.attachments:
        one = Message(role="user", content=each.block, images=() if each.image is None else (each.image,))
        count = min(tokens.estimate_input((one,), None, model), leader.input_tokens - whole.cached_input_tokens)
        parts.append(Extra(name=each.name, tokens=count, usd=costs(count), detail=each.detail))
    if not (request.history or dropped):
        return tuple(parts)
    count = tokens.estimate_input(request.history, None, model)
    turns = len(request.history) // 2
    detail = [f"{turns} exchange{'s' * (turns != 1)}"]
    if dropped:
        detail.append(f"the {dropped} oldest left out")
    if whole.cached_input_tokens:
        detail.append(f"{whole.cached_input_tokens:,} tokens of the prompt in {model.id}'s cache")
    usd = costs(count, whole.cached_input_tokens)
    return (*parts, Extra(name="history", tokens=count, usd=usd, detail=", ".join(detail)))
