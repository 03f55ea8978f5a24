"""What is known of a run at a moment: folded from its events, drawn by every kind of display."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
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
from llm_magic.types import ZERO, Attempt, Candidate, Outcome, Plan, RouteResult, Skipped, Step


@dataclass(slots=True, kw_only=True)
class RunState:
    """One run, as far as it has come."""

    monotonic: Callable[[], float] = time.monotonic
    run_id: str = ""
    plan: Plan | None = None
    current: Candidate | None = None
    started: int = 0
    """Attempts started so far: the text is that of the last one."""
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    result: RouteResult | None = None
    parts: list[str] = field(default_factory=list[str])
    ended: str = ""
    """How it ended, in words, where it did not end in an answer."""
    unwatched: bool = False
    """No cell waits for it, so that its error is seen only where it is drawn."""
    cap_usd: Decimal | None = None
    session_usd: Decimal = ZERO
    _notes: list[str] = field(default_factory=list[str])
    _asked: dict[int, str] = field(default_factory=dict[int, str])
    """The model of each attempt, by its number."""
    _doing: str = "planning"
    _since: float = 0.0
    _until: float | None = None

    def __post_init__(self) -> None:
        self._since = self.monotonic()

    def apply(self, event: RunEvent) -> None:
        """Take note of an event."""
        match event:
            case Planned():
                self.run_id, self.plan = event.run_id, event.plan
            case Note():
                self._notes.append(event.message)
            case Waiting():
                self._now(event.reason, event.seconds)
            case AttemptStarted():
                self.current, self.parts = event.candidate, []
                self.started += 1
                self._asked[event.attempt] = event.candidate.model.id
                self._now(f"waiting for the first token of {event.candidate.model.id}")
            case Progress():
                share = "" if event.fraction is None else f" {event.fraction:.0%}"
                self._now(f"{event.message}{share}", restart=event.done)
            case TextDelta():
                if not self.parts:
                    self._now("answering")
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
        """What the user should know besides, so far."""
        return tuple(self._notes) if self.result is None else self.result.notes

    @property
    def cost_usd(self) -> Decimal:
        return sum((attempt.cost_usd for attempt in self.attempts), ZERO)

    def phase(self) -> str:
        """Where the run is, in words; empty once it is over."""
        if self.result is not None or self.ended:
            return ""
        now = self.monotonic()
        if self._until is not None:
            return f"{self._doing} in {max(0.0, self._until - now):.0f} s"
        waited = int(now - self._since)
        return self._doing + (f", {waited} s" if waited else "")

    def path(self) -> tuple[Step, ...]:
        """The steps so far: models passed over, failed, and the one that is answering or has answered."""
        if self.result is not None:
            return self.result.path
        if self.plan is None:
            return ()
        if self.plan.cascade is not None:
            return tuple(self._in_order())
        steps: list[Step] = []
        for entry in self.plan.ranked:
            tries = [attempt for attempt in self.attempts if attempt.model == entry.model.id]
            steps += [Step(model=each.model, outcome=each.outcome, detail=each.error or "") for each in tries]
            if isinstance(entry, Skipped):
                steps.append(Step(model=entry.model.id, outcome=Outcome.SKIPPED, detail=entry.reason))
            elif self.current is not None and entry.model.id == self.current.model.id:
                if not self.ended and not (tries and tries[-1].outcome == Outcome.OK):
                    steps.append(Step(model=entry.model.id, outcome=Outcome.RUNNING))
                break
        return tuple(steps)

    def _in_order(self) -> Iterator[Step]:
        """The steps of a cascade: several are under way at once, and end in any order."""
        ended = {attempt.attempt: attempt for attempt in self.attempts}
        for number, model in sorted(self._asked.items()):
            if (attempt := ended.get(number)) is not None:
                yield Step(model=model, outcome=attempt.outcome, detail=attempt.error or "")
            elif not self.ended:
                yield Step(model=model, outcome=Outcome.RUNNING)

    def _now(self, doing: str, seconds: float | None = None, *, restart: bool = True) -> None:
        now = self.monotonic()
        self._doing = doing
        self._until = None if seconds is None else now + seconds
        if restart:
            self._since = now
