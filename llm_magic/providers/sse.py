"""Decoding of response bodies: server-sent events, or JSON as a whole. Bytes in, JSON objects out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import cast

from llm_magic.errors import ProtocolError
from llm_magic.providers.error_body import parse_body

_BOM = b"\xef\xbb\xbf"
_MAX_EVENT_BYTES = 32 * 1024 * 1024
_MAX_QUOTED_BYTES, _MAX_QUOTED_CHARS = 2_000, 80
# Not strict: some endpoints leave control characters in strings unescaped.
_JSON = json.JSONDecoder(strict=False)

JSONObject = dict[str, object]


class BodyDecoder:
    """Incremental decoder of one response body. Raises ProtocolError. Its framing is recognized by its first character.

    The content type, which endpoints leave out or send wrong, is only for errors. What follows `[DONE]` is ignored.
    """

    def __init__(self, content_type: str = "") -> None:
        self.is_done = False
        self._content_type = content_type
        self._start: bytes = b""
        self._framing: _Events | _Document | None = None

    def feed(self, data: bytes) -> Iterator[JSONObject]:
        if self.is_done:
            return
        if self._framing is None:
            data = self._start + data
            self._start = data[:_MAX_QUOTED_BYTES]
            self._framing = self._recognize(data)
            if self._framing is None:
                self._start = data
                return
            data = data.removeprefix(_BOM)
        yield from self._framing.feed(data)
        self.is_done = self._framing.is_done

    def finish(self) -> Iterator[JSONObject]:
        if self._framing is not None and not self.is_done:
            yield from self._framing.finish()
            if not self._framing.has_data and "text/event-stream" not in self._content_type.lower():
                raise self._unexpected()

    def _recognize(self, data: bytes) -> _Events | _Document | None:
        start = data.removeprefix(_BOM).lstrip()[:1]
        if not start or data in (_BOM[:1], _BOM[:2]):
            return None
        if start == b"<":
            raise self._unexpected()
        return _Document() if start in b'{["' else _Events()

    def _unexpected(self) -> ProtocolError:
        """Return the error for a page or a text, which no model generated, or for bytes of an unknown encoding."""
        problem = f"expected a stream of events, got {self._content_type[:80] or 'no content type'}"
        is_page = self._start.removeprefix(_BOM).lstrip().startswith(b"<")
        try:
            text = self._start.decode(errors="replace" if is_page else "strict")
        except UnicodeDecodeError:
            return ProtocolError(problem)
        title = parse_body(text).message[:_MAX_QUOTED_CHARS]
        advice = "Check base_url, and whether the network asks for a login"
        return ProtocolError(f"{problem}: {title!r}. {advice}", billed=False, retryable=False)


class _Events:
    """Server-sent events.

    A line of `data` that is a whole JSON object is an event: some endpoints leave out the empty line after it.
    """

    def __init__(self) -> None:
        self.is_done = False
        self.has_data = False
        self._lines = _Lines()
        self._name = b""
        self._data: list[bytes] = []
        self._data_bytes = 0

    def feed(self, data: bytes) -> Iterator[JSONObject]:
        for line in self._lines.split(data):
            if not line:
                if self._data:
                    yield from self._dispatch()
                self._name = b""
            elif (value := _data_of(line)) is not None:
                self.has_data = True
                if value == b"[DONE]":
                    yield from self._dispatch()
                    self.is_done = True
                    return
                if not self._data and value.endswith(b"}") and (event := _object(value)) is not None:
                    yield self._named(event) if self._name else event
                elif value:
                    self._append(value)
            elif line.startswith(b"event:"):
                self._name = line[6:].strip()

    def finish(self) -> Iterator[JSONObject]:
        # A part of an event means that the stream was cut: its error is the missing end of the answer.
        if self._lines.has_rest:
            yield from self.feed(b"\n")
        if (event := _object(b"\n".join(self._data))) is not None:
            yield self._named(event)

    def _append(self, value: bytes) -> None:
        self._data.append(value)
        self._data_bytes += len(value)
        _check_size(self._data_bytes)

    def _dispatch(self) -> Iterator[JSONObject]:
        data = b"\n".join(self._data)
        self._data, self._data_bytes = [], 0
        if data[:1] in (b"{", b"["):
            for event in _parse(data):
                yield self._named(event)
        elif data and self._name == b"error":
            yield {"error": {"message": data.decode("utf-8", "replace")}}
        self._name = b""

    def _named(self, event: JSONObject) -> JSONObject:
        if self._name == b"error" and "error" not in event:
            return {"error": event}
        if self._name and "type" not in event:
            return {**event, "type": self._name.decode("utf-8", "replace")}
        return event


class _Document:
    """One JSON value, from an endpoint that does not stream; or several, one after the other.

    A value counts as soon as it is whole: its connection may break, or stay open, behind it.
    """

    is_done, has_data = False, True

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._bytes = 0

    def feed(self, data: bytes) -> Iterator[JSONObject]:
        self._parts.append(data)
        self._bytes += len(data)
        _check_size(self._bytes)
        if data.rstrip().endswith((b"}", b"]")):
            with suppress(ProtocolError):  # of a part
                values = list(_parse(b"".join(self._parts)))
                self._parts.clear()
                yield from values

    def finish(self) -> Iterator[JSONObject]:
        yield from _parse(b"".join(self._parts))


class _Lines:
    r"""Splits bytes at \r\n, \n and \r. `str.splitlines` would split at separators that are legal in JSON."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._after_cr = False

    @property
    def has_rest(self) -> bool:
        return bool(self._rest)

    def split(self, data: bytes) -> list[bytes]:
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
            self._after_cr = False
        if not data:
            return []
        lines = data.splitlines()
        is_whole = data.endswith((b"\n", b"\r"))
        self._after_cr = data.endswith(b"\r")
        if self._rest and (len(lines) > 1 or is_whole):
            lines[0] = b"".join([*self._rest, lines[0]])
            self._rest, self._rest_bytes = [], 0
        if not is_whole:
            rest = lines.pop()
            self._rest.append(rest)
            self._rest_bytes += len(rest)
            _check_size(self._rest_bytes)
        return lines


def _data_of(line: bytes) -> bytes | None:
    """Return the value of a line of data, or None for other lines. Proxies indent, capitalize, or repeat its name."""
    if not line.startswith(b"data:"):
        line = line.lstrip()
        if line[:5].lower() != b"data:":
            return None
    value = line[5:].strip()
    while value.startswith(b"data:"):
        value = value[5:].strip()
    return value


def _check_size(size: int) -> None:
    if size > _MAX_EVENT_BYTES:
        raise ProtocolError(f"the endpoint sent an event of more than {_MAX_EVENT_BYTES // 1024**2} MiB")


def _object(data: bytes) -> JSONObject | None:
    text = data.decode("utf-8", "replace")
    try:
        value, end = _JSON.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return cast("JSONObject", value) if isinstance(value, dict) and end == len(text) else None


def _objects(value: object) -> Iterator[JSONObject]:
    if isinstance(value, dict):
        yield cast("JSONObject", value)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _objects(item)
    elif isinstance(value, str):
        yield {"error": {"message": value}}


def _parse(data: bytes) -> Iterator[JSONObject]:
    text = data.decode("utf-8", "replace").strip()
    while text:
        try:
            value, end = _JSON.raw_decode(text)
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"the endpoint sent invalid JSON: {error}") from error
        yield from _objects(value)
        text = text[end:].lstrip()
