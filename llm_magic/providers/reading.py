"""Reading of a streamed response to its end, so that its connection can serve the next request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from typing import Any, Protocol

from llm_magic.providers.base import ProviderEvent, SignOfLife
from llm_magic.providers.sse import BodyDecoder, JSONObject

END_WAIT_S = 5.0
DRAIN_S, DRAIN_BYTES = 0.25, 65_536


class WireReader(Protocol):
    """Translation of one response's JSON objects into events.

    has_finish_reason: the model has reported that it is done, so the answer is whole, whatever happens next. is_done:
    the wire has marked the end of its events.
    """

    @property
    def has_finish_reason(self) -> bool: ...
    @property
    def is_done(self) -> bool: ...
    def read(self, event: JSONObject) -> Sequence[ProviderEvent]: ...
    def end(self) -> Sequence[ProviderEvent]: ...


async def read_events(response: Any, reader: WireReader) -> AsyncGenerator[ProviderEvent]:
    """Yield the events of an SDK's streamed response. Raises ProviderError and the errors of the HTTP library."""
    decoder = BodyDecoder(response.headers.get("content-type", ""))
    chunks: AsyncIterator[bytes] = response.iter_bytes()
    while not (decoder.is_done or reader.is_done):
        if (chunk := await _next_chunk(chunks, reader)) is None:
            for value in decoder.finish():
                for event in reader.read(value):
                    yield event
            break
        is_silent = True
        for value in decoder.feed(chunk):
            for event in reader.read(value):
                is_silent = False
                yield event
        if is_silent:
            yield SignOfLife()
    for event in reader.end():
        yield event
    if decoder.is_done or reader.is_done:
        await _drain(chunks)


async def _next_chunk(chunks: AsyncIterator[bytes], reader: WireReader) -> bytes | None:
    if not reader.has_finish_reason:
        return await anext(chunks, None)
    try:
        async with asyncio.timeout(END_WAIT_S):
            return await anext(chunks, None)
    except Exception:  # noqa: BLE001 - a connection breaks in many ways
        return None


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    size = 0
    with suppress(Exception):
        async with asyncio.timeout(DRAIN_S):
            async for chunk in chunks:
                size += len(chunk)
                if size > DRAIN_BYTES:
                    return
