"""Reading of a streamed response to its end, so that its connection can serve the next request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, suppress
from typing import Any, Protocol

from llm_magic.events import TextDelta
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
    """Yield the events of an SDK's streamed response. Raises ProviderError and the errors of the HTTP library.

    Text deltas that arrive together are merged into one.
    """
    decoder = BodyDecoder(response.headers.get("content-type", ""))
    async with aclosing(_Body(response.iter_bytes())) as body:
        while not (decoder.is_done or reader.is_done):
            data = await _next_data(body, reader)
            is_silent = True
            for event in _merged(_events(decoder.finish() if data is None else decoder.feed(data), reader)):
                is_silent = False
                yield event
            if data is None:
                break
            if is_silent:
                yield SignOfLife()
        for event in reader.end():
            yield event
        if decoder.is_done or reader.is_done:
            await _drain(body)


def _events(values: Iterator[JSONObject], reader: WireReader) -> Iterator[ProviderEvent]:
    for value in values:
        yield from reader.read(value)


def _merged(events: Iterator[ProviderEvent]) -> Iterator[ProviderEvent]:
    texts: list[str] = []
    try:
        for event in events:
            if isinstance(event, TextDelta):
                texts.append(event.text)
                continue
            if texts:
                yield _text_delta(texts)
                texts = []
            yield event
    except Exception:
        if texts:
            yield _text_delta(texts)  # it arrived before the error
        raise
    if texts:
        yield _text_delta(texts)


def _text_delta(texts: list[str]) -> TextDelta:
    return TextDelta(text="".join(texts), pieces=tuple(texts) if len(texts) > 1 else ())


class _Body:
    """The bytes of a response, read by a task of its own: each time, all that have arrived."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._parts: list[bytes] = []
        self._error: Exception | None = None
        self._is_read = False
        self._arrived = asyncio.Event()
        self._task = asyncio.create_task(self._read(chunks))

    async def next(self) -> bytes | None:
        await self._arrived.wait()
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            if not self._is_read:
                self._arrived.clear()
            return data
        if self._error is not None:
            raise self._error
        return None

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _read(self, chunks: AsyncIterator[bytes]) -> None:
        try:
            async for chunk in chunks:
                self._parts.append(chunk)
                self._arrived.set()
        except Exception as error:  # noqa: BLE001 - raised again in `next`
            self._error = error
        finally:
            self._is_read = True
            self._arrived.set()


async def _next_data(body: _Body, reader: WireReader) -> bytes | None:
    if not reader.has_finish_reason:
        return await body.next()
    try:
        async with asyncio.timeout(END_WAIT_S):
            return await body.next()
    except Exception:  # noqa: BLE001 - a connection breaks in many ways
        return None


async def _drain(body: _Body) -> None:
    size = 0
    with suppress(Exception):
        async with asyncio.timeout(DRAIN_S):
            while (data := await body.next()) is not None:
                size += len(data)
                if size > DRAIN_BYTES:
                    return
