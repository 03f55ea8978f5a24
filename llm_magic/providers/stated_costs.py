"""Costs that providers state themselves."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from llm_magic.providers.payload import json_object

# A cost above this is an error of the provider.
_MAX_COST_USD = 100_000
_XAI_TICKS_PER_USD = 10**10
_COSTS = ("cost", "total_cost", "estimated_cost", "cost_usd")


def stated_cost(usage: Mapping[str, Any]) -> Decimal | None:
    """Return the cost in USD that the provider states itself; None if it states none, or an impossible one."""
    if (ticks := parse_amount(usage.get("cost_in_usd_ticks"))) is not None:
        return _plausible(ticks / _XAI_TICKS_PER_USD)
    for name in _COSTS:
        value = usage.get(name)
        if parts := json_object(value):  # Perplexity
            value = parts.get("total_cost") if parts.get("currency", "USD") == "USD" else None
        if (cost := parse_amount(value)) is not None:
            if usage.get("is_byok") is True:  # OpenRouter's cost is then its fee alone
                cost += _upstream_cost(json_object(usage.get("cost_details")))
            return _plausible(cost)
    return None


def _upstream_cost(details: Mapping[str, Any]) -> Decimal:
    whole = parse_amount(details.get("upstream_inference_cost"))
    names = ("upstream_inference_prompt_cost", "upstream_inference_completions_cost")
    parts = [parse_amount(details.get(name)) for name in names]
    return whole or sum((part for part in parts if part is not None), Decimal(0))


def parse_amount(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > 40:
        return None
    try:
        amount = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


def _plausible(cost_usd: Decimal) -> Decimal | None:
    return Decimal(f"{round(cost_usd, 12).normalize():f}") if 0 <= cost_usd <= _MAX_COST_USD else None
