"""Why nobody can be asked, in words and numbers, and what would fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from llm_magic import prices
from llm_magic.budget import show_usd
from llm_magic.errors import BudgetExceeded, NoCandidate
from llm_magic.ledger import Headroom
from llm_magic.plan.costs import MIN_OUTPUT_TOKENS, PlanContext, candidate_of, input_bound, messages_of
from llm_magic.registry import Registry
from llm_magic.types import (
    Candidate,
    Plan,
    Request,
)


def _what_fits(plan: Plan, registry: Registry, standing: PlanContext) -> str:
    """The cheapest that would fit under the cap as it is, in words: fewer tokens, or a model that can't be used yet."""
    request = plan.request
    messages = messages_of(request)
    bound = input_bound(request, messages)

    def fitting(request: Request) -> list[Candidate]:
        rated = [candidate_of(model, request, messages, bound, plan.classification, standing) for model in registry]
        return sorted((each for each in rated if isinstance(each, Candidate)), key=lambda each: each.worst_usd)

    for found in fitting(request):
        if why := standing.unavailable(found.model) or standing.circuit(found.model.id).blocked:
            return f"{found.model.id} would fit, at up to {show_usd(found.worst_usd)}, but: {why}. "
    for found in fitting(dataclasses.replace(request, max_output_tokens=1)):
        left = standing.left_usd(found.model)
        if left is not None and not standing.unavailable(found.model):
            most = prices.affordable_output(
                found.model,
                input_tokens=found.input_tokens_bound,
                left_usd=left,
                wanted=MIN_OUTPUT_TOKENS,
                at=standing.now,
            )
            return f"{found.model.id} would fit with --max-tokens {most}. "
    return ""


def refusal(
    plan: Plan, registry: Registry, standing: PlanContext, headroom: Callable[[str], Sequence[Headroom]]
) -> NoCandidate | BudgetExceeded:
    """The error of a plan without candidates. `headroom`: what each cap leaves for a model, by its id."""
    asks = [(skipped.asked_usd, skipped.model.id) for skipped in plan.skipped if skipped.asked_usd is not None]
    if asks:
        least, model = min(asks)
        room = min(headroom(model), key=lambda room: room.reachable_usd)
        left = room.reachable_usd
        return BudgetExceeded(
            f"over budget: {room.cap} has {show_usd(left)} left, and the cheapest of the chain, {model}, could "
            f"cost up to {show_usd(least)}. {_what_fits(plan, registry, standing)}"
            "Raise the cap with %route_budget or --max-cost",
            scope=room.cap.scope,
            asked_usd=least,
            left_usd=left,
            reachable_usd=left,
        )
    reasons = "; ".join(f"{skipped.model.id}: {skipped.reason}" for skipped in plan.skipped)
    return NoCandidate(f"no model can be used: {reasons}. Set a key, or install the local model: llm-magic[local]")
