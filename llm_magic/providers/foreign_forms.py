"""Bodies of other APIs and of gateways, changed to the form of Chat Completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_magic.providers.payload import json_object

_WRAPPERS = ("data", "output", "result")
_CHOICE_KEYS = ("delta", "message", "text")


def unwrapped(chunk: dict[str, Any]) -> dict[str, Any]:
    """Return a chunk whose choices are a list, if it has any."""
    choices = chunk.get("choices")
    if isinstance(choices, list):
        return chunk
    if any(name in json_object(choices) for name in _CHOICE_KEYS):
        return chunk | {"choices": [choices]}
    if choices is None and isinstance(chunk.get("done"), bool) and "message" in chunk:
        return chunk | {"choices": [_ollama_choice(chunk)]}
    for name in _WRAPPERS:  # gateways, Alibaba's own API, and Cloudflare's
        if choices is None and isinstance(json_object(chunk.get(name)).get("choices"), list):
            return {**chunk, **chunk[name]}
    return chunk


def _ollama_choice(chunk: Mapping[str, Any]) -> dict[str, Any]:
    reason = (chunk.get("done_reason") or "stop") if chunk["done"] else None
    return {"delta": json_object(chunk["message"]), "finish_reason": reason}
