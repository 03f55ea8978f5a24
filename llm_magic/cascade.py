"""Whether to ask cheap models first: what a prompt does not show, two answers often do. Pure, like the plan.

Two cheap models that say the same are right more often than either; where they differ, the plan's leader is asked.
Or one cheap answer is confirmed by its schema, by the user's own check, or by a judge.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from decimal import Decimal
from typing import Any, get_args

from llm_magic.budget import show_usd
from llm_magic.errors import RequestError
from llm_magic.plan import Standing, make_plan
from llm_magic.registry import Registry
from llm_magic.types import ZERO, Candidate, Cascade, CascadeHow, ModelSpec, Plan, Request

JUDGE_MAX_OUTPUT_TOKENS = 1_024
"""A yes or a no, and room to think before it."""
KEPT = 0.63
"""Expected share of cheap answers that are confirmed where nothing better is known: what two cheap models of 2024
agreed on in mathematics and code prediction (ZeroEval)."""
HOWS: tuple[CascadeHow, ...] = get_args(CascadeHow)


def how_of(cascade: bool | str | None, *, check: object, judge: object, schema: object) -> CascadeHow | None:
    """How a cheap answer is to be confirmed, from what the caller said of it. Raises RequestError.

    `True`, or None beside a check or a judge: by these, else by agreement.
    """
    implied = "check" if check is not None else "judge" if judge is not None else None
    if not cascade:
        if cascade is False and implied:
            raise RequestError(f"a {implied} is for a cascade: leave out cascade=False")
        how = implied
    else:
        how = implied or "agree" if cascade is True else cascade
    if how is None:
        return None
    if how not in HOWS:
        raise RequestError(f"no cascade {cascade!r}: choose one of {', '.join(HOWS)}")
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


def with_cascade(plan: Plan, registry: Registry, standing: Standing) -> Plan:
    """The plan with the cascade that its request asks for, or with the reason why there is none."""
    how = plan.request.cascade
    if how is None or not plan.candidates:
        return plan
    made = _cascade(plan, how, registry, standing)
    if isinstance(made, str):
        return dataclasses.replace(plan, no_cascade=made)
    return dataclasses.replace(plan, cascade=made)


def _cascade(plan: Plan, how: CascadeHow, registry: Registry, standing: Standing) -> Cascade | str:
    strong = plan.candidates[0]
    rate = _rater(plan, registry, standing)
    pool = [found for model in registry if not registry.is_local(model) and (found := rate(model)) is not None]
    pool = sorted((each for each in pool if each.expected_usd < strong.expected_usd), key=_by_cost)
    if not pool:
        return f"no usable model is cheaper than {strong.model.id}"
    cheap = _pair(pool) if how == "agree" else (pool[0],) * (2 if how == "twice" else 1)
    judge = None
    if how == "judge":
        assert plan.request.judge is not None
        judge = rate(registry[plan.request.judge], most=JUDGE_MAX_OUTPUT_TOKENS)
        if judge is None:
            return f"the judge {plan.request.judge} can't be used now"
    asked = [*cheap, *([judge] if judge else [])]
    first = sum((each.expected_usd for each in asked), ZERO)
    worst = sum((each.worst_usd for each in asked), strong.worst_usd)
    left = standing.left_usd(strong.model)
    if left is not None and worst > left:
        return f"all of it could cost up to {show_usd(worst)}, {show_usd(left)} left"
    return Cascade(
        how=how,
        cheap=cheap,
        strong=strong,
        judge=judge,
        kept=KEPT,
        expected_usd=first + Decimal(1 - KEPT) * strong.expected_usd,
        worst_usd=worst,
        why="asked for",
    )


def _by_cost(candidate: Candidate) -> Decimal:
    return candidate.expected_usd


def _pair(pool: list[Candidate]) -> tuple[Candidate, Candidate]:
    """The cheapest and the cheapest of another provider: relatives make the same mistakes. For want of one, itself."""
    first = pool[0]
    others = [each for each in pool if each.model.provider != first.model.provider] or pool[1:] or pool
    return first, others[0]


def _rater(plan: Plan, registry: Registry, standing: Standing) -> Callable[..., Candidate | None]:
    """What a plan for one model alone says of it; None where it can't be used."""

    def rate(model: ModelSpec, *, most: int | None = None) -> Candidate | None:
        changes: dict[str, Any] = {"model": model.id}
        if most is not None:
            changes["max_output_tokens"] = min(most, plan.request.max_output_tokens or most)
        request: Request = dataclasses.replace(plan.request, **changes)
        entry = make_plan(request, plan.classification, registry, standing).ranked[0]
        return entry if isinstance(entry, Candidate) and entry.model.id == model.id and not entry.cooling else None

    return rate
