"""Rate limits that endpoints state in the headers of their responses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

MINUTE_S = 60.0
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_WINDOW_MARGIN = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The amount that an endpoint accepts in `window_s` seconds, and how much of it is left."""

    amount: float
    left: float
    window_s: float = MINUTE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """The limits of a model's endpoint. None: not stated."""

    requests: Limit | None
    tokens: Limit | None


def rate_limits(headers: Mapping[str, str]) -> RateLimits | None:
    """Read `x-ratelimit-*`, as OpenAI and others send them, or `anthropic-ratelimit-*`."""
    requests = _limit(headers, "x-ratelimit-{}-requests") or _limit(headers, "anthropic-ratelimit-requests-{}")
    tokens = _limit(headers, "x-ratelimit-{}-tokens") or _limit(headers, "anthropic-ratelimit-tokens-{}")
    if tokens is None:
        tokens = _sum(*(_limit(headers, f"anthropic-ratelimit-{kind}-tokens-{{}}") for kind in ("input", "output")))
    return None if requests is None and tokens is None else RateLimits(requests=requests, tokens=tokens)


def _limit(headers: Mapping[str, str], name: str) -> Limit | None:
    amount, left = _number(headers.get(name.format("limit"))), _number(headers.get(name.format("remaining")))
    if amount is None or left is None or amount <= 0:
        return None
    left = min(left, amount)
    used, reset_s = amount - left, _seconds(headers.get(name.format("reset")))
    window_s = MINUTE_S
    if used > 0 and reset_s > MINUTE_S * _WINDOW_MARGIN:
        window_s = max(MINUTE_S, amount * reset_s / used)  # a limit per day, which refills steadily
    return Limit(amount=amount, left=left, window_s=window_s)


def _sum(one: Limit | None, other: Limit | None) -> Limit | None:
    if one is None or other is None:
        return one or other
    return Limit(amount=one.amount + other.amount, left=one.left + other.left)


def _number(text: str | None) -> float | None:
    return float(text) if text is not None and re.fullmatch(r"\d{1,15}(\.\d{1,9})?", text.strip()) else None


def _seconds(text: str | None) -> float:
    """Parse `6m0s`, `120ms`, a number of seconds, or a moment. Anything else is 0."""
    if text is None:
        return 0.0
    if (number := _number(text)) is not None:
        return number
    parts = _DURATION.findall(text)
    if parts and "".join(value + unit for value, unit in parts) == text.strip():
        return sum(float(value) * _SECONDS[unit] for value, unit in parts)
    try:
        return max(0.0, (datetime.fromisoformat(text.strip()) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
