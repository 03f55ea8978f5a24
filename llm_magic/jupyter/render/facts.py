"""The displayed facts of runs, comparisons and plans, in words and independent of the output format."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, auto

from llm_magic.budget import short_usd, show_usd
from llm_magic.jupyter.render.markdown import fenced
from llm_magic.jupyter.render.run_state import RunState, RunStates, Verbosity
from llm_magic.types import ZERO, Candidate, Classification, Outcome, RouteResult, Step, name_at

_SIGNS = {
    Outcome.OK: "✓", Outcome.CACHED: "✓", Outcome.AGREED: "✓", Outcome.JUDGED: "✓", Outcome.SUPERSEDED: "–",
    Outcome.SKIPPED: "–", Outcome.RUNNING: "…",
}  # fmt: skip

_MAX_THINKING_CHARS = 20_000
"""Kept in the notebook."""


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
    def is_passed(self) -> bool:
        """True if the cap was lowered below what is spent."""
        return self.cap_usd is not None and self.spent_usd > self.cap_usd

    @property
    def share(self) -> float:
        return float(min(Decimal(1), self.spent_usd / self.cap_usd)) if self.cap_usd else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """One run without its answer. A fact that is not known yet is empty.

    summary: model, cost and time. details: the rest, shown when the reader asks for it or when `is_notable`.
    thinking: Markdown, or its start.
    """

    model: str
    phase: str
    ending: str
    summary: tuple[str, ...]
    session: SessionFacts
    path: tuple[Badge, ...]
    details: tuple[str, ...]
    notes: tuple[str, ...]
    thinking: str
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
    """An answer of a comparison. is_folded: another answer was picked."""

    name: str
    lines: tuple[str, ...]
    answer_markdown: str
    answer_text: str
    is_picked: bool = False
    is_folded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonFacts:
    """hint: what to do next without the buttons of a live comparison."""

    columns: tuple[ColumnFacts, ...]
    footer: tuple[str, ...]
    hint: str


def run_facts(state: RunState) -> RunFacts:
    result = state.result
    path = _path_badges(state.path())
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
        thinking=_thinking(state),
        is_notable=_is_notable(state, path),
        verbosity=state.verbosity,
    )


def _thinking(state: RunState) -> str:
    text = "".join(state.thoughts).strip()
    if len(text) <= _MAX_THINKING_CHARS:
        return text
    return f"{text[:_MAX_THINKING_CHARS]} … ({len(text) - _MAX_THINKING_CHARS:,} more characters)"


def _path_badges(path: Sequence[Step]) -> tuple[Badge, ...]:
    """Return a badge for each step of a configured model. Repeated equal steps are one badge with their number."""
    badges: list[Badge] = []
    steps = (_step_badge(step) for step in path if step.is_configured)
    for text, repeated in itertools.groupby(steps, key=lambda badge: badge.text):
        last, count = (group := list(repeated))[-1], len(group)
        badges.append(dataclasses.replace(last, text=f"{text} ×{count}") if count > 1 else last)
    return tuple(badges)


def _run_details(state: RunState) -> list[str]:
    known = state.result or (state.plan.classification if state.plan is not None else None)
    lines = [] if known is None else [_tier_line(tier_facts(known))]
    if (choice := _choice(state)) is not None:
        lines.append(f"{choice.name}: {choice.why}")
    if state.result is not None:
        lines += [_usage(state.result), *_details(state.result)]
    return lines


def _choice(state: RunState) -> Candidate | None:
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
    show = show_usd if exact else short_usd
    amounts = [show(amount) for amount in (spent_usd, cap_usd) if amount is not None]
    return SessionFacts(text=f"session {' of '.join(amounts)}", spent_usd=spent_usd, cap_usd=cap_usd)


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


def comparison_facts(states: RunStates, picked: str | None = None) -> ComparisonFacts:
    columns = tuple(
        ColumnFacts(
            name=column_name(number, label),
            lines=tuple(column_lines(label, state)),
            answer_markdown=answer_markdown(state),
            answer_text=state.text,
            is_picked=label == picked,
            is_folded=picked not in (None, label),
        )
        for number, (label, state) in enumerate(states.items(), 1)
    )
    has_answers = any(state.result is not None for state in states.values())
    hint = "keep the best one: %route_pick N, or Pick in %route_panel" if has_answers else ""
    return ComparisonFacts(columns=columns, footer=comparison_footer(states), hint=hint)


def comparison_footer(states: RunStates) -> tuple[str, ...]:
    last = max(states.values(), key=lambda state: state.session_usd)
    return total_cost(states), session_facts(last.session_usd, last.cap_usd).text


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
        *_savings(result),
        f"{first}total {result.latency_s:.1f} s",
        *_truncation(result),
    ]
    if result.served_model not in (result.model, ""):
        details.append(f"served by {result.served_model}")
    return details


def _savings(result: RouteResult) -> list[str]:
    if not result.comparable:
        return [f"savings not comparable: {result.baseline_model} is expected to answer better"]
    return [savings(result.savings_usd, result.baseline_usd, result.baseline_model)] if result.savings_usd else []


def _truncation(result: RouteResult) -> list[str]:
    if result.finish_reason != "length":
        return []
    if result.cut_by_endpoint:
        return ["cut off by its endpoint before the output limit"]
    return ["cut off at the output limit: allow more with --max-tokens"]


def _cost(amount_usd: Decimal, *, estimated: bool) -> str:
    return f"{short_usd(amount_usd)}{' (estimated)' if estimated else ''}"


def _step_badge(step: Step) -> Badge:
    sign = _SIGNS.get(step.outcome)
    reason = step.detail if step.outcome == Outcome.SKIPPED else step.outcome.words
    text = f"{sign or '✗'} {step.model}" + ("" if step.outcome == Outcome.OK else f": {reason}")
    tone = Tone.GOOD if step.outcome.is_answer else Tone.BAD if sign is None else Tone.NEUTRAL
    return Badge(text=text, tone=tone, detail=step.detail)
