"""Comparison of the registry with what each provider lists now: what is available, what retires, what differs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from llm_magic.bridge import bridge
from llm_magic.errors import ProviderError
from llm_magic.providers.base import PreparedProvider, Provider
from llm_magic.providers.listing import ListedModel, ListingProvider
from llm_magic.registry import Registry
from llm_magic.types import ModelSpec

MAX_WAIT_S = 10.0
_MAX_NEW_MODELS = 20
_DATE = re.compile(r"-(20\d{6}|20\d\d-\d\d-\d\d)$")


class ModelStatus(StrEnum):
    AVAILABLE = "available"
    RETIRING = "retiring"
    GONE = "gone"
    NOT_ASKED = "not asked"
    UNKNOWN = "unknown"
    NEW = "new"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCheck:
    """One model. detail: the date of its retirement, or why its provider was not asked. differences: in words."""

    model: str
    provider: str
    status: ModelStatus
    detail: str = ""
    differences: tuple[str, ...] = ()


def check_models(registry: Registry, providers: Mapping[str, Provider]) -> list[ModelCheck]:
    """Ask the providers for their models, in parallel and without a fee, and compare them with the registry."""
    (checks,) = bridge.iterate(_check(registry, providers))
    return checks


async def _check(registry: Registry, providers: Mapping[str, Provider]) -> AsyncGenerator[list[ModelCheck]]:
    names = list(dict.fromkeys(model.provider for model in registry))
    listings = await asyncio.gather(*(_listed(providers.get(name)) for name in names))
    checks: list[ModelCheck] = []
    for name, listed in zip(names, listings, strict=True):
        models = [model for model in registry if model.provider == name]
        checks += _compared(models, listed)
        checks += _new_models(models, listed) if isinstance(listed, list) else []
    yield checks


async def _listed(provider: Provider | None) -> list[ListedModel] | tuple[ModelStatus, str]:
    if provider is None:
        return ModelStatus.NOT_ASKED, "no such provider"
    if reason := provider.unavailable():
        return ModelStatus.NOT_ASKED, reason
    if not isinstance(provider, ListingProvider):
        return ModelStatus.NOT_ASKED, "it has no list of models"
    with suppress(TimeoutError):
        try:
            if isinstance(provider, PreparedProvider):
                await provider.prepare()  # the first import of an SDK is not the endpoint's time
            async with asyncio.timeout(MAX_WAIT_S):
                return await provider.list_models()
        except ProviderError as error:
            return ModelStatus.UNKNOWN, str(error)
    return ModelStatus.UNKNOWN, f"no answer within {MAX_WAIT_S:g} s"


def _compared(models: Sequence[ModelSpec], listed: list[ListedModel] | tuple[ModelStatus, str]) -> Iterator[ModelCheck]:
    for model in models:
        if isinstance(listed, tuple):
            status, detail = listed
            yield ModelCheck(model=model.id, provider=model.provider, status=status, detail=detail)
            continue
        if not listed:
            yield ModelCheck(
                model=model.id,
                provider=model.provider,
                status=ModelStatus.UNKNOWN,
                detail="the provider's list is empty",
            )
            continue
        found = _find(model, listed)
        if found is None:
            detail = f"{model.api_model} is not in the provider's list"
            yield ModelCheck(model=model.id, provider=model.provider, status=ModelStatus.GONE, detail=detail)
            continue
        status, detail = _status(found)
        yield ModelCheck(
            model=model.id,
            provider=model.provider,
            status=status,
            detail=detail,
            differences=tuple(_differences(model, found)),
        )


def _find(model: ModelSpec, listed: Sequence[ListedModel]) -> ListedModel | None:
    by_name = {name: entry for entry in reversed(listed) for name in (*entry.aliases, entry.id)}
    undated = {_DATE.sub("", entry.id): entry for entry in reversed(listed)}
    name = model.api_model  # with a variant, as in `:nitro`, or a tag
    names = (name, f"{name}:latest", _DATE.sub("", name), name.partition(":")[0])
    return next((found for name in names if (found := by_name.get(name) or undated.get(name))), None)


def _status(found: ListedModel) -> tuple[ModelStatus, str]:
    if found.lifecycle == "retired":
        return ModelStatus.GONE, "retired"
    if found.retires_at is not None:
        return ModelStatus.RETIRING, f"retires on {found.retires_at:%Y-%m-%d}"
    if found.lifecycle == "deprecated":
        return ModelStatus.RETIRING, "deprecated, without a date"
    return ModelStatus.AVAILABLE, ""


def _differences(model: ModelSpec, found: ListedModel) -> Iterator[str]:
    listed_input = found.max_input_tokens or found.context_window
    for name, here, there in (
        ("context_window", model.context_window, found.context_window),
        ("max_input_tokens", model.input_limit, listed_input if found.max_input_tokens else None),
        ("max_output_tokens", model.max_output_tokens, found.max_output_tokens),
    ):
        if there is not None and here != there:
            yield f"{name}: {here:,} here, {there:,} there"
    if found.reads_images is not None and found.reads_images != bool(model.image_tokens):
        yield f"images: {'read' if found.reads_images else 'not read'} there"
    if found.efforts is not None and model.effort is not None:
        refused = [effort for effort in model.effort if effort not in found.efforts and effort != "none"]
        added = sorted(found.efforts - set(model.effort), key=lambda effort: effort.rank)
        yield from (f"effort {effort}: not accepted there" for effort in refused)
        yield from (f"effort {effort}: accepted there" for effort in added)
    if model.price is not None:
        for name, here, there in (
            ("input", model.price.input, found.input_usd),
            ("output", model.price.output, found.output_usd),
        ):
            if there is not None and here != there:
                yield f"price.{name}: {here.normalize():f} here, {there.normalize():f} there"


def _new_models(models: Sequence[ModelSpec], listed: Sequence[ListedModel]) -> Iterator[ModelCheck]:
    """Yield what was added since the newest model of the registry; without dates, every other model of a short list."""
    matched = {found.id: found for model in models if (found := _find(model, listed)) is not None}
    known = {_DATE.sub("", name) for name in (*matched, *(model.api_model for model in models))}
    others = [entry for entry in listed if _DATE.sub("", entry.id) not in known and entry.lifecycle != "retired"]
    newest = max((found.created_at for found in matched.values() if found.created_at), default=None)
    if newest is not None:
        others = [entry for entry in others if entry.created_at is not None and entry.created_at > newest]
    others.sort(key=lambda entry: (-_seconds(entry.created_at), entry.id))
    shown = others[:_MAX_NEW_MODELS] if newest is not None or len(others) <= _MAX_NEW_MODELS else []
    for entry in shown:
        since = f"since {entry.created_at:%Y-%m-%d}" if entry.created_at else ""
        yield ModelCheck(model=entry.id, provider=models[0].provider, status=ModelStatus.NEW, detail=since)


def _seconds(moment: datetime | None) -> float:
    return 0.0 if moment is None else moment.timestamp()
