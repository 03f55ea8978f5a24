"""Doubts about an answer from the provider's counts: a prompt that was cut, a context window that was full."""

from __future__ import annotations

from llm_magic.execute.state import AttemptState, Run

_MIN_INPUT_TOKENS = 1_000
_CUT_SHARE = 0.5
"""Tokenizers differ by less for text of this length, and the estimate is rounded up by a tenth or two."""
_FULL_SHARE = 0.9
"""An answer with a smaller share of its output limit was not cut by that limit."""
_TOO_FEW_TO_REASON = 4
"""Output tokens."""


def doubt(run: Run, state: AttemptState) -> str | None:
    """Return the note that an answer needs, or None."""
    report, candidate = state.report, state.candidate
    if report is None or not report.final or run.awaiting_confirmation:
        return None
    read, written = report.usage.input_tokens, report.usage.output_tokens
    expected, model = state.prompt_tokens, candidate.model
    has_images = any(attachment.image is not None for attachment in run.plan.request.attachments)
    if not has_images and expected >= _MIN_INPUT_TOKENS and 0 < read < _CUT_SHARE * expected:
        return (
            f"{model.id} read {read:,} of about {expected:,} input tokens: its endpoint cut the prompt to its context "
            f"window. Enlarge the window there, or state context_window = {read:,} for it in models.toml"
        )
    stopped = f"{model.id} stopped after {written:,} of {candidate.max_output_tokens:,} output tokens: its endpoint's"
    if state.finished is not None and state.finished.is_full_context:
        return (
            f"{stopped} context window was full after {read + written:,} tokens of prompt and answer. Shorten the "
            "prompt, or choose a model with a larger window"
        )
    if is_cut_by_endpoint(state):
        return (
            f"{stopped} context window was full, or its own output limit is lower. Enlarge it there, or state "
            f"context_window = {read + written:,} or max_output_tokens = {written:,} for it in models.toml"
        )
    return None


def is_cut_by_endpoint(state: AttemptState) -> bool:
    """True if a full context window or a limit of the endpoint cut the answer off, which a higher limit can't cure."""
    report, finished = state.report, state.finished
    if finished is None or finished.is_full_context:
        return finished is not None
    if finished.finish_reason != "length" or report is None or not report.final:
        return False
    read, written = report.usage.input_tokens, report.usage.output_tokens
    return read + written >= _MIN_INPUT_TOKENS and written < _FULL_SHARE * state.candidate.max_output_tokens


def reason_for_no_text(state: AttemptState) -> str:
    """Return why an answer that ended at its limit has no text."""
    report, limit = state.report, state.candidate.max_output_tokens
    if state.finished is not None and state.finished.is_full_context:
        return "the context window was full: shorten the prompt, or choose a model with a larger window"
    if report is not None and report.usage.output_tokens <= _TOO_FEW_TO_REASON:
        if report.usage.output_tokens >= limit:
            return f"its limit of {limit:,} output token{'s' * (limit != 1)} left no text: allow more with --max-tokens"
        tokens = f"{report.usage.input_tokens:,} input tokens"
        return f"the endpoint's context window was full after {tokens}: shorten the prompt, or enlarge the window"
    return "all of its output tokens went into reasoning: allow more with --max-tokens"
