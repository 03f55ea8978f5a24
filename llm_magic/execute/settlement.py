"""The end of an attempt and of a run: row, result, error."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from decimal import Decimal

from llm_magic import answers, prices
from llm_magic.errors import AllAttemptsFailed, BudgetExceeded, EmptyAnswer, Refused, StreamBroken
from llm_magic.execute import last_resort, ledger_io
from llm_magic.execute.charge import charge_of
from llm_magic.execute.state import AttemptState, Run
from llm_magic.types import (
    ZERO,
    Attempt,
    Candidate,
    Cost,
    CostBasis,
    Doubt,
    ModelSpec,
    Outcome,
    Plan,
    RouteResult,
    Usage,
)

_MAX_ERROR_CHARACTERS = 500
_TOO_FEW_TO_REASON = 4
"""Output tokens."""


def check(state: AttemptState, plan: Plan) -> None:
    """Raise a ProviderError if the stream has ended without a usable answer."""
    if state.finished is None:
        raise StreamBroken("the stream ended before the model reported that it was done")
    reason = state.finished.finish_reason
    if reason == "refusal":
        category = f" [{state.finished.refusal}]" if state.finished.refusal else ""
        advice = "rephrase the prompt, or choose another model with --model"
        raise Refused(f"the model refused to answer{category}: {advice}", category=state.finished.refusal)
    if reason not in ("stop", "length"):
        raise StreamBroken(f"the provider ended the answer with {reason!r}: it is not whole", retryable=False)
    if not state.answer_text.strip():
        raise EmptyAnswer(_reason_for_no_text(state, reason))
    if plan.request.schema is not None and not state.is_judge:
        state.data = answers.parse(state.answer_text, plan.request.schema)


def _reason_for_no_text(state: AttemptState, finish_reason: str) -> str:
    if finish_reason != "length":
        return f"the model returned {'reasoning without an answer' if state.reasoning else 'an empty answer'}"
    report = state.report
    if report is not None and report.usage.output_tokens <= _TOO_FEW_TO_REASON:
        tokens = f"{report.usage.input_tokens:,} input tokens"
        return f"the endpoint's context window was full after {tokens}: shorten the prompt, or enlarge the window"
    return "all of its output tokens went into reasoning: allow more with --max-tokens"


def pending_row(run: Run, candidate: Candidate) -> Attempt:
    previous = run.sent_models[-1] if run.sent_models and not run.awaiting_confirmation else None
    return Attempt(
        run_id=run.id,
        attempt=len(run.sent_models) + 1,
        started_at=run.services.clock.now(),
        tier=run.plan.tier,
        confidence=run.plan.classification.confidence,
        difficulty=run.plan.classification.difficulty,
        provider=candidate.model.provider,
        model=candidate.model.id,
        effort=candidate.effort,
        expected_usd=candidate.expected_usd,
        served_model=None,
        outcome=Outcome.IN_FLIGHT,
        error=None,
        fallback_from=previous if previous != candidate.model.id else None,
        usage=Usage(),
        cost_usd=ZERO,
        cost_estimated=False,
        baseline_usd=ZERO,
        price_source="",
        ttft_s=None,
        latency_s=0.0,
        session_id=run.services.ledger.session_id,
        tags=run.plan.request.tags,
        parent_run_id=run.plan.request.parent_run_id,
    )


def settled_row(run: Run, state: AttemptState, row: Attempt, outcome: Outcome, error: str | None) -> Attempt:
    served = state.finished.served_model if state.finished else None
    service_tier = state.finished.service_tier if state.finished else None
    now = run.services.clock.monotonic()
    charge = charge_of(state, now=now, learned_pace=lambda: ledger_io.pace(run, state.candidate.model))
    usage, state.report_doubt = charge.usage, charge.doubt
    model = prices.served_spec(state.candidate.model, served, run.services.registry)
    cost = prices.cost(model, usage, row.started_at, service_tier)
    cost_usd, low_usd, high_usd = cost.usd, None, None
    if charge.is_estimated:
        assert state.hold is not None
        high_usd = state.hold.worst_usd
        cost_usd = high_usd if charge.basis is CostBasis.HELD else min(cost.usd, high_usd)
        low_usd = min(cost_usd, prices.cost(model, charge.seen, row.started_at, service_tier).usd)
    answered = outcome == Outcome.OK or (outcome == Outcome.CANCELLED and bool(state.text))
    return dataclasses.replace(
        row,
        served_model=served,
        outcome=outcome,
        error=None if error is None else error[:_MAX_ERROR_CHARACTERS],
        usage=usage,
        cost_usd=cost_usd,
        cost_estimated=charge.is_estimated,
        cost_basis=charge.basis,
        cost_low_usd=low_usd,
        cost_high_usd=high_usd,
        baseline_usd=_baseline_usd(run, state.candidate, model, usage, cost, row.started_at) if answered else ZERO,
        price_source=cost.price_source,
        input_price=cost.input_price,
        output_price=cost.output_price,
        service_tier=service_tier,
        ttft_s=None if state.first_token_at is None else state.first_token_at - state.started,
        latency_s=now - state.started,
    )


def decided_row(
    run: Run, state: AttemptState, outcome: Outcome, error: str | None = None, reason: Doubt | None = None
) -> Attempt:
    row = state.row
    assert row is not None, "it has been settled"
    baseline = ZERO
    if outcome == Outcome.OK:
        model = prices.served_spec(state.candidate.model, row.served_model, run.services.registry)
        cost = prices.cost(model, row.usage, row.started_at, row.service_tier)
        baseline = _baseline_usd(run, state.candidate, model, row.usage, cost, row.started_at)
    return dataclasses.replace(row, outcome=outcome, error=error, reason=reason, baseline_usd=baseline)


def _baseline_usd(run: Run, candidate: Candidate, model: ModelSpec, usage: Usage, cost: Cost, at: datetime) -> Decimal:
    """Return the cost of the same exchange on the baseline model, with all counts in that model's own tokens.

    Its reasoning is what was measured of it at its default effort, or that of the answer if too little was measured.
    An answer below the requested quality saves nothing, so its own cost is returned.
    """
    baseline = run.plan.baseline_model
    if baseline.id == model.id or not (run.plan.cascade or last_resort.counts_savings(run, candidate)):
        return cost.usd
    ratio = baseline.token_ratio / model.token_ratio
    counts = {field.name: round(getattr(usage, field.name) * ratio) for field in dataclasses.fields(Usage)}
    if (reasoning := run.plan.baseline_reasoning_tokens) is not None:
        answer_tokens = counts["output_tokens"] - counts["reasoning_tokens"]
        counts |= {"reasoning_tokens": round(reasoning), "output_tokens": answer_tokens + round(reasoning)}
    return prices.cost(baseline, Usage(**counts), at).usd


def result(run: Run, state: AttemptState, *, session_cost_usd: Decimal) -> RouteResult:
    assert state.finished is not None
    answer = next(attempt for attempt in run.attempts if attempt.outcome == Outcome.OK)
    classification = run.plan.classification
    return RouteResult(
        run_id=run.id,
        text=state.answer_text,
        data=state.data,
        model=answer.model,
        effort=answer.effort,
        served_model=answer.served_model or answer.model,
        tier=classification.tier,
        confidence=classification.confidence,
        reasons=classification.reasons,
        path=last_resort.run_path(run),
        attempts=tuple(run.attempts),
        usage=answer.usage,
        finish_reason=state.finished.finish_reason,
        cost_usd=sum((attempt.cost_usd for attempt in run.attempts), ZERO),
        cost_estimated=any(attempt.cost_estimated for attempt in run.attempts),
        session_cost_usd=session_cost_usd,
        cap_usd=run.budget().session_usd,
        baseline_usd=answer.baseline_usd,
        baseline_model=run.plan.baseline_model.id,
        ttft_s=answer.ttft_s,
        latency_s=run.services.clock.monotonic() - run.started,
        notes=tuple(run.notes),
    )


def failure(run: Run) -> Exception:
    if not run.attempts:
        last = run.errors[-1]
        return last if isinstance(last, BudgetExceeded) else AllAttemptsFailed(f"no answer: {last}", run.errors)
    causes = last_resort.causes_of(last_resort.run_path(run)) + last_resort.key_hint(run)
    over_budget = next((f"; {error}" for error in run.errors if isinstance(error, BudgetExceeded)), "")
    count = len(run.attempts)
    return AllAttemptsFailed(f"no answer after {count} attempt{'s' * (count > 1)}: {causes}{over_budget}", run.errors)
