"""Translation of the SDKs' errors, HTTP statuses and error events into ProviderErrors."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from types import ModuleType
from typing import Any

from llm_magic.errors import (
    AuthFailed,
    BadRequest,
    ConnectionFailed,
    ContextTooLong,
    ModelNotFound,
    Overloaded,
    PaymentRequired,
    ProviderError,
    RateLimited,
    Refused,
    ServerError,
    StreamBroken,
    TimedOut,
)
from llm_magic.providers.http import Endpoint
from llm_magic.providers.payload import clean_text, json_object

_MAX_MESSAGE_CHARS = 300
_TOO_LONG = re.compile(
    r"context.{0,20}(?:length|window|size)|prompt is too long|too many tokens|maximum.{0,30}tokens", re.I
)
_FILTERED = re.compile(r"content.?(?:filter|policy|management)", re.I)
_SECONDS = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?")
_BY_STATUS = {404: ModelNotFound, 401: AuthFailed, 403: AuthFailed, 402: PaymentRequired, 413: ContextTooLong}
_NOT_CONNECTED = (
    "ConnectError",
    "ConnectTimeout",
    "PoolTimeout",
    "UnsupportedProtocol",
    "InvalidURL",
    "LocalProtocolError",
    "APIConnectionError",  # the SDK's own error without a cause in the transport: nothing was sent
)


@lru_cache(maxsize=1)
def _transport_errors() -> tuple[type[Exception], ...]:
    """Return the errors of httpx2, formerly httpx, which the SDKs let through in mid-stream."""
    errors: list[type[Exception]] = []
    for name in ("httpx2", "httpx"):
        try:
            errors.append(importlib.import_module(name).HTTPError)
        except ImportError:
            continue
    return tuple(errors)


def translate(error: Exception, sdk: ModuleType, endpoint: Endpoint, *, accepted: bool) -> ProviderError:
    """Return the ProviderError for an error of the SDK, its HTTP library or its set-up, with secrets removed.

    Raise it outside of the `except` block: Python would chain the original to it, whose request has the key in its
    headers. `accepted`: the response had begun, so that an unknown error may have been billed.
    """
    if isinstance(error, ProviderError):
        return _detached(error)
    if isinstance(error, sdk.APIStatusError):
        translation = _from_status(error, endpoint)
    elif isinstance(error, (sdk.APITimeoutError, sdk.APIConnectionError, *_transport_errors())):
        translation = _from_transport(error, endpoint)
    elif isinstance(error, sdk.APIError):
        translation = from_event({"message": str(error)}, endpoint)
    else:
        message = _message(f"{type(error).__name__}: {error}", endpoint)
        if accepted:
            translation = StreamBroken(f"the connection broke: {message}")
        else:
            translation = ConnectionFailed(f"nothing could be sent to {endpoint.display_url}: {message}")
    translation.__cause__ = _RedactedCause.of(error, endpoint)
    return translation


def _detached(error: ProviderError) -> ProviderError:
    """Drop references to frames, some of which hold the key in a variable."""
    error.__context__ = None
    if (cause := error.__cause__) is not None:
        cause.__traceback__ = cause.__context__ = None
    return error.with_traceback(None)


class _RedactedCause(Exception):
    """The type and redacted message of an SDK's error, for tracebacks."""

    @classmethod
    def of(cls, error: Exception, endpoint: Endpoint) -> _RedactedCause:
        return cls(f"{type(error).__module__}.{type(error).__qualname__}: {_message(str(error), endpoint)}")


def _from_status(error: Any, endpoint: Endpoint) -> ProviderError:
    status: int = error.status_code
    body = json_object(error.body)
    detail = json_object(body.get("error", body)) or {"message": body.get("error")}
    code = f"{detail.get('code') or ''} {detail.get('type') or ''}"
    text = _message(str(detail.get("message") or error), endpoint)
    message = f"HTTP {status}: {text}"
    if status == 429 and "insufficient_quota" in code:
        return PaymentRequired(message)
    if status in (429, 529) or "overloaded" in code:
        error_class = RateLimited if status == 429 else Overloaded
        return error_class(message, retry_after_s=_retry_after_s(error.response.headers))
    if status >= 500 or status in (408, 409):
        return ServerError(message, retry_after_s=_retry_after_s(error.response.headers))
    if status in (400, 422) and _TOO_LONG.search(f"{code} {text}"):
        return ContextTooLong(message)
    if status in (400, 422) and _FILTERED.search(code):
        return Refused(message)
    return _BY_STATUS.get(status, BadRequest)(message)


def from_event(error: Mapping[str, Any], endpoint: Endpoint) -> ProviderError:
    text = f"{error.get('type') or ''} {error.get('message') or ''}".strip()
    message = _message(text or "an error event", endpoint)
    if "overloaded" in message.lower():
        return Overloaded(message, accepted=True)
    if "rate_limit" in message.lower():
        return RateLimited(message, accepted=True)
    return ServerError(message, accepted=True)


def _from_transport(error: Exception, endpoint: Endpoint) -> ProviderError:
    cause = error.__cause__ if isinstance(error.__cause__, _transport_errors()) else error
    name = type(cause).__name__
    message = _message(f"{name}: {cause}" if str(cause) else name, endpoint)
    if name in _NOT_CONNECTED:
        return ConnectionFailed(f"no connection to {endpoint.display_url}: {message}")
    if "Timeout" in name:
        return TimedOut(message)
    return StreamBroken(f"the connection broke: {message}")


def _message(text: str, endpoint: Endpoint) -> str:
    return " ".join(clean_text(endpoint.redact(text)).split())[:_MAX_MESSAGE_CHARS]


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    if _SECONDS.fullmatch(milliseconds := headers.get("retry-after-ms", "").strip()):
        return float(milliseconds) / 1000
    value = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None
