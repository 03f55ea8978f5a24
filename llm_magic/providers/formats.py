"""The form in which each endpoint is asked for JSON: a parameter, an instruction in the system prompt, or both."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from llm_magic.answers.portable import (
    WRAPPER_KEY,
    Json,
    NotPortable,
    all_parts,
    is_object,
    is_recursive,
    portable,
    wrapped,
)
from llm_magic.events import TextDelta
from llm_magic.providers.base import Finished, ProviderEvent, ProviderRequest
from llm_magic.providers.strict import strict_schema
from llm_magic.types import Schema

# The reservation allows for four times the length of the original schema.
_MAX_SIZE_FACTOR = 3
# https://platform.claude.com/docs/en/build-with-claude/structured-outputs
_CLAUDE_MAX_OPTIONAL, _CLAUDE_MAX_UNIONS = 24, 16
_OPENING = re.compile(rf'\s*\{{\s*"{WRAPPER_KEY}"\s*:\s*')
_OPENING_TEXT = f'{{"{WRAPPER_KEY}":'


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFormat:
    params: Json = field(default_factory=dict[str, Any])
    instruction: str = ""


def in_words(schema: Schema) -> AnswerFormat:
    return AnswerFormat(instruction=_instruction(schema.text))


def is_wrapped(request: ProviderRequest) -> bool:
    """True if `for_openai` asks for an object whose only property is the answer, since the answer is not an object."""
    schema = request.schema
    return schema is not None and request.model.json_mode != "none" and not is_object(schema.json_schema)


def for_openai(request: ProviderRequest) -> AnswerFormat:
    """Return the `response_format` of Chat Completions that the model's `json_mode` allows."""
    schema, mode = request.schema, request.model.json_mode
    if schema is None:
        return AnswerFormat()
    if mode == "none":
        return in_words(schema)
    json_schema = wrapped(schema.json_schema) if is_wrapped(request) else dict(schema.json_schema)
    if mode == "object":
        instruction = _instruction(json.dumps(json_schema, ensure_ascii=False))
        return AnswerFormat(params=_response_format("json_object"), instruction=instruction)
    try:
        sent, strict = _within_reservation(strict_schema(json_schema), schema), True
    except NotPortable:
        sent, strict = json_schema, False
    return AnswerFormat(
        params=_response_format("json_schema", json_schema={"name": "answer", "schema": sent, "strict": strict})
    )


def for_claude(request: ProviderRequest, sdk: Any) -> AnswerFormat:
    """Return the `output_config.format` for a schema that the SDK can express, and otherwise an instruction."""
    schema = request.schema
    if schema is None:
        return AnswerFormat()
    if request.model.json_mode == "none":
        return in_words(schema)
    transform = getattr(sdk, "transform_schema", None)
    try:
        json_schema = portable(schema.json_schema)
        if transform is None or is_recursive(json_schema) or _is_too_complex_for_claude(json_schema):
            return in_words(schema)
        sent = _within_reservation(transform(json_schema), schema)
    except (NotPortable, ValueError):
        return in_words(schema)
    return AnswerFormat(params={"format": {"type": "json_schema", "schema": sent}})


async def unwrapped(events: AsyncGenerator[ProviderEvent]) -> AsyncGenerator[ProviderEvent]:
    """Remove the object around a wrapped answer from the stream of its text. Other answers pass unchanged."""
    wrapper = _Wrapper()
    async for event in events:
        if isinstance(event, TextDelta):
            if text := wrapper.feed(event.text):
                yield TextDelta(text=text)
            continue
        if isinstance(event, Finished) and (text := wrapper.rest()):
            yield TextDelta(text=text)
        yield event


class _Wrapper:
    """Holds back the start of the text until it is known whether it opens the object, and an end that may close it."""

    def __init__(self) -> None:
        self._held = ""
        self._is_open: bool | None = None

    def feed(self, text: str) -> str:
        self._held += text
        if self._is_open is None:
            if _OPENING_TEXT.startswith("".join(self._held.split())):
                return ""
            opening = _OPENING.match(self._held)
            self._is_open, self._held = opening is not None, self._held[opening.end() if opening else 0 :]
        end = len(self._held)
        if self._is_open:
            end = len(self._held.rstrip().removesuffix("}").rstrip())
        shown, self._held = self._held[:end], self._held[end:]
        return shown

    def rest(self) -> str:
        return "" if self._is_open and self._held.strip() == "}" else self._held


def _instruction(json_schema: str) -> str:
    return f"Answer with JSON only, fitting this JSON Schema: {json_schema}"


def _response_format(kind: str, **fields: Any) -> Json:
    return {"response_format": {"type": kind, **fields}}


def _within_reservation(sent: Json, schema: Schema) -> Json:
    if len(json.dumps(sent)) > _MAX_SIZE_FACTOR * len(schema.text) + 256:
        raise NotPortable("a schema that grows too much")
    return sent


def _is_too_complex_for_claude(json_schema: Json) -> bool:
    parts = list(all_parts(json_schema))
    optional = sum(len(part.get("properties", {}).keys() - set(part.get("required", ()))) for part in parts)
    return optional > _CLAUDE_MAX_OPTIONAL or sum("anyOf" in part for part in parts) > _CLAUDE_MAX_UNIONS
