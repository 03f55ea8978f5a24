"""A type of columns for texts with any characters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

_ESCAPED = "\x01json:"


class AnyText(sa.types.TypeDecorator[str]):
    """Text that may contain lone surrogates and NUL, which databases refuse. Such a text is stored as JSON."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        if value is None or not (value.startswith(_ESCAPED) or "\0" in value or _has_surrogates(value)):
            return value
        return _ESCAPED + json.dumps(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        if value is None or not value.startswith(_ESCAPED):
            return value
        return json.loads(value[len(_ESCAPED) :])


def _has_surrogates(text: str) -> bool:
    if text.isascii():
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
