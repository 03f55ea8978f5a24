"""The request parameters that an endpoint refuses: found in its errors, and left out for the rest of the process."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from llm_magic.providers.base import ProviderRequest
from llm_magic.providers.content import split_content
from llm_magic.providers.error_body import ErrorBody
from llm_magic.providers.error_words import ALTERNATIVES, any_of
from llm_magic.providers.payload import json_object, json_objects

FORMAT = "response_format"
"""Stands for every parameter that constrains the answer to a schema. Without it, the schema is part of the prompt."""
_STREAM = "stream"
_SYSTEM_ROLE = "system role"
"""Stands for a message of this role. Without it, its text begins the user's first message."""
_NESTED = ("cache_control", "prompt_cache_breakpoint", "detail")
"""Fields of the parts of messages."""
OPENAI_RENAMES: Mapping[str, str] = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}
_REQUIRED = frozenset({"model", "messages", "max_tokens", "stream", "system", "extra_body", "extra_headers"})
_CONTAINERS = ("output_config", "text")
"""Parameters that are groups of independent parameters."""
_FORMAT_PARAMETERS = ("response_format", "output_config.format", "output_format")
_REASONING_PARAMETERS = frozenset(
    {
        "enable_thinking",
        "output_config.effort",
        "reasoning",
        "reasoning_effort",
        "think",
        "thinking",
        "thinking_budget",
    }
)
_UNKNOWN = any_of(
    r"unsupported|not (?:currently )?supported|(?:doesn't|does not|do not|don't) support|not accepted",
    r"unknown|unrecogni[sz]ed|not recogni[sz]ed|unexpected|extra inputs|not permitted|not allowed|forbidden",
    r"not (?:available|enabled)|unavailable|cannot (?:both )?be|no longer|deprecated|removed|mandatory",
    r"is invalid|not valid|only (?:works|supports?)|only [\w.'\" -]{1,30}(?:is|are) (?:allowed|supported|permitted)",
    r"invalid (?:argument|parameter|field|key|property|[\w ]{0,20}value)|must be set to|cannot unmarshal",
    r"requires? (?:reasoning|thinking)|must be enabled",
    r"不支持|未知|无效|不允许|不合法",
)
_ABOUT_FORMAT = any_of(
    r"response[_ ]?(?:format|schema)|output_config\.format|output[_ ]format|json[_ ]?schema|json[_ ](?:object|mode)",
    r"structured[_ ]outputs?|\bschemas?\b|guided[_ ](?:json|decoding)|\b(?:xgrammar|llguidance|outlines|grammar)\b",
)
_ABOUT_ONE_SCHEMA = any_of(
    r"invalid[_ ](?:json[_ ])?schema|format\.schema|schema (?:is|must|does|contains|for)\b|in context=",
    r"additionalproperties|properties|keyword|\b(?:xgrammar|llguidance|outlines|grammar)\b|compil|too complex",
)
_ABOUT_REASONING = any_of(r"\b(?:reasoning|think|thinking|effort)\b")
_ABOUT_STREAMS = any_of(r"\bstream(?:ing|ed)?\b(?! ?options)", r"'stream'")
_ABOUT_SYSTEM_ROLE = any_of(r"system[_ ](?:role|message|prompt)", r"role\W{1,4}system\b|'system'|\"system\"|`system`")
_ABOUT_ONE_MODEL = any_of(r"\bmodels?\b")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SentRequest:
    """A request as it was sent. renames: parameters that have another name instead of being optional."""

    url: str
    model: str
    schema: str
    output_limit: int
    parameters: tuple[str, ...]
    renames: Mapping[str, str]


_refused: dict[tuple[str, str, str], frozenset[str]] = {}
"""Parameters by URL, model, and schema; empty text stands for all."""


def sent_request(
    url: str, request: ProviderRequest, body: Mapping[str, Any], renames: Mapping[str, str]
) -> SentRequest:
    parts = (body, json_object(body.get("extra_body")))
    parameters = [name for part in parts for name in _names(part) if _may_go(name, renames)]
    parameters += [
        name for name in _NESTED if _has_field(body.get("messages"), name) or _has_field(body.get("system"), name)
    ]
    parameters += [_SYSTEM_ROLE] if _system_text(body) else []
    return SentRequest(
        url=url,
        model=request.model.api_model,
        schema="" if request.schema is None else request.schema.text,
        output_limit=request.max_output_tokens,
        parameters=tuple(sorted(parameters, key=len, reverse=True)),
        renames=renames,
    )


def without_refused_format(url: str, request: ProviderRequest) -> ProviderRequest:
    if request.schema is None or FORMAT not in _all_refused(url, request):
        return request
    return dataclasses.replace(request, model=dataclasses.replace(request.model, json_mode="none"))


def without_refused(
    url: str, request: ProviderRequest, body: Mapping[str, Any], renames: Mapping[str, str]
) -> dict[str, Any]:
    refused = _all_refused(url, request)
    refused |= {"stream_options"} if _STREAM in refused else set()
    adapted = dict(body)
    for name in refused:
        if other := renames.get(name):
            if name in adapted and other not in refused:
                adapted[other] = adapted.pop(name)
            continue
        adapted = _without(adapted, name)
        if "extra_body" in adapted:
            adapted["extra_body"] = _without(json_object(adapted["extra_body"]), name)
    return adapted


def refused_parameter(body: ErrorBody, sent: SentRequest) -> str:
    """Return the parameter that an error of the endpoint is about, if the request can be sent without it."""
    body = dataclasses.replace(body, text=ALTERNATIVES.sub("", body.text))
    unknown = bool(_UNKNOWN.search(body.text))
    for name in sent.parameters:
        if name in sent.renames and not unknown:
            continue
        if _is_about(name, body, unknown=unknown):
            is_format = name in _FORMAT_PARAMETERS or f"{name}.format" in sent.parameters
            return FORMAT if is_format else name
    if any(name in _FORMAT_PARAMETERS for name in sent.parameters) and _ABOUT_FORMAT.search(body.text):
        return FORMAT
    if unknown and _ABOUT_REASONING.search(body.text):
        return next((name for name in sent.parameters if name in _REASONING_PARAMETERS), "")
    return ""


def remember(sent: SentRequest, parameter: str, body: ErrorBody) -> None:
    """Leave the parameter out of later requests: of this schema, of this model, or of all, as the error is worded."""
    model = schema = ""
    if parameter == FORMAT and _ABOUT_ONE_SCHEMA.search(body.text):
        model, schema = sent.model, sent.schema
    elif _ABOUT_ONE_MODEL.search(body.text) or parameter == FORMAT or sent.model.lower() in body.text:
        model = sent.model
    place = (sent.url, model, schema)
    _refused[place] = _refused.get(place, frozenset()) | {parameter}


def _all_refused(url: str, request: ProviderRequest) -> set[str]:
    model, schema = request.model.api_model, "" if request.schema is None else request.schema.text
    places = {(url, "", ""), (url, model, ""), (url, model, schema)}
    return {name for place in places for name in _refused.get(place, ())}


def _names(body: Mapping[str, Any]) -> Iterator[str]:
    for name, value in body.items():
        yield name
        if name in _CONTAINERS:
            yield from (f"{name}.{part}" for part in json_object(value))


def _may_go(name: str, renames: Mapping[str, str]) -> bool:
    return name in renames or (name == _STREAM and bool(renames)) or name.partition(".")[0] not in _REQUIRED


def _is_about(name: str, body: ErrorBody, *, unknown: bool) -> bool:
    if body.parameter and (body.parameter == name or body.parameter.startswith(f"{name}.")):
        return True
    if name == _STREAM:
        return (unknown or "verified" in body.text) and bool(_ABOUT_STREAMS.search(body.text))
    if name == _SYSTEM_ROLE:
        return unknown and bool(_ABOUT_SYSTEM_ROLE.search(body.text))
    escaped = re.escape(name.lower())
    if re.search(rf"['\"`]{escaped}['\"`.]", body.text):
        return True
    if "_" in name:
        return bool(re.search(rf"(?<!\w){escaped.replace('_', '[_ ]?')}(?!\w)", body.text))
    near = rf"(?:{_UNKNOWN.pattern})[^.]{{0,40}}\b{escaped}\b|\b{escaped}\b[^.]{{0,40}}(?:{_UNKNOWN.pattern})"
    return unknown and bool(re.search(near, body.text))


def _has_field(value: object, name: str) -> bool:
    if isinstance(value, list):
        return any(_has_field(item, name) for item in cast("list[object]", value))
    table = json_object(value)
    return name in table or any(_has_field(item, name) for item in table.values())


def _without_field(value: object, name: str) -> object:
    if isinstance(value, list):
        return [_without_field(item, name) for item in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    table = json_object(cast("object", value))
    return {key: _without_field(item, name) for key, item in table.items() if key != name}


def _system_text(body: Mapping[str, Any]) -> str:
    first = (json_objects(body.get("messages")) or [{}])[0]
    return split_content(first.get("content"))[0] if first.get("role") == "system" else ""


def _without_system_role(body: Mapping[str, Any]) -> dict[str, Any]:
    if not (text := _system_text(body)):
        return dict(body)
    _, first, *rest = json_objects(body["messages"])
    content = first["content"]
    joined = f"{text}\n\n{content}" if isinstance(content, str) else [{"type": "text", "text": text}, *content]
    return {**body, "messages": [{**first, "content": joined}, *rest]}


def _without(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    if name == _SYSTEM_ROLE:
        return _without_system_role(body)
    if name in _NESTED:
        return cast("dict[str, Any]", _without_field(dict(body), name))
    parent, _, child = name.partition(".")
    if not child:
        return {key: value for key, value in body.items() if key != name}
    if not isinstance(body.get(parent), dict):
        return dict(body)
    rest = {key: value for key, value in json_object(body[parent]).items() if key != child}
    return {**body, parent: rest} if rest else {key: value for key, value in body.items() if key != parent}
