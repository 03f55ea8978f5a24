"""Token counts and stated costs in the bodies of both wires: worked out where they allow it, else doubted.

Nothing is decided by the name of a provider. Endpoints disagree on whether reasoning is part of the completion tokens,
and cached tokens part of the prompt tokens; `total_tokens` tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from llm_magic.providers.base import UsageReport
from llm_magic.providers.payload import clean_text, json_object
from llm_magic.types import Usage

# A count or a cost above this is an error of the provider.
_MAX_TOKENS = 100_000_000
_MAX_COST_USD = 100_000
_XAI_TICKS_PER_USD = 10**10
_COUNT = re.compile(r"\s*(\d{1,12})(?:\.0*)?\s*", re.ASCII)

# The first name with a count above zero is taken. The sources are in tests/providers/test_usage.py.
_PROMPT = ("prompt_tokens", "input_tokens", "prompt_eval_count")
_COMPLETION = ("completion_tokens", "output_tokens", "eval_count")
_TOTAL = ("total_tokens",)
_CACHED = (
    "prompt_tokens_details.cached_tokens",
    "input_tokens_details.cached_tokens",
    "prompt_cache_hit_tokens",
    "cached_tokens",
    "cache_read_input_tokens",
)
_MISSED = ("prompt_cache_miss_tokens",)
_WRITTEN = (
    "prompt_tokens_details.cache_write_tokens",
    "prompt_tokens_details.cache_creation_tokens",
    "input_tokens_details.cache_write_tokens",
    "cache_creation_input_tokens",
)
_REASONING = (
    "completion_tokens_details.reasoning_tokens",
    "output_tokens_details.reasoning_tokens",
    "output_tokens_details.thinking_tokens",
    "reasoning_tokens",
)
_COSTS = ("cost", "total_cost", "estimated_cost", "cost_usd")

_NOT_NUMBERS = "the provider reported a token count that is not a number of tokens"
_LOWERED = "the provider lowered a token count during the answer; the higher one is charged"
_TOO_MUCH_REASONING = "the provider reported more reasoning than output tokens; both are charged"
_TOO_MUCH_CACHED = "the provider reported more cached than input tokens; both are charged"
_WRONG_TOTAL = "the provider reported a total that differs from the sum of its token counts"
_AMBIGUOUS = "the provider's total fits its token counts in more than one way; the larger output is charged"
_NO_INPUT = "the provider reported no input tokens; they are estimated from the prompt"
_NO_OUTPUT = "the provider reported no output tokens; they are estimated from the text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Counts as an endpoint reports them; None: not reported. doubt: the problem with them, or empty."""

    prompt: int | None = None
    completion: int | None = None
    total: int | None = None
    cached: int | None = None
    written: int | None = None
    reasoning: int | None = None
    written_1h: int = 0
    doubt: str = ""

    def updated(self, later: Counts) -> Counts:
        """Merge a later report. Counts are cumulative: one that is missing, zero or lower does not replace another."""
        prompt, completion = _larger(self.prompt, later.prompt), _larger(self.completion, later.completion)
        lowered = 0 < (later.prompt or 0) < (self.prompt or 0) or 0 < (later.completion or 0) < (self.completion or 0)
        grown = (prompt, completion) != (self.prompt, self.completion)
        is_whole = (later.prompt, later.completion) == (prompt, completion)
        total = later.total if is_whole or grown else _larger(self.total, later.total)
        if not total and not grown:
            total = self.total
        return Counts(
            prompt=prompt,
            completion=completion,
            total=total,
            cached=later.cached or self.cached,
            written=later.written or self.written,
            written_1h=later.written_1h or self.written_1h,
            reasoning=_larger(self.reasoning, later.reasoning),
            doubt=later.doubt or ("" if is_whole else self.doubt) or (_LOWERED if lowered else ""),
        )


class CompletionsUsage:
    """The usage in the chunks, or the whole body, of a Chat Completions answer."""

    def __init__(self) -> None:
        self._counts: Counts | None = None
        self._timings: Counts | None = None
        self._cost_usd: Decimal | None = None

    def read(self, chunk: Mapping[str, Any]) -> bool:
        reports = _usage_objects(chunk)
        for report in reports:
            counts = _completion_counts(report)
            self._counts = counts if self._counts is None else self._counts.updated(counts)
            cost_usd = stated_cost(report)
            self._cost_usd = (self._cost_usd or cost_usd) if cost_usd in (None, 0) else cost_usd
        if timings := json_object(chunk.get("timings")):
            counts = _timing_counts(timings)
            self._timings = counts if self._timings is None else self._timings.updated(counts)
        return bool(reports or timings)

    def report(self, *, final: bool) -> UsageReport | None:
        counts = self._counts if self._counts is not None and self._counts != Counts() else self._timings
        return _report(counts, self._cost_usd, final=final)


class MessagesUsage:
    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._counts: Counts | None = None

    def read(self, usage: Mapping[str, Any]) -> None:
        """Merge a `usage` object. A count that it leaves out, or has as zero, stays."""
        is_blank = parse_count(usage.get("output_tokens")) == 0 and bool(parse_count(self._fields.get("output_tokens")))
        self._fields |= {name: value for name, value in usage.items() if value or name not in self._fields}
        counts = _message_counts(self._fields)
        counts = counts if self._counts is None else self._counts.updated(counts)
        self._counts = replace(counts, doubt=_LOWERED) if is_blank else counts

    def stated(self, name: str, *, usual: tuple[str, ...]) -> str | None:
        """Return a condition of the price, such as the `service_tier`; None for a usual one."""
        value = self._fields.get(name)
        return clean_text(value) if isinstance(value, str) and value and value not in usual else None

    def report(self, *, final: bool) -> UsageReport | None:
        return _report(self._counts, stated_cost(self._fields), final=final)


def parse_count(value: object) -> int | None:
    """Parse a token count: an integer, a float without a fraction, or either of them as text."""
    if isinstance(value, str):
        match = _COUNT.fullmatch(value)
        value = None if match is None else int(match[1])
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= _MAX_TOKENS else None


def stated_cost(usage: Mapping[str, Any]) -> Decimal | None:
    """Return the cost in USD that the provider states itself; None if it states none, or an impossible one."""
    if (ticks := parse_amount(usage.get("cost_in_usd_ticks"))) is not None:
        return _plausible(ticks / _XAI_TICKS_PER_USD)
    for name in _COSTS:
        value = usage.get(name)
        if parts := json_object(value):  # Perplexity
            value = parts.get("total_cost") if parts.get("currency", "USD") == "USD" else None
        if (cost := parse_amount(value)) is not None:
            if usage.get("is_byok") is True:  # OpenRouter's cost is then its fee alone
                cost += parse_amount(json_object(usage.get("cost_details")).get("upstream_inference_cost")) or 0
            return _plausible(cost)
    return None


def parse_amount(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > 40:
        return None
    try:
        amount = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


def _plausible(cost_usd: Decimal) -> Decimal | None:
    return Decimal(f"{round(cost_usd, 12).normalize():f}") if 0 <= cost_usd <= _MAX_COST_USD else None


def _usage_objects(chunk: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the usage objects of a chunk: its own, Groq's, and those of its choices, as Moonshot sends them."""
    usages: list[object] = [chunk.get("usage")]
    if "x_groq" in chunk:
        usages.append(json_object(chunk["x_groq"]).get("usage"))
    if "prompt_eval_count" in chunk or "eval_count" in chunk:  # Ollama's own body
        usages.append(chunk)
    choices = chunk.get("choices")
    if isinstance(choices, list):
        for choice in cast("list[object]", choices):
            if isinstance(choice, dict) and "usage" in choice:
                usages.append(cast("dict[str, object]", choice)["usage"])
    return [usage for usage in map(json_object, usages) if usage]


def _completion_counts(usage: Mapping[str, Any]) -> Counts:
    names = (_PROMPT, _COMPLETION, _TOTAL, _CACHED, _WRITTEN, _REASONING, _MISSED)
    read = [_first(usage, aliases) for aliases in names]
    prompt, completion, total, cached, written, reasoning, missed = (count for count, _ in read)
    if prompt is None and missed is not None and cached is not None:
        prompt = missed + cached
    doubt = _NOT_NUMBERS if any(is_wrong for _, is_wrong in read) else ""
    return Counts(
        prompt=prompt,
        completion=completion,
        total=total,
        cached=cached,
        written=written,
        reasoning=reasoning,
        doubt=doubt,
    )


def _timing_counts(timings: Mapping[str, Any]) -> Counts:
    """Convert the timings of llama.cpp, whose prompt count excludes the tokens in its cache."""
    names = ("prompt_n", "predicted_n", "cache_n")
    prompt, predicted, cached = (parse_count(timings.get(name)) for name in names)
    if prompt is None:
        return Counts(completion=predicted)
    return Counts(prompt=prompt + (cached or 0), cached=cached, completion=predicted)


def _message_counts(usage: Mapping[str, Any]) -> Counts:
    """Convert a Messages usage, whose `input_tokens` exclude the cached and cache-written ones."""
    names = (
        "input_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "cache_creation.ephemeral_5m_input_tokens",
        "cache_creation.ephemeral_1h_input_tokens",
        "output_tokens",
        "output_tokens_details.thinking_tokens",
    )
    counts = [_first(usage, (name,)) for name in names]
    fresh, read, written, written_5m, written_1h, output, reasoning = (count for count, _ in counts)
    by_age = (written_5m or 0) + (written_1h or 0)
    doubt = _TOO_MUCH_CACHED if written is not None and by_age > written else ""
    total_written = max(written or 0, by_age)
    return Counts(
        prompt=None if fresh is None else fresh + (read or 0) + total_written,
        completion=output,
        cached=read,
        written=total_written,
        written_1h=written_1h or 0,
        reasoning=reasoning,
        doubt=_NOT_NUMBERS if any(is_wrong for _, is_wrong in counts) else doubt,
    )


def _first(usage: Mapping[str, Any], names: Iterable[str]) -> tuple[int | None, bool]:
    """Return the first count above zero under one of the names, and True if a value was not a count instead."""
    count, is_wrong = None, False
    for name in names:
        parent, _, field = name.rpartition(".")
        value = (json_object(usage.get(parent)) if parent else usage).get(field)
        if value is None:
            continue
        parsed = parse_count(value)
        if parsed:
            return parsed, False
        count = count if parsed is None else parsed
        is_wrong = is_wrong or parsed is None
    return count, is_wrong


def _report(counts: Counts | None, cost_usd: Decimal | None, *, final: bool) -> UsageReport | None:
    if counts is None or (counts.prompt is None and counts.completion is None):
        return None if cost_usd is None else UsageReport(usage=Usage(), final=False, cost_usd=cost_usd)
    counts, completion_doubt = _completed(counts)
    usage, doubt = _worked_out(counts)
    return UsageReport(
        usage=usage,
        final=final and counts.completion is not None,
        doubt=counts.doubt or completion_doubt or doubt,
        cost_usd=cost_usd,
    )


def _worked_out(counts: Counts) -> tuple[Usage, str]:
    """Return the usage, and the doubt about it. An input of zero stands for an unknown one."""
    doubt = ""
    cached, written, reasoning = counts.cached or 0, counts.written or 0, counts.reasoning or 0
    inputs, outputs = _possible_inputs(counts), _possible_outputs(counts)
    total_input, output = inputs[0], outputs[0]
    unexplained = (counts.total or 0) - total_input - output
    fits = {(one, other) for one in inputs for other in outputs if one + other == counts.total}
    if (total_input, output) not in fits and fits:
        total_input, output = max(fits, key=lambda fit: fit[1])
        doubt = _AMBIGUOUS if len(fits) > 1 else ""
    elif not fits:
        doubt = _contradiction(counts)
        if counts.total and counts.prompt is not None and unexplained > 0:
            output += unexplained
            if reasoning:
                doubt = doubt or _WRONG_TOTAL
            else:
                reasoning = unexplained
        elif counts.total and unexplained not in (0, -cached):
            doubt = doubt or _WRONG_TOTAL
    usage = Usage(
        input_tokens=total_input,
        cached_input_tokens=cached if total_input else 0,
        cache_write_tokens=written if total_input else 0,
        cache_write_1h_tokens=min(written, counts.written_1h) if total_input else 0,
        output_tokens=output,
        reasoning_tokens=min(reasoning, output),
    )
    return usage, doubt


def _completed(counts: Counts) -> tuple[Counts, str]:
    total = counts.total or 0
    if not counts.prompt:
        output = _possible_outputs(counts)[0]
        if counts.completion is None or total <= output:
            return replace(counts, prompt=None), _NO_INPUT
        return replace(counts, prompt=total - output), _AMBIGUOUS if counts.reasoning else ""
    if counts.completion is None:
        total_input = _possible_inputs(counts)[0]
        return (replace(counts, completion=total - total_input), "") if total >= total_input else (counts, _NO_OUTPUT)
    return counts, ""


def _possible_inputs(counts: Counts) -> list[int]:
    """Return the readings of the prompt count, with the usual one first: all of it, or all but the cached tokens."""
    if counts.prompt is None:
        return [0]
    prompt, cached, written = counts.prompt, counts.cached or 0, counts.written or 0
    readings = [prompt] if cached + written <= prompt else []
    return [*readings, prompt + cached + written, *([prompt + cached] if written <= prompt else [])]


def _possible_outputs(counts: Counts) -> list[int]:
    completion, reasoning = counts.completion or 0, counts.reasoning or 0
    return [*([completion] if reasoning <= completion else []), completion + reasoning]


def _contradiction(counts: Counts) -> str:
    if (counts.reasoning or 0) > (counts.completion or 0):
        return _TOO_MUCH_REASONING
    if counts.prompt is not None and (counts.cached or 0) + (counts.written or 0) > counts.prompt:
        return _TOO_MUCH_CACHED
    return ""


def _larger(one: int | None, other: int | None) -> int | None:
    return max((count for count in (one, other) if count is not None), default=None)
