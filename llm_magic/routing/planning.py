"""State that the plan of a request depends on: headroom, providers, circuits, the conversation."""

from __future__ import annotations

import functools
from collections.abc import Container, Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from llm_magic import conversations
from llm_magic.budget import Budget, Cap
from llm_magic.conversations.store import Conversations
from llm_magic.errors import BudgetError, BudgetExceeded, NoCandidate
from llm_magic.execute import Services
from llm_magic.ledger import Headroom
from llm_magic.plan import PlanContext
from llm_magic.plan.prefixes import LIFETIME
from llm_magic.plan.rejection import rejection
from llm_magic.providers.base import Provider
from llm_magic.registry import Registry
from llm_magic.types import Message, ModelSpec, Plan, Request, Thread


def plan_context(
    request: Request,
    budget: Budget,
    services: Services,
    *,
    at: datetime | None = None,
    counted: Mapping[str, int] | None = None,
) -> PlanContext:
    """Return the state for a plan at a moment, by default now."""
    headroom_under = functools.lru_cache(functools.partial(services.ledger.headroom, now=services.clock.now()))

    @functools.lru_cache
    def left_usd_under_caps_of(model_id: str) -> Decimal | None:
        under_caps = headroom_under(_caps(request, budget, model_id))
        return min((headroom.reachable_usd for headroom in under_caps), default=None)

    def left_usd(model: ModelSpec) -> Decimal | None:
        return left_usd_under_caps_of(model.id if model.id in budget.models_usd else "")

    @functools.lru_cache
    def provider_unavailable(name: str) -> str | None:
        return provider_problem(name, services.providers)

    return PlanContext(
        now=at or services.clock.now(),
        left_usd=left_usd,
        unavailable=lambda model: provider_unavailable(model.provider),
        circuit=services.circuit,
        lengths=services.lengths,
        prefixes=services.prefixes,
        counted=counted or {},
        seed=services.ledger.session_id,
    )


def conversation(
    stored: Conversations, name: str, limit_tokens: int, services: Services
) -> tuple[tuple[Message, ...], Thread]:

    def lifetime_s(model_id: str) -> float:
        registry = services.registry
        kind = registry[model_id].prompt_cache if model_id in registry else "none"
        return LIFETIME[kind].total_seconds()

    # If only small context windows can be used, half of the largest is left for the prompt and the answer.
    usable = (model for model in services.registry if unavailable(model, services.providers) is None)
    largest_window = max((model.context_window for model in usable), default=limit_tokens)
    limit_tokens = min(limit_tokens, largest_window // 2)
    return conversations.load(stored, name, limit_tokens, services.clock.now(), lifetime_s=lifetime_s)


def rejection_of(plan: Plan, budget: Budget, services: Services) -> NoCandidate | BudgetExceeded:
    def headroom(model_id: str) -> list[Headroom]:
        return services.ledger.headroom(_caps(plan.request, budget, model_id), now=services.clock.now())

    return rejection(plan, services.registry, plan_context(plan.request, budget, services), headroom)


def check_known(registry: Registry, models: Iterable[str], *, capped: Container[str]) -> None:
    for model in models:
        if model not in registry and model not in capped:
            raise BudgetError(registry.unknown_model_message(model))


def unavailable(model: ModelSpec, providers: Mapping[str, Provider]) -> str | None:
    return provider_problem(model.provider, providers)


def provider_problem(name: str, providers: Mapping[str, Provider]) -> str | None:
    provider = providers.get(name)
    return f"no provider {name!r}" if provider is None else provider.unavailable()


def _caps(request: Request, budget: Budget, model_id: str) -> tuple[Cap, ...]:
    return budget.caps(model=model_id, tags=request.tags, max_cost_usd=request.max_cost_usd)
