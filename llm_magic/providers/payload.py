"""Untrusted values in a provider's JSON: checked, and sanitized."""

from __future__ import annotations

from typing import Any, cast

from llm_magic.types import Usage

# A count above this is an error of the provider.
_MAX_TOKENS = 100_000_000


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


def usage(
    *,
    input_tokens: object,
    output_tokens: object,
    cached: object = None,
    written: object = None,
    written_1h: object = None,
    reasoning: object = None,
) -> Usage | None:
    """Make a Usage of a provider's counts; `input_tokens` includes the cached and the cache-written ones.

    None if a count is missing, negative, absurd, not an integer, or more than the total: the attempt is then billed by
    an estimate.
    """
    total_input, total_output = _count(input_tokens), _count(output_tokens)
    parts = [_count(0 if part is None else part) for part in (cached, written, written_1h, reasoning)]
    if total_input is None or total_output is None or None in parts:
        return None
    read, wrote, wrote_1h, reasoned = (part or 0 for part in parts)
    if read + wrote > total_input or reasoned > total_output or wrote_1h > wrote:
        return None
    return Usage(
        input_tokens=total_input,
        cached_input_tokens=read,
        cache_write_tokens=wrote,
        output_tokens=total_output,
        reasoning_tokens=reasoned,
        cache_write_1h_tokens=wrote_1h,
    )


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= _MAX_TOKENS else None
