"""Events of a run, in order.

    Planned, then per attempt: [Waiting] AttemptStarted [Progress ...] [TextDelta ...] AttemptEnded, finally RunEnded.

A Note or a CandidateSkipped may come between any two, and Postponed before Planned. An answer from the cache is
Planned, one TextDelta, RunEnded.

After an AttemptEnded without an answer, the text so far is void: the next attempt starts from nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from llm_magic.errors import LLMMagicError
from llm_magic.types import Attempt, Candidate, OffPeak, Plan, RouteResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    run_id: str
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A pause of `seconds`; None if unknown."""

    reason: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed:
    """The run waits for lower prices. is_stored: its prompt is stored meanwhile."""

    off_peak: OffPeak
    is_stored: bool = False


class NoteKind(StrEnum):
    """Subject of a note.

    `NOT_CONFIRMED`: the leader's answer replaced a cheap one. `USAGE`: it is not credible. `CORRECTED`: the request was
    sent again in another form. `PASSED_OVER`: errors of the models before the one that answered.
    """

    OUTPUT_LIMITED = "output_limited"
    STEPPED_DOWN = "stepped_down"
    CAP_WARNING = "cap_warning"
    STALE_PRICES = "stale_prices"
    EXTRA = "extra"
    NO_CASCADE = "no_cascade"
    NOT_CONFIRMED = "not_confirmed"
    HEDGED = "hedged"
    REPAIR = "repair"
    LEDGER = "ledger"
    USAGE = "usage"
    LAST_RESORT = "last_resort"
    CORRECTED = "corrected"
    PASSED_OVER = "passed_over"
    NO_FLEX = "no_flex"
    POSTPONED = "postponed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    kind: NoteKind
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateSkipped:
    model_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted:
    attempt: int
    candidate: Candidate
    in_cascade: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Progress of something slow, e.g. loading the local model; or reasoning since the last event.

    done: True at the end, when tokens come next. is_summary: the reasoning is a summary, shorter than what is billed.
    """

    message: str
    fraction: float | None = None
    done: bool = False
    reasoning: str = ""
    is_summary: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """The next part of the answer. pieces: the deltas of the wire, if several of them arrived together."""

    text: str
    pieces: tuple[str, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded:
    attempt: Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    result: RouteResult


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailed:
    """End of a run without an answer in a comparison, where the other runs go on. A run alone raises the error."""

    error: LLMMagicError


RunEvent = (
    Planned
    | Postponed
    | Note
    | Waiting
    | CandidateSkipped
    | AttemptStarted
    | Progress
    | TextDelta
    | AttemptEnded
    | RunEnded
)

AnyEvent = TypeVar("AnyEvent")


async def unmerged(events: AsyncGenerator[AnyEvent]) -> AsyncGenerator[AnyEvent | TextDelta]:
    """Yield each text delta of the wire as an event of its own."""
    async with aclosing(events):
        async for event in events:
            for part in pieces_of(event):
                yield part


def pieces_of(event: AnyEvent) -> Sequence[AnyEvent | TextDelta]:
    if isinstance(event, TextDelta) and event.pieces:
        return [TextDelta(text=piece) for piece in event.pieces]
    return (event,)
