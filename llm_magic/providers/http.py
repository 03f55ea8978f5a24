"""Endpoints and their credentials, and one SDK client for each endpoint and event loop."""

from __future__ import annotations

import asyncio
import re
import weakref
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from llm_magic.providers import sending
from llm_magic.providers.loopback import is_loopback
from llm_magic.types import ProviderSpec

CONNECT_TIMEOUT_S = 10.0
_MAX_CONNECTIONS = 1_000
# Cells are often further apart than the SDKs' 5 s, and a new connection takes two or three round trips. Many load
# balancers close a connection after 60 s.
_KEEP_ALIVE_S = 55.0
_PASTED_PATHS = ("/chat/completions", "/completions", "/responses", "/messages", "/v1/models", "/v1/chat")
_WITHOUT_VERSION = ("api.deepseek.com",)
_SDK_KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY")
_SLASHES = re.compile("/+")
_AZURE_DEPLOYMENT = re.compile(r"\.azure\.com(:\d+)?/openai/deployments/", re.I)
"""The API of before 2025, which takes the key in a header of its own: https://learn.microsoft.com/azure/foundry/openai/reference."""
_KEY_HEADERS = ("authorization", "x-api-key", "api-key")
_PUBLIC_PARAMETER = "api-version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The URL of an API and its credentials.

    base_url: without user and password, so that no log or error contains them, and without the query.
    basic_auth: `user:password` of the URL. query: its parameters, such as `api-version`. The log of the HTTP library
    contains them at INFO.
    owns_sdk_variables: the SDK's own environment variables (organization, custom headers) are meant for this endpoint.
    """

    base_url: str | None
    api_key: str = field(repr=False)
    basic_auth: str = field(default="", repr=False)
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    owns_sdk_variables: bool = False

    @property
    def display_url(self) -> str:
        return self.base_url or "the provider"

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.base_url or "")

    def redact(self, text: str) -> str:
        if len(self.api_key) > 4:
            text = text.replace(self.api_key, "[key]")
        plain = unquote(self.basic_auth)
        forms = (self.basic_auth, plain, self.basic_header)
        for secret in (*forms, *self.basic_auth.split(":", 1), *plain.split(":", 1)):
            text = text.replace(secret, "[user]") if len(secret) > 4 else text
        for name, value in self.query:
            text = text.replace(value, f"[{name}]") if len(value) > 4 and name != _PUBLIC_PARAMETER else text
        return text

    @property
    def basic_header(self) -> str:
        """The credentials as the header has them, after `Basic `."""
        return b64encode(unquote(self.basic_auth).encode()).decode("ascii")


def resolve_endpoint(spec: ProviderSpec, environ: Mapping[str, str]) -> Endpoint:
    base_url = environ.get(spec.base_url_env or "", "").strip() or (spec.base_url or "").strip() or None
    basic_auth = query = ""
    if base_url is not None:
        base_url, _, query = base_url.partition("#")[0].partition("?")
        scheme, slashes, rest = base_url.rpartition("://")
        authority, slash, path = rest.partition("/")
        basic_auth, _, host = authority.rpartition("@")
        base_url = f"{scheme}{slashes}{host}{slash}{path}"
    return Endpoint(
        base_url=base_url,
        api_key=environ.get(spec.api_key_env or "", "").strip() or "none",
        basic_auth=basic_auth,
        query=tuple(parse_qsl(query, keep_blank_values=True)),
        owns_sdk_variables=spec.api_key_env in _SDK_KEYS,
    )


def key_problem(spec: ProviderSpec, environ: Mapping[str, str]) -> str | None:
    """Return what is wrong with the provider's API key (`"no OPENAI_API_KEY"`), or None."""
    if spec.api_key_env is None:
        return None
    key = environ.get(spec.api_key_env, "").strip()
    if key.isascii() and key.isprintable():
        return None if key else f"no {spec.api_key_env}"
    return f"{spec.api_key_env} contains characters that are invalid in an API key"


def url_problem(spec: ProviderSpec, environ: Mapping[str, str]) -> str | None:
    url = environ.get(spec.base_url_env or "", "")
    return None if not url.strip() or is_http_url(url) else f"{spec.base_url_env} is not an http(s) URL"


def is_http_url(url: str) -> bool:
    try:
        parts = urlsplit(url.strip())
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


ClientBuilder = Callable[[Endpoint], Any]


@dataclass(slots=True)
class _Pooled:
    """A client, and the environment's proxies and certificates that it was made with."""

    client: Any
    settings: tuple[str | None, ...]
    has_failed: bool = False


_ClientPool = dict[tuple[ClientBuilder, object], _Pooled]
_pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _ClientPool] = weakref.WeakKeyDictionary()


def client(build: ClientBuilder, endpoint: Endpoint) -> Any:
    """Return the running loop's SDK client for an endpoint, made at the first use and kept until `aclose`.

    A client can't cross loops, and one that is dropped unclosed breaks answers of its successor.
    """
    pool = _pools.setdefault(asyncio.get_running_loop(), {})
    pooled = _current(pool, build, endpoint)
    if pooled is None:
        pooled = pool[build, endpoint] = _Pooled(build(endpoint), sending.connection_settings())
    return pooled.client


async def prepare(build: ClientBuilder, endpoint: Endpoint) -> None:
    """Make the client in a thread: the first one takes a part of a second. `client` raises the error of a failure."""
    pool = _pools.setdefault(asyncio.get_running_loop(), {})
    if _current(pool, build, endpoint) is not None:
        return
    settings = sending.connection_settings()
    try:
        prepared = await asyncio.to_thread(build, endpoint)
    except Exception:  # noqa: BLE001 - a wrong proxy or certificate setting raises anything
        return
    if pool.setdefault((build, endpoint), _Pooled(prepared, settings)).client is not prepared:
        await prepared.close()


def connection_failed(build: ClientBuilder, endpoint: Endpoint) -> None:
    """Have the next use of the client check whether the user has corrected a proxy or certificate setting since."""
    pool = _pools.setdefault(asyncio.get_running_loop(), {})
    if (pooled := pool.get((build, endpoint))) is not None:
        pooled.has_failed = True


def _current(pool: _ClientPool, build: ClientBuilder, endpoint: Endpoint) -> _Pooled | None:
    pooled = pool.get((build, endpoint))
    if pooled is None or not pooled.has_failed or pooled.settings == sending.connection_settings():
        return pooled
    pool[build, pooled.client] = pool.pop((build, endpoint))  # others may still use it
    return None


def api_url(class_name: str, base_url: str) -> str:
    """Return the URL to which the SDK adds its own path: without that path, and with the version that it needs."""
    scheme, separator, rest = base_url.rpartition("://")
    url = f"{scheme}{separator}{_SLASHES.sub('/', rest)}".rstrip("/")
    for path in _PASTED_PATHS:
        if url.endswith(path):
            url = url[: -len(path)] + ("/v1" if path.startswith("/v1/") else "")
    while url.endswith("/v1/v1"):
        url = url.removesuffix("/v1")
    if class_name == "AsyncAnthropic":
        return url.removesuffix("/v1")
    host, slash, _ = url.rpartition("://")[2].partition("/")
    return f"{url}{'' if slash or host in _WITHOUT_VERSION else '/v1'}"


def make_client(sdk: ModuleType, class_name: str, endpoint: Endpoint) -> Any:
    """Make an SDK client with this endpoint's credentials alone, without SDK retries.

    The SDKs add headers from environment variables (OPENAI_ORG_ID, OPENAI_PROJECT_ID, OPENAI_CUSTOM_HEADERS,
    ANTHROPIC_CUSTOM_HEADERS, ANTHROPIC_AUTH_TOKEN) to every client, whatever its URL. They are kept only for the
    provider that they are named after, and never replace its key. A loopback endpoint is never reached by way of a
    proxy.
    """
    timeout = sdk.Timeout(None, connect=CONNECT_TIMEOUT_S)
    library = sending.http_library(sdk)
    limits = library.Limits(
        max_connections=_MAX_CONNECTIONS, max_keepalive_connections=_MAX_CONNECTIONS, keepalive_expiry=_KEEP_ALIVE_S
    )
    hooks = {"request": [sending.trace], "response": [sending.response_hook(library)]}
    if endpoint.is_loopback:
        # Certificate settings of the environment count only for TLS. Proxies are the client's part, and it has none.
        uses_tls = (endpoint.base_url or "").lower().startswith("https:")
        transport = library.AsyncHTTPTransport(trust_env=uses_tls, limits=limits)
        http_client = sdk.DefaultAsyncHttpxClient(
            transport=transport, trust_env=False, timeout=timeout, event_hooks=hooks
        )
    else:
        http_client = sdk.DefaultAsyncHttpxClient(limits=limits, timeout=timeout, event_hooks=hooks)
    client = getattr(sdk, class_name)(
        api_key=endpoint.api_key,
        base_url=None if endpoint.base_url is None else api_url(class_name, endpoint.base_url),
        default_query=dict(endpoint.query) or None,
        max_retries=0,
        timeout=timeout,
        http_client=http_client,
    )
    headers: dict[str, str] = dict(client._custom_headers) if endpoint.owns_sdk_variables else {}
    headers = {name: value for name, value in headers.items() if name.lower() not in _KEY_HEADERS}
    if endpoint.basic_auth:
        headers["Authorization"] = f"Basic {endpoint.basic_header}"
    if _AZURE_DEPLOYMENT.search(endpoint.base_url or ""):
        headers["api-key"] = endpoint.api_key
    client._custom_headers = headers
    for name in ("auth_token",) if endpoint.owns_sdk_variables else ("auth_token", "organization", "project"):
        if hasattr(client, name):
            setattr(client, name, None)
    return client


async def aclose() -> None:
    for pooled in _pools.pop(asyncio.get_running_loop(), {}).values():
        await pooled.client.close()
