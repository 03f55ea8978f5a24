"""The API protocols ("wires") that llm_magic speaks. `api` in models.toml names one of them."""

from __future__ import annotations

import pkgutil
from typing import cast

from llm_magic.providers.base import Provider, ProviderFactory
from llm_magic.types import ProviderSpec

# A text is resolved at the first use, so that no SDK is imported before.
_FACTORIES: dict[str, ProviderFactory | str] = {
    "anthropic": "llm_magic.providers.anthropic:AnthropicProvider",
    "openai": "llm_magic.providers.openai:OpenAIProvider",
    "local": "llm_magic.providers.local.provider:shared_provider",
}


def register_wire(name: str, provider_class: ProviderFactory) -> None:
    """Add a wire, or replace one. Call it before `Registry.load`, which rejects unknown wires."""
    _FACTORIES[name] = provider_class


def known_wires() -> tuple[str, ...]:
    return tuple(_FACTORIES)


def connect(spec: ProviderSpec) -> Provider:
    factory = _FACTORIES[spec.api]
    if isinstance(factory, str):
        factory = cast("ProviderFactory", pkgutil.resolve_name(factory))
    return factory(spec)
