"""Untrusted values in a provider's JSON: checked, and sanitized."""

from __future__ import annotations

from typing import Any, cast


def json_object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def json_objects(value: object) -> list[dict[str, Any]]:
    return [json_object(item) for item in cast("list[object]", value)] if isinstance(value, list) else []


def clean_text(value: object) -> str:
    """Return a text without NUL, which no database stores, and lone surrogates, which JSON can contain."""
    text = str(value)
    if text.isascii():
        return text.replace("\0", "\ufffd")
    encodable = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return encodable.replace("\0", "\ufffd")


class TextSanitizer:
    """`clean_text` for the pieces of a text. A surrogate pair that two pieces share becomes one character."""

    def __init__(self) -> None:
        self._held = ""

    def clean(self, piece: str) -> str:
        if piece.isascii() and not self._held:
            return piece.replace("\0", "\ufffd")
        piece, self._held = self._held + piece, ""
        if "\ud800" <= piece[-1:] <= "\udbff":
            piece, self._held = piece[:-1], piece[-1]
        return clean_text(piece)
