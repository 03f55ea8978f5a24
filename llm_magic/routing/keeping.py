"""Answers that are kept: in the cache, and in the conversation that they belong to."""

from __future__ import annotations

import functools

from llm_magic import cache as caching
from llm_magic import conversations
from llm_magic.budget import Budget
from llm_magic.cache.store import AnswerCache
from llm_magic.conversations.store import Conversations
from llm_magic.execute import Services, ledger_io
from llm_magic.types import Plan, RouteResult


def recalled(
    plan: Plan, key: str, cache: AnswerCache, services: Services, budget: Budget, run_id: str
) -> RouteResult | None:
    """Return the cached answer, recorded in the ledger; None without one."""
    now = services.clock.now()
    return caching.recall(plan, key, cache, services.ledger, budget, run_id=run_id, at=now)


async def keep(
    plan: Plan, result: RouteResult, key: str, cache: AnswerCache, stored: Conversations, services: Services
) -> RouteResult:
    """Keep an answer in the cache, if there is a key, and in the conversation. A note says what could not be stored."""
    if key:
        result = await ledger_io.saved(result, "cache", functools.partial(caching.keep, result, key, cache), services)
    return await keep_in_conversation(plan, result, stored, services)


async def keep_in_conversation(
    plan: Plan, result: RouteResult, stored: Conversations, services: Services
) -> RouteResult:
    if plan.request.thread is None:
        return result
    save = functools.partial(conversations.keep, stored, plan.request, result, services.clock.now())
    return await ledger_io.saved(result, "thread", save, services)
