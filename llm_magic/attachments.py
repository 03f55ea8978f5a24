"""Text files, images and tables that are sent with a prompt. They do not influence the tier."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llm_magic.errors import RequestError
from llm_magic.types import Attachment, Image, Message, Request

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
TABLE_ROWS = 50
_TABLE_COLUMNS = 60
_CELL_CHARS = 200
MAX_TEXT_BYTES = 2_000_000
MAX_IMAGE_BYTES = 5_000_000
MAX_IMAGES = 20
# Claude bills a square of this side as one token. GPT bills 1.2 tokens for 32 pixels, which is less.
_PATCH_PIXELS = 28
_SIGNATURES = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF87a", "gif"), (b"GIF89a", "gif"))


def attach(values: Iterable[Any], *, rows: int = TABLE_ROWS) -> tuple[Attachment, ...]:
    """Make attachments from paths, DataFrames, Series, and attachments. Raises RequestError."""
    attachments = tuple(_attachment(value, rows) for value in values)
    if (images := sum(attachment.image is not None for attachment in attachments)) > MAX_IMAGES:
        raise RequestError(f"{images} images are attached: at most {MAX_IMAGES} can be sent at a time")
    return attachments


def of_value(name: str, value: Any, *, rows: int = TABLE_ROWS) -> Attachment:
    """Make an attachment of a variable's value: text, a DataFrame, a path, or the bytes of an image or text."""
    if isinstance(value, str):
        return Attachment(name=name, text=value)
    if isinstance(value, bytes | bytearray):
        return _of_bytes(name, bytes(value))
    if _is_table(value):
        return _table(name, value, rows)
    return _attachment(value, rows)


def user_message(request: Request) -> Message:
    parts = [attachment.block for attachment in request.attachments]
    images = tuple(attachment.image for attachment in request.attachments if attachment.image is not None)
    return Message(role="user", content="\n\n".join([*parts, request.prompt]), images=images)


def image_tokens(image: Image, limit: int) -> int:
    if not (image.width > 0 and image.height > 0):
        return limit
    return min(limit, math.ceil(image.width / _PATCH_PIXELS) * math.ceil(image.height / _PATCH_PIXELS))


def _attachment(value: Any, rows: int) -> Attachment:
    if isinstance(value, Attachment):
        return value
    if isinstance(value, str) and (scheme := _URL.match(value)):
        raise RequestError(
            f"{value!r} can't be attached: URLs are not fetched. Download it, and attach the file"
            if scheme.group(1).lower() != "file"
            else f"{value!r} can't be attached: give its path"
        )
    if isinstance(value, str | Path):
        return _file(Path(value).expanduser())
    if _is_table(value):
        return _table(getattr(value, "name", None) or "table", value, rows)
    raise RequestError(f"a {type(value).__name__} can't be attached: give a path, a DataFrame, or a text in a variable")


def _file(path: Path) -> Attachment:
    try:
        size = path.stat().st_size
        if size > max(MAX_TEXT_BYTES, MAX_IMAGE_BYTES):
            raise RequestError(f"{path} has {size:,} bytes: at most {MAX_IMAGE_BYTES:,} can be attached")
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
            raise RequestError(f"the image {name} has {len(data):,} bytes: at most {MAX_IMAGE_BYTES:,} can be attached")
        width, height = _size(data)
        return Attachment(name=name, image=Image(data=data, media_type=f"image/{kind}", width=width, height=height))
    if len(data) > MAX_TEXT_BYTES:
        raise RequestError(f"{name} has {len(data):,} bytes: at most {MAX_TEXT_BYTES:,} of text can be attached")
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
    """Read width and height in pixels from the image's header; -1 if it can't be read."""
    import imagesize  # pyright: ignore[reportMissingTypeStubs] - it ships none

    library: Any = imagesize
    try:
        width, height = library.get(io.BytesIO(data))
    except Exception:  # noqa: BLE001 - a damaged header, for which the upper bound is used
        return -1, -1
    return int(width), int(height)


def _is_table(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("to_csv", "head", "index"))


def _table(name: str, frame: Any, rows: int) -> Attachment:
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
