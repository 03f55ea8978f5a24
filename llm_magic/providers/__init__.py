"""The models behind one seam. Each SDK and the engine are imported at their first use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache

from llm_magic.providers.base import Provider
from llm_magic.types import ProviderSpec


def connect(specs: Mapping[str, ProviderSpec], *, environ: Mapping[str, str] = os.environ) -> dict[str, Provider]:
    """A provider for each spec, by name. Connects to nothing yet."""
    return {name: _provider(spec, environ) for name, spec in specs.items()}


def _provider(spec: ProviderSpec, environ: Mapping[str, str]) -> Provider:
    match spec.api:
        case "anthropic":
            from llm_magic.providers.anthropic import AnthropicProvider

            return AnthropicProvider(spec, environ=environ)
        case "openai":
            from llm_magic.providers.openai import OpenAIProvider

            return OpenAIProvider(spec, environ=environ)
        case "local":
            return _local()


@lru_cache(maxsize=1)
def _local() -> Provider:
    """One for the process: its child takes hundreds of megabytes."""
    from llm_magic.providers.local.provider import LocalProvider

    return LocalProvider()


async def aclose() -> None:
    """Close the connections of the running loop. The embedded model's process ends with this one by itself."""
    from llm_magic.providers import http

    await http.aclose()
