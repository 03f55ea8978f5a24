from __future__ import annotations

import dataclasses
from datetime import datetime
from decimal import Decimal

from llm_magic import prices, tokens
from llm_magic.plan.quotes import Quoter
from llm_magic.types import Candidate, Extra, Message


def extras_of(quoter: Quoter, leader: Candidate | None, now: datetime) -> tuple[Extra, ...]:
    """Return the attachments and the history, at the difference that each makes to the leader's cost."""
    request = quoter.request
    thread = request.thread
    dropped = 0 if thread is None else thread.dropped_exchanges
    if leader is None:
        return ()
    model = leader.model
    whole = quoter.input_usage(model, leader.input_tokens)

    def cost_usd(count: int, cached: int = 0) -> Decimal:
        without = dataclasses.replace(
            whole,
            input_tokens=leader.input_tokens - count,
            cached_input_tokens=whole.cached_input_tokens - cached,
        )
        return prices.cost(model, whole, now).usd - prices.cost(model, without, now).usd

    extras: list[Extra] = []
    for attachment in request.attachments:
        images = () if attachment.image is None else (attachment.image,)
        message = Message(role="user", content=attachment.block, images=images)
        count = min(tokens.estimate_input((message,), None, model), leader.input_tokens - whole.cached_input_tokens)
        about = "; ".join(filter(None, (attachment.detail, attachment.changes)))
        extras.append(Extra(name=attachment.name, tokens=count, usd=cost_usd(count), detail=about))
    if not (request.history or dropped):
        return tuple(extras)
    count = tokens.estimate_input(request.history, None, model)
    exchanges = len(request.history) // 2
    detail = [f"{exchanges} exchange{'s' * (exchanges != 1)}"]
    if dropped:
        detail.append(f"the {dropped} oldest left out")
    if whole.cached_input_tokens:
        detail.append(f"{whole.cached_input_tokens:,} tokens of the prompt in {model.id}'s cache")
    usd = cost_usd(count, whole.cached_input_tokens)
    return (*extras, Extra(name="history", tokens=count, usd=usd, detail=", ".join(detail)))
