"""The sending of one request, on a new connection or on one that has served others."""

from __future__ import annotations

import importlib
import math
import os
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from types import ModuleType
from typing import Any

CLOSING_S = 1.0
"""More than a round trip. A connection that breaks later breaks while the server works on the answer."""
_SEPARATE = ("extra_body", "extra_headers")

_CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")


def connection_variables(scheme: str, *, with_proxies: bool) -> list[str]:
    """Return the names of the environment variables that are set and change how a URL of a scheme is connected to."""
    names = (f"{scheme.upper()}_PROXY", "ALL_PROXY") if with_proxies else ()
    names = (*names, *(name.lower() for name in names), *(_CERTIFICATE_VARIABLES if scheme == "https" else ()))
    return [name for name in names if os.environ.get(name)]


class Sending:
    """A request that is being sent, as the `trace` extension of the HTTP library reports it.

    is_reused: its connection has served another request. is_whole: all of the request was written.
    """

    def __init__(self) -> None:
        self.is_reused, self.is_whole = True, False
        self._written_at = math.inf

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        del info
        if event.startswith("connection.connect"):
            self.is_reused = False
        elif event.endswith("send_request_body.complete"):
            self.is_whole = True
            self._written_at = time.monotonic()

    @property
    def met_a_closing_server(self) -> bool:
        """True if the server may have closed the idle connection before it could have read the request."""
        return self.is_reused and time.monotonic() - self._written_at < CLOSING_S


async def trace(request: Any) -> None:
    request.extensions["trace"] = Sending()


def sending_of(error: Any) -> Sending | None:
    """Return the sending that an SDK's APIConnectionError ended."""
    request = getattr(error, "request", None)
    sending = None if request is None else request.extensions.get("trace")
    return sending if isinstance(sending, Sending) else None


@lru_cache(maxsize=2)
def http_library(sdk: ModuleType) -> ModuleType:
    """Return httpx2, formerly httpx."""
    base_class = sdk.DefaultAsyncHttpxClient.__mro__[1]
    return importlib.import_module(base_class.__module__.partition(".")[0])


@asynccontextmanager
async def post(sdk: ModuleType, client: Any, path: str, body: Mapping[str, Any]) -> AsyncGenerator[Any]:
    """Send a request with an SDK client, and yield the response of its HTTP library as soon as it begins.

    The SDKs' methods for the APIs copy the body by its declared type first, at a tenth of the CPU of a call.

    A server may close an idle connection just when the next request goes out on it. If a part of the request was not
    written, no server can have processed it, and it is sent again, once, on another connection. If all of it was
    written, it may have been processed: curl and browsers send it again all the same, and Go and urllib3 do not. Here
    the attempt fails, `errors.translate` makes the charge for its input an estimate, and the next attempt has a hold of
    its own.
    """
    own = {name: value for name, value in body.items() if name not in _SEPARATE}
    sent: dict[str, Any] = own | (body.get("extra_body") or {})
    options = {"headers": headers} if (headers := body.get("extra_headers")) else {}
    response_class, response = http_library(sdk).Response, None
    for may_resend in (True, False):
        try:
            response = await client.post(
                path, cast_to=response_class, body=sent, options=options, stream=True, stream_cls=sdk.AsyncStream
            )
            break
        except sdk.APIConnectionError as error:
            sending = sending_of(error)
            if not may_resend or sending is None or sending.is_whole or not sending.is_reused:
                raise
    assert response is not None
    try:
        yield response
    finally:
        await response.aclose()
