"""Lengths of answers, as read from the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

from llm_magic.types import Effort, TaskTier


class AnswerLength(NamedTuple):
    """row_id: its number in the ledger, which grows."""

    row_id: int
    run_id: str
    attempt: int
    model: str
    effort: Effort | None
    tier: TaskTier
    output_tokens: int
    reasoning_tokens: int


def answer_lengths(rows: Iterable[Any]) -> Iterator[AnswerLength]:
    from llm_magic.ledger.columns import EFFORT, TIER

    assert EFFORT.decode is not None
    assert TIER.decode is not None
    to_effort, to_tier = cache(EFFORT.decode), cache(TIER.decode)
    for row_id, run_id, attempt, model, effort, tier, *counts in rows:
        yield AnswerLength(row_id, run_id, attempt, model, to_effort(effort), to_tier(tier), *counts)
