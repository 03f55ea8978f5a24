"""The state of a run, folded from its events."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from llm_magic.events import (
    AttemptEnded,
    AttemptStarted,
    CandidateSkipped,
    Note,
    NoteKind,
    Planned,
    Postponed,
    Progress,
    RunEnded,
    RunEvent,
    TextDelta,
    Waiting,
)
from llm_magic.execute.path import path_of
from llm_magic.ledger import Ledger
from llm_magic.types import ZERO, Attempt, Candidate, Comparison, Outcome, Plan, RouteResult, Step
from llm_magic.waiting.off_peak import describe

Verbosity = Literal["quiet", "normal", "full"]
"""Facts shown under an answer: only those of a notable run, one line with the rest folded away, or all."""
_NOTABLE = frozenset({
    NoteKind.OUTPUT_LIMITED, NoteKind.STEPPED_DOWN, NoteKind.NOT_CONFIRMED, NoteKind.REPAIR, NoteKind.LEDGER,
    NoteKind.USAGE, NoteKind.LAST_RESORT, NoteKind.PASSED_OVER, NoteKind.CAP_WARNING,
})  # fmt: skip

_ENDINGS = {Outcome.SKIPPED: "not sent"}


@dataclass(slots=True, kw_only=True)
class RunState:
    monotonic: Callable[[], float] = time.monotonic
    run_id: str = ""
    plan: Plan | None = None
    current: Candidate | None = None
    attempts_started: int = 0
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    result: RouteResult | None = None
    parts: list[str] = field(default_factory=list[str])
    thoughts: list[str] = field(default_factory=list[str])
    """Visible thinking of the current attempt, or its summary."""
    ending: str = ""
    shows_error: bool = False
    ledger: Ledger | None = None
    cap_usd: Decimal | None = None
    session_usd: Decimal = ZERO
    verbosity: Verbosity = "normal"
    has_notable_note: bool = False
    _notes: list[str] = field(default_factory=list[str])
    _cascade_model_ids: dict[int, str] = field(default_factory=dict[int, str])
    _skip_reasons: dict[str, str] = field(default_factory=dict[str, str])
    _asked_model_id: str | None = None
    _activity: str = "planning"
    _since: float = 0.0
    _until: float | None = None
    _shows_time: bool = True

    def __post_init__(self) -> None:
        self._since = self.monotonic()

    @classmethod
    def of_result(cls, result: RouteResult) -> RunState:
        return cls(
            result=result,
            ending=""
            if result.outcome.is_answer
            else f"no answer: {_ENDINGS.get(result.outcome, result.outcome.words)}",
            parts=[result.text],
            attempts=list(result.attempts),
            cap_usd=result.cap_usd,
            session_usd=result.session_cost_usd,
        )

    def apply(self, event: RunEvent) -> None:
        match event:
            case Planned():
                self.run_id, self.plan = event.run_id, event.plan
            case Note():
                self._notes.append(event.message)
                self.has_notable_note = self.has_notable_note or event.kind in _NOTABLE
            case CandidateSkipped():
                self._skip_reasons[event.model_id] = event.reason
            case Postponed():
                self._set_activity(describe(event), shows_time=False)
            case Waiting():
                self._set_activity(event.reason, event.seconds)
            case AttemptStarted():
                self.current, self.parts, self.thoughts = event.candidate, [], []
                self.attempts_started += 1
                if event.in_cascade:
                    self._cascade_model_ids[event.attempt] = event.candidate.model.id
                else:
                    self._asked_model_id = event.candidate.model.id
                self._set_activity(f"waiting for the first token from {event.candidate.model.id}")
            case Progress():
                share = "" if event.fraction is None else f" {event.fraction:.0%}"
                self._set_activity(f"{event.message}{share}", restart=event.done and not self.thoughts)
                if event.reasoning:
                    self.thoughts.append(event.reasoning)
            case TextDelta():
                if not self.parts:
                    self._set_activity("answering")
                self.parts.append(event.text)
            case AttemptEnded():
                self.attempts.append(event.attempt)
            case RunEnded():
                self.result = event.result
                self.session_usd = event.result.session_cost_usd

    @property
    def text(self) -> str:
        return "".join(self.parts)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes) if self.result is None else self.result.notes

    @property
    def cost_usd(self) -> Decimal:
        return sum((attempt.cost_usd for attempt in self.attempts), ZERO)

    @property
    def is_visible(self) -> bool:
        return self.plan is not None or self.result is not None or self.shows_error

    def phase(self) -> str:
        if self.result is not None or self.ending:
            return ""
        now = self.monotonic()
        if self._until is not None:
            return f"{self._activity} in {max(0.0, self._until - now):.0f} s"
        waited_s = int(now - self._since) if self._shows_time else 0
        return self._activity + (f", {waited_s} s" if waited_s else "")

    def path(self) -> tuple[Step, ...]:
        if self.result is not None:
            return self.result.path
        if self.plan is None:
            return ()
        return path_of(
            self.plan,
            self.attempts,
            cascade_models=self._cascade_model_ids,
            skipped=self._skip_reasons,
            asking=self._asked_model_id,
            running=not self.ending,
        )

    def _set_activity(
        self, activity: str, seconds: float | None = None, *, restart: bool = True, shows_time: bool = True
    ) -> None:
        now = self.monotonic()
        self._shows_time = shows_time
        self._activity = activity
        self._until = None if seconds is None else now + seconds
        if restart:
            self._since = now


# By label. A run alone has the label "", a comparison has two labels or more.
RunStates = Mapping[str, RunState]


def states_of(comparison: Comparison) -> RunStates:
    return {
        column.label: RunState(ending=column.error, shows_error=True)
        if column.result is None
        else RunState.of_result(column.result)
        for column in comparison.columns
    }
