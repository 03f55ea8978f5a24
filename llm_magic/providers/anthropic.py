"""Claude, through the official `anthropic` SDK."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import lru_cache
from types import ModuleType
from typing import Any

from llm_magic.errors import ConnectionFailed, ProtocolError
from llm_magic.events import TextDelta, unmerged
from llm_magic.providers import caching, errors, formats, http, listing, refused_parameters, sending
from llm_magic.providers.base import Finished, ProviderEvent, ProviderRequest, thinking
from llm_magic.providers.content import reasoning_text, split_content
from llm_magic.providers.http import Endpoint
from llm_magic.providers.in_band_errors import in_band_error, nested_error
from llm_magic.providers.listing import ListedModel
from llm_magic.providers.payload import TextSanitizer, clean_text, json_object, json_objects
from llm_magic.providers.rate_limits import rate_limits
from llm_magic.providers.reading import read_events
from llm_magic.providers.refused_parameters import SentRequest
from llm_magic.providers.sse import JSONObject
from llm_magic.providers.token_counts import parse_count
from llm_magic.providers.usage import MessagesUsage
from llm_magic.types import Message, ProviderSpec


@lru_cache(maxsize=1)
def _sdk() -> ModuleType:
    import anthropic

    return anthropic


_COUNTED = ("model", "messages", "system", "thinking", "output_config", "speed")
_COUNT_PATH = "/v1/messages/count_tokens"
_NOT_FOUND = (404, 405, 501)
_uncounted: set[tuple[str, str]] = set()
"""Base URLs and models of which no token count is available, for the rest of the process."""


class AnthropicProvider:
    """The Messages API. Key and base URL are read from `environ` at each use."""

    announces_sending = True

    def __init__(self, spec: ProviderSpec, *, environ: Mapping[str, str] = os.environ) -> None:
        self.spec = spec
        self._environ = environ

    def unavailable(self) -> str | None:
        return http.key_problem(self.spec, self._environ) or http.url_problem(self.spec, self._environ)

    def account(self) -> int:
        return hash(http.resolve_endpoint(self.spec, self._environ))

    def load(self) -> None:
        _client(Endpoint(base_url="http://localhost", api_key="none"))

    async def prepare(self) -> None:
        await http.prepare(_client, http.resolve_endpoint(self.spec, self._environ))

    async def list_models(self) -> list[ListedModel]:
        endpoint = http.resolve_endpoint(self.spec, self._environ)
        return await listing.list_models(http.client(_client, endpoint), endpoint, "/v1/models?limit=1000")

    async def count_tokens(self, request: ProviderRequest) -> int:
        endpoint = http.resolve_endpoint(self.spec, self._environ)
        counter = (endpoint.display_url, request.model.api_model)
        if counter in _uncounted:
            raise ProtocolError("the endpoint does not count tokens")
        body = request_body(request)
        counted = {name: body[name] for name in _COUNTED if name in body}
        counted |= {name: value for name, value in body["extra_body"].items() if name in _COUNTED}
        await self.prepare()
        try:
            answer = await http.client(_client, endpoint).post(_COUNT_PATH, cast_to=object, body=counted)
        except _sdk().APIStatusError as error:
            if error.status_code in _NOT_FOUND:
                _uncounted.add(counter)
            raise
        count = parse_count(json_object(answer).get("input_tokens"))
        if count is None:
            raise ProtocolError("the endpoint sent no count of tokens")
        return count

    def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        return unmerged(self.stream_merged(request))

    async def stream_merged(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        endpoint = http.resolve_endpoint(self.spec, self._environ)
        failure, accepted = None, False
        url = endpoint.display_url
        request = refused_parameters.without_refused_format(url, request)
        body = refused_parameters.without_refused(url, request, request_body(request), {})
        sent = refused_parameters.sent_request(url, request, body, {})
        try:
            client = http.client(_client, endpoint)
            on_its_way = sending.Sending()
            yield on_its_way.announcement(in_one_piece=not body.get("stream"))
            async with (
                sending.post(_sdk(), client, "/v1/messages", body, on_its_way) as response,
                aclosing(read_events(response, MessageReader(endpoint, sent), on_its_way)) as events,
            ):
                accepted = True
                if stated := rate_limits(response.headers):
                    yield stated
                async for event in events:
                    yield event
        except Exception as error:  # noqa: BLE001 - a wrong proxy or certificate setting raises anything
            failure = errors.translate(error, _sdk(), endpoint, sent, accepted=accepted)
        if failure is not None:
            if isinstance(failure, ConnectionFailed):
                http.connection_failed(_client, endpoint)
            client = endpoint = body = None  # a traceback keeps this frame
            raise failure


def _client(endpoint: Endpoint) -> Any:
    return http.make_client(_sdk(), "AsyncAnthropic", endpoint)


def request_body(request: ProviderRequest) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": request.model.api_model,
        "max_tokens": request.max_output_tokens,
        "messages": [{"role": message.role, "content": _content(message)} for message in request.messages],
        **({} if request.in_one_piece else {"stream": True}),
    }
    answer_format = formats.for_claude(request, _sdk())
    if system := "\n\n".join(text for text in (request.system, answer_format.instruction) if text):
        body["system"] = system
    body = caching.for_claude(request, body)
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


class MessageReader:
    """Reader of the events of one response. Input tokens are reported at the start, output tokens at the end.

    Thinking is a summary: the model bills more tokens than it shows.
    """

    def __init__(self, endpoint: Endpoint, sent: SentRequest) -> None:
        self.is_done = False
        self._endpoint, self._sent = endpoint, sent
        self._sanitizer = TextSanitizer()
        self._served_model = ""
        self._usage = MessagesUsage()
        self._stop_reason = ""
        self._has_final_usage = False
        self._refusal = ""
        self._other_content = ""
        self._first: JSONObject = {}

    @property
    def has_finish_reason(self) -> bool:
        return bool(self._stop_reason)

    def read(self, event: JSONObject) -> str | list[ProviderEvent]:
        if event.get("type") == "content_block_delta":
            delta = json_object(event.get("delta"))
            if delta.get("type") == "text_delta" and isinstance(text := delta.get("text"), str):
                return self._sanitizer.clean(text)
        return self._read_any(event)

    def _read_any(self, event: JSONObject) -> list[ProviderEvent]:
        self._first = self._first or event
        match event.get("type"):
            case "message_start":
                return self._read_start(json_object(event.get("message")))
            case "content_block_delta":
                return self._read_block(json_object(event.get("delta")))
            case "content_block_start":
                return self._read_block(json_object(event.get("content_block")))
            case "message_delta":
                delta = json_object(event.get("delta"))
                usage = event.get("usage") or delta.get("usage")  # the latter: Kimi, by way of a proxy
                return self._read_end(delta, json_object(usage))
            case "message_stop":
                self.is_done = True
                if not self._stop_reason and self._has_final_usage:
                    self._stop_reason = "stop"  # some endpoints state no reason
            case "message":
                return self._read_unstreamed(event)
            case kind:  # errors, pings, ends of blocks, and types that are not known yet
                error = in_band_error(event)
                if kind == "error" or error is not None:
                    raise errors.from_event(error, self._endpoint, self._sent)
        return []

    def end(self) -> list[ProviderEvent]:
        if not self._stop_reason:
            if (error := nested_error(self._first)) is not None:
                raise errors.from_event(error, self._endpoint, self._sent)
            return []
        finished = Finished(
            finish_reason=self._stop_reason,
            served_model=self._served_model,
            service_tier=self._usage.stated("service_tier", usual=("standard",)),
            speed=self._usage.stated("speed", usual=("standard",)),
            region=self._usage.stated("inference_geo", usual=("global", "not_available")),
            refusal=self._refusal,
            other_content=self._other_content,
        )
        return [finished]

    def _read_start(self, message: Mapping[str, Any]) -> list[ProviderEvent]:
        self._served_model = clean_text(message.get("model") or "")
        return self._read_usage(json_object(message.get("usage")), final=False)

    def _read_block(self, block: Mapping[str, Any]) -> list[ProviderEvent]:
        if str(block.get("type")).endswith("tool_use"):
            self._other_content = "tool calls"
        if "thinking" in str(block.get("type")) or block.get("type") == "signature_delta":
            return [thinking(clean_text(reasoning_text(block)), is_summary=True)]
        text = self._sanitizer.clean(split_content(block)[0])
        return [TextDelta(text=text)] if text else []

    def _read_end(self, delta: Mapping[str, Any], counts: Mapping[str, Any]) -> list[ProviderEvent]:
        if reason := delta.get("stop_reason"):
            self._stop_reason = clean_text(reason)
            details = json_object(delta.get("stop_details"))
            stated = (details.get(key) for key in ("category", "explanation"))
            self._refusal = clean_text(": ".join(str(part) for part in stated if part))
        output_tokens = parse_count(counts.get("output_tokens"))
        self._has_final_usage = self._has_final_usage or bool(output_tokens)
        return self._read_usage(counts, final=output_tokens is not None)

    def _read_unstreamed(self, message: Mapping[str, Any]) -> list[ProviderEvent]:
        content = message.get("content")
        blocks = [{"text": content}] if isinstance(content, str) else json_objects(content)
        events = [event for block in blocks for event in self._read_block(block)]
        self._served_model = clean_text(message.get("model") or "")
        return events + self._read_end(message, json_object(message.get("usage")))

    def _read_usage(self, counts: Mapping[str, Any], *, final: bool) -> list[ProviderEvent]:
        self._usage.read(dict(counts))
        report = self._usage.report(final=final)
        return [] if report is None else [report]
