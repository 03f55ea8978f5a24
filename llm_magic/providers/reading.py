"""Reading of a streamed response to its end, so that its connection can serve the next request."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import Any, Protocol

from llm_magic import turns
from llm_magic.errors import ProviderError, Refused
from llm_magic.events import TextDelta
from llm_magic.providers import compression
from llm_magic.providers.base import Finished, ProviderEvent, SignOfLife
from llm_magic.providers.sending import Sending, bytes_to_read
from llm_magic.providers.sse import BodyDecoder, JSONObject

END_WAIT_S = 5.0
DRAIN_S, DRAIN_BYTES = 0.25, 65_536
_MAX_DECODED_BYTES = 16_384
"""Decoded without a break, plus one chunk: some milliseconds."""


class WireReader(Protocol):
    """Translation of one response's JSON objects into events; a text alone stands for its TextDelta.

    has_finish_reason: the model has reported that it is done, so the answer is whole, whatever happens next. is_done:
    the wire has marked the end of its events.
    """

    @property
    def has_finish_reason(self) -> bool: ...
    @property
    def is_done(self) -> bool: ...
    def read(self, event: JSONObject) -> str | Sequence[ProviderEvent]: ...
    def end(self) -> Sequence[ProviderEvent]: ...


async def read_events(
    response: Any, reader: WireReader, sending: Sending | None = None
) -> AsyncGenerator[ProviderEvent]:
    """Yield the events of a response of the HTTP library. Raises ProviderError and the errors of that library.

    Text deltas that arrive together are merged into one. sending: gets the share of the body that was not read.
    """
    decoder = BodyDecoder(response.headers.get("content-type", ""))
    async with aclosing(_Body(response, sending)) as body:
        while not (decoder.is_done or reader.is_done):
            data = await _next_data(body, reader)
            events = _Merged()
            try:
                for value in decoder.finish() if data is None else decoder.feed(data):
                    events.add(reader.read(value))
            except ProviderError as error:
                if isinstance(error, Refused) or not _is_whole(reader):
                    raise
                data = None
            finally:
                for event in events.end():  # before an error too
                    yield event
            if data is None:
                break
            if not events.end():
                yield SignOfLife()
        for event in reader.end():
            yield event
        if decoder.is_done or reader.is_done:
            await _drain(body)


def _chunks(response: Any) -> AsyncGenerator[bytes]:
    """Return the chunks of the body as the connection yields them: the library's iterators wrap each of them."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in compression.INFLATED:
        return compression.inflated(response.stream, encoding)
    return response.aiter_bytes() if encoding else aiter(response.stream)


class _Merged:
    """The events of one read, with adjacent texts merged."""

    def __init__(self) -> None:
        self._events: list[ProviderEvent] = []
        self._texts: list[str] = []

    def add(self, events: str | Sequence[ProviderEvent]) -> None:
        if isinstance(events, str):
            self._texts += [events] if events else ()
            return
        for event in events:
            if isinstance(event, TextDelta):
                self._texts.append(event.text)
            else:
                self.end().append(event)

    def end(self) -> list[ProviderEvent]:
        if texts := self._texts:
            self._events.append(TextDelta(text="".join(texts), pieces=tuple(texts) if len(texts) > 1 else ()))
            self._texts = []
        return self._events


class _Body:
    """The bytes of a response, read by a task of its own: each time, what has arrived, up to about
    _MAX_DECODED_BYTES."""

    def __init__(self, response: Any, sending: Sending | None) -> None:
        self._response = response
        self._sending = sending
        self._parts: deque[bytes] = deque()
        self._read_bytes = 0
        self._turn = turns.of_running_loop()
        self._error: Exception | None = None
        self._is_read = False
        self._arrived = asyncio.Event()
        self._task = asyncio.create_task(self._read(_chunks(response)))

    async def next(self) -> bytes | None:
        await self._arrived.wait()
        await self._turn.checkpoint()
        if self._parts:
            data = self._take()
            if not (self._parts or self._is_read):
                self._arrived.clear()
            return data
        if self._error is not None:
            raise self._error
        return None

    def _take(self) -> bytes:
        data, size = list[bytes](), 0
        while self._parts and size < _MAX_DECODED_BYTES:
            data.append(self._parts.popleft())
            size += len(data[-1])
        self._read_bytes += size
        return b"".join(data)

    async def aclose(self) -> None:
        if self._sending is not None and self._read_bytes:
            unread = sum(map(len, self._parts)) + bytes_to_read(self._response)
            self._sending.unread_share = unread / self._read_bytes
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _read(self, chunks: AsyncGenerator[bytes]) -> None:
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    self._parts.append(chunk)
                    if len(self._parts) == 1:
                        self._arrived.set()
                    if self._turn.is_over:
                        await self._turn.checkpoint()
        except Exception as error:  # noqa: BLE001 - raised again in `next`
            self._error = error
        finally:
            self._is_read = True
            self._arrived.set()


def _is_whole(reader: WireReader) -> bool:
    """True if the model has finished: what follows, such as an error of a gateway, does not break the answer."""
    ends = [event for event in reader.end() if isinstance(event, Finished)] if reader.has_finish_reason else []
    return any(end.finish_reason in ("stop", "length") for end in ends)


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
