"""Claude, through the official `anthropic` SDK."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import lru_cache
from types import ModuleType
from typing import Any

from llm_magic.events import TextDelta
from llm_magic.providers import dialect, errors, formats, http, sse
from llm_magic.providers.base import Finished, ProviderEvent, ProviderRequest, RequestSent, thinking
from llm_magic.providers.dialect import SentRequest
from llm_magic.providers.http import Endpoint
from llm_magic.providers.payload import clean_text, json_object, json_objects
from llm_magic.providers.usage import MessagesUsage, parse_count
from llm_magic.types import Message, ProviderSpec


@lru_cache(maxsize=1)
def _sdk() -> ModuleType:
    import anthropic

    # It warns of old model names in the middle of a cell; which models are old is the registry's business.
    warnings.filterwarnings("ignore", message="The model '.*' is deprecated", category=DeprecationWarning)
    return anthropic


class AnthropicProvider:
    """The Messages API. Key and base URL are read from `environ` at each use."""

    announces_sending = True

    def __init__(self, spec: ProviderSpec, *, environ: Mapping[str, str] = os.environ) -> None:
        self.spec = spec
        self._environ = environ

    def unavailable(self) -> str | None:
        return http.key_problem(self.spec, self._environ)

    def account(self) -> int:
        return hash(http.resolve_endpoint(self.spec, self._environ))

    async def prepare(self) -> None:
        if not _sdk.cache_info().currsize:
            await asyncio.to_thread(_sdk)

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        endpoint = http.resolve_endpoint(self.spec, self._environ)
        failure, accepted = None, False
        url = endpoint.display_url
        request = dialect.without_refused_format(url, request)
        body = dialect.without_refused(url, request, request_body(request), {})
        sent = dialect.sent_request(url, request, body, {})
        try:
            client = http.client(_client, endpoint)
            yield RequestSent()
            async with (
                client.messages.with_streaming_response.create(**body) as response,
                aclosing(sse.events(response)) as events,
            ):
                accepted = True
                async for event in _read(events, endpoint, sent):
                    yield event
        except Exception as error:  # noqa: BLE001 - a wrong proxy or certificate setting raises anything
            failure = errors.translate(error, _sdk(), endpoint, sent, accepted=accepted)
        if failure is not None:
            client = endpoint = body = None  # a traceback keeps this frame
            raise failure


def _client(endpoint: http.Endpoint) -> Any:
    return http.make_client(_sdk(), "AsyncAnthropic", endpoint)


def request_body(request: ProviderRequest) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": request.model.api_model,
        "max_tokens": request.max_output_tokens,
        "messages": [{"role": message.role, "content": _content(message)} for message in request.messages],
        "stream": True,
    }
    answer_format = formats.for_claude(request, _sdk())
    if system := "\n\n".join(text for text in (request.system, answer_format.instruction) if text):
        body["system"] = system
    if request.in_conversation:
        # The prefix up to here is cached for five minutes; the next request reuses the longest prefix it shares.
        text = {"type": "text", "text": request.messages[-1].content, "cache_control": {"type": "ephemeral"}}
        body["messages"][-1]["content"] = [*_images(request.messages[-1]), text]
    extra = request.params
    if answer_format.params:
        extra["output_config"] = {**json_object(extra.get("output_config")), **answer_format.params}
    # The SDK passes parameters that it does not know on as they are.
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


async def _read(
    events: AsyncGenerator[dict[str, Any]], endpoint: Endpoint, sent: SentRequest
) -> AsyncGenerator[ProviderEvent]:
    """Translate the events of the wire. Input tokens are reported at the start, output tokens at the end."""
    served_model = ""
    usage = MessagesUsage()
    async for event in events:
        match event.get("type"):
            case "message_start":
                message = json_object(event.get("message"))
                served_model = clean_text(message.get("model") or "")
                usage.read(json_object(message.get("usage")))
                if report := usage.report(final=False):
                    yield report
            case "content_block_delta":
                delta = json_object(event.get("delta"))
                if text := delta.get("text"):
                    yield TextDelta(text=clean_text(text))
                elif delta.get("type") == "thinking_delta":
                    yield thinking(clean_text(delta.get("thinking") or ""))
            case "message_delta":
                delta = json_object(event.get("delta"))
                last = json_object(event.get("usage") or delta.get("usage"))  # the latter: Kimi, by way of a proxy
                usage.read(last)
                if report := usage.report(final=parse_count(last.get("output_tokens")) is not None):
                    yield report
                if delta.get("stop_reason"):
                    yield _finished(delta, served_model, usage)
            case "message":
                for part in _unstreamed_events(event):
                    yield part
            case "error":
                raise errors.from_event(event.get("error"), endpoint, sent)
            case _:
                pass  # pings, starts and stops of blocks, and types that are not known yet


def _unstreamed_events(message: Mapping[str, Any]) -> list[ProviderEvent]:
    texts = [text for block in json_objects(message.get("content")) if (text := block.get("text"))]
    parts: list[ProviderEvent] = [TextDelta(text=clean_text(text)) for text in texts]
    usage = MessagesUsage()
    usage.read(json_object(message.get("usage")))
    if report := usage.report(final=True):
        parts.append(report)
    if message.get("stop_reason"):
        parts.append(_finished(message, clean_text(message.get("model") or ""), usage))
    return parts


def _finished(end: Mapping[str, Any], served_model: str, usage: MessagesUsage) -> Finished:
    refusal = json_object(end.get("stop_details"))
    return Finished(
        finish_reason=clean_text(end.get("stop_reason")),
        served_model=served_model,
        service_tier=usage.stated("service_tier", usual=("standard",)),
        speed=usage.stated("speed", usual=("standard",)),
        region=usage.stated("inference_geo", usual=("global", "not_available")),
        refusal=clean_text(": ".join(str(refusal[key]) for key in ("category", "explanation") if refusal.get(key))),
    )
