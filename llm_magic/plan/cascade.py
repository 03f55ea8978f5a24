"""Cheap models first: two answers often show what a prompt does not. Pure, like the plan.

Two cheap models that agree are right more often than either one; if they differ, the plan's leader is asked. Or one
cheap answer is confirmed by its form, its schema, the user's own check, or a judge.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Literal, get_args

from llm_magic.answers.agreement import LONGEST_LABEL
from llm_magic.answers.looks import Look, look_for
from llm_magic.budget import show_usd
from llm_magic.classify import expected_quality
from llm_magic.classify.features import window
from llm_magic.errors import InvalidOption, RequestError
from llm_magic.plan.acceptance import confirmation_of, estimate_cascade
from llm_magic.plan.judges import Judges
from llm_magic.plan.levels import TOLERANCE, net_worth
from llm_magic.plan.rating import CandidateBuilder
from llm_magic.registry import Registry
from llm_magic.types import ZERO, Candidate, Cascade, CascadeChoice, CascadeMode, Confirmation, Plan, Request

MAX_COST_SHARE = 0.8
"""An automatic cascade must be expected to cost at most this share of the leader, because it takes longer."""
MODES: tuple[CascadeMode | CascadeChoice, ...] = (*get_args(CascadeMode), *get_args(CascadeChoice))


def cascade_mode(
    cascade: bool | str | None, *, check: object, judge: object, schema: object
) -> CascadeMode | CascadeChoice | Literal["off"] | None:
    """Return the confirmation that a cheap answer needs. Raises RequestError.

    True selects the given check or judge, else agreement; None selects the given check or judge, else leaves the choice
    to the plan. False is `off`.
    """
    cascade = {"off": False}.get(cascade, cascade) if isinstance(cascade, str) else cascade
    implied = "check" if check is not None else "judge" if judge is not None else None
    if not cascade:
        if cascade is False and implied:
            raise RequestError(f"{implied}= can't be used with cascade=False")
        mode = "off" if cascade is False else implied
    else:
        mode = implied or "agree" if cascade is True else cascade
    if mode is None or mode == "off":
        return mode
    if mode not in MODES:
        raise InvalidOption("cascade", cascade, f"one of {', '.join(MODES)}, off")
    for needed, given in (("check", check), ("judge", judge), ("schema", schema)):
        if mode == needed and given is None:
            raise RequestError(f"cascade={mode!r} requires {needed}=")
    if inspect.iscoroutinefunction(check):
        raise RequestError("check must be a plain function, not an async one")
    if check is not None and not callable(check):
        raise RequestError(f"check must be a function of the answer's text, not {type(check).__name__}")
    if judge is not None and mode not in ("judge", "effort", "any"):
        raise RequestError(f"cascade={mode!r} doesn't use a judge: remove judge=")
    if check is not None and mode not in ("check", "agree", "twice", "effort"):
        raise RequestError(f"cascade={mode!r} doesn't use a check: remove check=")
    return mode


def with_cascade(plan: Plan, usable: Sequence[Candidate], registry: Registry, builder: CandidateBuilder) -> Plan:
    """Add the cascade that the request asks for to the plan, or the reason why it has none.

    If the request does not decide, the plan gets one by agreement if the answers can be compared, or by a look at the
    answer if its form can be examined, provided that it costs clearly less and its expected quality is sufficient.
    usable: the candidates that it may ask.
    """
    request = plan.request
    if request.cascade == "off" or not plan.candidates:
        return plan
    if request.cascade == "effort":
        return _by_effort(plan, registry, builder)
    if request.cascade == "any" or request.cascade is None:
        return _by_price(plan, usable, registry, builder)
    made = _cascade(plan, request.cascade, usable, registry, builder)
    if isinstance(made, str):
        return dataclasses.replace(plan, no_cascade=made)
    return dataclasses.replace(plan, cascade=made)


def _by_price(plan: Plan, usable: Sequence[Candidate], registry: Registry, builder: CandidateBuilder) -> Plan:
    """Add the cheapest cascade that pays. Judges are used with `--cascade=any`, or by default once measured."""
    request = plan.request
    if request.cascade is None and (request.tier or request.model or request.hedge_s is not None):
        return plan
    made = (_cascade(plan, mode, usable, registry, builder) for mode in _possible_modes(request, registry))
    paying = [one for one in made if isinstance(one, Cascade) and _pays(one, plan, registry)]
    if paying:
        return dataclasses.replace(plan, cascade=min(paying, key=lambda one: one.expected_usd))
    if request.cascade == "any":
        reason = f"none is expected to cost at most {MAX_COST_SHARE:.0%} of {plan.candidates[0].name} at this quality"
        return dataclasses.replace(plan, no_cascade=reason)
    return plan


def _possible_modes(request: Request, registry: Registry) -> Iterator[CascadeMode]:
    if comparable(request):
        yield "agree"
    if request_look(request) is not None:
        yield "look"
    if request.schema is None:
        if request.cascade == "any" or Confirmation.JUDGE in registry.proven:
            yield "judge"
    elif request.cascade == "any":
        yield "schema"


def request_look(request: Request) -> Look | None:
    """Return the look at the answer that confirms it without a second model; None if its form can't be examined."""
    if request.schema is not None or request.thread is not None:
        return None
    text = window(request.prompt if request.routing_text is None else request.routing_text)
    return look_for(text, request.system)


def comparable(request: Request) -> bool:
    """True if two equal answers can be recognized: labels, numbers, or JSON without free text."""
    if request.schema is not None:
        return request.schema.has_only_short_values(LONGEST_LABEL)
    text = window(request.prompt if request.routing_text is None else request.routing_text)
    return len(_OPTION.findall(text)) >= 3 or _SHORT_ANSWER.search(text) is not None


_OPTION = re.compile(r"^[ \t]*\(?[A-H][).:][ \t]", re.MULTILINE)
_SHORT_ANSWER = re.compile(
    r"\b(?:(?:only|just) (?:with )?(?:the|a|an|one) (?:number|letter|label|word|name|option|choice|category|answer)|"
    r"one word|single word|single number|yes or no|true or false|final answer)\b|\\boxed\b|####",
    re.IGNORECASE,
)


def _pays(cascade: Cascade, plan: Plan, registry: Registry) -> bool:
    best = max(expected_quality(plan.classification, model.capability) for model in registry)
    strong, worth_usd = cascade.strong, plan.request.worth_usd
    cheaper = cascade.expected_usd <= Decimal(str(MAX_COST_SHARE)) * strong.expected_usd
    if worth_usd is not None:
        net, alone = (net_worth(worth_usd, one.expected_quality, one.expected_usd) for one in (cascade, strong))
        return cheaper and net > alone
    return cheaper and cascade.expected_quality >= plan.request.quality * best


def _by_effort(plan: Plan, registry: Registry, builder: CandidateBuilder) -> Plan:
    """Ask the leader's model at its lowest effort first, and at its provider's default if that is not confirmed.

    Confirmed: by the given check, judge or schema; without one, by two answers at the lowest effort that agree.
    """
    leader, request = plan.candidates[0], plan.request
    levels = leader.model.effort
    if levels is None:
        return dataclasses.replace(plan, no_cascade=f"the levels of effort of {leader.model.id} are unknown")
    lowest = next(iter(levels))
    harder = levels.default if request.effort is None else leader.effort or levels.default
    if harder is lowest:
        return dataclasses.replace(plan, no_cascade=f"{leader.model.id} has no effort below {harder}")
    low, strong = (builder.at_effort(effort).build(leader.model) for effort in (lowest, harder))
    if not isinstance(low, Candidate) or not isinstance(strong, Candidate):
        return dataclasses.replace(plan, no_cascade=f"{leader.model.id} can't be asked at a higher effort now")
    strong = dataclasses.replace(strong, why=f"asked at effort {harder} if effort {lowest} is not confirmed")
    ranked = tuple(strong if entry is leader else entry for entry in plan.ranked)
    plan = dataclasses.replace(plan, ranked=ranked)
    mode: CascadeMode = (
        "check"
        if request.check is not None
        else "judge"
        if request.judge is not None
        else "schema"
        if request.schema is not None
        else "twice"
    )
    made = _cascade(plan, mode, [low], registry, builder)
    if isinstance(made, str):
        return dataclasses.replace(plan, no_cascade=made)
    return dataclasses.replace(plan, cascade=made)


def _cascade(
    plan: Plan, mode: CascadeMode, usable: Sequence[Candidate], registry: Registry, builder: CandidateBuilder
) -> Cascade | str:
    strong = plan.candidates[0]
    pool = sorted(
        (
            candidate
            for candidate in usable
            if candidate.expected_usd < strong.expected_usd and not registry.is_local(candidate.model)
        ),
        key=lambda candidate: candidate.expected_usd,
    )
    if not pool:
        return f"no usable model is cheaper than {strong.model.id}"
    if mode == "look" or (mode == "judge" and plan.request.judge is None):
        made = _cheapest(plan, mode, pool, usable, registry, builder)
    else:
        judge = None
        if mode == "judge" and plan.request.judge is not None:
            rated = Judges((), registry, builder).named(registry[plan.request.judge], pool[0])
            if not isinstance(rated, Candidate):
                return f"the judge {plan.request.judge} can't be used now"
            judge = rated
        cheap = _pair(pool, strong, registry) if mode == "agree" else (pool[0],) * (2 if mode == "twice" else 1)
        made = _assembled(plan, mode, cheap, registry, judge=judge)
    left = builder.context.left_usd(strong.model)
    if isinstance(made, Cascade) and left is not None and made.worst_usd > left:
        return f"the whole cascade could cost up to {show_usd(made.worst_usd)}, {show_usd(left)} left"
    return made


def _cheapest(
    plan: Plan,
    mode: CascadeMode,
    pool: Iterable[Candidate],
    usable: Sequence[Candidate],
    registry: Registry,
    builder: CandidateBuilder,
) -> Cascade | str:
    """Return the cheapest cascade of one cheap model at any level of effort, if possible at the requested quality."""
    strong = plan.candidates[0]
    levels = [level for one in pool for level in builder.levels_of(one) if level.expected_usd < strong.expected_usd]
    if mode == "look":
        look = request_look(plan.request)
        if look is None:
            return "the form of the answer can't be checked"
        options = [_assembled(plan, mode, (cheap,), registry, look=look) for cheap in levels]
    else:
        judges = Judges(usable, registry, builder)
        pairs = [(cheap, judge) for cheap in levels if (judge := judges.of(cheap)) is not None]
        options = [_assembled(plan, mode, (cheap,), registry, judge=judge) for cheap, judge in pairs]
    if not options:
        return "no model of another provider can judge the answer" if mode == "judge" else "no cheaper level of effort"
    minimum = plan.minimum_quality - TOLERANCE
    return min(options, key=lambda one: (one.expected_quality < minimum, one.expected_usd))


def _assembled(
    plan: Plan,
    mode: CascadeMode,
    cheap: tuple[Candidate, ...],
    registry: Registry,
    *,
    look: Look | None = None,
    judge: Candidate | None = None,
) -> Cascade:
    strong = plan.candidates[0]
    asked = [*cheap, *([judge] if judge else [])]
    confirmation = confirmation_of(mode, cheap, look)
    is_default_judge = mode == "judge" and plan.request.cascade is None
    shares = registry.proven if is_default_judge else registry.accepted
    accepted, quality = estimate_cascade(confirmation, cheap, strong, shares)
    expected = _expected_usd(asked, accepted, strong)
    is_named = plan.request.cascade not in (None, "any")
    return Cascade(
        mode=mode,
        confirmation=confirmation,
        cheap=cheap,
        strong=strong,
        judge=judge,
        acceptance_rate=accepted,
        expected_quality=quality,
        expected_usd=expected,
        worst_usd=sum((candidate.worst_usd for candidate in asked), strong.worst_usd),
        why="asked for" if is_named else f"expected to cost {1 - expected / strong.expected_usd:.0%} less",
    )


def _expected_usd(asked: Iterable[Candidate], accepted: float, strong: Candidate) -> Decimal:
    cheap_usd = sum((candidate.expected_usd for candidate in asked), ZERO)
    return cheap_usd + Decimal(str(round(1 - accepted, 6))) * strong.expected_usd


def _pair(pool: list[Candidate], strong: Candidate, registry: Registry) -> tuple[Candidate, Candidate]:
    """Return the two with the lowest expected cost of the whole cascade, the cheaper one first; a single one twice.

    Prefers different providers, because related models make the same mistakes.
    """
    pairs = list(itertools.combinations(pool, 2)) or [(pool[0], pool[0])]
    unrelated = [(one, other) for one, other in pairs if one.model.provider != other.model.provider]

    def cost(pair: tuple[Candidate, Candidate]) -> Decimal:
        accepted, _ = estimate_cascade(Confirmation.AGREE, pair, strong, registry.accepted)
        return _expected_usd(pair, accepted, strong)

    return min(unrelated or pairs, key=cost)
