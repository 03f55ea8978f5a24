"""The result of a run that ended without an answer: the text, cost and outcome so far."""

from __future__ import annotations

from typing import Literal

from llm_magic.errors import LLMMagicError
from llm_magic.jupyter.render.run_state import RunState
from llm_magic.routing import Router
from llm_magic.types import ZERO, Request, RouteResult, Usage

Ending = Literal["stopped", "failed", "not sent"]


def result_of(router: Router, request: Request, state: RunState, ending: Ending) -> RouteResult | None:
    """Return the result, with `ending` as its finish_reason; None if not even a plan can be made for the request."""
    try:
        plan = state.plan or router.plan(request)
    except LLMMagicError:
        return None
    attempts = tuple(state.attempts)
    last = attempts[-1] if attempts else None
    return RouteResult(
        run_id=state.run_id,
        text=state.text,
        model=last.model if last else "no model",
        served_model=(last.served_model if last else None) or "",
        tier=plan.tier,
        confidence=plan.classification.confidence,
        reasons=plan.classification.reasons,
        path=state.path(),
        attempts=attempts,
        usage=last.usage if last else Usage(),
        finish_reason=ending,
        cost_usd=state.cost_usd,
        cost_estimated=any(attempt.cost_estimated for attempt in attempts),
        session_cost_usd=state.session_usd,
        cap_usd=state.cap_usd,
        baseline_usd=sum((attempt.baseline_usd for attempt in attempts), ZERO),
        baseline_model=plan.baseline_model.id,
        ttft_s=last.ttft_s if last else None,
        latency_s=sum(attempt.latency_s for attempt in attempts),
        notes=state.notes,
    )
