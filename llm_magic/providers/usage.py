"""Usage and stated cost in the bodies of both wires, with a doubt if they contradict each other.

Nothing is decided by the name of a provider. Endpoints disagree on whether reasoning is part of the completion tokens,
and cached tokens part of the prompt tokens; `total_tokens` tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from llm_magic.providers.base import UsageReport
from llm_magic.providers.payload import clean_text, json_object
from llm_magic.providers.stated_costs import stated_cost
from llm_magic.providers.token_counts import (
    LOWERED,
    TOO_MUCH_CACHED,
    Counts,
    completion_counts,
    has_text,
    message_counts,
    parse_count,
    timing_counts,
    usage_objects,
)
from llm_magic.types import Usage

_TOO_MUCH_REASONING = "the provider reported more reasoning than output tokens; both are charged"
_WRONG_TOTAL = "the provider reported a total that differs from the sum of its token counts"
_AMBIGUOUS = "the provider's total fits its token counts in more than one way; the larger output is charged"
_NO_INPUT = "the provider reported no input tokens; they are estimated from the prompt"
_NO_OUTPUT = "the provider reported no output tokens; they are estimated from the text"


@dataclass(slots=True)
class _Parts:
    """Output counts of reports without an input: parts if they fall, or all are the same; or else cumulative."""

    total: int = 0
    _last: int = 0
    _falls: bool = False
    _repeats: bool = False
    _grows: bool = False

    def add(self, counts: Counts, *, with_text: bool) -> None:
        completion = counts.completion or 0
        if counts.prompt and completion >= self.total:
            self.total, self._last = completion, completion
            self._falls = self._repeats = self._grows = False
        elif completion and not counts.prompt:
            if self._last:
                self._falls = self._falls or (with_text and completion < self._last)
                self._repeats = self._repeats or (with_text and completion == self._last)
                self._grows = self._grows or completion > self._last
            self.total += completion
            self._last = completion

    @property
    def are_parts(self) -> bool:
        return self._falls or (self._repeats and not self._grows)


class CompletionsUsage:
    """The usage in the chunks, or the whole body, of a Chat Completions answer."""

    def __init__(self) -> None:
        self._counts: Counts | None = None
        self._parts = _Parts()
        self._timings: Counts | None = None
        self._cost_usd: Decimal | None = None

    def read(self, chunk: Mapping[str, Any]) -> bool:
        reports = usage_objects(chunk)
        for number, report in enumerate(reports):
            counts = completion_counts(report)
            if number == 0:
                self._parts.add(counts, with_text=has_text(chunk))
            self._counts = counts if self._counts is None else self._counts.updated(counts)
            cost_usd = stated_cost(report)
            self._cost_usd = (self._cost_usd or cost_usd) if cost_usd in (None, 0) else cost_usd
        if timings := json_object(chunk.get("timings")):
            counts = timing_counts(timings)
            self._timings = counts if self._timings is None else self._timings.updated(counts)
        return bool(reports or timings)

    def report(self, *, final: bool) -> UsageReport | None:
        counts = self._counts if self._counts is not None and self._counts != Counts() else self._timings
        if counts is not None and self._parts.are_parts:
            counts = counts.of_parts(self._parts.total)
        return _report(counts, self._cost_usd, final=final)


class MessagesUsage:
    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._counts: Counts | None = None

    def read(self, usage: Mapping[str, Any]) -> None:
        """Merge a `usage` object. A count that it leaves out, or has as zero, stays."""
        is_blank = parse_count(usage.get("output_tokens")) == 0 and bool(parse_count(self._fields.get("output_tokens")))
        self._fields |= {name: value for name, value in usage.items() if value or name not in self._fields}
        counts = message_counts(self._fields)
        counts = counts if self._counts is None else self._counts.updated(counts)
        self._counts = replace(counts, doubt=LOWERED) if is_blank else counts

    def stated(self, name: str, *, usual: tuple[str, ...]) -> str | None:
        """Return a condition of the price, such as the `service_tier`; None for a usual one."""
        value = self._fields.get(name)
        return clean_text(value) if isinstance(value, str) and value and value not in usual else None

    def report(self, *, final: bool) -> UsageReport | None:
        return _report(self._counts, stated_cost(self._fields), final=final)


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
        return TOO_MUCH_CACHED
    return ""
