"""The models that an endpoint lists: asked without a fee, and read from the forms of several endpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol, cast, runtime_checkable
from urllib.parse import urlencode

from llm_magic.errors import ProviderError
from llm_magic.providers.http import Endpoint
from llm_magic.providers.payload import clean_text, json_object, json_objects
from llm_magic.providers.stated_costs import parse_amount
from llm_magic.providers.token_counts import parse_count
from llm_magic.types import Effort

_MAX_MODELS, _MAX_PAGES = 5_000, 50
_MAX_MESSAGE_CHARS = 200

# The first name with a value is taken. OpenRouter, Groq, Mistral, vLLM, llama.cpp, Together, Anthropic, LM Studio,
# Novita, DeepInfra, Gemini, and GitHub Models.
_CONTEXT = (
    "loaded_context_length",
    "context_length",
    "context_window",
    "max_context_length",
    "max_model_len",
    "meta.n_ctx",
    "context_size",
    "metadata.context_length",
)
_INPUT = ("max_input_tokens", "inputTokenLimit", "limits.max_input_tokens")
_OUTPUT = (
    "max_tokens",
    "max_completion_tokens",
    "top_provider.max_completion_tokens",
    "max_output_tokens",
    "metadata.max_tokens",
    "outputTokenLimit",
    "limits.max_output_tokens",
)
_RETIRES = ("retires_at", "deprecation", "expiration_date", "deprecation_date", "retirement_date", "shutdown_date")
_CREATED = ("created_at", "created")
_LISTS = ("data", "models", "result", "items")
_LIFECYCLES = {
    "active": "active",
    "deprecated": "deprecated",
    "retiring": "deprecated",
    "retired": "retired",
    "shutdown": "retired",
}
_MS_EPOCH = 1e11


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """A model as its endpoint lists it; None, or an empty text: not stated.

    lifecycle: `active`, `deprecated` or `retired`. efforts: the accepted levels. input_usd, output_usd: per million
    tokens.
    """

    id: str
    aliases: tuple[str, ...] = ()
    context_window: int | None = None
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    lifecycle: str = ""
    retires_at: datetime | None = None
    created_at: datetime | None = None
    efforts: frozenset[Effort] | None = None
    reads_images: bool | None = None
    input_usd: Decimal | None = None
    output_usd: Decimal | None = None


@runtime_checkable
class ListingProvider(Protocol):
    """A provider that can list its models without a fee, for `%route_models --check`. `list_models` is optional."""

    async def list_models(self) -> list[ListedModel]: ...


async def list_models(client: Any, endpoint: Endpoint, path: str) -> list[ListedModel]:
    """Ask an endpoint for its models, which is free. Raises ProviderError in words."""
    try:
        models: list[ListedModel] = []
        query = path
        for _ in range(_MAX_PAGES):
            body = await client.get(query, cast_to=object)
            body = json.loads(body) if isinstance(body, str) else body
            known = {model.id for model in models}
            added = [model for model in parse_models(body) if model.id not in known]
            models += added
            if not added or not (following := _next_page(body)) or len(models) >= _MAX_MODELS:
                break
            query = f"{path}{'&' if '?' in path else '?'}{following}"
        return models
    except Exception as error:  # noqa: BLE001 - a wrong proxy or certificate setting raises anything
        problem = _problem(error, endpoint)
    raise ProviderError(problem)


def parse_models(body: object) -> list[ListedModel]:
    """Read a list of models: `{"data": [...]}`, or, as Together sends it, the list alone. Raises ValueError."""
    entries = _entries(body)
    if entries is None:
        raise ValueError("the answer is not a list of models")
    named = [entry for entry in entries if isinstance(_name(entry), str)]
    return [_model_of(entry) for entry in named[:_MAX_MODELS]]


def _entries(body: object, depth: int = 0) -> list[dict[str, Any]] | None:
    """Return the entries of a list of objects or names, or of a mapping by name; None if there is neither."""
    if isinstance(body, list):
        names = [{"id": item} for item in cast("list[object]", body) if isinstance(item, str)]
        return names or json_objects(cast("object", body))
    table = json_object(body)
    for key in _LISTS:
        if isinstance(table.get(key), list | dict) and depth <= 1:
            return _entries(table[key], depth + 1)
    if depth and table and all(isinstance(value, dict) for value in table.values()):
        return [{"id": name} | json_object(value) for name, value in table.items()]
    return None


def _next_page(body: object) -> str:
    table = json_object(body)
    if isinstance(token := table.get("nextPageToken"), str) and token:
        return urlencode({"pageToken": token})
    entries = _entries(body)
    last = table.get("last_id") or (entries and _name(entries[-1]))
    if table.get("has_more") is not True or not isinstance(last, str):
        return ""
    return urlencode({"after_id" if "first_id" in table else "after": last})


def _name(entry: Mapping[str, Any]) -> object:
    return entry.get("id") or entry.get("name") or entry.get("model")


def _model_of(entry: Mapping[str, Any]) -> ListedModel:
    capabilities = json_object(entry.get("capabilities"))
    prices = json_object(entry.get("pricing"))
    return ListedModel(
        id=clean_text(_name(entry)).removeprefix("models/"),  # Gemini
        aliases=tuple(map(str, _list_of(entry.get("aliases")))),
        context_window=_count(entry, _CONTEXT),
        max_input_tokens=_count(entry, _INPUT),
        max_output_tokens=_count(entry, _OUTPUT),
        lifecycle=_lifecycle(entry),
        retires_at=_moment(entry, _RETIRES),
        created_at=_moment(entry, _CREATED),
        efforts=_efforts(json_object(capabilities.get("effort"))),
        reads_images=_reads_images(entry, capabilities),
        input_usd=_price(prices.get("prompt")),
        output_usd=_price(prices.get("completion")),
    )


def _values(entry: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[object]:
    for name in names:
        parent, _, field = name.rpartition(".")
        value = (json_object(entry.get(parent)) if parent else entry).get(field)
        if value is not None:
            yield value


def _count(entry: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    return next((count for value in _values(entry, names) if (count := parse_count(value))), None)


def _moment(entry: Mapping[str, Any], names: tuple[str, ...]) -> datetime | None:
    for value in _values(entry, names):
        try:
            if isinstance(value, str):
                moment = datetime.fromisoformat(value)
            elif isinstance(value, int | float) and not isinstance(value, bool):
                moment = datetime.fromtimestamp(value / 1_000 if value > _MS_EPOCH else value, tz=UTC)
            else:
                continue
        except (ValueError, OverflowError, OSError):
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None


def _lifecycle(entry: Mapping[str, Any]) -> str:
    stated = (str(entry.get(name) or "").lower() for name in ("lifecycle", "lifecycle_status", "status"))
    if lifecycle := next((known for word in stated if (known := _LIFECYCLES.get(word))), ""):
        return lifecycle
    if entry.get("deprecated") is True or entry.get("is_deprecated") is True:
        return "deprecated"
    return "retired" if entry.get("active") is False else ""  # Groq


def _efforts(levels: Mapping[str, Any]) -> frozenset[Effort] | None:
    stated = {effort: json_object(levels.get(effort)).get("supported") for effort in Effort if effort in levels}
    return frozenset(effort for effort, supported in stated.items() if supported is True) if stated else None


def _reads_images(entry: Mapping[str, Any], capabilities: Mapping[str, Any]) -> bool | None:
    stated = json_object(capabilities.get("image_input")).get("supported", capabilities.get("vision"))
    if isinstance(stated, bool):
        return stated
    kinds = json_object(entry.get("architecture")).get("input_modalities")  # OpenRouter
    return "image" in cast("list[object]", kinds) if isinstance(kinds, list) else None


def _list_of(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _price(value: object) -> Decimal | None:
    """Convert a price in USD per token, as text, to USD per million."""
    amount = parse_amount(value) if isinstance(value, str) else None
    return None if amount is None or amount < 0 else amount * 1_000_000


def _problem(error: Exception, endpoint: Endpoint) -> str:
    status = getattr(error, "status_code", None)
    if status in (401, 403):
        return f"{endpoint.display_url} refuses the key (HTTP {status})"
    if status in (404, 405):
        return f"{endpoint.display_url} has no list of models (HTTP {status})"
    if isinstance(error, ValueError):
        return f"{endpoint.display_url} answered with something that is not a list of models"
    raised = (raised for raised in (error, error.__cause__) if isinstance(raised, ProviderError))
    reason = str(next(raised, f"{type(error).__name__}: {error}"))
    message = endpoint.redact(clean_text(reason))
    return f"{endpoint.display_url} can't be asked: {message[:_MAX_MESSAGE_CHARS]}"
