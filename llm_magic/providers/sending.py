"""The sending of one request, on a new connection or on one that has served others."""

from __future__ import annotations

import asyncio
import importlib
import math
import os
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache
from types import ModuleType
from typing import Any

from llm_magic.errors import ConnectionFailed, ProtocolError
from llm_magic.providers.base import RequestSent
from llm_magic.providers.payload import clean_text

CLOSING_S = 1.0
"""More than a round trip. A connection that breaks later breaks while the server works on the answer."""
_SEPARATE = ("extra_body", "extra_headers")

_CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
_WITHOUT_BODY = (204, 205)
ERROR_WAIT_S, MAX_ERROR_BYTES = 5.0, 1_000_000
_PIECE_BYTES = 1_024  # of a compressed body, which can be a thousand times as large, or more
_MAX_SHORT_BYTES = 65_536
"""A body that the operating system takes in one write, even if the task is canceled during it."""


def connection_variables(scheme: str, *, with_proxies: bool, with_certificates: bool) -> list[str]:
    """Return the names of the environment variables that are set and change how a URL of a scheme is connected to."""
    names = (f"{scheme.upper()}_PROXY", "ALL_PROXY") if with_proxies else ()
    names = (*names, *(name.lower() for name in names), *(_CERTIFICATE_VARIABLES if with_certificates else ()))
    return [name for name in names if os.environ.get(name)]


def connection_settings() -> tuple[str | None, ...]:
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
    return tuple(os.environ.get(name) for name in (*names, *map(str.lower, names), *_CERTIFICATE_VARIABLES))


class Sending:
    """A request that is being sent, as the `trace` extension of the HTTP library reports it.

    is_reused: its connection has served another request. is_begun, is_whole: a part, or all, of the request was
    written. proxy_status: of a proxy's response to the request for a tunnel. unread_share: as in RequestSent.
    """

    def __init__(self) -> None:
        self.unread_share = 0.0
        self.start()

    def announcement(self, *, in_one_piece: bool) -> RequestSent:
        return RequestSent(
            in_one_piece=in_one_piece, was_written=self.was_written, unread_share=lambda: self.unread_share
        )

    def start(self) -> None:
        """Begin with the first connection, or with another one after a failure."""
        self.is_reused, self.is_begun, self.is_whole = True, False, False
        self._is_short = False
        self._written_at = math.inf
        self.proxy_status: int | None = None

    def was_written(self) -> bool:
        """Return True if the whole request may have been written."""
        return self.is_whole or (self.is_begun and self._is_short)

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event.startswith("connection.connect"):
            self.is_reused = False
        elif event.endswith("send_request_headers.started"):
            self.is_begun = info["request"].method != b"CONNECT"
        elif event.endswith("send_request_body.started"):
            lengths = [int(value) for name, value in info["request"].headers if name.lower() == b"content-length"]
            self._is_short = sum(lengths) <= _MAX_SHORT_BYTES
        elif event.endswith("send_request_body.complete"):
            self.is_whole = self.is_begun
            self._written_at = time.monotonic()
        elif event.endswith("receive_response_headers.complete") and not self.is_begun:
            self.proxy_status = info["return_value"][1]

    @property
    def met_a_closing_server(self) -> bool:
        """True if the server may have closed the idle connection before it could have read the request."""
        return self.is_reused and time.monotonic() - self._written_at < CLOSING_S


_current: ContextVar[Sending | None] = ContextVar("_current", default=None)


async def trace(request: Any) -> None:
    request.extensions["trace"] = sending = _current.get() or Sending()
    sending.start()


def bytes_to_read(response: Any) -> int:
    """Return the bytes of a response that the operating system has received and keeps, or 0 if it does not tell."""
    try:
        import fcntl
        import termios

        connection = response.extensions["network_stream"].get_extra_info("socket")
        count = fcntl.ioctl(connection.fileno(), termios.FIONREAD, bytes(4))
    except Exception:  # noqa: BLE001 - Windows, a closed connection, or another transport
        return 0
    return int.from_bytes(count, sys.byteorder)


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


def response_hook(library: ModuleType) -> Callable[[Any], Awaitable[None]]:
    """Return a hook that reads the bodies of errors within bounds of time and size, and refuses most redirects.

    The status is the most important part of an error, and must not be lost if the body breaks, never ends, or is not
    encoded as its header states. A redirect is followed only within the server, and only if a POST stays a POST: no
    other address receives the key or the prompt.
    """

    async def read(response: Any) -> None:
        if response.status_code in _WITHOUT_BODY:
            raise ProtocolError(f"HTTP {response.status_code}: no answer", billed=False, retryable=False)
        if response.status_code < 300:
            return
        if response.has_redirect_location and not _stays(response):
            raise ConnectionFailed(_redirect(response), retryable=False)
        content = await _bounded(response.stream)
        if encoding := response.headers.pop("content-encoding", ""):
            with suppress(library.DecodingError):
                content = _decoded(library, content, encoding)
        response.stream = library.ByteStream(content)

    return read


def _stays(response: Any) -> bool:
    url, target = response.url, _target(response)
    if target is None or (response.status_code not in (307, 308) and response.request.method == "POST"):
        return False
    return (url.scheme, url.host, url.port) == (target.scheme, target.host, target.port)


def _target(response: Any) -> Any:
    try:
        return response.url.join(response.headers["location"])
    except Exception:  # noqa: BLE001 - an invalid URL
        return None


def _redirect(response: Any) -> str:
    target = _target(response)
    address = "an invalid URL" if target is None else clean_text(target.copy_with(query=None, userinfo=b""))
    return (
        f"HTTP {response.status_code}: the endpoint redirects to {address}. Set base_url to the new address, or check "
        "whether the network asks for a login"
    )


def _decoded(library: ModuleType, content: bytes, encoding: str) -> bytes:
    pieces = (content[start : start + _PIECE_BYTES] for start in range(0, len(content), _PIECE_BYTES))
    decoded = bytearray()
    for part in library.Response(200, headers={"content-encoding": encoding}, content=pieces).iter_bytes():
        decoded += part
        if len(decoded) > MAX_ERROR_BYTES:
            break
    return bytes(decoded[:MAX_ERROR_BYTES])


async def _bounded(stream: Any) -> bytes:
    parts: list[bytes] = []
    size = 0
    with suppress(Exception):
        async with asyncio.timeout(ERROR_WAIT_S):
            async for part in stream:
                parts.append(part)
                size += len(part)
                if size > MAX_ERROR_BYTES:
                    break
    await stream.aclose()
    return b"".join(parts)


@asynccontextmanager
async def post(
    sdk: ModuleType, client: Any, path: str, body: Mapping[str, Any], sending: Sending
) -> AsyncGenerator[Any]:
    """Send a request with an SDK client, and yield the response of its HTTP library as soon as it begins.

    sending: follows the request.

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
        before = _current.set(sending)
        try:
            response = await client.post(
                path, cast_to=response_class, body=sent, options=options, stream=True, stream_cls=sdk.AsyncStream
            )
            break
        except sdk.APIConnectionError as error:
            if not may_resend or sending_of(error) is None or sending.is_whole or not sending.is_reused:
                raise
        finally:
            _current.reset(before)
    assert response is not None
    try:
        yield response
    finally:
        await response.aclose()
