"""What tokens cost: a registry's stated price, or the offline catalogue of `genai-prices`, at an hour and a length.

The catalogue's own calculator is exact but takes 0.16 ms; a plan asks for dozens of prices. So the unit prices are
read from it and multiplied here; a test holds the two equal.
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
_HORIZON = timedelta(minutes=10)
"""How long a hold may be open; a time-of-day price may change meanwhile."""
STALE_AFTER_DAYS = 60
_READ = {"0.2.3": date(2026, 11, 24)}
"""When the catalogue of a version was compared with the registry's figures."""


def cost(model: ModelSpec, usage: Usage, at: datetime, service_tier: str | None = None) -> Cost:
    """What `usage` on `model` costs when asked at `at` (aware) and served by a tier of service. Raises UnknownPrice.

    Formula: (input - cached - written) * input + cached * cached_input + (written - written_1h) * cache_write
    + written_1h * cache_write_1h + output * output, each price in USD per million tokens, and by the prompt's length,
    the hour and the tier of service where the catalogue knows of such.
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
    """The most that this many tokens can cost: all of the prompt newly cached, at the dearer of now and soon.

    At the dearer of the usual tier of service and the one that the model's `params` ask for, which may not be had. The
    longest cache retention is ours to ask for, too: it is counted where they do.
    """
    worst = ZERO
    for rates in _worst_rates(model, input_tokens, at):
        dearest_input = max(rates.input, rates.cache_write or ZERO)
        if model.params:
            dearest_input = max(dearest_input, rates.cache_write_1h or ZERO)
        worst = max(worst, (input_tokens * dearest_input + output_tokens * rates.output) / MILLION)
    return worst


def affordable_output(model: ModelSpec, *, input_tokens: int, left_usd: Decimal, wanted: int, at: datetime) -> int:
    """How many of `wanted` output tokens fit into `left_usd` after the worst case of the input; may be 0."""
    fixed = worst_case(model, input_tokens=input_tokens, output_tokens=0, at=at)
    if fixed > left_usd:
        return 0
    each = max(rates.output for rates in _worst_rates(model, input_tokens, at)) / MILLION
    return wanted if each == 0 else min(wanted, int((left_usd - fixed) // each))


def _worst_rates(model: ModelSpec, input_tokens: int, at: datetime) -> list[Price]:
    asked = model.params.get("service_tier")
    tiers = {None, asked if isinstance(asked, str) and asked != "default" else None}
    return [_rates(model, input_tokens, moment, tier)[0] for moment in (at, at + _HORIZON) for tier in tiers]


def served_spec(model: ModelSpec, served_model: str | None, registry: Registry) -> ModelSpec:
    """The spec to bill by when `model` was asked and `served_model` answered.

    The provider's dated name of the same model is that model; another model of the registry or of the catalogue is
    billed at its own price; a name that nobody knows is billed as the one that was asked.
    """
    if served_model is None or model.api_model == served_model or _undated(served_model) == _undated(model.api_model):
        return model
    for other in registry:
        if other.provider == model.provider and other.api_model in (served_model, _undated(served_model)):
            return other
    if model.price is None and _catalogue(model.provider, served_model, None) is not None:
        import dataclasses

        return dataclasses.replace(model, id=served_model, api_model=served_model)
    return model


def _undated(name: str) -> str:
    return re.sub(r"-(20\d{6}|20\d\d-\d\d-\d\d)$", "", name)


def _rates(model: ModelSpec, input_tokens: int, at: datetime, service_tier: str | None) -> tuple[Price, str]:
    """Unit prices for a prompt of this length at this moment by this tier, and the price list they come from."""
    if model.price is not None:
        return model.price, "models.toml"
    listed = _catalogue(model.provider, model.api_model, at.replace(second=0, microsecond=0), service_tier)
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
        f"genai-prices {_catalogue_version()}",
    )


def _tier(price: Decimal | TieredPrices, input_tokens: int) -> Decimal:
    """The price that applies to the whole prompt once it is longer than a tier's start."""
    if isinstance(price, Decimal):
        return price
    return next((tier.price for tier in reversed(price.tiers) if input_tokens > tier.start), price.base)


@lru_cache(maxsize=512)
def _catalogue(provider: str, name: str, at: datetime | None, service_tier: str | None = None) -> ModelPrice | None:
    """The catalogue's unit prices at a minute (None: any), or None where it has no such model."""
    from genai_prices.data_snapshot import get_snapshot

    try:
        _, info = get_snapshot().find_provider_model(name, None, provider, None)
    except LookupError:
        return None
    context = {"processing": "batch"} if service_tier == "batch" else {"service_tier": service_tier or "default"}
    return info.get_prices(at or datetime.fromisoformat("2026-01-01T00:00:00+00:00"), context)


@lru_cache(maxsize=1)
def _catalogue_version() -> str:
    return version("genai-prices")


def stale(now: datetime) -> str | None:
    """What to tell where the catalogue is older than 60 days: prices change, and a bill by old ones is wrong."""
    days = (now.date() - catalogue_date()).days
    if days <= STALE_AFTER_DAYS:
        return None
    return f"the price list is {days} days old: pip install -U genai-prices"


@lru_cache(maxsize=1)
def catalogue_date() -> date:
    """Of when the catalogue is, at the latest. It says so nowhere: of a version we have not read, when it came here."""
    import genai_prices.data

    if (read := _READ.get(_catalogue_version())) is not None:
        return read
    return datetime.fromtimestamp(Path(genai_prices.data.__file__).stat().st_mtime, tz=UTC).date()
