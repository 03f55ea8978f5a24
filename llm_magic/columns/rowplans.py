"""Plans of single rows: the plan of a typical row at the length of each one, so that a column keeps to its model."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

from llm_magic import tokens
from llm_magic.types import Candidate, Plan, Quote, Request, Skipped

FAR_LONGER = 4
"""A row this many times as long as a typical one, and longer than MIN_LONG_CHARS, gets a plan of its own."""
MIN_LONG_CHARS = 6_000


class RowPlanner:
    """Makes the plans of rows.

    request_of: returns the request of a row, checked. make_plan: makes a whole plan, for the typical row and for rows
    that are far longer.
    """

    def __init__(
        self,
        base: Request,
        request_of: Callable[[Request, str], Request],
        make_plan: Callable[[Request], Plan],
        typical_prompt: str,
    ) -> None:
        self._base = base
        self._request_of = request_of
        self._make_plan = make_plan
        self._typical_bytes = len(typical_prompt.encode("utf-8", "surrogatepass"))
        self._typical_chars = len(typical_prompt)
        self._typical_prompt = typical_prompt
        self.typical = make_plan(request_of(base, typical_prompt))
        self.max_output_tokens: int | None = None
        """A lower limit than that of the request, learned from the lengths of answers."""

    def limit_output(self, max_output_tokens: int) -> bool:
        """Lower the output limit of the rows to come, unless the user stated one. Returns True if it is lower now."""
        current = self.max_output_tokens
        if self._base.max_output_tokens is not None or (current is not None and current <= max_output_tokens):
            return False
        self.max_output_tokens = max_output_tokens
        return True

    @property
    def odd_chars(self) -> int:
        return max(FAR_LONGER * self._typical_chars, MIN_LONG_CHARS)

    def is_odd(self, prompt: str) -> bool:
        return len(prompt) > self.odd_chars

    def plan(self, prompt: str, now: datetime, *, is_retry: bool = False) -> Plan:
        """Return the plan of a row. is_retry: without a learned limit, because the row had an error."""
        if self.is_odd(prompt):
            return self._make_plan(self._request_of(self._base, prompt))
        request = self._request_of(self.typical.request, prompt)
        resize = functools.partial(self._resized, prompt, now, None if is_retry else self.max_output_tokens)
        typical = self.typical
        leader = typical.candidates[0] if typical.candidates else None
        ranked: list[Candidate | Skipped] = []
        for entry in typical.ranked:
            if leader is not None and entry is leader:
                ranked.append(dataclasses.replace(leader, quote=resize(leader.quote)))
            elif isinstance(entry, Candidate):
                ranked.append(_lazily(entry, resize))
            else:
                ranked.append(entry)
        cascade = typical.cascade
        if cascade is not None:
            cascade = dataclasses.replace(
                cascade,
                cheap=tuple(_lazily(candidate, resize) for candidate in cascade.cheap),
                strong=_lazily(cascade.strong, resize),
                judge=None if cascade.judge is None else _lazily(cascade.judge, resize),
            )
        return dataclasses.replace(typical, request=request, ranked=tuple(ranked), cascade=cascade)

    def _resized(self, prompt: str, now: datetime, learned_limit: int | None, quote: Quote) -> Quote:
        model = quote.model
        longer = tokens.estimate(prompt, model) - tokens.estimate(self._typical_prompt, model)
        input_tokens = max(1, quote.input_tokens + longer)
        bound = quote.input_tokens_bound + len(prompt.encode("utf-8", "surrogatepass")) - self._typical_bytes
        limit = min(quote.max_output_tokens, model.context_window - input_tokens)
        if learned_limit is not None:
            limit = min(limit, learned_limit)
        return quote.with_input(input_tokens, bound, max(1, limit), now)


class _LazyQuote:
    """A quote that is computed at its first use: most rows never need that of a fallback."""

    def __init__(self, quote: Quote, resize: Callable[[Quote], Quote]) -> None:
        self.model = quote.model
        self._typical, self._resize = quote, resize

    @functools.cached_property
    def _quote(self) -> Quote:
        return self._resize(self._typical)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._quote, name)


def _lazily(candidate: Candidate, resize: Callable[[Quote], Quote]) -> Candidate:
    return dataclasses.replace(candidate, quote=cast("Quote", _LazyQuote(candidate.quote, resize)))
