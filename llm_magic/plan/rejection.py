from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from llm_magic.budget import show_usd
from llm_magic.errors import BudgetExceeded, NoCandidate, any_of
from llm_magic.ledger import Headroom
from llm_magic.plan.quotes import MIN_OUTPUT_TOKENS
from llm_magic.plan.rating import CandidateBuilder, PlanContext
from llm_magic.registry import Registry
from llm_magic.types import Candidate, Plan, Skipped


def rejection(
    plan: Plan, registry: Registry, context: PlanContext, headroom: Callable[[str], Sequence[Headroom]]
) -> NoCandidate | BudgetExceeded:
    """Return the error of a plan without candidates. headroom: returns that of each cap for a model id."""
    asks = [(skipped.asked_usd, skipped.model.id) for skipped in plan.skipped if skipped.asked_usd is not None]
    if asks:
        lowest, model = min(asks)
        tightest = min(headroom(model), key=lambda headroom: headroom.reachable_usd)
        left = tightest.reachable_usd
        return BudgetExceeded(
            f"over budget: {tightest.cap} has {show_usd(left)} left{tightest.when_free}, and the cheapest "
            f"candidate, {model}, could cost up to {show_usd(lowest)}. {_advice(plan, registry, context)}"
            f"{_sentence(['raise the cap with %route_budget or --max-cost', *_local_step(plan, registry, context)])}",
            scope=tightest.cap.scope,
            asked_usd=lowest,
            left_usd=left,
            reachable_usd=left,
        )
    reasons = "; ".join(f"{skipped.model.id}: {skipped.reason}" for skipped in plan.skipped)
    return NoCandidate(f"no model can be used: {reasons}. {_way_out(plan, registry, context)}")


def _way_out(plan: Plan, registry: Registry, context: PlanContext) -> str:
    variables = key_variables(plan.skipped, registry)
    steps = [f"set {any_of(variables)}"] if variables else []
    if plan.request.model is not None and not plan.request.model_reason:
        steps.append("leave out --model, so that another model may answer")
    steps += _local_step(plan, registry, context)
    return _sentence(steps) if steps else "Shorten the prompt, or add a model to models.toml"


def key_variables(entries: Iterable[Skipped], registry: Registry) -> list[str]:
    """Return the variables of the keys that are missing, in the registry's order of providers."""
    missing = {entry.model.provider for entry in entries if not entry.is_configured}
    names = [spec.api_key_env for name, spec in registry.providers.items() if name in missing]
    return list(dict.fromkeys(name for name in names if name))


def _local_step(plan: Plan, registry: Registry, context: PlanContext) -> list[str]:
    embedded = [model for model in registry if registry.is_local(model)]
    asked = [entry.model for entry in plan.ranked]
    if embedded and embedded[0] not in asked and context.unavailable(embedded[0]) is None:
        return [f"add --last-resort {embedded[0].id} for an answer by the small model on this machine"]
    return []


def _sentence(steps: list[str]) -> str:
    text = ", or ".join(steps)
    return f"{text[0].upper()}{text[1:]}"


def _advice(plan: Plan, registry: Registry, context: PlanContext) -> str:
    """Suggest the cheapest model that can't be used yet but would fit under the cap, or a lower output limit."""
    builder = CandidateBuilder(plan.request, plan.classification, context, registry)
    for candidate in _fitting(builder, registry):
        if why := context.unavailable(candidate.model) or context.circuit(candidate.model.id).blocked_reason:
            return f"{candidate.model.id} would fit, at up to {show_usd(candidate.worst_usd)}, but: {why}. "
    for candidate in _fitting(builder.limited_to(1), registry):
        left = context.left_usd(candidate.model)
        if left is not None and not context.unavailable(candidate.model):
            limit = candidate.quote.affordable_tokens(left, MIN_OUTPUT_TOKENS, context.now)
            return f"{candidate.model.id} would fit with --max-tokens {limit}. "
    return ""


def _fitting(builder: CandidateBuilder, registry: Registry) -> list[Candidate]:
    priced = [builder.price(model) for model in registry if not registry.is_local(model)]
    return sorted((entry for entry in priced if isinstance(entry, Candidate)), key=lambda entry: entry.worst_usd)
