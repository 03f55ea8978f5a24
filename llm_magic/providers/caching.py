"""Parameters about prompt caches: breakpoints, keys, and a mode that writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from llm_magic.providers.base import ProviderRequest

_CLAUDE = {"cache_control": {"type": "ephemeral"}}
_OPENAI = {"prompt_cache_breakpoint": {"mode": "explicit"}}


def for_claude(request: ProviderRequest, body: dict[str, Any]) -> dict[str, Any]:
    """Mark the end of the shared prefix, or of the conversation, which is cached for five minutes."""
    return _marked(request, body, _CLAUDE)


def for_openai(request: ProviderRequest, body: dict[str, Any], base_url: str | None) -> dict[str, Any]:
    """State the use of the cache to OpenAI itself, if the model has explicit breakpoints; others refuse the fields.

    Without a breakpoint, mode `explicit` writes nothing. A conversation has the provider's implicit breakpoint.
    """
    host = urlsplit(base_url or "").hostname
    is_openai = host is None or host == "api.openai.com" or host.endswith(".api.openai.com")
    if request.model.prompt_cache != "explicit" or not is_openai:
        return body
    sent: dict[str, Any] = {}
    if not request.in_conversation:
        sent["prompt_cache_options"] = {"mode": "explicit"}
        body = _marked(request, body, _OPENAI)
    if request.cache_key:
        sent["prompt_cache_key"] = request.cache_key
    own: Mapping[str, Any] = body.get("extra_body") or {}
    return body | {"extra_body": {**sent, **own}}


def _marked(request: ProviderRequest, body: dict[str, Any], mark: Mapping[str, Any]) -> dict[str, Any]:
    if request.in_conversation:
        messages = [*body["messages"]]
        *rest, last = _parts(messages[-1]["content"])
        messages[-1] = {**messages[-1], "content": [*rest, {**last, **mark}]}
        return body | {"messages": messages}
    if not request.marks_prefix:
        return body
    if request.prefix_chars == 0:
        return _marked_system(body, mark)
    messages = [*body["messages"]]
    index = 1 if messages[0]["role"] == "system" else 0
    *images, text = _parts(messages[index]["content"])
    shared, rest = text["text"][: request.prefix_chars], text["text"][request.prefix_chars :]
    parts = [*images, {"type": "text", "text": shared, **mark}, *([{"type": "text", "text": rest}] if rest else [])]
    messages[index] = {**messages[index], "content": parts}
    return body | {"messages": messages}


def _marked_system(body: dict[str, Any], mark: Mapping[str, Any]) -> dict[str, Any]:
    if "system" in body:
        return body | {"system": [{"type": "text", "text": body["system"], **mark}]}
    messages = [*body["messages"]]
    if messages[0]["role"] == "system":
        *rest, last = _parts(messages[0]["content"])
        messages[0] = {**messages[0], "content": [*rest, {**last, **mark}]}
    return body | {"messages": messages}


def _parts(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else [*content]
