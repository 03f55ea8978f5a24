"""Checks of specs, whether they come from a file or from Python, and defaults for what they leave out."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any, Literal

from llm_magic.errors import RegistryError
from llm_magic.providers.http import is_http_url
from llm_magic.providers.wires import known_wires
from llm_magic.registry import pricing
from llm_magic.registry.capability import Capability, assumed
from llm_magic.types import ModelSpec, ProviderSpec

# Set for each request, and part of what the hold is computed from, so never in `params`.
_REQUEST_PARAMS = {
    "best_of",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "model",
    "n",
    "stream",
    "stream_options",
    "system",
}


_HTTP_WIRES = ("openai", "anthropic")
_GPT_VERSION = re.compile(r"gpt-(\d+)(?:\.(\d+))?")
_FIRST_GPT_WITH_BREAKPOINTS = (5, 6)


def check_provider(spec: ProviderSpec, origin: str) -> None:
    where = f"{origin}: providers.{spec.name}"
    for key in ("base_url", "base_url_env", "api_key_env"):
        if (value := getattr(spec, key)) is not None:
            _check_text(value, f"{where}.{key}")
    if spec.base_url is not None and spec.api in _HTTP_WIRES and not is_http_url(spec.base_url):
        url = spec.base_url.rpartition("@")[2]  # without a password
        raise RegistryError(f"{where}.base_url = {url!r} is not an http(s) URL, such as https://llm.example.com/v1")
    if spec.api not in (wires := known_wires()):
        raise RegistryError(
            f"{where}.api = {spec.api!r}: choose one of {', '.join(wires)} (llm_magic.register_wire adds others)"
        )
    _check_positive(spec.concurrency, f"{where}.concurrency")
    check_params(spec.params, None, f"{where}.params")


def check_model(model: ModelSpec, provider: ProviderSpec | None, origin: str) -> None:
    where = f"{origin}: models.{model.id}"
    for key in ("context_window", "max_output_tokens"):
        _check_positive(getattr(model, key), f"{where}.{key}")
    if model.max_input_tokens is not None:
        _check_positive(model.max_input_tokens, f"{where}.max_input_tokens")
    _check_choice(model.max_tokens_param, ("max_tokens", "max_completion_tokens"), f"{where}.max_tokens_param")
    _check_choice(model.json_mode, ("schema", "object", "none"), f"{where}.json_mode")
    _check_choice(model.prompt_cache, ("", "none", "automatic", "breakpoints", "explicit"), f"{where}.prompt_cache")
    for key in ("provider", "api_model", "source", "capability_source"):
        _check_text(getattr(model, key), f"{where}.{key}")
    if not _is_whole(model.image_tokens) or model.image_tokens < 0:
        raise RegistryError(f"{where}.image_tokens = {model.image_tokens!r} must be a whole number of zero or more")
    if model.price is not None:
        pricing.check_price(model.price, f"{where}.price")
    pricing.check_name(model.api_model or model.id, f"{where}.api_model")
    check_params(model.params, provider, f"{where}.params")
    for tier, logit in model.capability.items():
        if not math.isfinite(logit):
            raise RegistryError(f"{where}.capability.{tier} = {logit!r} must be a finite number")


def with_defaults(model: ModelSpec, provider: ProviderSpec | None, stated: Mapping[str, Capability]) -> ModelSpec:
    """Fill in what the spec leaves out. stated: the capabilities of the registry's models, by id."""
    model = dataclasses.replace(
        model,
        api_model=model.api_model or model.id,
        params={**({} if provider is None else provider.params), **model.params},
        endpoint=provider,
    )
    model = dataclasses.replace(model, prompt_cache=model.prompt_cache or _prompt_cache(model, provider))
    if model.capability:
        return dataclasses.replace(model, capability_source=model.capability_source or "stated")
    capability, source = assumed(model, stated)
    return dataclasses.replace(model, capability=capability, capability_source=model.capability_source or source)


def _prompt_cache(
    model: ModelSpec, provider: ProviderSpec | None
) -> Literal["none", "automatic", "breakpoints", "explicit"]:
    if provider is not None and provider.api == "anthropic":
        return "breakpoints"
    if model.provider == "deepseek":
        return "automatic"
    version = _GPT_VERSION.match(model.api_model)
    if model.provider == "openai" and version is not None:
        number = (int(version[1]), int(version[2] or 0))
        return "explicit" if number >= _FIRST_GPT_WITH_BREAKPOINTS else "automatic"
    return "none"


def _check_positive(value: Any, where: str) -> None:
    if not _is_whole(value) or value < 1:
        raise RegistryError(f"{where} = {value!r} must be a whole number above zero")


def _check_text(value: Any, where: str) -> None:
    if not isinstance(value, str):
        raise RegistryError(f"{where} = {value!r} must be text")


def _check_choice(value: Any, choices: tuple[str, ...], where: str) -> None:
    if value not in choices:
        raise RegistryError(f"{where} = {value!r}: choose one of {', '.join(choices)}")


def check_params(params: Mapping[str, Any], provider: ProviderSpec | None, where: str) -> None:
    if reserved := _REQUEST_PARAMS & params.keys():
        raise RegistryError(f"{where}.{min(reserved)}: it is set for each request, not for a model")
    pricing.check_fees(params, where)
    if provider is not None and (rejected := set(provider.rejected_params) & params.keys()):
        raise RegistryError(f"{where}.{min(rejected)}: provider {provider.name!r} rejects this parameter")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
