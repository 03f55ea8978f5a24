"""Whether to ask cheap models first: what a prompt does not show, two answers often do. Pure, like the plan.

Two cheap models that say the same are right more often than either; where they differ, the plan's leader is asked.
Or one cheap answer is confirmed by its schema, by the user's own check, or by a judge.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Literal, cast, get_args

from llm_magic.answers.agreement import LONGEST_LABEL, SAME_MISTAKE, SAME_RIGHT
from llm_magic.budget import show_usd
from llm_magic.classify import expected_quality
from llm_magic.classify.features import window
from llm_magic.errors import RequestError
from llm_magic.plan import make_plan
from llm_magic.plan.costs import PlanContext
from llm_magic.registry import Registry
from llm_magic.types import ZERO, Candidate, Cascade, CascadeMode, ModelSpec, Plan, Request

JUDGE_MAX_OUTPUT_TOKENS = 1_024
"""A yes or a no, and room to think before it."""
CORRECTNESS_CORRELATION = 0.45
"""Correlation of two cheap models' being right. 0.36 to 0.58 over 15 pairs of 2023 and 2024 on ZeroEval, MMLU-Pro and
RouterBench (training prompts)."""
SELF_CORRELATION, SELF_SAME_MISTAKE = 0.8, 0.6
"""The same of one model asked twice. Assumed."""
STRONG_TOO = 0.96
"""How often the strong model is right where both cheap ones are: 0.91 to 0.99 there."""
STRONG_AGAINST_BOTH = 0.42
"""How often it is right where both are wrong: 0.27 to 0.53 there."""
FITS_SCHEMA = 0.95
"""How often a cheap answer fits its schema. Assumed."""
JUDGED_GOOD, JUDGED_WRONG_GOOD = 0.9, 0.4
"""How often a judge finds a right answer good, and a wrong one. Assumed."""
WORTH_IT = 0.8
"""A plan chooses a cascade by itself only where it costs no more than this share of the leader: it takes longer."""
MODES: tuple[CascadeMode, ...] = get_args(CascadeMode)


def cascade_mode(
    cascade: bool | str | None, *, check: object, judge: object, schema: object
) -> CascadeMode | Literal["off"] | None:
    """How a cheap answer is to be confirmed, from what the caller said of it. Raises RequestError.

    `True`, or None beside a check or a judge: by these, else by agreement. False is `off`; None leaves it to the plan.
    """
    cascade = {"off": False}.get(cascade, cascade) if isinstance(cascade, str) else cascade
    implied = "check" if check is not None else "judge" if judge is not None else None
    if not cascade:
        if cascade is False and implied:
            raise RequestError(f"a {implied} is for a cascade: leave out cascade=False")
        how = "off" if cascade is False else implied
    else:
        how = implied or "agree" if cascade is True else cascade
    if how is None or how == "off":
        return how
    if how not in MODES:
        raise RequestError(f"no cascade {cascade!r}: choose one of {', '.join(MODES)}")
    for needed, given in (("check", check), ("judge", judge), ("schema", schema)):
        if how == needed and given is None:
            raise RequestError(f"a cascade by {needed} needs a {needed}")
    if inspect.iscoroutinefunction(check):
        raise RequestError("check must be a plain function, not an async one")
    if check is not None and not callable(check):
        raise RequestError(f"check must be a function of the answer's text, not {type(check).__name__}")
    if judge is not None and how != "judge":
        raise RequestError(f"a cascade by {how} asks no judge: leave one of the two out")
    if check is not None and how not in ("check", "agree", "twice"):
        raise RequestError(f"a cascade by {how} asks no check: leave one of the two out")
    return how


def with_cascade(plan: Plan, registry: Registry, standing: PlanContext) -> Plan:
    """The plan with the cascade that its request asks for, or with the reason why there is none.

    Where the request says nothing, one by agreement where its answer can be compared, it costs clearly less, and its
    expected quality is what is wanted.
    """
    request = plan.request
    if request.cascade == "off" or not plan.candidates:
        return plan
    if request.cascade is None:
        if request.tier or request.model or request.hedge_s is not None or not comparable(request):
            return plan
        made = _cascade(plan, "agree", registry, standing)
        return (
            dataclasses.replace(plan, cascade=made)
            if not isinstance(made, str) and _pays(made, plan, registry)
            else plan
        )
    made = _cascade(plan, request.cascade, registry, standing)
    if isinstance(made, str):
        return dataclasses.replace(plan, no_cascade=made)
    return dataclasses.replace(plan, cascade=made)


def comparable(request: Request) -> bool:
    """Whether two good answers to it would be found to say the same: a label, a number, or JSON without free text."""
    if request.schema is not None:
        return _is_closed(request.schema)
    text = window(request.prompt if request.routing_text is None else request.routing_text)
    return len(_OPTION.findall(text)) >= 3 or _SHORT_ANSWER.search(text) is not None


_OPTION = re.compile(r"^[ \t]*\(?[A-H][).:][ \t]", re.MULTILINE)
_SHORT_ANSWER = re.compile(
    r"\b(?:(?:only|just) (?:with )?(?:the|a|an|one) (?:number|letter|label|word|name|option|choice|category|answer)|"
    r"one word|single word|single number|yes or no|true or false|final answer)\b|\\boxed\b|####",
    re.IGNORECASE,
)


def _is_closed(schema: Any) -> bool:
    """Whether every text in the JSON that a schema allows is one of a list, or of a stated form or small length.

    Of a schema that uses more than the common words this says no.
    """
    if not isinstance(schema, Mapping):
        return False
    table = cast("Mapping[str, Any]", schema)
    if table.keys() & {"enum", "const"}:
        return True
    match table.get("type"):
        case "string":
            most = table.get("maxLength")
            return bool(table.keys() & {"format", "pattern"}) or (isinstance(most, int) and most <= LONGEST_LABEL)
        case "object":
            parts = table.get("properties")
            return isinstance(parts, Mapping) and all(map(_is_closed, cast("Mapping[str, Any]", parts).values()))
        case "array":
            return _is_closed(table.get("items"))
        case kind:
            return kind in ("number", "integer", "boolean")


def _pays(cascade: Cascade, plan: Plan, registry: Registry) -> bool:
    best = max(expected_quality(plan.classification, model.capability) for model in registry)
    cheaper = cascade.expected_usd <= Decimal(str(WORTH_IT)) * cascade.strong.expected_usd
    return cheaper and cascade.expected_quality >= plan.request.quality * best


def estimate_cascade(how: CascadeMode, cheap: tuple[Candidate, ...], strong: Candidate) -> tuple[float, float]:
    """The share of runs that are expected to end without the strong one, and the chance of a good answer.

    With p and q the chances that the two cheap ones are right: both are with p q + ALIKE sqrt(p (1-p) q (1-q)), and
    both are wrong with 1 - p - q + that. Kept is nearly all that both have right and some of what both have wrong; all
    else is answered by the strong one, which would have lost a little of the first and saved some of the second.
    """
    right, best = cheap[0].expected_quality, strong.expected_quality
    match how:
        case "agree" | "twice":
            other = cheap[1].expected_quality
            alike, same = (
                (SELF_CORRELATION, SELF_SAME_MISTAKE)
                if cheap[0] == cheap[1]
                else (CORRECTNESS_CORRELATION, SAME_MISTAKE)
            )
            both = right * other + alike * math.sqrt(right * (1 - right) * other * (1 - other))
            kept_right, kept_wrong = SAME_RIGHT * both, same * (1 - right - other + both)
        case "check":
            kept_right, kept_wrong = right, 0.0
        case "schema":
            kept_right, kept_wrong = FITS_SCHEMA * right, FITS_SCHEMA * (1 - right)
        case "judge":
            kept_right, kept_wrong = JUDGED_GOOD * right, JUDGED_WRONG_GOOD * (1 - right)
    quality = best + (1 - STRONG_TOO) * kept_right - STRONG_AGAINST_BOTH * kept_wrong
    return kept_right + kept_wrong, min(1.0, max(0.0, quality))


def _cascade(plan: Plan, how: CascadeMode, registry: Registry, standing: PlanContext) -> Cascade | str:
    strong = plan.candidates[0]
    rate = _rater(plan, registry, standing)
    pool = [found for model in registry if not registry.is_local(model) and (found := rate(model)) is not None]
    pool = sorted((each for each in pool if each.expected_usd < strong.expected_usd), key=_by_cost)
    if not pool:
        return f"no usable model is cheaper than {strong.model.id}"
    cheap = _pair(pool, strong) if how == "agree" else (pool[0],) * (2 if how == "twice" else 1)
    judge = None
    if how == "judge":
        assert plan.request.judge is not None
        judge = rate(registry[plan.request.judge], most=JUDGE_MAX_OUTPUT_TOKENS)
        if judge is None:
            return f"the judge {plan.request.judge} can't be used now"
    asked = [*cheap, *([judge] if judge else [])]
    kept, quality = estimate_cascade(how, cheap, strong)
    expected = _expected_usd(asked, kept, strong)
    worst = sum((each.worst_usd for each in asked), strong.worst_usd)
    left = standing.left_usd(strong.model)
    if left is not None and worst > left:
        return f"all of it could cost up to {show_usd(worst)}, {show_usd(left)} left"
    return Cascade(
        mode=how,
        cheap=cheap,
        strong=strong,
        judge=judge,
        acceptance_rate=kept,
        expected_quality=quality,
        expected_usd=expected,
        worst_usd=worst,
        why="asked for" if plan.request.cascade else f"expected to cost {_less(expected, strong)} less",
    )


def _expected_usd(asked: Iterable[Candidate], kept: float, strong: Candidate) -> Decimal:
    first = sum((each.expected_usd for each in asked), ZERO)
    return first + Decimal(str(round(1 - kept, 6))) * strong.expected_usd


def _less(expected: Decimal, strong: Candidate) -> str:
    return f"{1 - expected / strong.expected_usd:.0%}"


def _by_cost(candidate: Candidate) -> Decimal:
    return candidate.expected_usd


def _pair(pool: list[Candidate], strong: Candidate) -> tuple[Candidate, Candidate]:
    """The two of different providers (relatives make the same mistakes) with which the whole is expected to cost least,
    the cheaper one first. For want of such, any two; for want of two, one twice."""
    pairs = list(itertools.combinations(pool, 2)) or [(pool[0], pool[0])]
    strangers = [(one, other) for one, other in pairs if one.model.provider != other.model.provider]

    def cost(pair: tuple[Candidate, Candidate]) -> Decimal:
        return _expected_usd(pair, estimate_cascade("agree", pair, strong)[0], strong)

    return min(strangers or pairs, key=cost)


def _rater(plan: Plan, registry: Registry, standing: PlanContext) -> Callable[..., Candidate | None]:
    """What a plan for one model alone says of it; None where it can't be used."""

    def rate(model: ModelSpec, *, most: int | None = None) -> Candidate | None:
        changes: dict[str, Any] = {"model": model.id}
        if most is not None:
            changes["max_output_tokens"] = min(most, plan.request.max_output_tokens or most)
        request: Request = dataclasses.replace(plan.request, **changes)
        entry = make_plan(request, plan.classification, registry, standing).ranked[0]
        return entry if isinstance(entry, Candidate) and entry.model.id == model.id and not entry.cooling else None

    return rate
