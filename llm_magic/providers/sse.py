"""Server-sent events, read from the raw body: the SDKs' parsing into objects takes most of a stream's CPU time."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

from llm_magic.errors import ProtocolError
from llm_magic.providers.payload import json_object


async def events(response: Any) -> AsyncGenerator[dict[str, Any]]:
    """Yield the JSON objects of an SDK's streamed response, until `[DONE]` or its end. Raises ProtocolError.

    An endpoint that does not stream answers with one JSON object, which is then the only event.
    """
    content_type = response.headers.get("content-type", "")
    if "application/json" in content_type:
        yield json_object(_parse(await response.read()))
        return
    if "text/event-stream" not in content_type:
        raise ProtocolError(f"expected a stream of events, got {content_type[:80] or 'no content type'}")
    async for line in _lines(response):
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            return
        if event := json_object(_parse(data)):
            yield event


async def _lines(response: Any) -> AsyncGenerator[bytes]:
    """Yield the body's lines as bytes: `str.splitlines` would split at separators that are legal in JSON."""
    rest = b""
    async for chunk in response.iter_bytes():
        *lines, rest = (rest + chunk).splitlines(keepends=True)
        if rest.endswith((b"\n", b"\r")):
            lines.append(rest)
            rest = b""
        for line in lines:
            yield line
    if rest:
        yield rest


def _parse(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the endpoint sent invalid JSON: {error}") from error
