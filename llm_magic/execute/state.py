"""What a run is made of: how long to try, what to work with, what has happened so far."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import time
import weakref
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from llm_magic import tokens
from llm_magic.budget import Alarms, Budget, Cap
from llm_magic.events import Note
from llm_magic.health import Health
from llm_magic.ledger import Ledger, Reservation
from llm_magic.providers.base import Finished, Provider, UsageReport
from llm_magic.registry import Registry
from llm_magic.types import Attempt, Candidate, Message, Plan, Usage

Turn = TypeVar("Turn", asyncio.Lock, asyncio.Semaphore)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long and how often to try. Seconds."""

    tries: int = 3
    """Per candidate."""
    attempts: int = 8
    """Of the whole run."""
    deadline_s: float = 600.0
    """Of the whole run. Fetching and loading the local model does not count."""
    first_token_s: float = 300.0
    """A model that reasons may say nothing until it has done so."""
    between_tokens_s: float = 60.0
    backoff_s: float = 0.5
    """Before try n + 1: between 0 and backoff_s * 2 ** (n - 1), at most backoff_cap_s (full jitter)."""
    backoff_cap_s: float = 8.0
    retry_after_cap_s: float = 20.0
    """A longer Retry-After is not waited out: the next candidate is asked."""
    cool_down_s: float = 30.0
    """For which a circuit opens first; twice as long each time that it is tried out in vain."""
    money_poll_s: float = 0.02
    """Between two looks at whether other runs have settled what they held."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Time and chance, as parameters."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random
    """0..1"""


class PerEventLoop(Generic[Turn]):
    """A lock or a semaphore, one for each loop: a forked child has its own, and waits for nobody of its parent."""

    def __init__(self, make: Callable[[], Turn]) -> None:
        self._make = make
        self._of: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Turn] = weakref.WeakKeyDictionary()

    def __call__(self) -> Turn:
        """That of the running loop."""
        loop = asyncio.get_running_loop()
        if (turn := self._of.get(loop)) is None:
            turn = self._of[loop] = self._make()
        return turn


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """All that a run works with."""

    registry: Registry
    providers: Mapping[str, Provider]
    ledger: Ledger
    health: Health
    policy: RetryPolicy
    clock: Clock
    slots: Mapping[str, PerEventLoop[asyncio.Semaphore]]
    """By provider: how many requests may be under way at once. First come, first served."""
    alarms: Alarms = dataclasses.field(default_factory=Alarms)
    budget_lock: PerEventLoop[asyncio.Lock] = dataclasses.field(default_factory=lambda: PerEventLoop(asyncio.Lock))
    """Whose turn it is to wait for money that other runs hold. First come, first served."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Run:
    """What has happened in one run so far."""

    id: str
    plan: Plan
    budget: Callable[[], Budget]
    """As it is by now: a cap that is set while a run is under way binds what it has yet to send."""
    started: float
    deadline: float
    sent: list[str] = dataclasses.field(default_factory=list[str])
    """The model of each attempt."""
    attempts: list[Attempt] = dataclasses.field(default_factory=list[Attempt])
    """Those that have ended."""
    errors: list[Exception] = dataclasses.field(default_factory=list[Exception])
    passed: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    """By model id: why a candidate of the plan was passed over after all."""
    notes: list[str] = dataclasses.field(default_factory=list[str])
    repaired: bool = False
    over: bool = False
    """No further candidate may be asked."""
    answer: AttemptState | None = None
    deliberating: bool = False
    """What comes now is a cheap answer that has to be confirmed first."""
    heard: list[AttemptState] = dataclasses.field(default_factory=list["AttemptState"])
    """The cheap answers, while they are."""
    prelude: int = 0
    """How many attempts were made before the plan's leader was asked."""
    reserve: Reservation | None = None
    """Kept back for the plan's leader. Who has one waits for no money, or two such runs could wait for each other."""

    def deliver(self, meter: AttemptState) -> None:
        """An answer has come."""
        if self.deliberating:
            self.heard.append(meter)
        else:
            self.answer = meter

    def may_send(self, policy: RetryPolicy) -> bool:
        """Whether one more attempt may be made. One is left for the leader behind a cascade."""
        return len(self.sent) < policy.attempts - self.deliberating

    def note(self, message: str) -> Note:
        if message not in self.notes:
            self.notes.append(message)
        return Note(message=message)

    def caps(self, candidate: Candidate) -> tuple[Cap, ...]:
        """What an attempt on this candidate has to fit under."""
        request = self.plan.request
        return self.budget().caps(model=candidate.model.id, tags=request.tags, max_cost_usd=request.max_cost_usd)


@dataclasses.dataclass(slots=True, kw_only=True)
class AttemptState:
    """What one attempt has seen so far: enough to settle it at any moment."""

    candidate: Candidate
    started: float
    more: tuple[Message, ...] = ()
    """Sent after the prompt."""
    text: list[str] = dataclasses.field(default_factory=list[str])
    thoughts: list[str] = dataclasses.field(default_factory=list[str])
    """Billed, not shown."""
    report: UsageReport | None = None
    finished: Finished | None = None
    first_token: float | None = None
    data: Any = None
    row: Attempt | None = None
    """As it was settled."""
    judging: bool = False
    """It answers not the user but us."""
    error: Exception | None = None
    """Why it is no answer: a ProviderError, or BudgetExceeded. Where there is no `row`, nothing was sent."""

    def usage(self, *, billed: bool) -> tuple[Usage, bool]:
        """The tokens to settle, and whether they are an estimate."""
        report = self.report if self.report is not None and self._believable(self.report.usage) else None
        if report is not None and report.final:
            return report.usage, False
        if not billed and not self.text and not self.thoughts and self.report is None:
            return Usage(), False
        seen = report.usage if report is not None else Usage(input_tokens=self.candidate.input_tokens)
        model = self.candidate.model
        # An event is a token at least, however little of the thought it shows.
        thought = max(tokens.estimate("".join(self.thoughts), model), len(self.thoughts))
        received = tokens.estimate("".join(self.text), model) + thought
        output = max(seen.output_tokens, received)
        return dataclasses.replace(
            seen, output_tokens=output, reasoning_tokens=max(seen.reasoning_tokens, thought)
        ), True

    def _believable(self, usage: Usage) -> bool:
        """No more than ten times what the model can read and write: beyond that it is nonsense, and no bill."""
        model = self.candidate.model
        most_read = max(model.context_window, self.candidate.input_tokens_bound)
        most_written = max(model.max_output_tokens, self.candidate.max_output_tokens)
        return usage.input_tokens <= 10 * most_read and usage.output_tokens <= 10 * most_written
