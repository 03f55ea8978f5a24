"""Translation of the SDKs' errors, HTTP statuses and error events into ProviderErrors."""

from __future__ import annotations

import re
import ssl
import sys
from dataclasses import replace
from http import HTTPStatus
from types import ModuleType
from typing import Any, cast

from llm_magic.errors import BadRequest, ConnectionFailed, ProviderError, StreamBroken, TimedOut
from llm_magic.providers.error_body import parse_body
from llm_magic.providers.error_rules import Failure, error_of
from llm_magic.providers.http import Endpoint
from llm_magic.providers.payload import clean_text
from llm_magic.providers.refused_parameters import SentRequest
from llm_magic.providers.sending import Sending, connection_variables, sending_of

_MAX_MESSAGE_CHARS = 300
_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "forbidden": 403,
    "unauthorized": 401,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "overloaded_error": 529,
}
_LOGIN_STATUSES = (407, 511)  # of a proxy, and of a network
_STATUS_OF_PHRASE = {status.phrase.lower(): int(status) for status in HTTPStatus if status >= 400}
_UNKNOWN_ISSUER = (18, 19, 20, 21)  # X509_V_ERR_* of OpenSSL
_ABOUT_CERTIFICATES = ". A private certificate is trusted if the file that SSL_CERT_FILE names contains it"
_ABOUT_TLS = "If the endpoint uses TLS, its base_url must begin with https://"
# https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/
_CLOUDFLARE_PHRASES = {
    520: "the server sent an invalid response to Cloudflare",
    521: "the server refused the connection of Cloudflare",
    522: "the server did not answer Cloudflare in time",
    523: "Cloudflare can't reach the server",
    524: "the server did not answer Cloudflare in time",
    525: "the TLS handshake between Cloudflare and the server failed",
    526: "the server's certificate is invalid for Cloudflare",
    530: "Cloudflare can't find the server",
}
_PHRASE = re.compile(r"(?:(?P<number>\d{3})\W+)?(?P<phrase>[\w' -]{4,40})[.!]?")
_NOT_CONNECTED = (
    "ConnectError",
    "ConnectTimeout",
    "PoolTimeout",
    "UnsupportedProtocol",
    "InvalidURL",
    "LocalProtocolError",
    "TooManyRedirects",
)


def _transport_errors() -> tuple[type[Exception], ...]:
    """Return the errors of httpx2, formerly httpx, which the SDKs let through in mid-stream.

    Without importing one that no SDK has imported: that takes a second, on the event loop.
    """
    imported = [sys.modules[name] for name in ("httpx2", "httpx") if name in sys.modules]
    return tuple(module.HTTPError for module in imported if hasattr(module, "HTTPError"))


def translate(
    error: Exception, sdk: ModuleType, endpoint: Endpoint, sent: SentRequest, *, accepted: bool
) -> ProviderError:
    """Return the ProviderError for an error of the SDK, its HTTP library or its set-up, with secrets removed.

    Raise it outside of the `except` block: Python would chain the original to it, whose request has the key in its
    headers. `accepted`: the response had begun, so that an unknown error may have been billed.
    """
    for raised in (error, error.__cause__):  # the latter: raised by a hook of the HTTP library
        if isinstance(raised, ProviderError):
            return _detached(raised)
    if isinstance(error, sdk.APIStatusError):
        translation = _from_status(error, endpoint, sent)
    elif isinstance(error, (sdk.APITimeoutError, sdk.APIConnectionError, *_transport_errors())):
        sending = sending_of(error) if isinstance(error, sdk.APIConnectionError) else None
        translation = _from_transport(error, endpoint, sending)
    elif isinstance(error, sdk.APIError):
        translation = from_event({"message": str(error)}, endpoint, sent)
    else:
        reason = _first(error)
        message = _message(f"{type(reason).__name__}: {reason}", endpoint)
        if accepted:
            translation = StreamBroken(f"the connection broke: {message}")
        else:
            advice = _settings(endpoint, with_certificates=True)
            translation = ConnectionFailed(
                f"nothing could be sent to {endpoint.display_url}: {message.rstrip('.')}{advice}", retryable=False
            )
    translation.__cause__ = _RedactedCause.of(error, endpoint)
    return translation


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


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


def _from_status(error: Any, endpoint: Endpoint, sent: SentRequest) -> ProviderError:
    response, status = error.response, int(error.status_code)
    content: object = response.content if response.is_stream_consumed or response.is_closed else error.body
    body = parse_body(content)
    text = body.message or _phrase(status)
    message = f"HTTP {status}: {_message(text, endpoint)}"
    if status in _LOGIN_STATUSES:
        return ConnectionFailed(f"{message.rstrip('.')}{_settings(endpoint)}", retryable=False)
    url = endpoint.redact(str(response.request.url.copy_with(query=None)))
    return error_of(Failure(status=status, body=body, message=message, sent=sent, headers=response.headers, url=url))


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return _CLOUDFLARE_PHRASES.get(status, "no message")


def from_event(error: object, endpoint: Endpoint, sent: SentRequest) -> ProviderError:
    """Return the ProviderError for an error within a response.

    Without a status, what its codes and words do not explain is a failure of the server.
    """
    body = parse_body(error)
    kind = next((code for code in _STATUS_OF_TYPE if code in body.codes), "")
    stated = body.number("code", "status", "status_code", "statuscode", "http_code")
    status = int(stated) if stated is not None and 400 <= stated <= 599 else _STATUS_OF_TYPE.get(kind)
    status = _status_in_words(body.message, status)
    names = ": ".join(filter(None, (kind, body.message)))
    message = _message(names or "an error event", endpoint)
    failure = Failure(status=status or 400, body=body, message=message, sent=sent, accepted=True)
    error = error_of(failure)
    if status is None and isinstance(error, BadRequest) and not (error.refused_parameter or error.output_limit):
        return error_of(replace(failure, status=500))
    return error


def _status_in_words(message: str, stated: int | None) -> int | None:
    """Return the status of a message that consists of its phrase, such as `Not Found` or `404 NOT_FOUND`."""
    parts = _PHRASE.fullmatch(message)
    if parts is None or (stated is not None and parts["number"] is None):
        return stated
    return _STATUS_OF_PHRASE.get(parts["phrase"].lower().replace("_", " "), stated)


def _from_transport(error: Exception, endpoint: Endpoint, sending: Sending | None) -> ProviderError:
    cause = error.__cause__ if isinstance(error.__cause__, _transport_errors()) else error
    name = type(cause).__name__
    message = _message(f"{name}: {cause}" if str(cause) else name, endpoint)
    is_begun = sending.is_begun if sending is not None else name != "APIConnectionError"
    if name in _NOT_CONNECTED or not is_begun:
        distrust = _distrust(error)
        is_refused = sending is not None and 400 <= (sending.proxy_status or 0) < 500
        return ConnectionFailed(
            f"no connection to {endpoint.display_url}: {message.rstrip('.')}{_settings(endpoint)}"
            f"{_ABOUT_CERTIFICATES if distrust and distrust.verify_code in _UNKNOWN_ISSUER else ''}",
            retryable=distrust is None and not is_refused,
        )
    if "Timeout" in name:
        return TimedOut(message)
    if sending is not None and sending.met_a_closing_server:
        # The server may have read the request before it closed the connection. It is not down.
        return StreamBroken(
            f"the server closed a kept connection as the request went out: {message}", accepted=True, cools_down=False
        )
    if sending is not None and name == "RemoteProtocolError" and _scheme(endpoint) == "http":
        message = f"{message.rstrip('.')}. {_ABOUT_TLS}"
    return StreamBroken(f"the connection broke: {message}")


def _distrust(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error


def _scheme(endpoint: Endpoint) -> str:
    return (endpoint.base_url or "https").partition(":")[0].lower()


def _settings(endpoint: Endpoint, *, with_certificates: bool = False) -> str:
    scheme = _scheme(endpoint)
    names = connection_variables(
        scheme, with_proxies=not endpoint.is_loopback, with_certificates=with_certificates or scheme == "https"
    )
    return f". Check {', '.join(names)}" if names else ""


def _message(text: str, endpoint: Endpoint) -> str:
    return " ".join(clean_text(endpoint.redact(text)).split())[:_MAX_MESSAGE_CHARS]
