"""The connections to the models. Each SDK and the inference engine are imported at their first use."""

from __future__ import annotations

import weakref
from collections.abc import Mapping

from llm_magic.providers import wires
from llm_magic.providers.base import ClosableProvider, Provider
from llm_magic.providers.wires import register_wire
from llm_magic.types import ProviderSpec

__all__ = ["aclose", "connect", "register_wire"]

_closable: weakref.WeakSet[ClosableProvider] = weakref.WeakSet()


def connect(specs: Mapping[str, ProviderSpec]) -> dict[str, Provider]:
    connected = {name: wires.connect(spec) for name, spec in specs.items()}
    _closable.update(provider for provider in connected.values() if isinstance(provider, ClosableProvider))
    return connected


async def aclose() -> None:
    """Close the connections of the running loop. The embedded model's process ends with this one by itself."""
    from llm_magic.providers import http

    for provider in tuple(_closable):
        await provider.aclose()
    await http.aclose()
