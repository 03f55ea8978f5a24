"""Events of a run, in order.

    Planned, then per attempt: [Waiting] AttemptStarted [Progress ...] [TextDelta ...] AttemptEnded, finally RunEnded.

A Note or a CandidateSkipped may come between any two. An answer from the cache is Planned, one TextDelta, RunEnded.

After an AttemptEnded without an answer, the text so far is void: the next attempt starts from nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from llm_magic.errors import LLMMagicError
from llm_magic.types import Attempt, Candidate, Plan, RouteResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    run_id: str
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Nothing happens for `seconds` (None: unknown), because of `reason`."""

    reason: str
    seconds: float | None = None


class NoteKind(StrEnum):
    NEAR_CAP = "near_cap"
    """The output limit was lowered to fit under a cap."""
    STEPPED_DOWN = "stepped_down"
    CAP_ALARM = "cap_alarm"
    """A share of a cap is spent."""
    STALE_PRICES = "stale_prices"
    EXTRA = "extra"
    NO_CASCADE = "no_cascade"
    NOT_CONFIRMED = "not_confirmed"
    """A cheap answer was replaced by the leader's."""
    HEDGED = "hedged"
    REPAIR = "repair"
    """A model was asked to fix an answer that does not fit its schema."""
    LEDGER = "ledger"
    """The ledger could not be read or written."""
    USAGE = "usage"
    """The usage that the provider reported is not credible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    kind: NoteKind
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateSkipped:
    """A candidate of the plan is not asked after all."""

    model_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted:
    attempt: int
    candidate: Candidate
    in_cascade: bool = False
    """True if the answer will be confirmed before it is accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Progress of something slow other than waiting for tokens, e.g. loading the local model."""

    message: str
    fraction: float | None = None
    done: bool = False
    """True at the end: tokens come next."""
    unseen: str = ""
    """Reasoning since the last event: billed, not displayed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    text: str


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


RunEvent = Planned | Note | Waiting | CandidateSkipped | AttemptStarted | Progress | TextDelta | AttemptEnded | RunEnded
