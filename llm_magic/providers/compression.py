"""Decompression of bodies, whether or not they are compressed as their header says."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, AsyncIterable, Callable

from llm_magic.errors import ProtocolError

INFLATED = ("gzip", "x-gzip", "deflate")
_GZIP_MARK, _MARK_BYTES = b"\x1f\x8b", 2
_GZIP, _ZLIB, _RAW = 31, 15, -15


async def inflated(chunks: AsyncIterable[bytes], encoding: str) -> AsyncGenerator[bytes]:
    """Decompress a body by its first bytes. Proxies decompress a body and leave its header, or name another format."""
    start, inflate = b"", None
    async for chunk in chunks:
        data = chunk
        if inflate is None:
            start = data = start + chunk
            if len(start) < _MARK_BYTES:
                continue
            inflate = _inflater(start, encoding)
        try:
            if data := inflate(data):
                yield data
        except zlib.error as error:
            raise ProtocolError(f"the endpoint sent a body that can't be decompressed: {error}") from error
    if inflate is None and start:
        yield start


def _inflater(start: bytes, encoding: str) -> Callable[[bytes], bytes]:
    if start.startswith(_GZIP_MARK):
        return _Members().feed
    is_zlib = start[0] & 0x0F == zlib.DEFLATED and int.from_bytes(start[:2]) % 31 == 0
    if not is_zlib and encoding != "deflate":
        return bytes  # a short text can look like the start of raw deflate
    wbits = _ZLIB if is_zlib else _RAW
    try:
        zlib.decompressobj(wbits).decompress(start)
    except zlib.error:
        return bytes  # not compressed
    return zlib.decompressobj(wbits).decompress


class _Members:
    """Decompression of gzip: one member after the other, up to what is not a member."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)

    def feed(self, data: bytes) -> bytes:
        parts: list[bytes] = []
        while data:
            if self._member.eof:
                if not data.startswith(_GZIP_MARK[: len(data)]):
                    break
                self._member = zlib.decompressobj(_GZIP)
            parts.append(self._member.decompress(data))
            data = self._member.unused_data
        return b"".join(parts)
