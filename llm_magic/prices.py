"""Prices of tokens: as stated by the registry, or by the offline catalog of `genai-prices`.

The catalog's own calculator takes 0.16 ms and a plan needs dozens of prices, so only unit prices are read from it. A
test compares the results.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from llm_magic.errors import UnknownPrice
from llm_magic.registry import pricing
from llm_magic.types import ZERO, Cost, ModelSpec, Price, Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

    from llm_magic.registry import Registry

MILLION = Decimal(1_000_000)
# A time-of-day price can change while a hold is open.
_MAX_HOLD_TIME = timedelta(minutes=10)
STALE_AFTER_DAYS = 60
# Anthropic: 1.1 times for `inference_geo: us`, which a workspace can have as its default (platform.claude.com, data
# residency).
_REGION_FACTOR = Decimal("1.1")
# A prompt that is cached for an hour or 12 hours is written at twice the input price (Anthropic; OpenAI).
_LONG_CACHE_FACTOR = 2
_LONG_CACHE_TTLS = ("12h", "1h")
_BEIJING = timezone(timedelta(hours=8))
_OFF_PEAK_HOUR_UTC = 20
# The date on which the prices of a version were compared with the registry's.
_CATALOG_DATES = {"0.2.3": date(2026, 11, 24)}


def cost(
    model: ModelSpec,
    usage: Usage,
    at: datetime,
    service_tier: str | None = None,
    *,
    speed: str | None = None,
    region: str | None = None,
) -> Cost:
    """Return the cost of `usage` on `model` at the (aware) time `at`, as served by the provider. Raises UnknownPrice.

    Formula: (input - cached - written) * input + cached * cached_input + (written - written_1h) * cache_write
    + written_1h * cache_write_1h + output * output, and the fee of a request. Prices are in USD per million tokens, and
    depend on the prompt's length, the hour, the service tier, the speed and the region.
    """
    rates, source = _rates(model, usage.input_tokens, at, _Terms(service_tier, speed))
    if region is not None:
        rates = _multiplied(rates, _REGION_FACTOR)
        source = f"{source}, region {region}"
    fresh = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    cached = rates.input if rates.cached_input is None else rates.cached_input
    written = _LONG_CACHE_FACTOR * rates.input if _cache_ttl(model.params) == "12h" else rates.cache_write
    written = rates.input if written is None else written
    written_1h = written if rates.cache_write_1h is None else rates.cache_write_1h
    total = (
        fresh * rates.input
        + usage.cached_input_tokens * cached
        + (usage.cache_write_tokens - usage.cache_write_1h_tokens) * written
        + usage.cache_write_1h_tokens * written_1h
        + usage.output_tokens * rates.output
    )
    usd = total / MILLION + (rates.request or ZERO)
    return Cost(usd=usd, price_source=source, input_price=rates.input, output_price=rates.output)


def worst_case(model: ModelSpec, *, input_tokens: int, output_tokens: int, at: datetime) -> Decimal:
    """Return the maximum cost of this many tokens, in USD. Raises UnknownPrice.

    Assumes that the whole prompt is written to the cache, and takes the highest of the prices now and at the end of a
    hold, of the usual service tier and speed and those that `params` request, which may be unavailable, and of the
    regions in which the provider may run the model.
    """
    worst = ZERO
    for rates in _worst_rates(model, input_tokens, at):
        input_price = max(rates.input, rates.cache_write or ZERO)
        if _cache_ttl(model.params) is not None:
            input_price = max(input_price, rates.cache_write_1h or ZERO, _LONG_CACHE_FACTOR * rates.input)
        tokens_usd = (input_tokens * input_price + output_tokens * rates.output) / MILLION
        worst = max(worst, tokens_usd + (rates.request or ZERO))
    return worst


def affordable_output(model: ModelSpec, *, input_tokens: int, left_usd: Decimal, wanted: int, at: datetime) -> int:
    """Return the number of output tokens, 0 to `wanted`, that `left_usd` covers after the worst case of the input."""
    fixed = worst_case(model, input_tokens=input_tokens, output_tokens=0, at=at)
    if fixed > left_usd:
        return 0
    token_usd = max(rates.output for rates in _worst_rates(model, input_tokens, at)) / MILLION
    return wanted if token_usd == 0 else min(wanted, int((left_usd - fixed) // token_usd))


class _Terms(NamedTuple):
    """Conditions of a price; None stands for the usual one."""

    service_tier: str | None = None
    speed: str | None = None


def _worst_rates(model: ModelSpec, input_tokens: int, at: datetime) -> list[Price]:
    """Return the prices that may apply to a request. Raises UnknownPrice if that of a requested speed is not known."""
    requested = _Terms(_requested(model, "service_tier"), _requested(model, "speed"))
    if requested.speed is not None and not _knows_speed(model, requested.speed):
        raise UnknownPrice(
            f"no price is known for {model.id!r} at speed = {requested.speed!r}: leave it out of its params"
        )
    moments = (at, at + _MAX_HOLD_TIME) if model.price is None else (at,)
    rates = [_rates(model, input_tokens, moment, terms)[0] for moment in moments for terms in {_Terms(), requested}]
    return [_multiplied(price, pricing.possible_surcharge(model)) for price in rates]


def _requested(model: ModelSpec, name: str) -> str | None:
    value = model.params.get(name)
    return value if isinstance(value, str) and value not in ("default", "auto", "standard", "standard_only") else None


def _cache_ttl(params: Mapping[str, Any]) -> str | None:
    """Return the longest time, `1h` or `12h`, for which the params ask the provider to cache a prompt, if any."""
    if not params:
        return None
    found: set[str] = set()
    values: list[object] = [params]
    while values:
        value = values.pop()
        if isinstance(value, Mapping):
            fields = cast("Mapping[str, object]", value)
            found |= {ttl for ttl in _LONG_CACHE_TTLS if fields.get("ttl") == ttl}
            values.extend(fields.values())
        elif isinstance(value, list | tuple):
            values.extend(cast("Iterable[object]", value))
    return next((ttl for ttl in _LONG_CACHE_TTLS if ttl in found), None)


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
    if model.price is None and _catalog_model(model.provider, served_model) is not None:
        return dataclasses.replace(model, id=served_model, api_model=served_model)
    return model


def _undated(name: str) -> str:
    return re.sub(r"-(20\d{6}|20\d\d-\d\d-\d\d)$", "", name)


def has_flex(model: ModelSpec, at: datetime) -> bool:
    """Return True if the catalog has a lower price of the model for the service tier `flex`."""
    if model.price is not None:
        return False
    try:
        standard, flex = (_rates(model, 0, at, _Terms(tier))[0] for tier in (None, "flex"))
    except UnknownPrice:
        return False
    return flex.output < standard.output


def cheapest_moment(model: ModelSpec, after: datetime) -> datetime | None:
    """Return the start of the model's cheapest hours within a day; None if its price is as low now, or unknown."""
    if model.price is not None:
        return None
    start = after.replace(minute=after.minute // 15 * 15, second=0, microsecond=0)
    moments = [after, *(start + timedelta(minutes=15 * step) for step in range(1, 4 * 24 + 1))]
    try:
        rates = [_rates(model, 0, moment, _Terms())[0] for moment in moments]
    except UnknownPrice:
        return None
    best = min(range(len(moments)), key=lambda number: (rates[number].output, rates[number].input))
    return moments[best] if best else None


def _rates(model: ModelSpec, input_tokens: int, at: datetime, terms: _Terms) -> tuple[Price, str]:
    surcharge = pricing.surcharge(model)
    if model.price is not None:
        return _multiplied(_stated(model.price, input_tokens, terms), surcharge), _source_of(model.price)
    moment, note = _priced_moment(model, at.replace(second=0, microsecond=0))
    listed = _catalog(model.provider, model.api_model, moment, terms)
    if listed is None or listed.input_mtok is None or listed.output_mtok is None:
        raise UnknownPrice(f"no price is known for {model.id!r}: add price = {{ input = ..., output = ... }} to it")

    def unit(price: Decimal | TieredPrices | None) -> Decimal | None:
        return None if price is None else _tier(price, input_tokens)

    rates = Price(
        input=_tier(listed.input_mtok, input_tokens),
        output=_tier(listed.output_mtok, input_tokens),
        cached_input=unit(listed.cache_read_mtok),
        cache_write=unit(listed.cache_write_mtok),
        cache_write_1h=unit(listed.cache_write_1h_mtok),
    )
    regional = f", regional endpoint +{surcharge - 1:.0%}" if surcharge != 1 else ""
    speed = ""
    if terms.speed is not None:
        speed = f", {terms.speed}" if _knows_speed(model, terms.speed) else f", price of {terms.speed} not known"
    return _multiplied(rates, surcharge), f"genai-prices {_catalog_version()}{note}{speed}{regional}"


def _stated(price: Price, input_tokens: int, terms: _Terms) -> Price:
    if price.long_prompt is not None and input_tokens > price.long_prompt.above_tokens:
        output = price.output * price.long_prompt.output_factor
        price = dataclasses.replace(_multiplied(price, price.long_prompt.input_factor), output=output)
    for term in filter(None, terms):
        price = _multiplied(price, price.factors.get(term, Decimal(1)))
    return price


def _multiplied(price: Price, factor: Decimal) -> Price:
    if factor == 1:
        return price
    amounts = {name: None if (usd := getattr(price, name)) is None else usd * factor for name in pricing.AMOUNTS}
    return dataclasses.replace(price, **amounts)


def _source_of(price: Price) -> str:
    return f"models.toml: {price.source}" if price.source else "models.toml"


def _tier(price: Decimal | TieredPrices, input_tokens: int) -> Decimal:
    """Return the price at this length, which applies to the whole prompt, not only to the part above a threshold."""
    if isinstance(price, Decimal):
        return price
    return next((tier.price for tier in reversed(price.tiers) if input_tokens > tier.start), price.base)


def _priced_moment(model: ModelSpec, at: datetime) -> tuple[datetime, str]:
    """Return the time at which to look up the price in the catalog, and what to say about it in the row.

    The catalog can't express that DeepSeek has no peak hours on Saturdays and Sundays in Beijing. Nor has it any on
    public holidays, which are not known here: on those, its peak price is an upper bound.
    """
    if model.provider != "deepseek":
        return at, ""
    off_peak = at.astimezone(UTC).replace(hour=_OFF_PEAK_HOUR_UTC, minute=0)
    if at.astimezone(_BEIJING).weekday() >= 5:
        return off_peak, ", weekend in Beijing"
    prices_then = [_catalog(model.provider, model.api_model, moment, _Terms()) for moment in (at, off_peak)]
    is_peak = prices_then[0] != prices_then[1]
    return at, ", peak hours; holidays in China not considered" if is_peak else ""


@lru_cache(maxsize=512)
def _catalog(provider: str, name: str, at: datetime, terms: _Terms) -> ModelPrice | None:
    """Return the catalog's unit prices at a minute, or None for an unknown model."""
    info = _catalog_model(provider, name)
    if info is None:
        return None
    tier = terms.service_tier
    context = {"processing": "batch"} if tier == "batch" else {"service_tier": tier or "default"}
    if terms.speed is not None:
        context["speed"] = terms.speed
    return info.get_prices(at, context)


def _catalog_model(provider: str, name: str) -> ModelInfo | None:
    from genai_prices.data_snapshot import get_snapshot

    try:
        return get_snapshot().find_provider_model(name, None, provider, None)[1]
    except LookupError:
        return None


def _knows_speed(model: ModelSpec, speed: str) -> bool:
    if model.price is not None:
        return speed in model.price.factors
    info = _catalog_model(model.provider, model.api_model)
    return any(variant.when.get("speed") == speed for variant in (info and info.price_variants) or ())


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
