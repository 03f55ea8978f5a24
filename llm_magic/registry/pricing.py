"""Prices in a registry: stated prices, surcharges of regional endpoints, and parameters with fees."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, cast
from urllib.parse import urlsplit

from llm_magic.errors import RegistryError
from llm_magic.types import LongPrompt, ModelSpec, Price

AMOUNTS = ("input", "output", "cached_input", "cache_write", "cache_write_1h", "request")
_LONG_PROMPT = ("above_tokens", "input_factor", "output_factor")

# A host, the models that it charges more for, and the factor.
_REGIONAL_ENDPOINTS = (
    # developers.openai.com/api/docs/guides/data-residency: 10 % for models since 2026-03-05, which is since gpt-5.4
    (r"[a-z]{2}\.api\.openai\.com", r"(?!gpt-[34]|gpt-5(\.[0-3])?(-|$)|chatgpt|o\d).*", Decimal("1.1")),
    # docs.x.ai/developers/advanced-api-usage/regions: 10 %
    (r"us\.api\.x\.ai", r".*", Decimal("1.1")),
    # docs.together.ai/docs/serverless/geo-specific-inference: 25 %
    (r"(us|ca)-api\.together\.(ai|xyz)", r".*", Decimal("1.25")),
)
_POSSIBLE_REGION_FACTOR = Decimal("1.1")

# Parameters that make a provider charge per call, per session or per second, in addition to tokens.
_FEES = {
    "audio": "audio tokens have prices of their own",
    "container": "code execution is billed by the hour",
    "enable_search": "web searches are billed per call",
    "functions": "llm_magic does not answer tool calls",
    "mcp_servers": "tools of a server may be billed per call",
    "modalities": "other output than text has prices of its own",
    "plugins": "web searches and file parsing are billed per call",
    "search_parameters": "web searches are billed per source",
    "tools": "tools such as web search are billed per call, and llm_magic does not answer tool calls",
    "web_search": "web searches are billed per call",
    "web_search_options": "web searches are billed per call",
}
_SEARCHING_MODEL = ":online"


def parse_price(value: Any, where: str) -> Price:
    if not isinstance(value, dict):
        raise RegistryError(f"{where} = {value!r} must be a table {{ input = USD, output = USD }} per million tokens")
    table = cast("dict[str, Any]", value)
    known = [field.name for field in dataclasses.fields(Price)]
    if unknown := table.keys() - set(known):
        raise RegistryError(f"{where}: unknown key {min(unknown)!r}; known are {', '.join(sorted(known))}")
    if missing := {"input", "output"} - table.keys():
        raise RegistryError(f"{where} has no {min(missing)!r}; unknown is not zero, write 0 for a free model")
    amounts = {key: exact_amount(table[key], f"{where}.{key}") for key in AMOUNTS if key in table}
    factors = _table(table.get("factors", {}), f"{where}.factors")
    return Price(
        **cast("Any", amounts),
        long_prompt=_long_prompt(table["long_prompt"], f"{where}.long_prompt") if "long_prompt" in table else None,
        factors={name: exact_amount(factor, f"{where}.factors.{name}") for name, factor in factors.items()},
        source=str(table.get("source", "")),
    )


def check_price(price: Price, where: str) -> None:
    for name in AMOUNTS:
        if (amount := getattr(price, name)) is not None:
            exact_amount(amount, f"{where}.{name}")
    for name, factor in price.factors.items():
        exact_amount(factor, f"{where}.factors.{name}")


def check_fees(params: Mapping[str, Any], where: str) -> None:
    if fees := _FEES.keys() & params.keys():
        name = min(fees)
        raise RegistryError(f"{where}.{name} is not possible: {_FEES[name]}, which no hold covers. Leave it out")


def check_name(api_model: str, where: str) -> None:
    if api_model.endswith(_SEARCHING_MODEL):
        plain = api_model.removesuffix(_SEARCHING_MODEL)
        raise RegistryError(f"{where} = {api_model!r} searches the web, with fees that no hold covers: use {plain!r}")


def surcharge(model: ModelSpec) -> Decimal:
    """Return the factor on the price for the regional endpoint of the model's provider, whose URL may be a variable."""
    if (provider := model.endpoint) is None:
        return Decimal(1)
    base_url = os.environ.get(provider.base_url_env or "", "").strip() or provider.base_url or ""
    return _surcharge(base_url, model.api_model)


def possible_surcharge(model: ModelSpec) -> Decimal:
    """Return the factor on the price that a response may report in addition: a workspace can have a default region."""
    is_anthropic = model.endpoint is not None and model.endpoint.api == "anthropic"
    return _POSSIBLE_REGION_FACTOR if is_anthropic and model.params.get("inference_geo") != "global" else Decimal(1)


@lru_cache(maxsize=512)
def _surcharge(base_url: str, api_model: str) -> Decimal:
    try:
        host = urlsplit(base_url if "//" in base_url else f"//{base_url}").hostname or ""
    except ValueError:  # the provider reports an invalid URL
        host = ""
    factors = (
        factor
        for host_pattern, model_pattern, factor in _REGIONAL_ENDPOINTS
        if re.fullmatch(host_pattern, host) and re.fullmatch(model_pattern, api_model)
    )
    return next(factors, Decimal(1))


def exact_amount(value: Any, where: str) -> Decimal:
    """Parse a finite amount >= 0 with at most six decimals, so that a token's price is exact in the ledger's units."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise RegistryError(f"{where} = {value!r} is not a number")
    amount = Decimal(value)
    if not amount.is_finite() or not 0 <= amount < 1_000_000:
        raise RegistryError(f"{where} = {value} must be a finite amount of zero or more, below a million")
    if amount != round(amount, 6):
        raise RegistryError(f"{where} = {value} has more than six decimals")
    return amount


def _long_prompt(value: Any, where: str) -> LongPrompt:
    table = _table(value, where)
    if table.keys() != set(_LONG_PROMPT):
        raise RegistryError(f"{where} must have the keys {', '.join(_LONG_PROMPT)}")
    above = table["above_tokens"]
    if isinstance(above, bool) or not isinstance(above, int) or above < 1:
        raise RegistryError(f"{where}.above_tokens = {above!r} must be a whole number above zero")
    return LongPrompt(
        above_tokens=above,
        input_factor=exact_amount(table["input_factor"], f"{where}.input_factor"),
        output_factor=exact_amount(table["output_factor"], f"{where}.output_factor"),
    )


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RegistryError(f"{where} = {value!r} must be a table")
    return cast("dict[str, Any]", value)
