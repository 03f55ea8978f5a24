"""GPT, DeepSeek, and any other endpoint that speaks OpenAI's Chat Completions, through the official `openai` SDK."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import lru_cache
from types import ModuleType
from typing import Any

from llm_magic.events import TextDelta
from llm_magic.providers import dialect, errors, formats, http, sse
from llm_magic.providers.base import Finished, ProviderEvent, ProviderRequest, RequestSent, thinking
from llm_magic.providers.dialect import SentRequest
from llm_magic.providers.error_body import parse_body
from llm_magic.providers.error_rules import refusal_category
from llm_magic.providers.http import Endpoint
from llm_magic.providers.payload import clean_text, json_object, json_objects
from llm_magic.providers.usage import CompletionsUsage
from llm_magic.types import Message, ProviderSpec

__all__ = ["Endpoint", "OpenAIProvider"]


@lru_cache(maxsize=1)
def _sdk() -> ModuleType:
    import openai

    return openai


class OpenAIProvider:
    """The Chat Completions API. Key and base URL are read from `environ` at each use, or returned by `endpoint`."""

    announces_sending = True

    def __init__(
        self,
        spec: ProviderSpec,
        *,
        environ: Mapping[str, str] = os.environ,
        endpoint: Callable[[], Endpoint] | None = None,
    ) -> None:
        self.spec = spec
        self._environ = environ
        self._endpoint = endpoint or (lambda: http.resolve_endpoint(spec, environ))

    def unavailable(self) -> str | None:
        return http.key_problem(self.spec, self._environ)

    def account(self) -> int:
        return hash(self._endpoint())

    async def prepare(self) -> None:
        if not _sdk.cache_info().currsize:
            await asyncio.to_thread(_sdk)

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        endpoint = self._endpoint()
        failure, accepted = None, False
        url = endpoint.display_url
        request = dialect.without_refused_format(url, request)
        body = dialect.without_refused(url, request, request_body(request), dialect.OPENAI_RENAMES)
        sent = dialect.sent_request(url, request, body, dialect.OPENAI_RENAMES)
        try:
            client = http.client(_client, endpoint)
            yield RequestSent()
            async with (
                client.chat.completions.with_streaming_response.create(**body) as response,
                aclosing(sse.events(response)) as events,
            ):
                accepted = True
                reading = _read(events, endpoint, sent)
                async for event in formats.unwrapped(reading) if formats.is_wrapped(request) else reading:
                    yield event
        except Exception as error:  # noqa: BLE001 - a wrong proxy or certificate setting raises anything
            failure = errors.translate(error, _sdk(), endpoint, sent, accepted=accepted)
        if failure is not None:
            client = endpoint = body = None  # a traceback keeps this frame
            raise failure


def _client(endpoint: Endpoint) -> Any:
    return http.make_client(_sdk(), "AsyncOpenAI", endpoint)


def request_body(request: ProviderRequest) -> dict[str, Any]:
    answer_format = formats.for_openai(request)
    system = "\n\n".join(text for text in (request.system, answer_format.instruction) if text)
    messages = [{"role": message.role, "content": _content(message)} for message in request.messages]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    params = request.params
    return answer_format.params | {
        "model": request.model.api_model,
        "messages": messages,
        request.model.max_tokens_param: request.max_output_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        # The SDK knows only OpenAI's own parameters, and passes these on as they are.
        "extra_body": {name: value for name, value in params.items() if name != "extra_headers"},
        "extra_headers": params.get("extra_headers"),
    }


def _content(message: Message) -> str | list[dict[str, Any]]:
    if not message.images:
        return message.content
    # `high` has an upper bound (2,500 patches of 32 by 32 pixels); the default can cost ten times as much.
    images = [{"url": f"data:{image.media_type};base64,{image.base64}", "detail": "high"} for image in message.images]
    parts = [{"type": "image_url", "image_url": image} for image in images]
    return [*parts, {"type": "text", "text": message.content}]


async def _read(
    events: AsyncGenerator[dict[str, Any]], endpoint: Endpoint, sent: SentRequest
) -> AsyncGenerator[ProviderEvent]:
    """Translate the chunks of the wire. Any chunk can report usage, with or without choices."""
    finished: Finished | None = None
    usage = CompletionsUsage()
    service_tier: str | None = None
    async for chunk in events:
        if error := chunk.get("error"):
            raise errors.from_event(error, endpoint, sent)
        if usage.read(chunk) and (report := usage.report(final=False)):
            yield report
        for choice in json_objects(chunk.get("choices")):
            delta = json_object(choice.get("delta") or choice.get("message"))
            if text := delta.get("content") or delta.get("refusal"):
                yield TextDelta(text=clean_text(text))
            elif thought := delta.get("reasoning_content"):
                yield thinking(clean_text(thought))
            if reason := "refusal" if delta.get("refusal") else choice.get("finish_reason"):
                finished = Finished(
                    finish_reason=clean_text(reason),
                    served_model=clean_text(chunk.get("model") or ""),
                    refusal=refusal_category(parse_body(json_object(choice.get("content_filter_results")))),
                )
        if (tier := chunk.get("service_tier")) not in (None, "default", "auto"):
            service_tier = clean_text(tier)
    if finished is not None:
        if report := usage.report(final=True):
            yield report
        yield dataclasses.replace(finished, service_tier=service_tier)
