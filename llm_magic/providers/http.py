"""Endpoints and their credentials, and one SDK client for each endpoint and event loop."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llm_magic.types import ProviderSpec

CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The URL of an API and its credentials."""

    base_url: str | None = field(repr=False)
    api_key: str = field(repr=False)

    @property
    def display_url(self) -> str:
        """The URL without the user and password that it may contain."""
        if self.base_url is None:
            return "the provider"
        scheme, slashes, rest = self.base_url.rpartition("://")
        host, slash, path = rest.partition("/")
        return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"

    def redact(self, text: str) -> str:
        """The text without this endpoint's key, user or password."""
        if len(self.api_key) > 4:
            text = text.replace(self.api_key, "[key]")
        if self.base_url is None:
            return text
        text = text.replace(self.base_url, self.display_url)
        host = self.base_url.rpartition("://")[2].partition("/")[0]
        if credentials := host.rpartition("@")[0]:
            text = text.replace(credentials, "[user]")
            for secret in credentials.split(":"):
                text = text.replace(secret, "[user]") if len(secret) > 4 else text
        return text


def resolve_endpoint(spec: ProviderSpec, environ: Mapping[str, str]) -> Endpoint:
    """The provider's endpoint by the current values of its environment variables."""
    base_url = environ.get(spec.base_url_env or "", "").strip() or spec.base_url
    return Endpoint(base_url=base_url, api_key=environ.get(spec.api_key_env or "", "").strip() or "none")


def key_problem(spec: ProviderSpec, environ: Mapping[str, str]) -> str | None:
    """Return what is wrong with the provider's API key (`"no OPENAI_API_KEY"`), or None."""
    if spec.api_key_env is None:
        return None
    key = environ.get(spec.api_key_env, "").strip()
    if key.isascii() and key.isprintable():
        return None if key else f"no {spec.api_key_env}"
    return f"{spec.api_key_env} contains characters that are invalid in an API key"


_ClientPool = dict[tuple[Any, Endpoint], Any]
_pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _ClientPool] = weakref.WeakKeyDictionary()


def client(build: Callable[[Endpoint], Any], endpoint: Endpoint) -> Any:
    """Return the running loop's SDK client for an endpoint, made at the first use and kept until `aclose`.

    A client can't cross loops, and one that is dropped unclosed breaks answers of its successor.
    """
    pool = _pools.setdefault(asyncio.get_running_loop(), {})
    if (build, endpoint) not in pool:
        pool[build, endpoint] = build(endpoint)
    return pool[build, endpoint]


async def aclose() -> None:
    """Close the running loop's clients."""
    for pooled in _pools.pop(asyncio.get_running_loop(), {}).values():
        await pooled.close()
