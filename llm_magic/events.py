"""What happens in a run, in order: the vocabulary between the executor and whoever watches.

    Planned, then per attempt: [Waiting] AttemptStarted [Progress ...] [TextDelta ...] AttemptEnded, at last RunEnded.

A Note may come anywhere between. An answer from the cache is Planned, one TextDelta, RunEnded.

After an AttemptEnded that did not answer, text shown so far is void: the next attempt starts from nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from llm_magic.errors import LLMMagicError
from llm_magic.types import Attempt, Candidate, Plan, RouteResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    run_id: str
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Nothing is under way for `seconds` (None: not known), because of `reason`."""

    reason: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that the user should know: a cap that is nearly reached, a model stepped down to, stale prices."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted:
    attempt: int
    candidate: Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Something slow that is no waiting for tokens, e.g. loading the local model."""

    message: str
    fraction: float | None = None
    """0..1 where it is known."""
    done: bool = False
    """It is over: from now on tokens are waited for."""
    unseen: str = ""
    """What the model has thought since: billed, not shown."""


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
    """How a run ends without an answer where others beside it go on: in a comparison. Elsewhere it raises."""

    error: LLMMagicError


RunEvent = Planned | Note | Waiting | AttemptStarted | Progress | TextDelta | AttemptEnded | RunEnded
