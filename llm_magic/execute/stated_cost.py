"""The cost that a provider states itself, compared with the cost by token counts and prices."""

from __future__ import annotations

from decimal import Decimal

from llm_magic.types import Usage

_MAX_DIFFERENCE = Decimal("0.01")
# A stated cost below or above these multiples of llm_magic's own is doubted, unless the hold covers it.
_MIN_SHARE, _MAX_FACTOR = Decimal("0.05"), 10
# More than any model costs. Bounds the stated cost of a model whose price is stated as zero.
_MAX_TOKEN_USD = Decimal("0.001")


def doubt_of(stated_usd: Decimal, *, own_usd: Decimal, held_usd: Decimal, usage: Usage) -> str:
    """Return the reason to disbelieve a stated cost, or an empty text."""
    if own_usd > 0:
        low_usd, high_usd = own_usd * _MIN_SHARE, max(held_usd, own_usd * _MAX_FACTOR)
    else:
        low_usd, high_usd = Decimal(0), (usage.input_tokens + usage.output_tokens) * _MAX_TOKEN_USD
    if low_usd <= stated_usd <= high_usd:
        return ""
    return (
        f"the provider states a cost of {_exact(stated_usd)}, which is not credible for {usage.input_tokens:,} input "
        f"and {usage.output_tokens:,} output tokens; charged {_exact(own_usd)}, by llm_magic's prices"
    )


def difference(stated_usd: Decimal, *, own_usd: Decimal, is_charged: bool) -> str:
    if abs(stated_usd - own_usd) <= _MAX_DIFFERENCE * max(stated_usd, own_usd):
        return ""
    charged = "the provider's cost is charged" if is_charged else "llm_magic's cost is charged"
    return f"the provider states a cost of {_exact(stated_usd)}, llm_magic's prices give {_exact(own_usd)}; {charged}"


def _exact(usd: Decimal) -> str:
    return f"${round(usd, 9).normalize():f}"
