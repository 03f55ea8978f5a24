"""The order in which models are asked: the one part of a plan that is a matter of policy."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from llm_magic.budget import show_usd
from llm_magic.classify import expected_quality
from llm_magic.plan.exploration import explored, is_exploring
from llm_magic.plan.levels import TOLERANCE, leading, minimum_quality, net_worth, requirement
from llm_magic.registry import Registry
from llm_magic.types import Candidate, Classification, Effort, ModelSpec, Request, Skipped, TaskTier

PlanEntry = Candidate | Skipped


class Planner(Protocol):
    """Anything that orders candidates.

    Whatever the order, the core enforces caps, makes the holds, and skips models that can't be used.
    """

    def order(
        self, request: Request, classification: Classification, registry: Registry, rated: Sequence[PlanEntry]
    ) -> Sequence[PlanEntry]:
        """Return entries of `rated` in the order in which they are to be asked. The first candidate leads.

        rated: one entry for each model of the registry: a Candidate at its cost under the caps, or Skipped with the
        reason why it can't be used now.

        Entries may be left out, and may be changed in `why` and `stepped_down` only. Skipped entries in the result are
        displayed in their places. `request.model` and `request.tier` are what the user named, if anything. If the
        result has no Candidate, `order` is called again with the models whose circuit is open as candidates.
        """
        ...


class CheapestCapable:
    """The cheapest model that is good enough leads; its chain of fallbacks follows.

    Good enough: its expected quality is at least `request.quality` of the best model's. Of these, the one with the
    lowest expected cost (price times tokens of its own tokenizer, for this prompt at this hour) leads. Its fallbacks
    are followed by the models that are a first choice for the tier, each with its fallbacks. If a cap excludes one of
    them, or none can be used, models of other tiers step in, the best first. If the request names a tier, the cheapest
    first choice of the tier leads; if it names a model, only that one and its fallbacks are asked. The request's last
    resort closes the chain. So does the embedded model if nothing else is configured or if it is good enough.

    seed: of exploration, by which a more expensive model that is good enough may lead.
    """

    def __init__(self, seed: str = "") -> None:
        self._seed = seed

    def order(
        self, request: Request, classification: Classification, registry: Registry, rated: Sequence[PlanEntry]
    ) -> Sequence[PlanEntry]:
        entries = {entry.model.id: entry for entry in rated}
        embedded = [model.id for model in registry if registry.is_local(model) and model.id != request.model]
        heads = _chain_starts(request, classification, registry, entries, self._seed)
        first = heads if _decides_by_worth(request) else _leaders(heads, entries)
        chains = [*(head.id for head in first), *(model.id for head in heads for model in registry.chain(head.id))]
        chain = [model_id for model_id in dict.fromkeys(chains) if model_id not in embedded]
        ranked = [entries[model_id] for model_id in chain]
        over_budget = any(isinstance(entry, Skipped) and entry.asked_usd is not None for entry in ranked)
        if request.model is None and (over_budget or not any(isinstance(entry, Candidate) for entry in ranked)):
            others = [
                entry
                for model_id, entry in entries.items()
                if model_id not in (*chain, *embedded) and isinstance(entry, Candidate) and not entry.cooling
            ]
            ranked += sorted(others, key=lambda entry: (entry.expected_quality, entry.expected_usd), reverse=True)
        closing = [
            model_id for model_id in embedded if _may_close(model_id, request, classification, registry, entries)
        ]
        last_resort = [] if request.last_resort is None else [request.last_resort]
        asked = [entry.model.id for entry in ranked]
        ranked += [entries[model_id] for model_id in dict.fromkeys([*closing, *last_resort]) if model_id not in asked]
        minimum = minimum_quality(request.quality, classification, registry)
        return list(_explained(ranked, rated, request, classification, registry, minimum))


def _may_close(
    model_id: str,
    request: Request,
    classification: Classification,
    registry: Registry,
    entries: Mapping[str, PlanEntry],
) -> bool:
    """True if the embedded model may answer when no other does: it is good enough, or nothing else is configured."""
    if request.model is not None:
        return False
    minimum = minimum_quality(request.quality, classification, registry) - TOLERANCE
    if _quality(entries[model_id], classification) >= minimum:
        return True
    others = (entry for entry in entries.values() if not registry.is_local(entry.model))
    return all(isinstance(entry, Skipped) and not entry.is_configured for entry in others)


def _chain_starts(
    request: Request, classification: Classification, registry: Registry, entries: Mapping[str, PlanEntry], seed: str
) -> list[ModelSpec]:

    def cheapest_first(models: Iterable[ModelSpec]) -> list[ModelSpec]:
        return sorted(models, key=lambda model: _unknown_prices_last(entries[model.id]))

    if request.model is not None:
        return [registry[request.model]]
    if _decides_by_worth(request) and request.worth_usd is not None:
        return _by_worth(request.worth_usd, classification, registry, entries)
    heads = cheapest_first(_capable(request, classification.tier, registry)) or [registry.baseline]
    if request.tier is None:
        exploring = is_exploring(request)
        required = requirement(request.quality, classification, registry, has_margins=not exploring)
        may_lead = leading(registry)
        enough = [model for model in may_lead if required.is_met(model, _effort(entries[model.id]))]
        if not enough:
            best = sorted(may_lead, key=lambda model: -_quality(entries[model.id], classification))
            return [*_leaders(best, entries), *heads]
        cheapest = cheapest_first(enough)
        if exploring:
            minimum = required.minimum_quality - TOLERANCE
            led = explored(cheapest, entries, classification, request, minimum=minimum, seed=seed)
            cheapest = [led or cheapest[0], *cheapest]
        return [*_leaders(cheapest, entries), *heads]
    return heads


def _decides_by_worth(request: Request) -> bool:
    """True if the worth of an answer decides which model leads: neither a model nor a tier is named."""
    return request.worth_usd is not None and request.model is None and request.tier is None


def _by_worth(
    worth_usd: Decimal, classification: Classification, registry: Registry, entries: Mapping[str, PlanEntry]
) -> list[ModelSpec]:
    """Return the models that may lead, the highest expected worth minus cost first; unknown prices last."""

    def rank(model: ModelSpec) -> tuple[bool, Decimal, float]:
        entry = entries[model.id]
        usd, quality = entry.typical_usd, _quality(entry, classification)
        return usd is None, -net_worth(worth_usd, quality, usd or Decimal(0)), -quality

    return sorted(leading(registry), key=rank)


def _quality(entry: PlanEntry, classification: Classification) -> float:
    if isinstance(entry, Candidate):
        return entry.expected_quality
    return expected_quality(classification, entry.model.capability)


def _effort(entry: PlanEntry) -> Effort | None:
    return entry.effort if isinstance(entry, Candidate) else None


def _unknown_prices_last(entry: PlanEntry) -> tuple[bool, Decimal]:
    return entry.typical_usd is None, entry.typical_usd or Decimal(0)


def _leaders(models: Sequence[ModelSpec], entries: Mapping[str, PlanEntry]) -> Sequence[ModelSpec]:
    """Return the models up to the first one whose provider can be used, or the first one if there is none."""
    for position, model in enumerate(models, start=1):
        entry = entries[model.id]
        if isinstance(entry, Candidate) or entry.is_configured:
            return models[:position]
    return models[:1]


def _capable(request: Request, tier: TaskTier, registry: Registry) -> tuple[ModelSpec, ...]:
    """Return the first choices for the tier, and the model with a warm prompt cache if it serves a tier as hard."""
    serving, warm = registry.first_choices(tier), request.thread and request.thread.warm_model
    if warm is None or warm not in registry or registry[warm] in serving:
        return serving
    hardness = list(TaskTier).index
    is_harder = any(hardness(served) <= hardness(tier) for served in registry[warm].tiers)
    return (*serving, registry[warm]) if is_harder else serving


def good_enough(quality: float, classification: Classification, registry: Registry) -> Iterator[ModelSpec]:
    """Return the models that may lead and whose expected quality is at least this share of the best one's."""
    required = requirement(quality, classification, registry)
    return (model for model in leading(registry) if required.is_met(model, None))


def _explained(
    ranked: Sequence[PlanEntry],
    rated: Sequence[PlanEntry],
    request: Request,
    classification: Classification,
    registry: Registry,
    minimum: float,
) -> Iterator[PlanEntry]:
    usable = [entry for entry in ranked if isinstance(entry, Candidate)]
    unaffordable: list[str] = []
    has_leader = False
    for entry in ranked:
        if isinstance(entry, Skipped):
            unaffordable += [entry.model.id] if entry.asked_usd is not None else []
            yield entry
            continue
        stepped_down = not has_leader and bool(unaffordable)
        if request.model == entry.model.id:
            why = request.model_reason or "asked for by name"
        elif has_leader:
            why = "fallback"
        elif unaffordable:
            why = f"{unaffordable[0]} would not fit under the cap; asked {entry.model.id}"
        else:
            why = "" if _decides_by_worth(request) else _no_better(entry, rated, registry, minimum)
            why = why or _reason_to_lead(entry, usable, request, classification.tier, minimum)
            if entry.model.id in registry.assumed_ids:
                why += f"; its capability is {entry.model.capability_source}"
        yield dataclasses.replace(entry, why=why, stepped_down=stepped_down)
        has_leader = True


def _no_better(entry: Candidate, rated: Sequence[PlanEntry], registry: Registry, minimum: float) -> str:
    """Return the reason that a weak model leads if no usable model is expected to answer better, or empty text."""
    is_weak = entry.expected_quality < minimum - TOLERANCE
    if not (is_weak or registry.is_local(entry.model)):
        return ""
    usable = (other for other in rated if isinstance(other, Candidate))
    if any(other.expected_quality > entry.expected_quality + TOLERANCE for other in usable):
        return ""
    wanted = f", and {minimum:.0%} is wanted" if is_weak else ""
    return f"nothing better can be used: its expected quality is {entry.expected_quality:.0%}{wanted}"


def _reason_to_lead(
    entry: Candidate, usable: Sequence[Candidate], request: Request, tier: TaskTier, minimum: float
) -> str:
    if _decides_by_worth(request) and request.worth_usd is not None:
        return _reason_by_worth(entry, usable, request.worth_usd)
    if request.thread is not None and request.thread.warm_model == entry.model.id:
        return "its prompt cache is warm: staying with it is cheaper than switching"
    if request.model is not None:
        return "the first usable model of the chain"
    if request.tier is not None:
        rivals = [other for other in usable if tier in other.model.tiers]
        if entry in rivals and _is_cheapest(entry, rivals):
            return f"the cheapest usable model for {tier}"
        return "the first usable model of the chain"
    if entry.expected_quality >= minimum - TOLERANCE:
        share = f"at least {100 * request.quality:g}% of the best expected quality"
        rivals = [other for other in usable if other.model.tiers and other.expected_quality >= minimum - TOLERANCE]
        if entry in rivals and _is_cheapest(entry, rivals):
            return f"the cheapest first choice with {share}"
        if is_exploring(request) and entry in rivals and entry.model.capability_width:
            passed_over = min(rivals, key=lambda other: other.typical_usd)
            more = show_usd(entry.typical_usd - passed_over.typical_usd)
            return f"explored, for {more} more: {passed_over.name} may not be as good as expected; {share}"
        uncertain = [other for other in rivals if other.typical_usd < entry.typical_usd]
        if entry in rivals and any(other.model.capability_margin.get(tier) for other in uncertain):
            cheapest = min(uncertain, key=lambda other: other.typical_usd)
            return f"{share}; {cheapest.name} is cheaper, but too little is known of it on your prompts"
        return f"the first usable model of the chain, with {share}"
    wanted = f"its expected quality is {entry.expected_quality:.0%}, and {minimum:.0%} is wanted"
    return f"the first usable model of the chain: {wanted}"


def _reason_by_worth(entry: Candidate, usable: Sequence[Candidate], worth_usd: Decimal) -> str:
    """Return what the best buy among better answers would gain and cost, at every usable model and level of effort."""

    def net(candidate: Candidate) -> Decimal:
        return net_worth(worth_usd, candidate.expected_quality, candidate.typical_usd)

    worth = f"at {show_usd(worth_usd)} for a good answer"
    options = [option for other in usable for option in (other, *other.better_levels)]
    better = [option for option in options if option.expected_quality > entry.expected_quality + TOLERANCE]
    if not better:
        return f"the best expected quality in this plan, {entry.expected_quality:.0%}, {worth}"
    rival = max(better, key=net)
    points = f"{100 * (rival.expected_quality - entry.expected_quality):.1f} points"
    gain = f"{rival.name} would be {'less than 0.1 points' if points == '0.0 points' else points} better"
    more = rival.typical_usd - entry.typical_usd
    price = "at the same cost" if more == 0 else f"for {show_usd(abs(more))} {'more' if more > 0 else 'less'}"
    if net(rival) < net(entry):
        return f"{gain} {price}: not worth it {worth}"
    return f"the first usable model of the chain; {gain} {price}"


def _is_cheapest(entry: Candidate, rivals: Sequence[Candidate]) -> bool:
    return all(entry.typical_usd <= other.typical_usd for other in rivals)
