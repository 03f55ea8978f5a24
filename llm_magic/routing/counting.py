"""Token counts by the providers themselves, requested only for prompts whose plan they may change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from llm_magic import tokens
from llm_magic.execute import Services
from llm_magic.plan.quotes import messages_of
from llm_magic.providers.base import CountingProvider, ProviderRequest
from llm_magic.types import Candidate, ModelSpec, Plan, Request, Skipped

_MIN_TOKENS = 50_000
"""Estimates of shorter prompts without images are near enough."""
_TIMEOUT_S = 5.0


async def with_counts(
    plan: Plan,
    plan_at: Callable[[Request, datetime, Mapping[str, int]], Plan],
    with_ledger: Callable[[Callable[[], Plan]], Awaitable[Plan]],
    services: Services,
) -> Plan:
    """Return the plan by the counts of the providers, or the plan itself if no count is needed or available.

    plan_at: makes a plan at a moment, by the counts of some models. with_ledger: calls what reads the ledger.
    """

    async def replan(counted: Mapping[str, int]) -> Plan:
        return await with_ledger(lambda: plan_at(plan.request, services.clock.now(), counted))

    models = [
        model for model in _undecided(plan) if isinstance(services.providers.get(model.provider), CountingProvider)
    ]
    refused = {entry.model.id for entry in plan.ranked if isinstance(entry, Skipped)}
    hoped = {model.id: _estimate(plan, model) for model in models if model.id in refused}
    if hoped:
        fitting = {candidate.model.id for candidate in (await replan(hoped)).candidates}
        models = [model for model in models if model.id not in refused or model.id in fitting]
    counts = await asyncio.gather(*(_count(plan, model, services) for model in models))
    counted = {model.id: count for model, count in zip(models, counts, strict=True) if count is not None}
    return await replan(counted) if counted else plan


def _undecided(plan: Plan) -> list[ModelSpec]:
    """Return the leader if its prompt is long or has images, and the models before it that a cap refused."""
    models: list[ModelSpec] = []
    for entry in plan.ranked:
        if isinstance(entry, Candidate):
            has_images = any(message.images for message in messages_of(plan.request))
            return [*models, entry.model] if has_images or entry.input_tokens > _MIN_TOKENS else models
        models += [entry.model] if entry.asked_usd is not None else []
    return models


def _estimate(plan: Plan, model: ModelSpec) -> int:
    request = plan.request
    schema = "" if request.schema is None else request.schema.text
    return tokens.estimate_input(messages_of(request), request.system, model, schema)


async def _count(plan: Plan, model: ModelSpec, services: Services) -> int | None:
    request, provider = plan.request, services.providers[model.provider]
    assert isinstance(provider, CountingProvider)
    asked = ProviderRequest(
        model=model,
        messages=messages_of(request),
        system=request.system,
        schema=request.schema,
        max_output_tokens=model.max_output_tokens,
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            return await provider.count_tokens(asked)
    except Exception:  # noqa: BLE001 - without a count, the estimate and its bound stay
        return None
