"""Requests as JSON text, and back."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from llm_magic.types import Image, Request

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def is_storable(request: Request) -> bool:
    """True unless the request has a function, which can't be stored as text."""
    return request.check is None


def to_json(request: Request) -> str:
    schema = None if request.schema is None else dataclasses.replace(request.schema, build=None)
    plain = dataclasses.replace(_with_images(request, base64.b64encode), schema=schema)
    return _adapter().dump_json(plain).decode()


def from_json(text: str) -> Request:
    return _with_images(_adapter().validate_json(text), base64.b64decode)


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Request]:
    from pydantic import TypeAdapter

    return TypeAdapter(Request)


def _with_images(request: Request, convert: Callable[[bytes], bytes]) -> Request:
    def image(given: Image) -> Image:
        return dataclasses.replace(given, data=convert(given.data))

    return dataclasses.replace(
        request,
        attachments=tuple(
            dataclasses.replace(attachment, image=None if attachment.image is None else image(attachment.image))
            for attachment in request.attachments
        ),
        history=tuple(
            dataclasses.replace(message, images=tuple(map(image, message.images))) for message in request.history
        ),
    )
