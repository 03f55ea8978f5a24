"""GPT, DeepSeek, and any other endpoint that speaks OpenAI's Chat Completions, through the official `openai` SDK."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import lru_cache
from types import ModuleType
from typing import Any

from llm_magic.errors import ConnectionFailed
from llm_magic.events import TextDelta, unmerged
from llm_magic.providers import caching, errors, formats, http, listing, refused_parameters, sending
from llm_magic.providers.base import Finished, ProviderEvent, ProviderRequest, thinking
from llm_magic.providers.content import (
    OTHER_CONTENT,
    REASONING_FIELDS,
    is_thought,
    other_content,
    reasoning_of,
    split_content,
)
from llm_magic.providers.error_body import parse_body
from llm_magic.providers.error_rules import refusal_category
from llm_magic.providers.finish_reasons import stated_reason
from llm_magic.providers.foreign_forms import unwrapped
from llm_magic.providers.http import Endpoint
from llm_magic.providers.in_band_errors import ERROR_KEYS, in_band_error, nested_error
from llm_magic.providers.listing import ListedModel
from llm_magic.providers.payload import TextSanitizer, clean_text, json_object, json_objects
from llm_magic.providers.rate_limits import rate_limits
from llm_magic.providers.reading import read_events
from llm_magic.providers.refused_parameters import SentRequest
from llm_magic.providers.sse import JSONObject
from llm_magic.providers.usage import CompletionsUsage
from llm_magic.types import Message, ProviderSpec

__all__ = ["Endpoint", "OpenAIProvider"]

_PLAIN_CHUNK = frozenset(
    (
        "id",
        "object",
        "created",
        "model",
        "choices",
        "usage",
        "system_fingerprint",
        "service_tier",
        "obfuscation",
        "provider",
    )
)
_PLAIN_CHOICE = frozenset(("index", "delta", "finish_reason", "native_finish_reason", "logprobs"))
_NOT_PLAIN = (*REASONING_FIELDS, *OTHER_CONTENT, "reasoning_details", "refusal", "usage", "extra_content")
_USUAL_TIERS = ("", "default", "auto", "standard", "on_demand")
_MINIMAX_MARKS = ("input_sensitive", "output_sensitive")
_REPEATED_CHARS = 16
"""A message of this length that equals the answer so far repeats it."""


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
        return http.key_problem(self.spec, self._environ) or http.url_problem(self.spec, self._environ)

    def account(self) -> int:
        return hash(self._endpoint())

    def load(self) -> None:
        _client(Endpoint(base_url="http://localhost/v1", api_key="none"))

    async def prepare(self) -> None:
        await http.prepare(_client, self._endpoint())

    async def list_models(self) -> list[ListedModel]:
        endpoint = self._endpoint()
        return await listing.list_models(http.client(_client, endpoint), endpoint, "/models")

    def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        return unmerged(self.stream_merged(request))

    async def stream_merged(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        endpoint = self._endpoint()
        failure, accepted = None, False
        url = endpoint.display_url
        request = refused_parameters.without_refused_format(url, request)
        body = caching.for_openai(request, request_body(request), endpoint.base_url)
        body = refused_parameters.without_refused(url, request, body, refused_parameters.OPENAI_RENAMES)
        sent = refused_parameters.sent_request(url, request, body, refused_parameters.OPENAI_RENAMES)
        try:
            client = http.client(_client, endpoint)
            on_its_way = sending.Sending()
            yield on_its_way.announcement(in_one_piece=not body.get("stream"))
            async with (
                sending.post(_sdk(), client, "/chat/completions", body, on_its_way) as response,
                aclosing(read_events(response, ChunkReader(endpoint, sent), on_its_way)) as events,
            ):
                accepted = True
                if stated := rate_limits(response.headers):
                    yield stated
                async for event in formats.unwrapped(events) if formats.is_wrapped(request) else events:
                    yield event
        except Exception as error:  # noqa: BLE001 - a wrong proxy or certificate setting raises anything
            failure = errors.translate(error, _sdk(), endpoint, sent, accepted=accepted)
        if failure is not None:
            if isinstance(failure, ConnectionFailed):
                http.connection_failed(_client, endpoint)
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
        **({} if request.in_one_piece else {"stream": True, "stream_options": {"include_usage": True}}),
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


def _part(value: object) -> Mapping[str, Any]:
    return {"content": value} if isinstance(value, str) else json_object(value)


def _plain_text(chunk: Mapping[str, Any]) -> str:
    """Return the text of a chunk without anything else to read, as nearly all of a stream are; else an empty text."""
    choices: list[object] | None = chunk.get("choices")
    if not isinstance(choices, list) or len(choices) != 1:
        return ""
    choice = json_object(choices[0])
    delta = json_object(choice.get("delta"))
    if not isinstance(text := delta.get("content"), str):
        return ""
    is_plain = (
        chunk.keys() <= _PLAIN_CHUNK
        and choice.keys() <= _PLAIN_CHOICE
        and not (chunk.get("usage") or choice.get("finish_reason"))
        and choice.get("index") in (None, 0)
        and not (len(delta) > 1 and any(map(delta.get, _NOT_PLAIN)))
    )
    return text if is_plain else ""


class ChunkReader:
    """Reader of the chunks of one response. Only the first choice is read, although `params` can ask for several.

    Any chunk can report usage, with or without choices: the last report counts.
    """

    is_done = False

    def __init__(self, endpoint: Endpoint, sent: SentRequest) -> None:
        self._endpoint, self._sent = endpoint, sent
        self._texts: list[str] = []
        self._sanitizer = TextSanitizer()
        self._finish_reason = ""
        self._refused, self._refusal = False, ""
        self._other_content = ""
        self._first: JSONObject = {}
        self._served_model = ""
        self._service_tier: str | None = None
        self._usage = CompletionsUsage()
        self._texts_before_usage = 0

    @property
    def has_finish_reason(self) -> bool:
        return bool(self._finish_reason)

    def read(self, event: JSONObject) -> str | list[ProviderEvent]:
        chunk: dict[str, Any] = event
        if text := _plain_text(chunk):
            text = self._sanitizer.clean(text)
            self._texts.append(text)
            self._read_origin(chunk)
            return text
        return self._read_any(chunk)

    def _read_any(self, chunk: dict[str, Any]) -> list[ProviderEvent]:
        chunk = unwrapped(chunk)
        self._first = self._first or chunk
        is_suspect = not chunk.get("choices") or any(name in chunk for name in ERROR_KEYS)
        if is_suspect and (error := in_band_error(chunk)) is not None:
            raise errors.from_event(error, self._endpoint, self._sent)
        if filtered := chunk.get("prompt_filter_results"):  # Azure
            self._refusal = refusal_category(parse_body({"results": filtered}))
            self._refused = bool(self._refusal)
        for mark in _MINIMAX_MARKS:
            if chunk.get(mark) is True:
                self._refused, self._refusal = True, mark
        events: list[ProviderEvent] = []
        if self._usage.read(chunk) and (report := self._usage.report(final=False)):
            events.append(report)
            if not chunk.get("choices") and report.usage.output_tokens:
                self._texts_before_usage = len(self._texts)
        for choice in json_objects(chunk.get("choices")):
            if choice.get("index") in (None, 0, "0"):
                self._read_choice(choice, events)
        self._read_origin(chunk)
        return events

    def end(self) -> list[ProviderEvent]:
        reason = "refusal" if self._refused else self._finish_reason
        if not reason and self._texts and self._texts_before_usage == len(self._texts):
            reason = "stop"  # some endpoints state no reason, but the usage of the whole answer
        if not reason:
            if not self._texts and (error := nested_error(self._first)) is not None:
                raise errors.from_event(error, self._endpoint, self._sent)
            return []
        finished = Finished(
            finish_reason=reason,
            served_model=clean_text(self._served_model),
            service_tier=self._service_tier,
            refusal=self._refusal,
            other_content=self._other_content,
        )
        report = self._usage.report(final=True)
        return [finished] if report is None else [report, finished]

    def _read_origin(self, chunk: Mapping[str, Any]) -> None:
        if model := chunk.get("model"):
            self._served_model = model
        if isinstance(tier := chunk.get("service_tier"), str) and tier not in _USUAL_TIERS:
            self._service_tier = clean_text(tier)

    def _read_choice(self, choice: Mapping[str, Any], events: list[ProviderEvent]) -> None:
        if error := choice.get("error"):  # OpenRouter
            raise errors.from_event(error, self._endpoint, self._sent)
        reason = stated_reason(choice)
        message = _part(choice.get("message")) or {"content": choice.get("text")}
        if not self._read_part(_part(choice.get("delta")), events) and message:
            self._read_part(self._unread(message, is_last=bool(reason)), events)
        if reason:
            self._finish_reason = reason
            self._refusal = self._refusal or refusal_category(
                parse_body(json_object(choice.get("content_filter_results")))
            )

    def _read_part(self, part: Mapping[str, Any], events: list[ProviderEvent]) -> bool:
        count = len(events)
        self._other_content = other_content(part) or self._other_content
        if (thought := reasoning_of(part)) is not None:
            events.append(thought)
        text, inner_thought = split_content(part.get("content") or part.get("text"))
        if text and is_thought(part):
            text, inner_thought = "", text
        if inner_thought:
            events.append(thinking(self._sanitizer.clean(inner_thought)))
        if refusal := part.get("refusal"):
            self._refused = True
            text = text or str(refusal)
        if text and (text := self._sanitizer.clean(text)):
            self._texts.append(text)
            events.append(TextDelta(text=text))
        return len(events) > count

    def _unread(self, message: Mapping[str, Any], *, is_last: bool) -> Mapping[str, Any]:
        """Return the part of a message that earlier chunks did not contain: some endpoints repeat the whole answer."""
        if not self._texts:
            return message
        seen, (text, _) = "".join(self._texts), split_content(message.get("content"))
        repeats = text.startswith(seen) and (is_last or len(text) > len(seen) or len(seen) >= _REPEATED_CHARS)
        return {"content": text[len(seen) :] if repeats else text}
