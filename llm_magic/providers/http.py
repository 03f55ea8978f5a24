"""What the two SDKs have in common: one client per event loop, their errors as ours, server-sent events.

Requests are built, signed and sent by the SDKs; the events of a stream are read as raw as the SDKs allow, because
their parsing into objects is most of the CPU time of a streamed answer.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import weakref
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from types import ModuleType
from typing import Any, cast

from llm_magic.errors import (
    AuthFailed,
    BadRequest,
    ConnectionFailed,
    ContextTooLong,
    ModelNotFound,
    Overloaded,
    PaymentRequired,
    ProtocolError,
    ProviderError,
    RateLimited,
    Refused,
    ServerError,
    StreamBroken,
    TimedOut,
)
from llm_magic.types import ProviderSpec, Usage

CONNECT_TIMEOUT_S = 10.0
_MOST_TOKENS = 100_000_000
"""A provider that reports more than this for one request is not believed."""

_TOO_LONG = re.compile(
    r"context.{0,20}(?:length|window|size)|prompt is too long|too many tokens|maximum.{0,30}tokens", re.I
)
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?")
_FILTERED = re.compile(r"content.?(?:filter|policy|management)", re.I)
_OWN_FAULTS = {404: ModelNotFound, 401: AuthFailed, 403: AuthFailed, 402: PaymentRequired, 413: ContextTooLong}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where to send, and the secret to send along."""

    base_url: str | None = field(repr=False)
    api_key: str = field(repr=False)

    @property
    def shown(self) -> str:
        """The address without a user and a password that may be in it."""
        if self.base_url is None:
            return "the provider"
        scheme, slashes, rest = self.base_url.rpartition("://")
        host, slash, path = rest.partition("/")
        return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"


def endpoint(spec: ProviderSpec, environ: Mapping[str, str]) -> Endpoint:
    """The endpoint as the environment has it at this moment."""
    base_url = environ.get(spec.base_url_env or "", "").strip() or spec.base_url
    return Endpoint(base_url=base_url, api_key=environ.get(spec.api_key_env or "", "").strip() or "none")


def missing_key(spec: ProviderSpec, environ: Mapping[str, str]) -> str | None:
    """`"no OPENAI_API_KEY"` where a key is needed and there is none, or one that no header can carry."""
    if spec.api_key_env is None:
        return None
    key = environ.get(spec.api_key_env, "").strip()
    if key.isascii() and key.isprintable():
        return None if key else f"no {spec.api_key_env}"
    return f"{spec.api_key_env} has characters that no key has"


_Pool = dict[tuple[Any, Endpoint], Any]
_pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Pool] = weakref.WeakKeyDictionary()


def client(build: Callable[[Endpoint], Any], where: Endpoint) -> Any:
    """The running loop's SDK client for an endpoint: one connection pool, whoever asks, kept until `aclose`.

    A client can't cross loops, and one that is dropped unclosed takes answers of its successor with it.
    """
    pool = _pools.setdefault(asyncio.get_running_loop(), {})
    if (build, where) not in pool:
        pool[build, where] = build(where)
    return pool[build, where]


async def aclose() -> None:
    """Close the running loop's clients."""
    for each in _pools.pop(asyncio.get_running_loop(), {}).values():
        await each.close()


@lru_cache(maxsize=1)
def _transport_errors() -> tuple[type[Exception], ...]:
    """The errors of the HTTP library under the SDKs, which they let through in mid-stream: httpx2, once httpx."""
    found: list[type[Exception]] = []
    for name in ("httpx2", "httpx"):
        try:
            found.append(importlib.import_module(name).HTTPError)
        except ImportError:
            continue
    return tuple(found)


@asynccontextmanager
async def translated(sdk: ModuleType, where: Endpoint) -> AsyncGenerator[None]:
    """Raise whatever the SDK or its HTTP library raises as a ProviderError, with the key taken out of its words.

    The error itself is left behind: a traceback would show its message, and the headers in its frames.
    """
    try:
        yield
        return
    except sdk.APIStatusError as error:
        ours, theirs = _of_status(error, where), _Theirs.of(error, where)
    except (sdk.APITimeoutError, sdk.APIConnectionError, *_transport_errors()) as error:
        ours, theirs = _of_transport(error, where), _Theirs.of(error, where)
    except sdk.APIError as error:
        ours, theirs = of_event({"message": str(error)}, where), _Theirs.of(error, where)
    raise ours from theirs


class _Theirs(Exception):
    """What an SDK raised, in words, for a traceback."""

    @classmethod
    def of(cls, error: Exception, where: Endpoint) -> _Theirs:
        return cls(f"{type(error).__module__}.{type(error).__qualname__}: {_clean(str(error), where)}")


def _of_status(error: Any, where: Endpoint) -> ProviderError:
    status: int = error.status_code
    body = table(error.body)
    detail = table(body.get("error", body)) or {"message": body.get("error")}
    code = f"{detail.get('code') or ''} {detail.get('type') or ''}"
    words = _clean(str(detail.get("message") or error), where)
    message = f"HTTP {status}: {words}"
    if status == 429 and "insufficient_quota" in code:
        return PaymentRequired(message)
    if status in (429, 529) or "overloaded" in code:
        kind = RateLimited if status == 429 else Overloaded
        return kind(message, retry_after_s=_retry_after_s(error.response.headers))
    if status >= 500 or status in (408, 409):
        return ServerError(message, retry_after_s=_retry_after_s(error.response.headers))
    if status in (400, 422) and _TOO_LONG.search(f"{code} {words}"):
        return ContextTooLong(message)
    if status in (400, 422) and _FILTERED.search(code):
        return Refused(message)
    return _OWN_FAULTS.get(status, BadRequest)(message)


def of_event(error: Mapping[str, Any], where: Endpoint) -> ProviderError:
    """The ProviderError for an error that came as an event within a stream."""
    words = _clean(f"{error.get('type') or ''} {error.get('message') or ''}".strip() or "an error event", where)
    if "overloaded" in words.lower():
        return Overloaded(words)
    if "rate_limit" in words.lower():
        return RateLimited(words)
    return ServerError(words)


def _of_transport(error: Exception, where: Endpoint) -> ProviderError:
    cause = error.__cause__ if isinstance(error.__cause__, _transport_errors()) else error
    name = type(cause).__name__
    words = _clean(f"{name}: {cause}" if str(cause) else name, where)
    if name in (
        "ConnectError",
        "ConnectTimeout",
        "PoolTimeout",
        "UnsupportedProtocol",
        "InvalidURL",
        "LocalProtocolError",
        "APIConnectionError",  # the SDK's own, with no cause in the transport: it could not even begin
    ):
        return ConnectionFailed(f"no connection to {where.shown}: {words}")
    if "Timeout" in name:
        return TimedOut(words)
    return StreamBroken(f"the connection broke: {words}")


def table(value: object) -> dict[str, Any]:
    """A JSON object as it is; anything else, where an object was expected, as an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def tables(value: object) -> list[dict[str, Any]]:
    """The objects of a JSON array; of anything else none."""
    return [table(part) for part in cast("list[object]", value)] if isinstance(value, list) else []


def usage(
    counted: object, cached: object, written: object, output: object, reasoning: object, written_1h: object = None
) -> Usage | None:
    """Our Usage from a provider's counts, `counted` including cached and written ones.

    None where a count is missing, negative, absurd or no number: then the attempt is estimated, not billed by nonsense.
    """
    total, out = _count(counted), _count(output)
    parts = [_count(0 if part is None else part) for part in (cached, written, reasoning, written_1h)]
    if total is None or out is None or None in parts:
        return None
    read, wrote, thought, wrote_1h = (part or 0 for part in parts)
    if read + wrote > total or thought > out or wrote_1h > wrote:
        return None
    return Usage(
        input_tokens=total,
        cached_input_tokens=read,
        cache_write_tokens=wrote,
        output_tokens=out,
        reasoning_tokens=thought,
        cache_write_1h_tokens=wrote_1h,
    )


def _count(value: object) -> int | None:
    sound = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS
    return value if sound and isinstance(value, int) else None


def _clean(words: str, where: Endpoint) -> str:
    """Words of a provider, fit for the ledger and the screen: one line, not long, and without the key."""
    if len(where.api_key) > 4:
        words = words.replace(where.api_key, "[key]")
    if where.base_url is not None:
        words = words.replace(where.base_url, where.shown)
        host = where.base_url.rpartition("://")[2].partition("/")[0]
        if secret := host.rpartition("@")[0]:
            words = words.replace(secret, "[user]")
            for part in secret.split(":"):
                words = words.replace(part, "[user]") if len(part) > 4 else words
    return " ".join(text_of(words).split())[:300]


def text_of(value: object) -> str:
    """A provider's text, fit to be kept and shown: JSON may bring halves of characters, and NUL, which no database
    takes."""
    text = str(value)
    if text.isascii():
        return text.replace("\0", "\ufffd")
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.replace("\0", "\ufffd")


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that a Retry-After header asks for, given as a number or as a date; None where it says nothing."""
    if _NUMBER.fullmatch(milliseconds := headers.get("retry-after-ms", "").strip()):
        return float(milliseconds) / 1000
    value = headers.get("retry-after", "").strip()
    if _NUMBER.fullmatch(value):
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None


async def events(response: Any) -> AsyncGenerator[dict[str, Any]]:
    """The JSON objects of a server-sent event stream, until `[DONE]` or its end.

    An endpoint that does not stream answers with one JSON object: that is the only one then.
    """
    content_type = response.headers.get("content-type", "")
    if "application/json" in content_type:
        yield table(_parsed(await response.read()))
        return
    if "text/event-stream" not in content_type:
        raise ProtocolError(f"expected a stream of events, got {content_type[:80] or 'no content type'}")
    async for line in _lines(response):
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            return
        if found := table(_parsed(data)):
            yield found


async def _lines(response: Any) -> AsyncGenerator[bytes]:
    """The lines of the body. Of bytes, since text has line separators that JSON and event streams do not."""
    rest = b""
    async for chunk in response.iter_bytes():
        *whole, rest = (rest + chunk).splitlines(keepends=True)
        if rest.endswith((b"\n", b"\r")):
            whole.append(rest)
            rest = b""
        for line in whole:
            yield line
    if rest:
        yield rest


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"what should be JSON is not: {error}") from error
