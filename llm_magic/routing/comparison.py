"""Comparison of several models on one prompt: their requests, and the plans that can run."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from llm_magic.errors import BudgetExceeded, NoCandidate, RequestError
from llm_magic.events import RunEnded, RunEvent, RunFailed
from llm_magic.types import Compared, Comparison, Plan, Request, TaskTier


def requests_of(request: Request, models: Sequence[str]) -> dict[str, Request]:
    """Return the request to each model by its id, or to each tier if `models` is `("tiers",)`."""
    request = dataclasses.replace(request, cache=False, hedge_s=None, cascade="off")
    if tuple(models) == ("tiers",):
        return {str(tier): dataclasses.replace(request, tier=tier) for tier in TaskTier}
    requests = {
        model: dataclasses.replace(request, model=model, model_reason="compared with others") for model in models
    }
    if len(requests) < 2:
        raise RequestError("a comparison needs two models or more: separate their ids by commas, or compare tiers")
    return requests


def single_candidate(plan: Plan) -> Plan:
    """Return the plan with the requested model only, or with its first candidate only."""
    if requested := plan.request.model:
        return dataclasses.replace(plan, ranked=tuple(entry for entry in plan.ranked if entry.model.id == requested))
    return dataclasses.replace(plan, ranked=plan.candidates[:1] or plan.ranked)


def split_usable(
    plans: Mapping[str, Plan], refusal: Callable[[Plan], NoCandidate | BudgetExceeded]
) -> tuple[dict[str, Plan], dict[str, str], dict[str, RunFailed]]:
    """Return the plans that can run, the run ids of all, and the errors of the others.

    The first run is the parent of the others. Raises BudgetExceeded if a plan does not fit under a cap.
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
        error = refusal(plan)
        if isinstance(error, BudgetExceeded):
            raise error
        failed[label] = RunFailed(error=error)
    return usable, run_ids, failed


async def collected(plans: Mapping[str, Plan], events: AsyncIterator[tuple[str, RunEvent | RunFailed]]) -> Comparison:
    ends: dict[str, Compared] = {}
    async for label, event in events:
        if isinstance(event, RunEnded):
            ends[label] = Compared(label=label, result=event.result)
        elif isinstance(event, RunFailed):
            ends[label] = Compared(label=label, result=None, error=str(event.error))
    return Comparison(columns=tuple(ends[label] for label in plans))
