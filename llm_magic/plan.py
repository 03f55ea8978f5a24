"""From a request to an ordered list of candidates. Pure: sends nothing, spends nothing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from decimal import Decimal

from llm_magic import prices, tokens
from llm_magic.attachments import message_of
from llm_magic.budget import show_usd
from llm_magic.classify import expected_quality
from llm_magic.errors import RequestError, UnknownPrice
from llm_magic.health import Circuit
from llm_magic.registry import Registry
from llm_magic.types import (
    Candidate,
    Classification,
    Message,
    ModelSpec,
    Part,
    Plan,
    Request,
    Skipped,
    TaskTier,
    Usage,
)

DEFAULT_MAX_OUTPUT_TOKENS = 8_192
"""Asked for where the caller states nothing, and held for: what a long answer needs, not what a model could do."""
MIN_OUTPUT_TOKENS = 256
"""Near a cap, the output is limited down to this, never below; then the model is passed over."""

EXPECTED_OUTPUT_TOKENS = {
    TaskTier.COMPLEX: 900,
    TaskTier.STANDARD: 450,
    TaskTier.STRUCTURED: 250,
    TaskTier.BULK: 120,
}
"""o200k_base tokens of a typical answer: a rough prior, for comparing candidates and showing an expected cost."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a plan needs to know of the moment it is made in."""

    now: datetime
    left_usd: Callable[[ModelSpec], Decimal | None]
    """What the tightest cap leaves for a model, once the attempts under way have been settled; None: no cap."""
    unavailable: Callable[[ModelSpec], str | None]
    """Why a model's provider can't be used now, e.g. `"no OPENAI_API_KEY"`."""
    circuit: Callable[[str], Circuit]
    """How a model stands, by its id."""


def make_plan(request: Request, classification: Classification, registry: Registry, standing: Standing) -> Plan:
    """The candidates for a request: the cheapest that is good enough first, then the chain of fallbacks.

    Good enough: its expected quality is at least `request.quality` of the best model's. Of these, the one with the
    lowest expected cost (price times tokens of its own tokenizer, for this prompt at this hour) leads; its fallbacks
    follow, then the models that are a first choice for the tier with theirs, and at last the free models of this
    machine. Where the tier is asked for, the cheapest of its own models leads; where a model is, that one. Where a cap
    rules one of them out, cheaper models of other tiers step in before the free ones, the dearest that fits first.
    """
    messages = messages_of(request)
    bound = _bound(request, messages)
    tier = classification.tier

    def rate(model: ModelSpec, *, cooling: bool = False) -> Candidate | Skipped:
        if reason := standing.unavailable(model):
            return Skipped(model=model, reason=reason)
        blocked = standing.circuit(model.id).blocked
        if blocked and not cooling:
            return Skipped(model=model, reason=blocked)
        rated = _candidate(model, request, messages, bound, classification, standing)
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
        baseline_usd=_expected_usd(registry.baseline, messages, request, classification, standing.now),
        left_usd=standing.left_usd(registry.baseline),
        parts=_parts(request, classification, leader, standing.now),
    )


def _parts(
    request: Request, classification: Classification, leader: Candidate | None, now: datetime
) -> tuple[Part, ...]:
    """What is sent besides the prompt, and what it costs on the leader: with it, less without it."""
    thread = request.thread
    dropped = 0 if thread is None else thread.dropped
    if leader is None:
        return ()
    model = leader.model
    whole = _usage(model, leader.input_tokens, classification, request, share=0.0)

    def costs(count: int, cached: int = 0) -> Decimal:
        left = dataclasses.replace(
            whole,
            input_tokens=leader.input_tokens - count,
            cached_input_tokens=whole.cached_input_tokens - cached,
        )
        return prices.cost(model, whole, now).usd - prices.cost(model, left, now).usd

    parts: list[Part] = []
    for each in request.attachments:
        one = Message(role="user", content=each.block, images=() if each.image is None else (each.image,))
        count = min(tokens.estimate_input((one,), None, model), leader.input_tokens - whole.cached_input_tokens)
        parts.append(Part(name=each.name, tokens=count, usd=costs(count), detail=each.detail))
    if not (request.history or dropped):
        return tuple(parts)
    count = tokens.estimate_input(request.history, None, model)
    turns = len(request.history) // 2
    detail = [f"{turns} exchange{'s' * (turns != 1)}"]
    if dropped:
        detail.append(f"the {dropped} oldest left out")
    if whole.cached_input_tokens:
        detail.append(f"{whole.cached_input_tokens:,} tokens of the prompt in {model.id}'s cache")
    usd = costs(count, whole.cached_input_tokens)
    return (*parts, Part(name="history", tokens=count, usd=usd, detail=", ".join(detail)))


def what_fits(plan: Plan, registry: Registry, standing: Standing) -> str:
    """The cheapest that would fit under the cap as it is, in words: fewer tokens, or a model that can't be used yet."""
    request = plan.request
    messages = messages_of(request)
    bound = _bound(request, messages)

    def fitting(request: Request) -> list[Candidate]:
        rated = [_candidate(model, request, messages, bound, plan.classification, standing) for model in registry]
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


def _bound(request: Request, messages: tuple[Message, ...]) -> int:
    return tokens.bound_input(messages, request.system, _schema_of(request))


def _schema_of(request: Request) -> str:
    """The schema as the JSON that is sent; empty where there is none."""
    return "" if request.schema is None else json.dumps(request.schema, ensure_ascii=False)


def messages_of(request: Request) -> tuple[Message, ...]:
    """What is sent: the history, then the prompt with what is attached to it."""
    return (*request.history, message_of(request))


def refit(candidate: Candidate, left_usd: Decimal, now: datetime) -> Candidate | None:
    """The candidate with its output lowered until its worst case fits into `left_usd`; None where it can't."""
    least = min(MIN_OUTPUT_TOKENS, candidate.max_output_tokens)
    fits = prices.affordable_output(
        candidate.model,
        input_tokens=candidate.input_tokens_bound,
        left_usd=left_usd,
        wanted=candidate.max_output_tokens,
        at=now,
    )
    if fits < least:
        return None
    worst = prices.worst_case(candidate.model, input_tokens=candidate.input_tokens_bound, output_tokens=fits, at=now)
    return dataclasses.replace(candidate, max_output_tokens=fits, worst_usd=worst)


def lengthened(candidate: Candidate, more: tuple[Message, ...], now: datetime) -> Candidate | None:
    """The candidate with further messages to send, at what it costs then; None where its window is too small."""
    input_tokens = candidate.input_tokens + tokens.estimate_input(more, None, candidate.model)
    bound = candidate.input_tokens_bound + tokens.bound_input(more, None)
    wanted = min(candidate.max_output_tokens, candidate.model.context_window - input_tokens)
    if wanted < min(MIN_OUTPUT_TOKENS, candidate.max_output_tokens):
        return None
    return dataclasses.replace(
        candidate,
        input_tokens=input_tokens,
        input_tokens_bound=bound,
        max_output_tokens=wanted,
        worst_usd=prices.worst_case(candidate.model, input_tokens=bound, output_tokens=wanted, at=now),
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
        return sorted(models, key=lambda model: _sort_key(model, messages, request, classification, now))

    if request.model is not None:
        if request.model not in registry:
            raise RequestError(
                f"no model {request.model!r}: the registry has {', '.join(spec.id for spec in registry)}"
            )
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


def _sort_key(
    model: ModelSpec, messages: tuple[Message, ...], request: Request, classification: Classification, now: datetime
) -> tuple[bool, Decimal]:
    try:
        return False, _expected_usd(model, messages, request, classification, now)
    except UnknownPrice:
        return True, Decimal(0)


def _expected_usd(
    model: ModelSpec, messages: tuple[Message, ...], request: Request, classification: Classification, now: datetime
) -> Decimal:
    input_tokens = tokens.estimate_input(messages, request.system, model, _schema_of(request))
    return prices.cost(model, _usage(model, input_tokens, classification, request, share=1.0), now).usd


def _usage(
    model: ModelSpec, input_tokens: int, classification: Classification, request: Request, share: float
) -> Usage:
    wanted = request.max_output_tokens or DEFAULT_MAX_OUTPUT_TOKENS
    shares = classification.probabilities or {classification.tier: 1.0}
    typical = sum(chance * EXPECTED_OUTPUT_TOKENS[tier] for tier, chance in shares.items())
    output = round(typical * model.token_ratio * share)
    thread = request.thread
    warm = min(thread.warm_tokens, input_tokens) if thread is not None and thread.warm_model == model.id else 0
    return Usage(
        input_tokens=input_tokens,
        cached_input_tokens=warm,
        output_tokens=min(output, wanted, model.max_output_tokens),
    )


def _candidate(
    model: ModelSpec,
    request: Request,
    messages: tuple[Message, ...],
    bound: int,
    classification: Classification,
    standing: Standing,
) -> Candidate | Skipped:
    """The model with its costs, or the reason why it can't serve this request."""
    images = [image for message in messages for image in message.images]
    if images and not model.image_tokens:
        return Skipped(model=model, reason="can't see images")
    bound += len(images) * model.image_tokens
    input_tokens = tokens.estimate_input(messages, request.system, model, _schema_of(request))
    wanted = min(request.max_output_tokens or DEFAULT_MAX_OUTPUT_TOKENS, model.max_output_tokens)
    room = model.context_window - input_tokens
    if room < min(MIN_OUTPUT_TOKENS, wanted):
        reason = f"context too small: about {input_tokens:,} tokens for a window of {model.context_window:,}"
        return Skipped(model=model, reason=reason)
    wanted = min(wanted, room)
    now = standing.now
    try:
        low, expected = (
            prices.cost(model, _usage(model, input_tokens, classification, request, share), now).usd
            for share in (0.25, 1.0)
        )
        worst = prices.worst_case(model, input_tokens=bound, output_tokens=wanted, at=now)
    except UnknownPrice as error:
        return Skipped(model=model, reason=str(error))
    candidate = Candidate(
        model=model,
        input_tokens=input_tokens,
        input_tokens_bound=bound,
        max_output_tokens=wanted,
        low_usd=low,
        expected_usd=expected,
        worst_usd=worst,
        expected_quality=expected_quality(classification, model.capability),
    )
    left = standing.left_usd(model)
    if left is None or worst <= left:
        return candidate
    fitted = refit(candidate, left, now)
    if fitted is None:
        reason = f"over budget: up to {show_usd(worst)}, {show_usd(left)} left"
        return Skipped(model=model, reason=reason, asked_usd=worst)
    return fitted


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
            why = f"the cheapest of at least {request.quality:.0%} of the best expected quality"
        elif tier in entry.model.tiers and not asked:
            why = f"the cheapest usable model for {tier}"
        else:
            why = "the first usable model of the chain"
        yield dataclasses.replace(entry, why=why, stepped_down=first and bool(unaffordable))
        first = False
