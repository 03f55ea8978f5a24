"""Claude, through the official `anthropic` SDK."""

from __future__ import annotations

import os
import warnings
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import lru_cache
from types import ModuleType
from typing import Any

from llm_magic import answers
from llm_magic.events import TextDelta
from llm_magic.providers import http
from llm_magic.providers.base import Finished, ProviderEvent, ProviderRequest, UsageReport, thinking
from llm_magic.types import Message, ProviderSpec, Usage

_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}


@lru_cache(maxsize=1)
def _sdk() -> ModuleType:
    import anthropic

    # It warns of old model names in the middle of a cell; the registry, not the SDK, says what is old.
    warnings.filterwarnings("ignore", message="The model '.*' is deprecated", category=DeprecationWarning)
    return anthropic


class AnthropicProvider:
    """The Messages API. Key and address are read from `environ` at each use."""

    def __init__(self, spec: ProviderSpec, *, environ: Mapping[str, str] = os.environ) -> None:
        self.spec = spec
        self._environ = environ

    def unavailable(self) -> str | None:
        return http.missing_key(self.spec, self._environ)

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        where = http.endpoint(self.spec, self._environ)
        client = http.client(_client, where)
        async with (
            http.translated(_sdk(), where),
            client.messages.with_streaming_response.create(**_body(request)) as response,
            aclosing(http.events(response)) as events,
        ):
            async for event in _read(events, where):
                yield event


def _client(where: http.Endpoint) -> Any:
    sdk = _sdk()
    timeout = sdk.Timeout(None, connect=http.CONNECT_TIMEOUT_S)
    return sdk.AsyncAnthropic(api_key=where.api_key, base_url=where.base_url, max_retries=0, timeout=timeout)


def _body(request: ProviderRequest) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": request.model.api_model,
        "max_tokens": request.max_output_tokens,
        "messages": [{"role": message.role, "content": _content(message)} for message in request.messages],
        "stream": True,
    }
    if request.system:
        body["system"] = request.system
    if request.goes_on:
        # Up to here it is kept for five minutes; the next request finds the longest beginning that it shares.
        text = {"type": "text", "text": request.messages[-1].content, "cache_control": {"type": "ephemeral"}}
        body["messages"][-1]["content"] = [*_images(request.messages[-1]), text]
    extra = dict(request.model.params)
    if request.schema is not None:
        wanted = {"type": "json_schema", "schema": answers.closed(request.schema)}
        extra["output_config"] = {**http.table(extra.get("output_config")), "format": wanted}
    # The SDK does not know every parameter, and passes these on as they are.
    return body | {"extra_body": extra}


def _content(message: Message) -> str | list[dict[str, Any]]:
    if not message.images:
        return message.content
    return [*_images(message), {"type": "text", "text": message.content}]


def _images(message: Message) -> list[dict[str, Any]]:
    return [
        {"type": "image", "source": {"type": "base64", "media_type": image.media_type, "data": image.base64}}
        for image in message.images
    ]


async def _read(events: AsyncGenerator[dict[str, Any]], where: http.Endpoint) -> AsyncGenerator[ProviderEvent]:
    """Our events from theirs. Usage comes in two parts: the input at the start, the output at the end."""
    served = ""
    counts: dict[str, Any] = {}
    async for event in events:
        match event.get("type"):
            case "message_start":
                message = http.table(event.get("message"))
                served = http.text_of(message.get("model") or "")
                counts = _merged(counts, http.table(message.get("usage")))
                if usage := _usage(counts):
                    yield UsageReport(usage=usage, final=False)
            case "content_block_delta":
                delta = http.table(event.get("delta"))
                if text := delta.get("text"):
                    yield TextDelta(text=http.text_of(text))
                elif delta.get("type") == "thinking_delta":
                    yield thinking(http.text_of(delta.get("thinking") or ""))
            case "message_delta":
                last = http.table(event.get("usage"))
                counts = _merged(counts, last)
                reason = http.table(event.get("delta")).get("stop_reason")
                if usage := _usage(counts):
                    yield UsageReport(usage=usage, final=last.get("output_tokens") is not None)
                if reason:
                    yield _finished(reason, served, counts)
            case "message":  # the whole answer, from an endpoint that does not stream
                for block in http.tables(event.get("content")):
                    if text := block.get("text"):
                        yield TextDelta(text=http.text_of(text))
                counts = http.table(event.get("usage"))
                if usage := _usage(counts):
                    yield UsageReport(usage=usage)
                if reason := event.get("stop_reason"):
                    yield _finished(reason, http.text_of(event.get("model") or ""), counts)
            case "error":
                raise http.of_event(http.table(event.get("error")), where)
            case _:
                pass  # pings, the bounds of blocks, and whatever comes next year


def _finished(reason: object, served: str, counts: Mapping[str, Any]) -> Finished:
    tier = counts.get("service_tier")
    return Finished(
        finish_reason=_FINISH.get(str(reason), http.text_of(reason)),
        served_model=served,
        service_tier=None if tier in (None, "standard") else http.text_of(tier),
    )


def _merged(counts: dict[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Usage is cumulative: the last value that was given counts, field by field."""
    return counts | {name: value for name, value in later.items() if value is not None}


def _usage(counts: Mapping[str, Any]) -> Usage | None:
    """`input_tokens` of the wire excludes cached and cache-written tokens; ours includes them."""
    parts: list[object] = [counts.get(f"{part}input_tokens") for part in ("", "cache_read_", "cache_creation_")]
    fresh, read, written = (0 if part is None else part for part in parts)
    whole = [part for part in (fresh, read, written) if isinstance(part, int)]
    total = sum(whole) if len(whole) == 3 else None
    thought = http.table(counts.get("output_tokens_details")).get("thinking_tokens")
    written_1h = http.table(counts.get("cache_creation")).get("ephemeral_1h_input_tokens")
    return http.usage(total, read, written, counts.get("output_tokens"), thought, written_1h)
