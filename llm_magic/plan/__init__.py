"""From a request to an ordered list of candidates. Pure: sends nothing, spends nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from datetime import datetime

from llm_magic.classify import expected_quality
from llm_magic.errors import RequestError
from llm_magic.plan.costs import PlanContext, candidate_of, cost_order, expected_usd, input_bound, messages_of
from llm_magic.plan.extras import extras_of
from llm_magic.registry import Registry
from llm_magic.types import (
    Candidate,
    Classification,
    Message,
    ModelSpec,
    Plan,
    Request,
    Skipped,
    TaskTier,
)


def make_plan(request: Request, classification: Classification, registry: Registry, standing: PlanContext) -> Plan:
    """The candidates for a request: the cheapest that is good enough first, then the chain of fallbacks.

    Good enough: its expected quality is at least `request.quality` of the best model's. Of these, the one with the
    lowest expected cost (price times tokens of its own tokenizer, for this prompt at this hour) leads; its fallbacks
    follow, then the models that are a first choice for the tier with theirs, and at last the free models of this
    machine. Where the tier is asked for, the cheapest of its own models leads; where a model is, that one. Where a cap
    rules one of them out, cheaper models of other tiers step in before the free ones, the dearest that fits first.
    """
    messages = messages_of(request)
    bound = input_bound(request, messages)
    tier = classification.tier

    def rate(model: ModelSpec, *, cooling: bool = False) -> Candidate | Skipped:
        if reason := standing.unavailable(model):
            return Skipped(model=model, reason=reason)
        blocked = standing.circuit(model.id).blocked
        if blocked and not cooling:
            return Skipped(model=model, reason=blocked)
        rated = candidate_of(model, request, messages, bound, classification, standing)
        return dataclasses.replace(rated, cooling=True) if blocked and isinstance(rated, Candidate) else rated

    chain, free = _order(request, classification, registry, messages, standing.now)
    ranked = [rate(model) for model in chain]
    if any(isinstance(entry, Skipped) and entry.asked_usd is not None for entry in ranked):
        others = [model for model in registry if model not in chain and model not in free]
        rated = [entry for model in others if isinstance(entry := rate(model), Candidate)]
        rated.sort(key=lambda entry: entry.expected_usd, reverse=True)
        ranked += rated
    ranked += [rate(model) for model in free]
    if not any(isinstance(entry, Candidate) for entry in ranked):
        # Better to ask a model that has just failed than to give up.
        ranked = [rate(model, cooling=True) for model in (*chain, *free)]
    leader = next((entry for entry in ranked if isinstance(entry, Candidate)), None)
    return Plan(
        request=request,
        classification=classification,
        ranked=tuple(_explained(ranked, request, tier)),
        baseline_model=registry.baseline,
        baseline_usd=expected_usd(registry.baseline, messages, request, classification, standing.now),
        left_usd=standing.left_usd(registry.baseline),
        extras=extras_of(request, classification, leader, standing.now),
    )


def _order(
    request: Request,
    classification: Classification,
    registry: Registry,
    messages: tuple[Message, ...],
    now: datetime,
) -> tuple[tuple[ModelSpec, ...], tuple[ModelSpec, ...]]:
    """Every model that may serve the request, each once, in the order of preference, and the free ones behind."""

    def cheapest_first(models: Iterable[ModelSpec]) -> list[ModelSpec]:
        return sorted(models, key=lambda model: cost_order(model, messages, request, classification, now))

    if request.model is not None:
        if request.model not in registry:
            raise RequestError(registry.unknown_model(request.model))
        heads = [registry[request.model]]
    else:
        heads = cheapest_first(_capable(request, classification.tier, registry)) or [registry.baseline]
        if request.tier is None:
            heads = [cheapest_first(good_enough(request.quality, classification, registry))[0], *heads]
    chains = [model for head in heads for model in registry.chain(head.id)]
    free = tuple(model for model in registry if registry.is_local(model) and model.id != request.model)
    return tuple({model.id: model for model in chains if model not in free}.values()), free


def _capable(request: Request, tier: TaskTier, registry: Registry) -> tuple[ModelSpec, ...]:
    """The models that are a first choice for the tier, and the one whose prompt cache is warm, if of a harder tier."""
    serving, warm = registry.serving(tier), request.thread and request.thread.warm_model
    if warm is None or warm not in registry or registry[warm] in serving:
        return serving
    hardness = list(TaskTier).index
    is_harder = any(hardness(each) <= hardness(tier) for each in registry[warm].tiers)
    return (*serving, registry[warm]) if is_harder else serving


def good_enough(quality: float, classification: Classification, registry: Registry) -> Iterator[ModelSpec]:
    """The models whose expected quality is at least this share of the best one's: of those that may lead."""
    leading = [model for model in registry if model.tiers] or [registry.baseline]
    expected = {model.id: expected_quality(classification, model.capability) for model in leading}
    least = quality * max(expected.values())
    return (model for model in leading if expected[model.id] >= least - 1e-9)


def _explained(ranked: list[Candidate | Skipped], request: Request, tier: TaskTier) -> Iterator[Candidate | Skipped]:
    """The candidates, each with the reason for its place."""
    first = True
    asked = request.model
    unaffordable: list[str] = []
    for entry in ranked:
        if isinstance(entry, Skipped):
            unaffordable += [entry.model.id] if entry.asked_usd is not None else []
            yield entry
            continue
        if asked == entry.model.id:
            why = "asked for by name"
        elif not first:
            why = "fallback"
        elif unaffordable:
            why = f"stepped down to: {unaffordable[0]} does not fit under the cap"
        elif request.thread is not None and request.thread.warm_model == entry.model.id:
            why = f"its prompt cache is warm: to go on with it is cheaper than to change to another model for {tier}"
        elif request.tier is None and not asked:
            why = f"the cheapest first choice with at least {100 * request.quality:g}% of the best expected quality"
        elif tier in entry.model.tiers and not asked:
            why = f"the cheapest usable model for {tier}"
        else:
            why = "the first usable model of the chain"
        yield dataclasses.replace(entry, why=why, stepped_down=first and bool(unaffordable))
        first = False
