"""Text files, images and tables that are sent with a prompt. They do not influence the tier."""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llm_magic.attachments import images, tables, texts
from llm_magic.attachments.images import MAX_IMAGE_BYTES
from llm_magic.errors import RequestError
from llm_magic.types import Attachment, Image, Message, Request

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
TABLE_ROWS = 50
MAX_TEXT_BYTES = 2_000_000
MAX_IMAGES = 20
_PATH_CHARS = 500
# Claude bills a square of this side as one token. GPT bills 1.2 tokens for 32 pixels, which is less.
_PATCH_PIXELS = 28


def attach(values: Iterable[Any], *, rows: int = TABLE_ROWS) -> tuple[Attachment, ...]:
    """Make attachments from paths, tables, images, figures, and attachments. Raises RequestError."""
    attachments = tuple(_attachment(value, rows) for value in values)
    if (count := sum(attachment.image is not None for attachment in attachments)) > MAX_IMAGES:
        raise RequestError(f"{count} images are attached: at most {MAX_IMAGES} can be sent at a time")
    return attachments


def of_value(name: str, value: Any, *, rows: int = TABLE_ROWS) -> Attachment:
    """Make an attachment of a variable's value: text, a table, an image, a path, or the bytes of an image or text."""
    if isinstance(value, str):
        return _of_text(name, value)
    if isinstance(value, bytes | bytearray):
        return _of_bytes(name, bytes(value))
    if tables.is_table(value):
        return tables.attachment(name, value, rows)
    if images.is_picture(value):
        return images.of_picture(name, value)
    return _attachment(value, rows)


def user_message(request: Request) -> Message:
    parts = [attachment.block for attachment in request.attachments]
    sent = tuple(attachment.image for attachment in request.attachments if attachment.image is not None)
    return Message(role="user", content="\n\n".join([*parts, request.prompt]), images=sent)


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
    if isinstance(value, str) and not value:
        raise RequestError("an attachment is empty: give a path")
    if isinstance(value, str | Path):
        return _file(Path(os.path.expanduser(value)))  # Path.expanduser raises for an unknown user
    if tables.is_table(value):
        return tables.attachment(tables.name_of(value), value, rows)
    if images.is_picture(value):
        return images.of_picture("image", value)
    raise RequestError(
        f"a value of type {type(value).__name__} can't be attached: give a path, a text in a variable, a table, or an "
        f"image{_hint(value)}"
    )


def _hint(value: Any) -> str:
    if hasattr(value, "__array_interface__"):
        return ". For an array, give pandas.DataFrame(array), or PIL.Image.fromarray(array) if it has pixels"
    if hasattr(value, "read"):
        return ". For an open file, give what read() returns"
    if isinstance(value, list | tuple | dict | set):
        return ". For data, give pandas.DataFrame(data), or text such as json.dumps(data)"
    return ""


def _of_text(name: str, text: str) -> Attachment:
    if not text.strip():
        raise RequestError(f"{name} is empty")
    if len(text) <= _PATH_CHARS and "\n" not in text and _is_file(text):
        raise RequestError(
            f"{name} can't be attached: its value is the name of a file, {text!r}. Attach the file with --attach "
            f"{text!r}, or a pathlib.Path"
        )
    return Attachment(name=name, text=text)


def _is_file(text: str) -> bool:
    try:
        return Path(text).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):
        return False


def _file(path: Path) -> Attachment:
    try:
        status = path.stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise RequestError(f"{str(path)!r} can't be attached: it is not a file, but a device or a pipe")
        size = status.st_size
        if size > max(MAX_TEXT_BYTES, MAX_IMAGE_BYTES):
            raise RequestError(f"{path} has {size:,} bytes: at most {MAX_IMAGE_BYTES:,} can be attached")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, RequestError):
            raise
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        hint = ". Check its path, which starts in the working directory" if isinstance(error, FileNotFoundError) else ""
        raise RequestError(f"{str(path)!r} can't be attached: {why}{hint}") from error
    return _of_bytes(path.name, data)


def _of_bytes(name: str, data: bytes) -> Attachment:
    if kind := images.kind_of(data):
        return images.attachment(name, kind, data)
    if len(data) > MAX_TEXT_BYTES:
        raise RequestError(f"{name} has {len(data):,} bytes: at most {MAX_TEXT_BYTES:,} of text can be attached")
    if (text := texts.decoded(data)) is None:
        advice = texts.way_out(data)
        raise RequestError(
            f"{name} is neither text in UTF-8 nor an image (PNG, JPEG, GIF, WebP): it can't be attached"
            f"{f'. {advice}' if advice else ''}"
        )
    if not text.strip():
        raise RequestError(f"{name} is empty")
    return Attachment(name=name, text=text)
