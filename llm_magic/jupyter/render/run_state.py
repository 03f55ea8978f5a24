"""The state of a run, folded from its events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from llm_magic.events import (
    AttemptEnded,
    AttemptStarted,
    Note,
    Planned,
    Progress,
    RunEnded,
    RunEvent,
    TextDelta,
    Waiting,
)
from llm_magic.types import ZERO, Attempt, Candidate, Comparison, Outcome, Plan, RouteResult, Skipped, Step


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
    ended: str = ""
    """The displayed ending of a run without an answer."""
    shows_error: bool = False
    """The error is part of the output, because no cell raises it."""
    cap_usd: Decimal | None = None
    session_usd: Decimal = ZERO
    _notes: list[str] = field(default_factory=list[str])
    _model_of_attempt: dict[int, str] = field(default_factory=dict[int, str])
    _activity: str = "planning"
    _since: float = 0.0
    _until: float | None = None

    def __post_init__(self) -> None:
        self._since = self.monotonic()

    @classmethod
    def of_result(cls, result: RouteResult) -> RunState:
        return cls(
            result=result,
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
            case Waiting():
                self._set_activity(event.reason, event.seconds)
            case AttemptStarted():
                self.current, self.parts = event.candidate, []
                self.attempts_started += 1
                self._model_of_attempt[event.attempt] = event.candidate.model.id
                self._set_activity(f"waiting for the first token from {event.candidate.model.id}")
            case Progress():
                share = "" if event.fraction is None else f" {event.fraction:.0%}"
                self._set_activity(f"{event.message}{share}", restart=event.done)
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
        """Describe what the run is doing now. Empty once it has ended."""
        if self.result is not None or self.ended:
            return ""
        now = self.monotonic()
        if self._until is not None:
            return f"{self._activity} in {max(0.0, self._until - now):.0f} s"
        waited_s = int(now - self._since)
        return self._activity + (f", {waited_s} s" if waited_s else "")

    def path(self) -> tuple[Step, ...]:
        """Return the steps so far: models skipped, models that failed, and the current or final one."""
        if self.result is not None:
            return self.result.path
        if self.plan is None:
            return ()
        return tuple(self._cascade_path() if self.plan.cascade is not None else self._chain_path(self.plan))

    def _chain_path(self, plan: Plan) -> Iterator[Step]:
        for entry in plan.ranked:
            attempts = [attempt for attempt in self.attempts if attempt.model == entry.model.id]
            yield from map(_step_of, attempts)
            if isinstance(entry, Skipped):
                yield Step(model=entry.model.id, outcome=Outcome.SKIPPED, detail=entry.reason)
            elif self.current is not None and entry.model.id == self.current.model.id:
                if not self.ended and not (attempts and attempts[-1].outcome == Outcome.OK):
                    yield Step(model=entry.model.id, outcome=Outcome.RUNNING)
                return

    def _cascade_path(self) -> Iterator[Step]:
        """Order the steps by the start of their attempts, which run concurrently and end in any order."""
        settled = {attempt.attempt: attempt for attempt in self.attempts}
        for number, model in sorted(self._model_of_attempt.items()):
            if (attempt := settled.get(number)) is not None:
                yield _step_of(attempt)
            elif not self.ended:
                yield Step(model=model, outcome=Outcome.RUNNING)

    def _set_activity(self, activity: str, seconds: float | None = None, *, restart: bool = True) -> None:
        now = self.monotonic()
        self._activity = activity
        self._until = None if seconds is None else now + seconds
        if restart:
            self._since = now


RunStates = Mapping[str, RunState]
"""The runs of one output by label. A run alone has the label "", a comparison has two labels or more."""


def states_of(comparison: Comparison) -> RunStates:
    return {
        column.label: RunState(ended=column.error, shows_error=True)
        if column.result is None
        else RunState.of_result(column.result)
        for column in comparison.columns
    }


def _step_of(attempt: Attempt) -> Step:
    return Step(model=attempt.model, outcome=attempt.outcome, detail=attempt.error or "")
