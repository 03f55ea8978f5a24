"""Text and reasoning in the many forms in which endpoints send them. They are untrusted, and not sanitized here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from llm_magic.events import Progress
from llm_magic.providers.base import thinking
from llm_magic.providers.payload import clean_text, json_object, json_objects

_REASONING_TYPES = ("thinking", "reasoning", "thought", "summary")
REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_text", "thought")

OTHER_CONTENT = {"tool_calls": "tool calls", "function_call": "tool calls", "audio": "audio", "images": "images"}


def split_content(content: object) -> tuple[str, str]:
    """Return the text and the reasoning of a message's content: a text, a part, or a list of parts."""
    if isinstance(content, str):
        return content, ""
    if isinstance(content, list):
        parts = [split_content(part) for part in cast("list[object]", content)]
        return "".join(text for text, _ in parts), "".join(reasoning for _, reasoning in parts)
    part = json_object(content)
    kind = str(part.get("type") or "text")
    if any(name in kind for name in _REASONING_TYPES):
        return "", reasoning_text(part)
    text = part.get("text") or part.get("refusal")
    if isinstance(text, dict):  # {"type": "text", "text": {"value": "..."}}
        text = json_object(cast("object", text)).get("value")
    return (text if isinstance(text, str) else ""), ""


def other_content(message: Mapping[str, Any]) -> str:
    return next((kind for name, kind in OTHER_CONTENT.items() if message.get(name)), "")


def is_thought(part: Mapping[str, Any]) -> bool:
    """True if Gemini marks the content of a delta as a thought."""
    google = json_object(json_object(part.get("extra_content")).get("google"))
    return google.get("thought") is True


def reasoning_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(reasoning_text(part) for part in cast("list[object]", value))
    part = json_object(value)
    return next(
        (reasoning_text(part[name]) for name in ("thinking", "text", "summary", "content") if part.get(name)), ""
    )


def reasoning_of(delta: Mapping[str, Any]) -> Progress | None:
    """Return the reasoning in a delta or a message of Chat Completions, or None without any.

    Endpoints send the same reasoning in several fields at once.
    """
    details = json_objects(delta.get("reasoning_details"))
    for name in REASONING_FIELDS:
        if thought := delta.get(name):
            break
    else:
        if not details:
            return None
        thought = details
    is_summary = any(detail.get("type") == "reasoning.summary" for detail in details)
    return thinking(clean_text(reasoning_text(thought)), is_summary=is_summary)
