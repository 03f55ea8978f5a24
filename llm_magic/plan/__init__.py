"""From a request to an ordered list of candidates. Pure: sends nothing, spends nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from llm_magic.errors import RequestError
from llm_magic.plan.cascade import with_cascade
from llm_magic.plan.extras import extras_of
from llm_magic.plan.planner import CheapestCapable, PlanEntry, Planner, good_enough
from llm_magic.plan.rating import CandidateBuilder, PlanContext
from llm_magic.registry import Registry
from llm_magic.types import Candidate, Classification, Plan, Request, Skipped

__all__ = ["CheapestCapable", "PlanContext", "Planner", "good_enough", "make_plan"]


def make_plan(
    request: Request,
    classification: Classification,
    registry: Registry,
    context: PlanContext,
    *,
    planner: Planner | None = None,
) -> Plan:
    """Plan a request: its candidates in the planner's order (default: CheapestCapable), and the cascade before them.

    Raises RequestError if the request names an unknown model, or if the planner returns an entry that it was not given.
    """
    if request.model is not None:
        registry.check_known("model", request.model)
    ordering = CheapestCapable(context.seed) if planner is None else planner
    builder = CandidateBuilder(request, classification, context, registry)
    rated = [builder.build(model) for model in registry]
    usable = [entry for entry in rated if isinstance(entry, Candidate)]
    ranked = _ordered(ordering, request, classification, registry, rated)
    if not any(isinstance(entry, Candidate) for entry in ranked):
        # Better to ask a model that has just failed than to give up.
        rated = [builder.build(model, include_cooling=True) for model in registry]
        ranked = _ordered(ordering, request, classification, registry, rated)
    if not ranked:
        ranked = tuple(entry for entry in rated if isinstance(entry, Skipped))
    leader = next((entry for entry in ranked if isinstance(entry, Candidate)), None)
    plan = Plan(
        request=request,
        classification=classification,
        ranked=ranked,
        baseline_model=registry.baseline,
        baseline_usd=builder.typical_usd(registry.baseline),
        left_usd=context.left_usd(registry.baseline),
        baseline_reasoning_tokens=builder.measured_reasoning(registry.baseline),
        extras=extras_of(builder.quoter, leader, context.now),
        minimum_quality=builder.requirement.minimum_quality,
    )
    # A planner of the user's may leave models out: then a cascade must not ask them either.
    pool = usable if planner is None else [entry for entry in plan.candidates if not entry.cooling]
    return with_cascade(plan, pool, registry, builder)


def _ordered(
    planner: Planner, request: Request, classification: Classification, registry: Registry, rated: Sequence[PlanEntry]
) -> tuple[PlanEntry, ...]:
    return tuple(_checked(planner, planner.order(request, classification, registry, tuple(rated)), rated))


def _checked(planner: Planner, order: object, rated: Sequence[PlanEntry]) -> Iterator[PlanEntry]:
    name = type(planner).__name__
    if not isinstance(order, Sequence):
        raise RequestError(f"{name}.order must return a sequence of the candidates it is given, not {order!r}")
    given = {entry.model.id: entry for entry in rated}
    seen: set[str] = set()
    for entry in order:  # type: ignore[reportUnknownVariableType]
        if not isinstance(entry, Candidate | Skipped):
            raise RequestError(f"{name}.order must return the candidates it is given, not {entry!r}")
        model_id = entry.model.id
        if model_id in seen:
            raise RequestError(f"{name}.order returned {model_id!r} twice: return each candidate at most once")
        if given.get(model_id) != _unexplained(entry):
            raise RequestError(
                f"{name}.order returned an entry for {model_id!r} that it was not given: "
                "return entries of `rated`, changed in `why` and `stepped_down` only"
            )
        if isinstance(entry, Candidate) and not entry.why:
            why = "fallback" if any(isinstance(given[other], Candidate) for other in seen) else f"chosen by {name}"
            entry = dataclasses.replace(entry, why=why)
        seen.add(model_id)
        yield entry


def _unexplained(entry: PlanEntry) -> PlanEntry:
    return dataclasses.replace(entry, why="", stepped_down=False) if isinstance(entry, Candidate) else entry
