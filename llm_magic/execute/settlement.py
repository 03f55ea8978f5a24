"""How an attempt and a run end: their rows, their result, their error."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from decimal import Decimal

from llm_magic import answers, prices
from llm_magic.errors import (
    AllAttemptsFailed,
    BudgetExceeded,
    EmptyAnswer,
    ProviderError,
    Refused,
    StreamBroken,
)
from llm_magic.execute import ledger_io
from llm_magic.execute.state import AttemptState, Run, Services
from llm_magic.types import (
    ZERO,
    Attempt,
    Candidate,
    Cost,
    Doubt,
    ModelSpec,
    Outcome,
    Plan,
    RouteResult,
    Skipped,
    Step,
    Usage,
)


def check(meter: AttemptState, plan: Plan) -> None:
    """Raise what is wrong with an answer whose stream has ended."""
    if meter.finished is None:
        raise StreamBroken("the stream ended before the model said that it was done")
    if meter.finished.finish_reason == "refusal":
        raise Refused("the model refused to answer: rephrase the prompt, or ask another one with --model")
    if not "".join(meter.text).strip():
        cut = meter.finished.finish_reason == "length"
        raise EmptyAnswer(
            "all of its output tokens went into reasoning: allow more with --max-tokens" if cut else "an empty answer"
        )
    if plan.request.schema is not None and not meter.judging:
        meter.data = answers.parse("".join(meter.text), plan.request.schema)


def blank(run: Run, candidate: Candidate, services: Services) -> Attempt:
    """The row of an attempt that is about to be sent."""
    before = run.sent[-1] if run.sent and not run.deliberating else None
    return Attempt(
        run_id=run.id,
        attempt=len(run.sent) + 1,
        started_at=services.clock.now(),
        tier=run.plan.tier,
        confidence=run.plan.classification.confidence,
        difficulty=run.plan.classification.difficulty,
        provider=candidate.model.provider,
        model=candidate.model.id,
        served_model=None,
        outcome=Outcome.IN_FLIGHT,
        error=None,
        fallback_from=before if before != candidate.model.id else None,
        usage=Usage(),
        cost_usd=ZERO,
        cost_estimated=False,
        baseline_usd=ZERO,
        price_source="",
        ttft_s=None,
        latency_s=0.0,
        session_id=services.ledger.session_id,
        tags=run.plan.request.tags,
        parent_run_id=run.plan.request.parent_run_id,
    )


def settled(
    blank: Attempt, meter: AttemptState, outcome: Outcome, error: str | None, plan: Plan, services: Services
) -> Attempt:
    """The row of an attempt that is over, at what it cost."""
    served = meter.finished.served_model if meter.finished else None
    billed = not isinstance(meter.error, ProviderError) or meter.error.billed or meter.error.accepted
    usage, estimated = meter.usage(billed=billed)
    model = prices.served_spec(meter.candidate.model, served, services.registry)
    tier = meter.finished.service_tier if meter.finished else None
    cost = prices.cost(model, usage, blank.started_at, tier)
    answered = outcome == Outcome.OK or (outcome == Outcome.CANCELLED and bool(meter.text))
    return dataclasses.replace(
        blank,
        served_model=served,
        outcome=outcome,
        error=None if error is None else error[:500],
        usage=usage,
        cost_usd=cost.usd,
        cost_estimated=estimated,
        baseline_usd=_baseline_usd(model, usage, cost, plan, blank.started_at) if answered else ZERO,
        price_source=cost.price_source,
        input_price=cost.input_price,
        output_price=cost.output_price,
        service_tier=tier,
        ttft_s=None if meter.first_token is None else meter.first_token - meter.started,
        latency_s=services.clock.monotonic() - meter.started,
    )


def decided(
    meter: AttemptState,
    outcome: Outcome,
    run: Run,
    services: Services,
    *,
    error: str | None = None,
    reason: Doubt | None = None,
) -> Attempt:
    """What became of an unconfirmed answer, in the books too: it is `ok`, `agreed`, `superseded` or `judged`."""
    was = meter.row
    assert was is not None, "it has been settled"
    baseline = ZERO
    if outcome == Outcome.OK:
        model = prices.served_spec(meter.candidate.model, was.served_model, services.registry)
        cost = prices.cost(model, was.usage, was.started_at, was.service_tier)
        baseline = _baseline_usd(model, was.usage, cost, run.plan, was.started_at)
    now = dataclasses.replace(was, outcome=outcome, error=error, reason=reason, baseline_usd=baseline)
    with ledger_io.owed(services):  # the cost is settled already
        services.ledger.settle(now)
    run.attempts[run.attempts.index(was)] = meter.row = now
    return now


def _baseline_usd(model: ModelSpec, usage: Usage, cost: Cost, plan: Plan, at: datetime) -> Decimal:
    """What the same exchange costs on the baseline model: every kind of token, in that model's own tokens."""
    top = plan.baseline_model
    if top.id == model.id:
        return cost.usd
    ratio = top.token_ratio / model.token_ratio
    counts = {part.name: round(getattr(usage, part.name) * ratio) for part in dataclasses.fields(Usage)}
    return prices.cost(top, Usage(**counts), at).usd


def result(run: Run, meter: AttemptState, services: Services, *, session_cost_usd: Decimal) -> RouteResult:
    assert meter.finished is not None
    last = next(attempt for attempt in run.attempts if attempt.outcome == Outcome.OK)
    classification = run.plan.classification
    return RouteResult(
        run_id=run.id,
        text="".join(meter.text),
        data=meter.data,
        model=last.model,
        served_model=last.served_model or last.model,
        tier=classification.tier,
        confidence=classification.confidence,
        reasons=classification.reasons,
        path=_path(run),
        attempts=tuple(run.attempts),
        usage=last.usage,
        finish_reason=meter.finished.finish_reason,
        cost_usd=sum((attempt.cost_usd for attempt in run.attempts), ZERO),
        cost_estimated=any(attempt.cost_estimated for attempt in run.attempts),
        session_cost_usd=session_cost_usd,
        cap_usd=run.budget().session_usd,
        baseline_usd=last.baseline_usd,
        baseline_model=run.plan.baseline_model.id,
        ttft_s=last.ttft_s,
        latency_s=services.clock.monotonic() - run.started,
        notes=tuple(run.notes),
    )


def _path(run: Run) -> tuple[Step, ...]:
    """What became of each model up to the one that answered: skipped, failed, or ok."""
    before = sorted(run.attempts, key=lambda attempt: attempt.attempt)[: run.prelude]
    steps = [Step(model=each.model, outcome=each.outcome, detail=each.error or "") for each in before]
    if any(each.outcome == Outcome.OK for each in before):
        return tuple(steps)
    for entry in run.plan.ranked:
        if isinstance(entry, Skipped):
            steps.append(Step(model=entry.model.id, outcome=Outcome.SKIPPED, detail=entry.reason))
            continue
        if why := run.passed.get(entry.model.id):
            steps.append(Step(model=entry.model.id, outcome=Outcome.SKIPPED, detail=why))
        tries = [each for each in run.attempts if each.model == entry.model.id and each not in before]
        steps += [Step(model=entry.model.id, outcome=each.outcome, detail=each.error or "") for each in tries]
        if any(each.outcome == Outcome.OK for each in tries):
            break
    return tuple(steps)


def failed(run: Run) -> Exception:
    """The error of a run that has no answer."""
    if not run.attempts:
        last = run.errors[-1]
        return last if isinstance(last, BudgetExceeded) else AllAttemptsFailed(f"no answer: {last}", run.errors)
    causes = "; ".join(
        f"{step.model}: {step.outcome.replace('_', ' ')}{f' ({step.detail})' if step.detail else ''}"
        for step in _path(run)
    )
    refused = next((f"; {error}" for error in run.errors if isinstance(error, BudgetExceeded)), "")
    count = len(run.attempts)
    return AllAttemptsFailed(f"no answer after {count} attempt{'s' * (count > 1)}: {causes}{refused}", run.errors)
