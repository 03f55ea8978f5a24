"""What is sent besides the words of a prompt: text files, images, tables. None of it decides the tier."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llm_magic.errors import RequestError
from llm_magic.types import Attachment, Image, Message, Request

TABLE_ROWS = 50
"""Of a DataFrame, unless the caller says otherwise."""
_TABLE_COLUMNS = 60
_CELL_CHARS = 200
MAX_TEXT_BYTES = 2_000_000
MAX_IMAGE_BYTES = 5_000_000
MAX_IMAGES = 20
_PIXELS = 28
"""Side of the square that Claude counts as a token; GPT's is larger for its price (32, times 1.2)."""
_SIGNATURES = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF87a", "gif"), (b"GIF89a", "gif"))


def attach(things: Iterable[Any], *, rows: int = TABLE_ROWS) -> tuple[Attachment, ...]:
    """Attachments from paths (text or `str`), DataFrames, Series, and attachments. Raises RequestError."""
    found = tuple(_attachment(thing, rows) for thing in things)
    if (images := sum(each.image is not None for each in found)) > MAX_IMAGES:
        raise RequestError(f"{images} images are attached: {MAX_IMAGES} at a time are the most")
    return found


def of_value(name: str, value: Any, *, rows: int = TABLE_ROWS) -> Attachment:
    """A variable's value as an attachment: a text by itself, a DataFrame, a path, or bytes of an image or a text."""
    if isinstance(value, str):
        return Attachment(name=name, text=value)
    if isinstance(value, bytes | bytearray):
        return _of_bytes(name, bytes(value))
    if _is_table(value):
        return _table(name, value, rows)
    return _attachment(value, rows)


def message_of(request: Request) -> Message:
    """The prompt with what is attached to it, ahead of it: the user's message."""
    parts = [each.block for each in request.attachments]
    images = tuple(each.image for each in request.attachments if each.image is not None)
    return Message(role="user", content="\n\n".join([*parts, request.prompt]), images=images)


def image_tokens(image: Image, most: int) -> int:
    """What an image is expected to come to, of `most` at most."""
    if not (image.width > 0 and image.height > 0):
        return most
    return min(most, math.ceil(image.width / _PIXELS) * math.ceil(image.height / _PIXELS))


def _attachment(thing: Any, rows: int) -> Attachment:
    if isinstance(thing, Attachment):
        return thing
    if isinstance(thing, str | Path):
        return _file(Path(thing).expanduser())
    if _is_table(thing):
        return _table(getattr(thing, "name", None) or "table", thing, rows)
    raise RequestError(f"a {type(thing).__name__} can't be attached: give a path, a DataFrame, or a text in a variable")


def _file(path: Path) -> Attachment:
    try:
        size = path.stat().st_size
        if size > max(MAX_TEXT_BYTES, MAX_IMAGE_BYTES):
            raise RequestError(f"{path} has {size:,} bytes: {MAX_IMAGE_BYTES:,} are the most that can be attached")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, RequestError):
            raise
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RequestError(f"{str(path)!r} can't be attached: {why}") from error
    return _of_bytes(path.name, data)


def _of_bytes(name: str, data: bytes) -> Attachment:
    if kind := _image_kind(data):
        if len(data) > MAX_IMAGE_BYTES:
            raise RequestError(f"the image {name} has {len(data):,} bytes: {MAX_IMAGE_BYTES:,} are the most")
        width, height = _size(data)
        return Attachment(name=name, image=Image(data=data, media_type=f"image/{kind}", width=width, height=height))
    if len(data) > MAX_TEXT_BYTES:
        raise RequestError(f"{name} has {len(data):,} bytes: {MAX_TEXT_BYTES:,} of text are the most")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise RequestError(f"{name} is neither text in UTF-8 nor an image (PNG, JPEG, GIF, WebP): it can't be attached")
    if not text.strip():
        raise RequestError(f"{name} is empty")
    return Attachment(name=name, text=text)


def _image_kind(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((kind for signature, kind in _SIGNATURES if data.startswith(signature)), "")


def _size(data: bytes) -> tuple[int, int]:
    """Pixels of an image as its header says; -1 where it does not."""
    import imagesize  # pyright: ignore[reportMissingTypeStubs] - it ships none

    library: Any = imagesize
    try:
        width, height = library.get(io.BytesIO(data))
    except Exception:  # noqa: BLE001 - a torn header, in whichever way: the bound is taken instead
        return -1, -1
    return int(width), int(height)


def _is_table(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("to_csv", "head", "index"))


def _table(name: str, frame: Any, rows: int) -> Attachment:
    """The head of a DataFrame as CSV, with what was left out of it in words."""
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs] - it ships none

    if not hasattr(frame, "columns"):
        frame = frame.to_frame()
    count, width = frame.shape
    shown = frame.iloc[:rows, :_TABLE_COLUMNS]
    cut = shown.map(_cut) if len(shown) else shown
    plain_index = isinstance(frame.index, pd.RangeIndex)
    detail = f"{count:,} rows × {width:,} columns"
    if count > rows:
        detail += f", the first {rows:,} rows"
    if width > _TABLE_COLUMNS:
        detail += f", the first {_TABLE_COLUMNS} columns"
    return Attachment(name=name, text=str(cut.to_csv(index=not plain_index)), detail=detail)


def _cut(cell: Any) -> Any:
    return f"{cell[:_CELL_CHARS]}…" if isinstance(cell, str) and len(cell) > _CELL_CHARS else cell
