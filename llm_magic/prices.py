"""Prices of tokens: as stated by the registry, or by the offline catalog of `genai-prices`.

The catalog's own calculator takes 0.16 ms and a plan needs dozens of prices, so only unit prices are read from it. A
test compares the results.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from llm_magic.errors import UnknownPrice
from llm_magic.types import ZERO, Cost, ModelSpec, Price, Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, TieredPrices

    from llm_magic.registry import Registry

MILLION = Decimal(1_000_000)
# A time-of-day price can change while a hold is open.
_MAX_HOLD_TIME = timedelta(minutes=10)
STALE_AFTER_DAYS = 60
# The date on which the prices of a version were compared with the registry's.
_CATALOG_DATES = {"0.2.3": date(2026, 11, 24)}


def cost(model: ModelSpec, usage: Usage, at: datetime, service_tier: str | None = None) -> Cost:
    """Return the cost of `usage` on `model` at the (aware) time `at` and a service tier. Raises UnknownPrice.

    Formula: (input - cached - written) * input + cached * cached_input + (written - written_1h) * cache_write
    + written_1h * cache_write_1h + output * output. Prices are in USD per million tokens, and depend on the prompt's
    length, the hour and the service tier if the catalog has such prices.
    """
    rates, source = _rates(model, usage.input_tokens, at, service_tier)
    fresh = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    cached = rates.input if rates.cached_input is None else rates.cached_input
    written = rates.input if rates.cache_write is None else rates.cache_write
    written_1h = written if rates.cache_write_1h is None else rates.cache_write_1h
    total = (
        fresh * rates.input
        + usage.cached_input_tokens * cached
        + (usage.cache_write_tokens - usage.cache_write_1h_tokens) * written
        + usage.cache_write_1h_tokens * written_1h
        + usage.output_tokens * rates.output
    )
    return Cost(usd=total / MILLION, price_source=source, input_price=rates.input, output_price=rates.output)


def worst_case(model: ModelSpec, *, input_tokens: int, output_tokens: int, at: datetime) -> Decimal:
    """Return the maximum cost of this many tokens, in USD. Raises UnknownPrice.

    Assumes that the whole prompt is written to the cache, and takes the highest of the prices now and at the end of a
    hold, and of the usual service tier and the one that `params` request, which may be unavailable. One-hour cache
    writes are included if the model has `params`, which can request them.
    """
    worst = ZERO
    for rates in _worst_rates(model, input_tokens, at):
        input_price = max(rates.input, rates.cache_write or ZERO)
        if model.params:
            input_price = max(input_price, rates.cache_write_1h or ZERO)
        worst = max(worst, (input_tokens * input_price + output_tokens * rates.output) / MILLION)
    return worst


def affordable_output(model: ModelSpec, *, input_tokens: int, left_usd: Decimal, wanted: int, at: datetime) -> int:
    """Return the number of output tokens, 0 to `wanted`, that `left_usd` covers after the worst case of the input."""
    fixed = worst_case(model, input_tokens=input_tokens, output_tokens=0, at=at)
    if fixed > left_usd:
        return 0
    token_usd = max(rates.output for rates in _worst_rates(model, input_tokens, at)) / MILLION
    return wanted if token_usd == 0 else min(wanted, int((left_usd - fixed) // token_usd))


def _worst_rates(model: ModelSpec, input_tokens: int, at: datetime) -> list[Price]:
    requested = model.params.get("service_tier")
    tiers = {None, requested if isinstance(requested, str) and requested != "default" else None}
    return [_rates(model, input_tokens, moment, tier)[0] for moment in (at, at + _MAX_HOLD_TIME) for tier in tiers]


def served_spec(model: ModelSpec, served_model: str | None, registry: Registry) -> ModelSpec:
    """Return the spec to bill by when `model` was requested and `served_model` answered.

    A dated name of the requested model is that model. Another model of the registry or the catalog is billed at its
    own price, and an unknown name as the requested model.
    """
    if served_model is None or model.api_model == served_model or _undated(served_model) == _undated(model.api_model):
        return model
    for other in registry:
        if other.provider == model.provider and other.api_model in (served_model, _undated(served_model)):
            return other
    if model.price is None and _catalog(model.provider, served_model, None) is not None:
        import dataclasses

        return dataclasses.replace(model, id=served_model, api_model=served_model)
    return model


def _undated(name: str) -> str:
    return re.sub(r"-(20\d{6}|20\d\d-\d\d-\d\d)$", "", name)


def _rates(model: ModelSpec, input_tokens: int, at: datetime, service_tier: str | None) -> tuple[Price, str]:
    if model.price is not None:
        return model.price, "models.toml"
    listed = _catalog(model.provider, model.api_model, at.replace(second=0, microsecond=0), service_tier)
    if listed is None or listed.input_mtok is None or listed.output_mtok is None:
        raise UnknownPrice(f"no price is known for {model.id!r}: add price = {{ input = ..., output = ... }} to it")

    def unit(price: Decimal | TieredPrices | None) -> Decimal | None:
        return None if price is None else _tier(price, input_tokens)

    return (
        Price(
            input=_tier(listed.input_mtok, input_tokens),
            output=_tier(listed.output_mtok, input_tokens),
            cached_input=unit(listed.cache_read_mtok),
            cache_write=unit(listed.cache_write_mtok),
            cache_write_1h=unit(listed.cache_write_1h_mtok),
        ),
        f"genai-prices {_catalog_version()}",
    )


def _tier(price: Decimal | TieredPrices, input_tokens: int) -> Decimal:
    """Return the price at this length, which applies to the whole prompt, not only to the part above a threshold."""
    if isinstance(price, Decimal):
        return price
    return next((tier.price for tier in reversed(price.tiers) if input_tokens > tier.start), price.base)


@lru_cache(maxsize=512)
def _catalog(provider: str, name: str, at: datetime | None, service_tier: str | None = None) -> ModelPrice | None:
    """Return the catalog's unit prices at a minute (None: any time), or None for an unknown model."""
    from genai_prices.data_snapshot import get_snapshot

    try:
        _, info = get_snapshot().find_provider_model(name, None, provider, None)
    except LookupError:
        return None
    context = {"processing": "batch"} if service_tier == "batch" else {"service_tier": service_tier or "default"}
    return info.get_prices(at or datetime.fromisoformat("2026-01-01T00:00:00+00:00"), context)


@lru_cache(maxsize=1)
def _catalog_version() -> str:
    return version("genai-prices")


def staleness_warning(now: datetime) -> str | None:
    days = (now.date() - catalog_date()).days
    if days <= STALE_AFTER_DAYS:
        return None
    return f"the price list is {days} days old: pip install -U genai-prices"


@lru_cache(maxsize=1)
def catalog_date() -> date:
    """Return the latest possible date of the catalog, which has no date of its own: its installation, if unknown."""
    import genai_prices.data

    if (compared_on := _CATALOG_DATES.get(_catalog_version())) is not None:
        return compared_on
    return datetime.fromtimestamp(Path(genai_prices.data.__file__).stat().st_mtime, tz=UTC).date()
