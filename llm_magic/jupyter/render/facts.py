"""The displayed facts of runs, comparisons and plans, in words and independent of the output format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, auto

from llm_magic.budget import extra_line, short_usd, show_usd
from llm_magic.jupyter.render.markdown import fenced
from llm_magic.jupyter.render.run_state import RunState, RunStates, Verbosity
from llm_magic.types import ZERO, Candidate, Cascade, Classification, Outcome, Plan, RouteResult, Step, name_at

_SIGNS = {
    Outcome.OK: "✓", Outcome.CACHED: "✓", Outcome.AGREED: "✓", Outcome.JUDGED: "✓", Outcome.SUPERSEDED: "–",
    Outcome.SKIPPED: "–", Outcome.RUNNING: "…",
}  # fmt: skip


class Tone(Enum):
    GOOD = auto()
    BAD = auto()
    NEUTRAL = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """A step of a path, or a provider. The text includes a sign, so that nothing depends on color."""

    text: str
    tone: Tone
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierFacts:
    name: str
    confidence: float
    reasons: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFacts:
    text: str
    spent_usd: Decimal
    cap_usd: Decimal | None

    @property
    def share(self) -> float:
        return float(min(Decimal(1), self.spent_usd / self.cap_usd)) if self.cap_usd else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """One run without its answer. A fact that is not known yet is empty.

    summary: model, cost and time. details: the rest, shown when the reader asks for it or when `is_notable`.
    """

    model: str
    phase: str
    ending: str
    summary: tuple[str, ...]
    session: SessionFacts
    path: tuple[Badge, ...]
    details: tuple[str, ...]
    notes: tuple[str, ...]
    is_notable: bool
    verbosity: Verbosity

    @property
    def shows_summary(self) -> bool:
        return self.is_notable or self.verbosity != "quiet" or bool(self.phase)

    @property
    def opens_details(self) -> bool:
        return self.is_notable or self.verbosity == "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnFacts:
    name: str
    lines: tuple[str, ...]
    answer_markdown: str
    answer_text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonFacts:
    columns: tuple[ColumnFacts, ...]
    footer: tuple[str, ...]


def run_facts(state: RunState) -> RunFacts:
    result = state.result
    path = tuple(_step_badge(step) for step in state.path() if step.is_configured)
    model = model_name(state) if state.attempts_started or result is not None else ""
    latency = f"{result.latency_s:.1f} s" if result is not None and not result.cached else ""
    return RunFacts(
        model=model_name(state),
        phase=state.phase(),
        ending=state.ending,
        summary=tuple(filter(None, (model, run_cost(state), latency))),
        session=session_facts(state.session_usd, state.cap_usd),
        path=path if len(path) > 1 or any(step.tone is Tone.BAD for step in path) else (),
        details=tuple(_run_details(state)),
        notes=state.notes,
        is_notable=_is_notable(state, path),
        verbosity=state.verbosity,
    )


def _run_details(state: RunState) -> list[str]:
    known = state.result or (state.plan.classification if state.plan is not None else None)
    lines = [] if known is None else [_tier_line(tier_facts(known))]
    if (choice := _choice(state)) is not None:
        lines.append(f"{choice.name}: {choice.why}")
    if state.result is not None:
        lines += [_usage(state.result), *_details(state.result)]
    return lines


def _choice(state: RunState) -> Candidate | None:
    """Return the candidate that answered."""
    if state.plan is None or state.result is None or state.result.cached:
        return None
    return next((entry for entry in state.plan.candidates if entry.model.id == state.result.model), None)


def _is_notable(state: RunState, path: Sequence[Badge]) -> bool:
    """Return True after a fallback, a refusal, a step down, an estimate, a cut, or a failure."""
    result = state.result
    if state.ending or any(step.tone is Tone.BAD for step in path) or state.has_notable_note:
        return True
    return result is not None and (result.cost_estimated or bool(_truncation(result)))


def _tier_line(tier: TierFacts) -> str:
    sure = "" if tier.confidence == 1 else f", {min(tier.confidence, 0.99):.0%} sure"
    return f"{tier.name}{sure}: {tier.reasons}"


def tier_facts(source: RouteResult | Classification) -> TierFacts:
    return TierFacts(name=str(source.tier), confidence=source.confidence, reasons="; ".join(source.reasons))


def session_facts(spent_usd: Decimal, cap_usd: Decimal | None) -> SessionFacts:
    exact = cap_usd is not None and cap_usd < Decimal("0.01")
    amounts = [_dollars(amount, exact=exact) for amount in (spent_usd, cap_usd) if amount is not None]
    return SessionFacts(text=f"session {' of '.join(amounts)}", spent_usd=spent_usd, cap_usd=cap_usd)


def _dollars(amount_usd: Decimal, *, exact: bool) -> str:
    return show_usd(amount_usd).replace("USD ", "$") if exact else short_usd(amount_usd)


def model_name(state: RunState) -> str:
    if state.result is not None:
        return name_at(state.result.model, state.result.effort)
    return state.current.name if state.current is not None else "no model yet"


def run_cost(state: RunState) -> str:
    if state.result is not None:
        return _cost(state.result.cost_usd, estimated=state.result.cost_estimated)
    if not state.attempts:
        return ""
    return _cost(state.cost_usd, estimated=any(attempt.cost_estimated for attempt in state.attempts))


def savings(amount_usd: Decimal, baseline_usd: Decimal, baseline_model: str) -> str:
    if baseline_usd == 0:
        return f"{short_usd(amount_usd)} against {baseline_model}"
    amount = short_usd(abs(amount_usd))
    words = f"saved {amount}" if amount_usd >= 0 else f"spent {amount} more"
    return f"{words} against {baseline_model} ({abs(amount_usd) / baseline_usd:.0%})"


def comparison_facts(states: RunStates) -> ComparisonFacts:
    footer = [total_cost(states), f"session {short_usd(max(state.session_usd for state in states.values()))}"]
    if any(state.result is not None for state in states.values()):
        footer.append("keep the best one: %route_pick N, or Pick in %route_panel")
    columns = tuple(
        ColumnFacts(
            name=column_name(number, label),
            lines=tuple(column_lines(label, state)),
            answer_markdown=answer_markdown(state),
            answer_text=state.text,
        )
        for number, (label, state) in enumerate(states.items(), 1)
    )
    return ComparisonFacts(columns=columns, footer=tuple(footer))


def column_name(number: int, label: str) -> str:
    return f"{number}. {label}"


def column_lines(label: str, state: RunState) -> list[str]:
    result = state.result
    if result is None:
        return [state.ending or f"… {state.phase()}"]
    lines = [f"{_cost(result.cost_usd, estimated=result.cost_estimated)}, {result.latency_s:.1f} s"]
    lines += [result.model] if result.model != label else []
    lines.append(f"{result.usage.input_tokens:,} in, {result.usage.output_tokens:,} out tokens")
    return [*lines, *_truncation(result), *state.notes]


def total_cost(states: RunStates) -> str:
    return f"total {short_usd(sum((state.cost_usd for state in states.values()), ZERO))}"


def answer_markdown(state: RunState) -> str:
    """Return the answer as Markdown: the model's own, or a code block if JSON was requested."""
    if state.plan is None or state.plan.request.schema is None:
        return state.text
    return fenced(state.text, "json")


def unfinished(models: Sequence[str]) -> str:
    sent = f"Sent to {' and '.join(models)}. " if models else ""
    return (
        f"{sent}This run did not finish: its kernel was stopped or died. "
        "Its reserved amount stays charged, as uncertain, until you reconcile it: see %route_budget."
    )


def plan_notes(plan: Plan) -> list[str]:
    if plan.cascade is not None:
        cascade = [_cascade(plan.cascade)]
    else:
        cascade = [f"no cascade: {plan.no_cascade}"] if plan.no_cascade else []
    return [*map(extra_line, plan.extras), *cascade, _budget_after(plan)]


def _cascade(cascade: Cascade) -> str:
    names = " and ".join(candidate.name for candidate in cascade.cheap)
    condition = {
        "agree": "if they agree",
        "twice": "if they agree",
        "schema": "if it fits the schema",
        "check": "if the check accepts it",
        "judge": f"if {cascade.judge.model.id if cascade.judge else ''} finds it good",
    }[cascade.mode]
    return (
        f"cascade: {names} first, kept {condition} (about {cascade.acceptance_rate:.0%}), else "
        f"{cascade.strong.name}: {show_usd(cascade.expected_usd)} expected, "
        f"{show_usd(cascade.worst_usd)} at worst, quality {cascade.expected_quality:.0%}; {cascade.why}"
    )


def _budget_after(plan: Plan) -> str:
    baseline = f"on {plan.baseline_model.id} alone: {show_usd(plan.baseline_usd)} expected"
    if plan.left_usd is None:
        return f"no cap is set; {baseline}; nothing was sent"
    if plan.expected_usd is None:
        return f"{show_usd(plan.left_usd)} left: no model fits; {baseline}; nothing was sent"
    after = plan.left_usd - plan.expected_usd
    return f"{show_usd(plan.left_usd)} left, {show_usd(after)} expected after; {baseline}; nothing was sent"


def _usage(result: RouteResult) -> str:
    if result.cached:
        return "from the cache: nothing was sent"
    usage = result.usage
    cached = f" ({usage.cached_input_tokens:,} cached)" if usage.cached_input_tokens else ""
    reasoning = f" ({usage.reasoning_tokens:,} reasoning)" if usage.reasoning_tokens else ""
    return f"{usage.input_tokens:,}{cached} in, {usage.output_tokens:,}{reasoning} out tokens"


def _details(result: RouteResult) -> list[str]:
    first = "" if result.ttft_s is None else f"first token {result.ttft_s:.1f} s, "
    details = [
        *([savings(result.savings_usd, result.baseline_usd, result.baseline_model)] if result.savings_usd else []),
        f"{first}total {result.latency_s:.1f} s",
        *_truncation(result),
    ]
    if result.served_model not in (result.model, ""):
        details.append(f"served by {result.served_model}")
    return details


def _truncation(result: RouteResult) -> list[str]:
    cut_off = result.finish_reason == "length"
    return ["cut off at the output limit: allow more with --max-tokens"] if cut_off else []


def _cost(amount_usd: Decimal, *, estimated: bool) -> str:
    return f"{short_usd(amount_usd)}{' (estimated)' if estimated else ''}"


def _step_badge(step: Step) -> Badge:
    sign = _SIGNS.get(step.outcome)
    reason = step.detail if step.outcome == Outcome.SKIPPED else step.outcome.words
    text = f"{sign or '✗'} {step.model}" + ("" if step.outcome == Outcome.OK else f": {reason}")
    tone = Tone.GOOD if step.outcome.is_answer else Tone.BAD if sign is None else Tone.NEUTRAL
    return Badge(text=text, tone=tone, detail=step.detail)
