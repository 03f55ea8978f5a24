"""The end of an attempt and of a run: row, result, error."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from decimal import Decimal

from llm_magic import answers, prices
from llm_magic.errors import (
    AllAttemptsFailed,
    BudgetExceeded,
    CutOff,
    EmptyAnswer,
    InvalidAnswer,
    Refused,
    StreamBroken,
)
from llm_magic.execute import last_resort, ledger_io, stated_cost, window
from llm_magic.execute.charge import Charge, charge_of
from llm_magic.execute.state import AttemptState, Run
from llm_magic.types import (
    ZERO,
    Attempt,
    Candidate,
    Confirmation,
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


def _is_cut_short(state: AttemptState, plan: Plan) -> bool:
    """True if the limit was derived from the lengths of earlier answers, and the full limit fits under the caps."""
    candidate = state.candidate
    if candidate.is_limited or candidate.max_output_tokens >= candidate.quote.full_output_tokens:
        return False
    if state.report is not None and state.report.usage.output_tokens < candidate.max_output_tokens / 2:
        return False  # the endpoint's window was full
    assert state.row is not None
    longer = candidate.with_full_output(state.row.started_at)
    return plan.left_usd is None or longer.worst_usd <= plan.left_usd


def check(state: AttemptState, plan: Plan, *, may_ask_again: bool = False) -> None:
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
    if reason == "length" and may_ask_again and _is_cut_short(state, plan):
        raise CutOff(f"the answer was cut off at {state.candidate.max_output_tokens:,} output tokens")
    if not state.answer_text.strip():
        raise EmptyAnswer(_reason_for_no_text(state, reason))
    if plan.request.schema is not None and not state.is_judge:
        state.data = answers.parse(state.answer_text, plan.request.schema)


def _reason_for_no_text(state: AttemptState, finish_reason: str) -> str:
    if finish_reason != "length":
        if state.finished is not None and state.finished.other_content:
            return f"the model returned {state.finished.other_content} without text"
        return f"the model returned {'reasoning without an answer' if state.reasoning else 'an empty answer'}"
    return window.reason_for_no_text(state)


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
    now = run.services.clock.monotonic()
    charge = charge_of(state, now=now, learned_pace=lambda: ledger_io.pace(run, state))
    model = prices.served_spec(state.candidate.model, served, run.services.registry)
    cost = _cost(model, charge.usage, row.started_at, state)
    charged = _charged(state, charge, model, cost, _cost(model, charge.seen, row.started_at, state).usd)
    state.report_doubt = "; ".join(filter(None, (charge.doubt, charged.note)))
    stopped = outcome == Outcome.CANCELLED and bool(state.text) and not run.is_shadow
    answered = outcome == Outcome.OK or stopped
    uncached = dataclasses.replace(charge.usage, cached_input_tokens=0, cache_write_tokens=0, cache_write_1h_tokens=0)
    own_usd = charged.usd if charged.is_providers else cost.usd
    return dataclasses.replace(
        row,
        served_model=served,
        outcome=outcome,
        error=None if error is None else error[:_MAX_ERROR_CHARACTERS],
        usage=charge.usage,
        cost_usd=charged.usd,
        cost_estimated=charge.is_estimated,
        cost_basis=charge.basis,
        cost_low_usd=charged.low_usd,
        cost_high_usd=charged.high_usd,
        provider_cost_usd=charged.stated_usd,
        baseline_usd=_baseline_usd(run, state, model, charge.usage, own_usd) if answered else ZERO,
        comparable=not answered or last_resort.is_comparable(run, state.candidate),
        cache_saved_usd=_cost(model, uncached, row.started_at, state).usd - cost.usd,
        price_source=cost.price_source,
        input_price=cost.input_price,
        output_price=cost.output_price,
        service_tier=state.finished.service_tier if state.finished else None,
        ttft_s=None if state.first_token_at is None else state.first_token_at - state.started,
        latency_s=now - state.started,
    )


def decided_row(
    run: Run,
    state: AttemptState,
    outcome: Outcome,
    error: str | None = None,
    reason: Doubt | None = None,
    confirmation: Confirmation | None = None,
) -> Attempt:
    row = state.row
    assert row is not None, "it has been settled"
    baseline = ZERO
    if outcome == Outcome.OK:
        model = prices.served_spec(state.candidate.model, row.served_model, run.services.registry)
        is_providers = row.provider_cost_usd is not None and model.price is not None
        own_usd = row.cost_usd if is_providers else _cost(model, row.usage, row.started_at, state).usd
        baseline = _baseline_usd(run, state, model, row.usage, own_usd)
    comparable = outcome != Outcome.OK or last_resort.is_comparable(run, state.candidate)
    return dataclasses.replace(
        row,
        outcome=outcome,
        error=error,
        reason=reason,
        confirmation=confirmation,
        baseline_usd=baseline,
        comparable=comparable,
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Charged:
    """The cost of an attempt with its bounds. stated_usd: the provider's own cost, if it is credible."""

    usd: Decimal
    low_usd: Decimal | None
    high_usd: Decimal | None
    stated_usd: Decimal | None
    is_providers: bool
    note: str


def _charged(state: AttemptState, charge: Charge, model: ModelSpec, cost: Cost, seen_usd: Decimal) -> _Charged:
    """Return the cost to charge: the provider's own for a model with a stated price, else the one by the catalog."""
    assert state.hold is not None
    held_usd = state.hold.worst_usd
    stated_usd = None if state.report is None else state.report.cost_usd
    note = ""
    if stated_usd is not None:
        note = stated_cost.doubt_of(stated_usd, own_usd=cost.usd, held_usd=held_usd, usage=charge.usage)
        stated_usd = None if note else stated_usd
    is_providers = stated_usd is not None and model.price is not None
    if stated_usd is not None and not charge.is_estimated:
        note = stated_cost.difference(stated_usd, own_usd=cost.usd, is_charged=is_providers)
    usd = stated_usd if stated_usd is not None and is_providers else cost.usd
    low_usd, high_usd = None, None
    if charge.is_estimated:
        usd = held_usd if charge.basis is CostBasis.HELD and not is_providers else min(usd, held_usd)
        low_usd, high_usd = min(usd, seen_usd), held_usd
    return _Charged(
        usd=usd, low_usd=low_usd, high_usd=high_usd, stated_usd=stated_usd, is_providers=is_providers, note=note
    )


def _cost(model: ModelSpec, usage: Usage, at: datetime, state: AttemptState) -> Cost:
    if (finished := state.finished) is None:
        return prices.cost(model, usage, at)
    return prices.cost(model, usage, at, finished.service_tier, speed=finished.speed, region=finished.region)


def _baseline_usd(run: Run, state: AttemptState, model: ModelSpec, usage: Usage, own_usd: Decimal) -> Decimal:
    """Return the cost of the same exchange on the baseline model, with all counts in that model's own tokens.

    Its reasoning is what was measured of it at its default effort, or that of the answer if too little was measured.
    An answer that is not comparable saves nothing, so its own cost is returned.
    """
    assert state.row is not None
    baseline, reasoning = run.plan.baseline_model, run.plan.baseline_reasoning_tokens
    if baseline.id == model.id:
        default = None if baseline.effort is None else baseline.effort.default
        if reasoning is None or state.candidate.effort in (None, default):
            return own_usd
    if not last_resort.is_comparable(run, state.candidate):
        return own_usd
    ratio = baseline.token_ratio / model.token_ratio
    counts = {field.name: round(getattr(usage, field.name) * ratio) for field in dataclasses.fields(Usage)}
    if reasoning is not None:
        answer_tokens = counts["output_tokens"] - counts["reasoning_tokens"]
        counts |= {"reasoning_tokens": round(reasoning), "output_tokens": answer_tokens + round(reasoning)}
    return prices.cost(baseline, Usage(**counts), state.row.started_at).usd


def result(run: Run, state: AttemptState, *, session_cost_usd: Decimal) -> RouteResult:
    assert state.finished is not None
    answer = next(attempt for attempt in run.attempts if attempt.outcome == run.answer_outcome)
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
        comparable=answer.comparable,
        cut_by_endpoint=window.is_cut_by_endpoint(state),
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
    hints = [error.hint for error in run.errors if isinstance(error, InvalidAnswer) and error.hint]
    invalid = f". What was invalid: {hints[-1]}" if hints else ""
    tries = f"{len(run.attempts)} attempt{'s' * (len(run.attempts) > 1)}"
    return AllAttemptsFailed(f"no answer after {tries}: {causes}{over_budget}{invalid}", run.errors)
