"""Tokens that an attempt is charged for: those that the provider reported, or an estimate up to the hold.

A provider bills reasoning that it never shows. If it does not report the usage (the user stopped the run, a timeout, a
broken connection), the hidden part is estimated by time and pace, and bounded by the output limit that was sent.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable

from llm_magic import tokens
from llm_magic.execute.state import MIN_SILENCE_S, AttemptState, Failed
from llm_magic.providers.base import UsageReport
from llm_magic.types import CostBasis, ModelSpec, Usage

_OWN_PACE_MARGIN = 1.5
_MIN_OWN_PACE_TOKENS = 5
_MIN_WRITING_SHARE, _MAX_BURST_PAUSE_S = 0.25, 2.0
_IN_FLIGHT_S = 0.1
"""Seconds of text in flight that a stopped stream is charged for: a network round trip."""
_MAX_TOKENS_PER_S = 3_000
"""Faster than models generate: bounds the reasoning before a text that was too short to tell the pace."""
_MIN_ANSWER_SHARE, _MIN_PROMPT_SHARE, _MIN_DOUBTED_TOKENS = 0.2, 0.1, 5
"""A report of a smaller share of a text's tokens is doubted. Tokenizers differ by a factor of 0.3 to 3, except in runs
of one character, which some of them merge."""
_RUN_OF_ONE_CHARACTER = re.compile(r"(.)\1{2,}", re.DOTALL)
_MAX_COMPARED_CHARS = 100_000
_MIN_INPUT_SHARE, _MIN_WINDOW_TOKENS = 0.05, 1_000
"""A report of a smaller share of the input is doubted. An endpoint may have cut a longer prompt to its context window,
which has more tokens than that."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """The usage to charge.

    seen: the part of it that was reported or counted. doubt: the error in the provider's report, for a note.
    """

    usage: Usage
    seen: Usage
    basis: CostBasis
    doubt: str = ""

    @property
    def is_estimated(self) -> bool:
        return self.basis is not CostBasis.REPORTED and self.usage != Usage()


def charge_of(state: AttemptState, *, now: float, learned_pace: Callable[[], float | None]) -> Charge:
    """Return the charge of an attempt that ends at `now` (monotonic).

    learned_pace: returns the model's output tokens per second by the ledger; called only if it is needed.
    """
    report = state.report
    believed = None if report is None else _believed(state, report)
    doubt = "" if believed is None else believed.doubt
    if report is not None and report.final and believed is not None and believed.knows_output:
        if not doubt:
            return Charge(usage=report.usage, seen=report.usage, basis=CostBasis.REPORTED)
        usage = _seen(state, believed.usage)
        return Charge(usage=usage, seen=usage, basis=CostBasis.COUNTED, doubt=doubt)
    failure = state.result.error if isinstance(state.result, Failed) else None
    silent = not (state.text or state.reasoning or state.summaries or report)
    if not state.was_sent or (failure is not None and silent and not (failure.billed or failure.accepted)):
        return Charge(usage=Usage(), seen=Usage(), basis=CostBasis.COUNTED)
    seen = _seen(state, None if believed is None else believed.usage)
    hidden = _hidden_tokens(state, now, learned_pace)
    if failure is not None and failure.accepted:
        # The provider ended the answer early: it does not bill the whole limit, and what it bills is unknown.
        hidden = (hidden or 0) if state.pauses or state.silent_s(now) >= MIN_SILENCE_S else 0
    elif state.in_one_piece and state.first_content_at is None:
        hidden = None  # a provider may generate such an answer to its end, although the connection is closed
    in_flight = 0 if state.finished is not None or failure is not None else _in_flight_tokens(state)
    if hidden == in_flight == 0:
        return Charge(usage=seen, seen=seen, basis=CostBasis.COUNTED, doubt=doubt)
    limit = state.candidate.max_output_tokens
    if hidden is None:
        usage = dataclasses.replace(seen, output_tokens=max(limit, seen.output_tokens))
        return Charge(usage=usage, seen=seen, basis=CostBasis.HELD, doubt=doubt)
    hidden = max(0, min(hidden - _summary_tokens(state), limit - seen.output_tokens))
    usage = dataclasses.replace(
        seen,
        output_tokens=max(seen.output_tokens, min(limit, seen.output_tokens + hidden + in_flight)),
        reasoning_tokens=seen.reasoning_tokens + hidden,
    )
    return Charge(usage=usage, seen=seen, basis=CostBasis.ESTIMATED, doubt=doubt)


def _seen(state: AttemptState, reported: Usage | None) -> Usage:
    usage = Usage(input_tokens=state.candidate.input_tokens) if reported is None else reported
    model, limit = state.candidate.model, state.candidate.max_output_tokens
    thought = _shown_reasoning_tokens(state) + _summary_tokens(state)
    counted = tokens.estimate(state.answer_text, model) + thought
    output = max(usage.output_tokens, min(limit, counted))
    thought = min(output, max(usage.reasoning_tokens, thought))
    return dataclasses.replace(usage, output_tokens=output, reasoning_tokens=thought)


def _shown_reasoning_tokens(state: AttemptState) -> int:
    # An event is at least one token, however little of the reasoning it shows.
    return max(tokens.estimate("".join(state.reasoning), state.candidate.model), len(state.reasoning))


def _summary_tokens(state: AttemptState) -> int:
    """Return the tokens of the summaries, a lower bound of the reasoning that they summarize."""
    return tokens.estimate("".join(state.summaries), state.candidate.model)


def _hidden_tokens(state: AttemptState, now: float, learned_pace: Callable[[], float | None]) -> int | None:
    """Estimate the reasoning that was not shown: the silent time × the model's pace. None if no pace is known."""
    is_whole = state.finished is not None
    if is_whole and state.finished is not None and state.finished.finish_reason == "length":
        return state.candidate.max_output_tokens
    hidden_s = state.silent_s(now)
    if hidden_s <= 0 and state.first_content_at is not None and not state.pauses:
        return 0
    model = state.candidate.model
    pace = model.tokens_per_s or learned_pace() or _own_pace(state)
    if pace is not None:
        paused = sum(max(0.0, pace * pause_s - tokens.estimate(text, model)) for pause_s, text in state.pauses)
        return math.ceil(pace * hidden_s + paused)
    if state.first_content_at is None:
        return None
    return 0 if is_whole else math.ceil(_MAX_TOKENS_PER_S * (hidden_s + sum(pause_s for pause_s, _ in state.pauses)))


def _in_flight_tokens(state: AttemptState) -> int:
    """Estimate the text that had arrived and was not read when the stream ended, or was on its way.

    The latter is at most as much as had arrived.
    """
    first_at, last_at = state.first_content_at, state.last_content_at
    if first_at is None or last_at is None:
        return 0
    count = _visible_tokens(state)
    arrived = math.ceil(count * (1 + state.unread_share()))
    shown_s = last_at - first_at
    return arrived - count + (min(arrived, math.ceil(_IN_FLIGHT_S * arrived / shown_s)) if shown_s > 0 else 0)


def _visible_tokens(state: AttemptState) -> int:
    return tokens.estimate(state.answer_text + "".join(state.reasoning), state.candidate.model)


def _own_pace(state: AttemptState) -> float | None:
    """Return the visible tokens per second of this stream, with a margin; None if there were too few.

    An answer that mostly consists of pauses came in bursts if it is whole or the pauses are short: no provider lets a
    model think that often.
    """
    first_at, last_at = state.first_content_at, state.last_content_at
    if first_at is None or last_at is None or last_at <= first_at:
        return None
    count = _visible_tokens(state)
    if count < _MIN_OWN_PACE_TOKENS:
        return None
    shown_s = last_at - first_at
    writing_s = shown_s - sum(pause_s for pause_s, _ in state.pauses)
    if writing_s < _MIN_WRITING_SHARE * shown_s:
        if state.finished is not None:
            return count / shown_s
        if max(pause_s for pause_s, _ in state.pauses) <= _MAX_BURST_PAUSE_S:
            return _OWN_PACE_MARGIN * count / shown_s
    return min(_MAX_TOKENS_PER_S, _OWN_PACE_MARGIN * count / writing_s) if writing_s > 0 else _MAX_TOKENS_PER_S


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Believed:
    """The credible parts of a report. An input that is not is replaced by the estimate, an output by zero."""

    usage: Usage
    knows_output: bool
    doubt: str


def _believed(state: AttemptState, report: UsageReport) -> _Believed:
    usage, candidate = report.usage, state.candidate
    doubts = [report.doubt if state.finished is not None else ""]
    if problem := _input_problem(state, usage):
        doubts.append(problem)
        usage = dataclasses.replace(usage, input_tokens=candidate.input_tokens)
    parts = (usage.cached_input_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens)
    if problem or min(parts) < 0 or sum(parts[:2]) > usage.input_tokens or parts[2] > parts[1]:
        doubts.append("the provider reported negative tokens, or more cached than input tokens; charged as uncached")
        usage = dataclasses.replace(usage, cached_input_tokens=0, cache_write_tokens=0, cache_write_1h_tokens=0)
    if problem := _output_problem(state, usage, final=report.final):
        doubts.append(problem)
        usage = dataclasses.replace(usage, output_tokens=0, reasoning_tokens=0)
    elif not 0 <= usage.reasoning_tokens <= usage.output_tokens:
        doubts.append("the provider reported more reasoning than output tokens, or less than none; both are charged")
        reasoning = max(0, usage.reasoning_tokens)
        output = max(usage.output_tokens, min(candidate.max_output_tokens, usage.output_tokens + reasoning))
        usage = dataclasses.replace(usage, output_tokens=output, reasoning_tokens=min(reasoning, output))
    doubt = next(filter(None, doubts), "")
    return _Believed(usage=usage, knows_output=not problem, doubt=doubt)


def _input_problem(state: AttemptState, usage: Usage) -> str:
    """Return the reason to disbelieve the input: too much for the model, or too little for what was sent."""
    candidate, model = state.candidate, state.candidate.model
    if usage.input_tokens > 10 * max(model.context_window, candidate.input_tokens_bound):
        return (
            f"the provider reported {usage.input_tokens:,} input tokens, more than {model.id} supports; "
            "cost estimated from what was sent"
        )
    is_cut = usage.input_tokens >= _MIN_WINDOW_TOKENS
    is_too_low = usage.input_tokens < _MIN_INPUT_SHARE * state.prompt_tokens
    if is_too_low or (not is_cut and _is_too_few(usage.input_tokens, _MIN_PROMPT_SHARE, state.sent_texts, model)):
        return (
            f"the provider reported {usage.input_tokens:,} input tokens for a prompt of about "
            f"{state.prompt_tokens:,}; cost estimated from the prompt"
        )
    return ""


def _output_problem(state: AttemptState, usage: Usage, *, final: bool) -> str:
    """Return the reason to disbelieve the output: too much for the model, or too little for what was received."""
    candidate, model = state.candidate, state.candidate.model
    if usage.output_tokens > 10 * max(model.max_output_tokens, candidate.max_output_tokens):
        return (
            f"the provider reported {usage.output_tokens:,} output tokens, more than {model.id} supports; "
            "cost estimated from what was received"
        )
    received = (state.answer_text, "".join(state.reasoning), "".join(state.summaries)) if final else ()
    if usage.output_tokens < 0 or _is_too_few(usage.output_tokens, _MIN_ANSWER_SHARE, received, model):
        counted = sum(tokens.estimate(text, model) for text in received)
        return (
            f"the provider reported {usage.output_tokens:,} output tokens for a text of about {counted:,}; "
            "cost estimated from the text"
        )
    return ""


def _is_too_few(reported: int, share: float, texts: Iterable[str], model: ModelSpec) -> bool:
    """Return True if no tokenizer needs as few tokens for these texts. Only the beginning of a long one is counted."""
    starts = [text[:_MAX_COMPARED_CHARS] for text in texts]
    counted = sum(tokens.estimate(start, model) for start in starts)
    if reported > 0 and (counted < _MIN_DOUBTED_TOKENS or reported >= share * counted):
        return False
    counted = sum(tokens.estimate(_RUN_OF_ONE_CHARACTER.sub(r"\1", start), model) for start in starts)
    return reported < share * counted if counted >= _MIN_DOUBTED_TOKENS else reported == 0 < counted
