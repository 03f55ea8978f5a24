"""Cheap models first: two answers often show what a prompt does not. Pure, like the plan.

Two cheap models that agree are right more often than either one; if they differ, the plan's leader is asked. Or one
cheap answer is confirmed by its schema, by the user's own check, or by a judge.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import math
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Literal, get_args

from llm_magic.answers.agreement import LONGEST_LABEL, SAME_MISTAKE, SAME_RIGHT
from llm_magic.budget import show_usd
from llm_magic.classify import expected_quality
from llm_magic.classify.features import window
from llm_magic.errors import InvalidOption, RequestError
from llm_magic.plan.levels import net_worth
from llm_magic.plan.rating import CandidateBuilder
from llm_magic.registry import Registry
from llm_magic.types import ZERO, Candidate, Cascade, CascadeMode, Plan, Request

JUDGE_MAX_OUTPUT_TOKENS = 1_024
CORRECTNESS_CORRELATION = 0.45
STRONG_RIGHT_IF_BOTH_RIGHT = 0.96
STRONG_RIGHT_IF_BOTH_WRONG = 0.42
"""Correlation between two cheap models' answers being right, and shares in which the strong model is right if both are
right or wrong. On ZeroEval, MMLU-Pro and RouterBench (training prompts) with 15 pairs of models of 2023 and 2024, they
are 0.36 to 0.58, 0.91 to 0.99, and 0.27 to 0.53."""
SELF_CORRELATION, SELF_SAME_MISTAKE = 0.8, 0.6
FITS_SCHEMA_SHARE = 0.95
JUDGE_ACCEPTS_RIGHT, JUDGE_ACCEPTS_WRONG = 0.9, 0.4
"""Assumed: of one model asked twice, the correlation and the share of equal mistakes; of cheap answers, the share that
fits its schema; of a judge, the shares of right and of wrong answers that it accepts."""
MAX_COST_SHARE = 0.8
"""An automatic cascade must be expected to cost at most this share of the leader, because it takes longer."""
MODES: tuple[CascadeMode | Literal["effort"], ...] = (*get_args(CascadeMode), "effort")


def cascade_mode(
    cascade: bool | str | None, *, check: object, judge: object, schema: object
) -> CascadeMode | Literal["effort", "off"] | None:
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
    if judge is not None and mode not in ("judge", "effort"):
        raise RequestError(f"cascade={mode!r} doesn't use a judge: remove judge=")
    if check is not None and mode not in ("check", "agree", "twice", "effort"):
        raise RequestError(f"cascade={mode!r} doesn't use a check: remove check=")
    return mode


def with_cascade(plan: Plan, usable: Sequence[Candidate], registry: Registry, builder: CandidateBuilder) -> Plan:
    """Add the cascade that the request asks for to the plan, or the reason why it has none.

    If the request does not decide, the plan gets one by agreement if the answers can be compared, it costs clearly
    less, and its expected quality is sufficient. usable: the candidates that it may ask.
    """
    request = plan.request
    if request.cascade == "off" or not plan.candidates:
        return plan
    if request.cascade == "effort":
        return _by_effort(plan, registry, builder)
    if request.cascade is not None:
        made = _cascade(plan, request.cascade, usable, registry, builder)
        if isinstance(made, str):
            return dataclasses.replace(plan, no_cascade=made)
        return dataclasses.replace(plan, cascade=made)
    if request.tier or request.model or request.hedge_s is not None or not comparable(request):
        return plan
    made = _cascade(plan, "agree", usable, registry, builder)
    if isinstance(made, str) or not _pays(made, plan, registry):
        return plan
    return dataclasses.replace(plan, cascade=made)


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


def estimate_cascade(mode: CascadeMode, cheap: tuple[Candidate, ...], strong: Candidate) -> tuple[float, float]:
    """Return the expected share of runs that end without the strong model, and the chance of a good answer.

    With p and q the chances that the two cheap models are right: both are right with chance
    p q + CORRECTNESS_CORRELATION sqrt(p (1-p) q (1-q)), and both are wrong with 1 - p - q + that. Accepted is nearly
    everything that both have right and some of what both have wrong. The strong model answers the rest; it would have
    failed on a few of the former and saved some of the latter.
    """
    right, best = cheap[0].expected_quality, strong.expected_quality
    match mode:
        case "agree" | "twice":
            other = cheap[1].expected_quality
            if cheap[0] == cheap[1]:
                correlation, same_mistake = SELF_CORRELATION, SELF_SAME_MISTAKE
            else:
                correlation, same_mistake = CORRECTNESS_CORRELATION, SAME_MISTAKE
            both = right * other + correlation * math.sqrt(right * (1 - right) * other * (1 - other))
            accepted_right, accepted_wrong = SAME_RIGHT * both, same_mistake * (1 - right - other + both)
        case "check":
            accepted_right, accepted_wrong = right, 0.0
        case "schema":
            accepted_right, accepted_wrong = FITS_SCHEMA_SHARE * right, FITS_SCHEMA_SHARE * (1 - right)
        case "judge":
            accepted_right, accepted_wrong = JUDGE_ACCEPTS_RIGHT * right, JUDGE_ACCEPTS_WRONG * (1 - right)
    quality = best + (1 - STRONG_RIGHT_IF_BOTH_RIGHT) * accepted_right - STRONG_RIGHT_IF_BOTH_WRONG * accepted_wrong
    return accepted_right + accepted_wrong, min(1.0, max(0.0, quality))


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
    cheap = _pair(pool, strong) if mode == "agree" else (pool[0],) * (2 if mode == "twice" else 1)
    judge = None
    if mode == "judge":
        assert plan.request.judge is not None
        rated = builder.limited_to(JUDGE_MAX_OUTPUT_TOKENS).build(registry[plan.request.judge])
        if not isinstance(rated, Candidate):
            return f"the judge {plan.request.judge} can't be used now"
        judge = rated
    asked = [*cheap, *([judge] if judge else [])]
    accepted, quality = estimate_cascade(mode, cheap, strong)
    expected = _expected_usd(asked, accepted, strong)
    worst = sum((candidate.worst_usd for candidate in asked), strong.worst_usd)
    left = builder.context.left_usd(strong.model)
    if left is not None and worst > left:
        return f"the whole cascade could cost up to {show_usd(worst)}, {show_usd(left)} left"
    return Cascade(
        mode=mode,
        cheap=cheap,
        strong=strong,
        judge=judge,
        acceptance_rate=accepted,
        expected_quality=quality,
        expected_usd=expected,
        worst_usd=worst,
        why="asked for" if plan.request.cascade else f"expected to cost {1 - expected / strong.expected_usd:.0%} less",
    )


def _expected_usd(asked: Iterable[Candidate], accepted: float, strong: Candidate) -> Decimal:
    cheap_usd = sum((candidate.expected_usd for candidate in asked), ZERO)
    return cheap_usd + Decimal(str(round(1 - accepted, 6))) * strong.expected_usd


def _pair(pool: list[Candidate], strong: Candidate) -> tuple[Candidate, Candidate]:
    """Return the two with the lowest expected cost of the whole cascade, the cheaper one first; a single one twice.

    Prefers different providers, because related models make the same mistakes.
    """
    pairs = list(itertools.combinations(pool, 2)) or [(pool[0], pool[0])]
    unrelated = [(one, other) for one, other in pairs if one.model.provider != other.model.provider]

    def cost(pair: tuple[Candidate, Candidate]) -> Decimal:
        return _expected_usd(pair, estimate_cascade("agree", pair, strong)[0], strong)

    return min(unrelated or pairs, key=cost)
