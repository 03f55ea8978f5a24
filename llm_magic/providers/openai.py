"""GPT, DeepSeek, and whatever else speaks OpenAI's Chat Completions, through the official `openai` SDK."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import lru_cache
from types import ModuleType
from typing import Any

from llm_magic import answers
from llm_magic.events import TextDelta
from llm_magic.providers import http
from llm_magic.providers.base import Finished, ProviderEvent, ProviderRequest, UsageReport, thinking
from llm_magic.providers.http import Endpoint
from llm_magic.types import Message, ProviderSpec, Usage

__all__ = ["Endpoint", "OpenAIProvider"]

_FINISH = {"content_filter": "refusal"}


@lru_cache(maxsize=1)
def _sdk() -> ModuleType:
    import openai

    return openai


class OpenAIProvider:
    """The Chat Completions API. Key and address are read from `environ` at each use, or asked of `endpoint`."""

    def __init__(
        self,
        spec: ProviderSpec,
        *,
        environ: Mapping[str, str] = os.environ,
        endpoint: Callable[[], Endpoint] | None = None,
    ) -> None:
        self.spec = spec
        self._environ = environ
        self._endpoint = endpoint or (lambda: http.endpoint(spec, environ))

    def unavailable(self) -> str | None:
        return http.missing_key(self.spec, self._environ)

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        where = self._endpoint()
        client = http.client(_client, where)
        async with (
            http.translated(_sdk(), where),
            client.chat.completions.with_streaming_response.create(**_body(request)) as response,
            aclosing(http.events(response)) as events,
        ):
            async for event in _read(events, where):
                yield event


def _client(where: Endpoint) -> Any:
    sdk = _sdk()
    timeout = sdk.Timeout(None, connect=http.CONNECT_TIMEOUT_S)
    return sdk.AsyncOpenAI(api_key=where.api_key, base_url=where.base_url, max_retries=0, timeout=timeout)


def _body(request: ProviderRequest) -> dict[str, Any]:
    system = request.system or ""
    body: dict[str, Any] = {}
    if request.schema is not None:
        if request.model.json_mode == "schema":
            strict = answers.is_strict(schema := answers.closed(request.schema))
            wanted = {"name": "answer", "schema": schema if strict else dict(request.schema), "strict": strict}
            body["response_format"] = {"type": "json_schema", "json_schema": wanted}
        else:
            asked = f"Answer with JSON only, fitting this JSON Schema: {json.dumps(request.schema, ensure_ascii=False)}"
            system = f"{system}\n\n{asked}".strip()
            if request.model.json_mode == "object":
                body["response_format"] = {"type": "json_object"}
    messages = [{"role": message.role, "content": _content(message)} for message in request.messages]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    if request.model.provider == "openai":
        # Unasked, it would follow a setting of the project's, and may cost twice what is held.
        body["service_tier"] = "default"
    return body | {
        "model": request.model.api_model,
        "messages": messages,
        request.model.max_tokens_param: request.max_output_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        # The SDK knows the parameters of OpenAI's own models only, and passes these on as they are.
        "extra_body": {name: value for name, value in request.model.params.items() if name != "extra_headers"},
        "extra_headers": request.model.params.get("extra_headers"),
    }


def _content(message: Message) -> str | list[dict[str, Any]]:
    if not message.images:
        return message.content
    # `high` has a bound, 2,500 patches of 32 by 32 pixels; what is left to the model may cost ten times as much.
    images = [{"url": f"data:{image.media_type};base64,{image.base64}", "detail": "high"} for image in message.images]
    seen = [{"type": "image_url", "image_url": image} for image in images]
    return [*seen, {"type": "text", "text": message.content}]


async def _read(events: AsyncGenerator[dict[str, Any]], where: Endpoint) -> AsyncGenerator[ProviderEvent]:
    """Our events from theirs. Usage may come in any chunk, with or without choices: the last one counts."""
    finished: Finished | None = None
    report: UsageReport | None = None
    service_tier: str | None = None
    async for chunk in events:
        if error := chunk.get("error"):
            raise http.of_event(http.table(error) or {"message": error}, where)
        if counts := http.table(chunk.get("usage")):
            usage = _usage(counts)
            report = None if usage is None else UsageReport(usage=usage, final=False)
            if report is not None:
                yield report
        for choice in http.tables(chunk.get("choices")):
            delta = http.table(choice.get("delta") or choice.get("message"))
            if text := delta.get("content") or delta.get("refusal"):
                yield TextDelta(text=http.text_of(text))
            elif thought := delta.get("reasoning_content"):
                yield thinking(http.text_of(thought))
            if reason := "refusal" if delta.get("refusal") else choice.get("finish_reason"):
                finished = Finished(
                    finish_reason=_FINISH.get(str(reason), http.text_of(reason)),
                    served_model=http.text_of(chunk.get("model") or ""),
                )
        if (tier := chunk.get("service_tier")) not in (None, "default", "auto"):
            service_tier = http.text_of(tier)
    if finished is not None:
        if report is not None:
            yield UsageReport(usage=report.usage, final=True)
        yield dataclasses.replace(finished, service_tier=service_tier)


def _usage(counts: Mapping[str, Any]) -> Usage | None:
    """`prompt_tokens` includes the cached ones, as ours does. DeepSeek also has its own name for them."""
    prompt, completion = (http.table(counts.get(f"{part}_tokens_details")) for part in ("prompt", "completion"))
    return http.usage(
        counts.get("prompt_tokens"),
        prompt.get("cached_tokens") or counts.get("prompt_cache_hit_tokens"),
        prompt.get("cache_write_tokens"),
        counts.get("completion_tokens"),
        completion.get("reasoning_tokens"),
    )
