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
        rest = leader.input_tokens - count
        kept = min(rest, whole.cached_input_tokens - cached)
        written = min(rest - kept, whole.cache_write_tokens)
        without = dataclasses.replace(whole, input_tokens=rest, cached_input_tokens=kept, cache_write_tokens=written)
        return prices.cost(model, whole, now).usd - prices.cost(model, without, now).usd

    extras: list[Extra] = [*_prefix_in_cache(quoter, leader, now)]
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


def _prefix_in_cache(quoter: Quoter, leader: Candidate, now: datetime) -> list[Extra]:
    """Return what the provider's cache is expected to add or to save for the shared prefix; nothing for threads."""
    usage = quoter.input_usage(leader.model, leader.input_tokens)
    count = usage.cached_input_tokens or usage.cache_write_tokens
    if quoter.request.thread is not None or not count:
        return []
    fresh = dataclasses.replace(usage, cached_input_tokens=0, cache_write_tokens=0)
    usd = prices.cost(leader.model, usage, now).usd - prices.cost(leader.model, fresh, now).usd
    if usage.cached_input_tokens:
        detail = f"saved: the beginning of the prompt is in the cache of {leader.model.id}"
    else:
        detail = f"added: {leader.model.id} caches the beginning of the prompt for the next ones"
    return [Extra(name="prompt cache", tokens=count, usd=abs(usd), detail=detail)]
