"""Threads: the history that is sent with a prompt, warm prompt caches, and short follow-ups."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime

from llm_magic import tokens
from llm_magic.attachments import user_message
from llm_magic.conversations.store import Conversations, Exchange
from llm_magic.errors import RequestError
from llm_magic.types import Message, Request, RouteResult, Thread

THREAD_TOKENS = 8_000
WARM_FROM_TOKENS = 1_024
"""Providers cache a prompt of at least this length."""

_FOLLOWS = re.compile(
    r"(?:and|but|or|so|then|also|yes|yeah|yep|no|nope|ok(?:ay)?|sure|right|exactly|thanks?|thank you|go on|go ahead|"
    r"continue|proceed|more|again|next|why|how so|how come|what about|what if|really|are you sure|shorter|longer|"
    r"simpler|the (?:first|second|third|last|other)|that|this|it|do (?:it|that|so)|try again|expand|elaborate)\b"
)
_MAX_FOLLOW_UP_WORDS = 8


def follows_on(text: str) -> bool:
    """Return True for a short follow-up such as "yes, go on", "why?" or "shorter", which keeps the thread's tier."""
    return len(text.split()) <= _MAX_FOLLOW_UP_WORDS and bool(_FOLLOWS.match(text.strip().lower()))


def check_name(name: str) -> None:
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise RequestError(f"thread name {name!r} must be 1 to 100 printable characters")


def load(
    conversations: Conversations, name: str, limit: int, now: datetime, *, lifetime_s: Callable[[str], float]
) -> tuple[tuple[Message, ...], Thread]:
    """Return the latest messages of a thread that fit into `limit` o200k_base tokens, and the state of the thread.

    lifetime_s: returns how long a model's provider keeps a cached prompt.
    """
    check_name(name)
    exchanges = conversations.exchanges(name)
    if not exchanges:
        return (), Thread(name=name)
    sizes = tokens_of(exchanges)
    start, last = first_sent(sizes, limit), exchanges[-1]
    is_same = start == first_sent(sizes[:-1], limit)  # the prompt that is cached is the beginning of the next one
    is_kept = 0 <= now.timestamp() - last.at <= lifetime_s(last.model)
    is_warm = is_same and is_kept and last.input_tokens >= WARM_FROM_TOKENS
    thread = Thread(
        name=name,
        dropped_exchanges=start,
        tier=last.tier,
        confidence=last.confidence,
        warm_model=last.model if is_warm else None,
        warm_tokens=last.input_tokens if is_warm else 0,
    )
    return _messages(exchanges[start:]), thread


def tokens_of(exchanges: Sequence[Exchange]) -> list[int]:
    return [tokens.count_o200k(exchange.prompt) + tokens.count_o200k(exchange.answer) for exchange in exchanges]


def first_sent(sizes: Sequence[int], limit: int) -> int:
    """Return the index of the first exchange that is sent, given the tokens of each.

    Beyond the limit, the oldest are dropped until half of it is free, so that the beginning of the prompt, which
    providers cache, changes seldom.
    """
    start = total = 0
    for end, size in enumerate(sizes):
        total += size
        if total > limit:
            while total > limit / 2 and start <= end:
                total -= sizes[start]
                start += 1
    return start


def keep(conversations: Conversations, request: Request, result: RouteResult, now: datetime) -> None:
    """Append the exchange to its thread. Raises LedgerError."""
    assert request.thread is not None
    exchange = Exchange(
        run_id=result.run_id,
        prompt=user_message(request).content,
        answer=result.text,
        model=result.model,
        tier=result.tier,
        confidence=result.confidence,
        input_tokens=result.usage.input_tokens,
        at=now.timestamp(),
    )
    conversations.append(request.thread.name, exchange)


def _messages(exchanges: Sequence[Exchange]) -> tuple[Message, ...]:
    return tuple(
        message
        for exchange in exchanges
        for message in (
            Message(role="user", content=exchange.prompt),
            Message(role="assistant", content=exchange.answer),
        )
    )
