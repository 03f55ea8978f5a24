"""Token counts as endpoints report them, under the names and in the places that each of them uses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from llm_magic.providers.payload import json_object, json_objects

# A count above this is an error of the provider.
_MAX_TOKENS = 100_000_000
_COUNT = re.compile(r"\s*(\d{1,12})(?:\.0*)?\s*", re.ASCII)
_CAMEL_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


# The first name with a count above zero is taken. The sources are in tests/providers/test_usage.py.
_PROMPT = (
    "prompt_tokens",
    "input_tokens",
    "prompt_eval_count",
    "prompt_token_count",
    "billed_units.input_tokens",
    "tokens.input_tokens",
)
_COMPLETION = (
    "completion_tokens",
    "output_tokens",
    "eval_count",
    "candidates_token_count",
    "billed_units.output_tokens",
    "tokens.output_tokens",
)
_TOTAL = ("total_tokens", "total_token_count")
_CACHED = (
    "prompt_tokens_details.cached_tokens",
    "input_tokens_details.cached_tokens",
    "prompt_cache_hit_tokens",
    "cached_tokens",
    "cache_read_input_tokens",
    "cached_content_token_count",
)
_MISSED = ("prompt_cache_miss_tokens",)
_WRITTEN = (
    "prompt_tokens_details.cache_write_tokens",
    "prompt_tokens_details.cache_creation_tokens",
    "prompt_tokens_details.cache_creation_input_tokens",
    "input_tokens_details.cache_write_tokens",
    "cache_creation_input_tokens",
    "cache_write_input_tokens",
)
_REASONING = (
    "completion_tokens_details.reasoning_tokens",
    "output_tokens_details.reasoning_tokens",
    "output_tokens_details.thinking_tokens",
    "reasoning_tokens",
    "thinking_tokens",
    "thoughts_token_count",
)
_PLACES = ("usage", "usageMetadata", "usage_metadata")

_NOT_NUMBERS = "the provider reported a token count that is not a number of tokens"
TOO_MUCH_CACHED = "the provider reported more cached than input tokens; both are charged"
IN_PARTS = "the provider reported its token counts piece by piece; their sum is charged"
LOWERED = "the provider lowered a token count during the answer; the higher one is charged"


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

    def of_parts(self, completion: int) -> Counts:
        return replace(self, completion=max(completion, self.completion or 0), total=None, doubt=IN_PARTS)

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
            doubt=later.doubt or ("" if is_whole else self.doubt) or (LOWERED if lowered else ""),
        )


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


def usage_objects(chunk: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the usage objects of a chunk: its own, Groq's, and those of its choices, as Moonshot sends them."""
    usages: list[object] = [chunk[name] for name in _PLACES if name in chunk]
    if "x_groq" in chunk:
        usages.append(json_object(chunk["x_groq"]).get("usage"))
    if "prompt_eval_count" in chunk or "eval_count" in chunk:  # Ollama's own body
        usages.append(chunk)
    choices = chunk.get("choices")
    if isinstance(choices, list):
        for choice in cast("list[object]", choices):
            if not isinstance(choice, dict):
                continue
            table = cast("dict[str, object]", choice)
            for part in (table, table.get("delta"), table.get("message")):
                if isinstance(part, dict) and "usage" in part:
                    usages.append(cast("dict[str, object]", part)["usage"])
    return [_in_snake_case(usage) for usage in map(_one_of, usages) if usage]


def has_text(chunk: Mapping[str, Any]) -> bool:
    choices = json_objects(chunk.get("choices"))
    return any(json_object(choice.get("delta")).get("content") for choice in choices)


def _one_of(usages: object) -> dict[str, Any]:
    reports = cast("list[object]", usages) if isinstance(usages, list) else [usages]
    return json_object(reports[-1] if reports else None)


def _in_snake_case(usage: dict[str, Any]) -> dict[str, Any]:
    """Rename `inputTokens` to `input_tokens`, in which Bedrock and Gemini differ from the others."""
    if all(name.islower() for name in usage):
        return usage
    return {_CAMEL_CASE.sub("_", name).lower(): value for name, value in usage.items()}


def completion_counts(usage: Mapping[str, Any]) -> Counts:
    names = (_PROMPT, _COMPLETION, _TOTAL, _CACHED, _WRITTEN, _REASONING, _MISSED)
    read = [_first(usage, aliases) for aliases in names]
    prompt, completion, total, cached, written, reasoning, missed = (count for count, _ in read)
    if prompt is None and missed is not None and cached is not None:
        prompt = missed + cached
    # The names of the Messages API, whose `input_tokens` exclude the cached ones.
    is_fresh = "input_tokens" in usage and "prompt_tokens" not in usage and "input_tokens_details" not in usage
    if is_fresh and prompt is not None and (cached or written):
        total = total or prompt + (cached or 0) + (written or 0) + (completion or 0)
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


def timing_counts(timings: Mapping[str, Any]) -> Counts:
    """Convert the timings of llama.cpp, whose prompt count excludes the tokens in its cache."""
    names = ("prompt_n", "predicted_n", "cache_n")
    prompt, predicted, cached = (parse_count(timings.get(name)) for name in names)
    if prompt is None:
        return Counts(completion=predicted)
    return Counts(prompt=prompt + (cached or 0), cached=cached, completion=predicted)


def message_counts(usage: Mapping[str, Any]) -> Counts:
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
    doubt = TOO_MUCH_CACHED if written is not None and by_age > written else ""
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


def _larger(one: int | None, other: int | None) -> int | None:
    return max((count for count in (one, other) if count is not None), default=None)
