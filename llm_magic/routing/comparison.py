"""The same prompt for several models: what each is asked, and which of them can be asked at all."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Mapping, Sequence

from llm_magic.errors import BudgetExceeded, NoCandidate, RequestError
from llm_magic.events import RunFailed
from llm_magic.types import Plan, Request, TaskTier


def asked_of(request: Request, models: Sequence[str]) -> dict[str, Request]:
    """The request to each model, by its id, or to each tier, where `models` is `("tiers",)`."""
    request = dataclasses.replace(request, cache=False, hedge_s=None, cascade="off")
    if tuple(models) == ("tiers",):
        return {str(tier): dataclasses.replace(request, tier=tier) for tier in TaskTier}
    asked = {model: dataclasses.replace(request, model=model) for model in models}
    if len(asked) < 2:
        raise RequestError("a comparison needs two models or more: name them with commas between, or say tiers")
    return asked


def single_candidate(plan: Plan) -> Plan:
    """The plan with the model that was asked for alone, or else with its first candidate alone."""
    asked = plan.request.model
    ranked = [each for each in plan.ranked if each.model.id == asked] if asked else plan.candidates[:1] or plan.ranked
    return dataclasses.replace(plan, ranked=tuple(ranked))


def runs_of(
    plans: Mapping[str, Plan], refusal: Callable[[Plan], NoCandidate | BudgetExceeded]
) -> tuple[dict[str, Plan], dict[str, str], dict[str, RunFailed]]:
    """The plans that can run, the id of each one's run, and why the others can't. The first run is the others' parent.

    Raises BudgetExceeded where one of them does not fit under a cap.
    """
    usable: dict[str, Plan] = {}
    failed: dict[str, RunFailed] = {}
    run_ids = {label: uuid.uuid4().hex for label in plans}
    parent: str | None = None
    for label, plan in plans.items():
        if plan.candidates:
            request = plan.request if parent is None else dataclasses.replace(plan.request, parent_run_id=parent)
            usable[label] = dataclasses.replace(plan, request=request)
            parent = parent or run_ids[label]
            continue
        why = refusal(plan)
        if isinstance(why, BudgetExceeded):
            raise why
        failed[label] = RunFailed(error=why)
    return usable, run_ids, failed
