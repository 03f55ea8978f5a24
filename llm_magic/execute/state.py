"""State of a run and of its attempts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from llm_magic import tokens
from llm_magic.budget import Budget, Cap
from llm_magic.errors import BudgetExceeded, ProviderError
from llm_magic.events import Note, NoteKind
from llm_magic.execute.pace import Ticket
from llm_magic.execute.services import Services
from llm_magic.execute.think_tags import ThinkTags
from llm_magic.ledger import Hold, Reservation
from llm_magic.providers.base import Finished, UsageReport
from llm_magic.providers.rate_limits import RateLimits
from llm_magic.types import Attempt, Candidate, Message, Outcome, Plan

MIN_SILENCE_S = 0.25
"""Shorter times between two pieces of an answer are those of the network."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Run:
    """A run in progress.

    budget: called for each hold, so a cap that is set during the run applies to everything that is yet to be sent.
    answer_outcome: of an attempt that answers; another one than `ok` in a shadow run, which never waits for budget.
    in_column: it answers a row of a column, which keeps to the shared pace and reports totals itself. ticket: of its
    first request, if the column has waited for its turn.
    on_settled: called with each attempt when its cost is settled, also if it was canceled.
    sent_models: model of each attempt. reservation: money set aside for the plan's leader; a run that has one must not
    wait for budget (deadlock). cascade_attempts: number of attempts before the leader was asked.
    out: the reason, by provider whose account failed. rejected_by, refused_by: providers that took the request for
    invalid, or refused it. corrected: what was sent again in another form, by model id.
    """

    id: str
    plan: Plan
    services: Services
    budget: Callable[[], Budget]
    started: float
    deadline: float
    in_column: bool = False
    is_displayed: bool = True
    on_settled: Callable[[Attempt], None] | None = None
    answer_outcome: Outcome = Outcome.OK
    ticket: Ticket | None = None
    sent_models: list[str] = dataclasses.field(default_factory=list[str])
    without_flex: set[str] = dataclasses.field(default_factory=set[str])
    attempts: list[Attempt] = dataclasses.field(default_factory=list[Attempt])
    errors: list[Exception] = dataclasses.field(default_factory=list[Exception])
    skipped: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    notes: list[str] = dataclasses.field(default_factory=list[str])
    out: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    rejected_by: set[str] = dataclasses.field(default_factory=set[str])
    refused_by: set[str] = dataclasses.field(default_factory=set[str])
    corrected: set[tuple[str, str]] = dataclasses.field(default_factory=set[tuple[str, str]])
    repaired: bool = False
    exhausted: bool = False
    answer: AttemptState | None = None
    awaiting_confirmation: bool = False
    unconfirmed: list[AttemptState] = dataclasses.field(default_factory=list["AttemptState"])
    cascade_attempts: int = 0
    ledger_notices: int = 0
    """Number of the ledger's notices that earlier runs have shown, and then those of this run."""
    reservation: Reservation | None = None

    def add_settled(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        if self.on_settled is not None:
            self.on_settled(attempt)

    @property
    def time_left_s(self) -> float:
        return max(0.0, self.deadline - self.services.clock.monotonic())

    @property
    def is_shadow(self) -> bool:
        return self.answer_outcome is not Outcome.OK

    @property
    def may_send(self) -> bool:
        """True if an attempt is left. A cascade leaves one for the plan's leader."""
        return len(self.sent_models) < self.services.policy.attempts - self.awaiting_confirmation

    def passed_over(self, provider: str) -> str:
        """Return the reason not to ask any other model of a provider in this run, or empty text."""
        if provider in self.rejected_by:
            return f"{provider} rejected the request"
        if provider in self.refused_by:
            return f"{provider} refused the request"
        return ""

    def new_attempt(self, candidate: Candidate, messages: tuple[Message, ...] = ()) -> AttemptState:
        return AttemptState(
            candidate=candidate,
            started=self.services.clock.monotonic(),
            messages=messages,
            schema_tokens=0
            if (schema := self.plan.request.schema) is None
            else tokens.estimate(schema.text, candidate.model),
            is_flex=self.plan.request.flex and candidate.model.id not in self.without_flex,
        )

    def accept(self, state: AttemptState) -> None:
        if self.awaiting_confirmation:
            self.unconfirmed.append(state)
        else:
            self.answer = state

    def note(self, kind: NoteKind, message: str) -> Note:
        if message not in self.notes:
            self.notes.append(message)
        return Note(kind=kind, message=message)

    def caps(self, candidate: Candidate) -> tuple[Cap, ...]:
        request = self.plan.request
        return self.budget().caps(model=candidate.model.id, tags=request.tags, max_cost_usd=request.max_cost_usd)


@dataclasses.dataclass(frozen=True, slots=True)
class Answered:
    """The attempt has an answer."""


@dataclasses.dataclass(frozen=True, slots=True)
class Failed:
    """The request was sent, and has no usable answer."""

    error: ProviderError


@dataclasses.dataclass(frozen=True, slots=True)
class NotSent:
    """An attempt that was not sent and has no row."""

    error: ProviderError | BudgetExceeded


@dataclasses.dataclass(slots=True, kw_only=True)
class AttemptState:
    """One attempt in progress: enough to settle it at any moment.

    messages: sent after the prompt. sent_texts: the texts of all messages. schema_tokens: the part of the input that a
    provider may not bill. is_judge: it answers a question about another answer, not the user's prompt. Times are
    monotonic; content is visible text or reasoning. report_doubt: the error in the provider's usage report. result:
    None while it runs, and after a cancellation.
    """

    candidate: Candidate
    started: float
    messages: tuple[Message, ...] = ()
    sent_texts: tuple[str, ...] = ()
    schema_tokens: int = 0
    is_judge: bool = False
    is_flex: bool = False
    in_one_piece: bool = False
    hold: Hold | None = None
    learned_pace: float | None = None
    think_tags: ThinkTags = dataclasses.field(default_factory=ThinkTags)
    text: list[str] = dataclasses.field(default_factory=list[str])
    reasoning: list[str] = dataclasses.field(default_factory=list[str])
    summaries: list[str] = dataclasses.field(default_factory=list[str])
    report: UsageReport | None = None
    finished: Finished | None = None
    sent_at: float | None = None
    was_written: Callable[[], bool] = lambda: True
    unread_share: Callable[[], float] = lambda: 0.0
    first_token_at: float | None = None
    first_content_at: float | None = None
    last_content_at: float | None = None
    pauses: list[tuple[float, str]] = dataclasses.field(default_factory=list[tuple[float, str]])
    """Seconds between two pieces of content, and the later piece, part of which was generated in that time."""
    rate_limits: RateLimits | None = None
    report_doubt: str = ""
    data: Any = None
    row: Attempt | None = None
    result: Answered | Failed | NotSent | None = None

    @property
    def answer_text(self) -> str:
        return "".join(self.text)

    @property
    def prompt_tokens(self) -> int:
        """Return the estimated input tokens without those of the schema."""
        return max(0, self.candidate.input_tokens - self.schema_tokens)

    @property
    def was_sent(self) -> bool:
        return self.sent_at is not None and self.was_written()

    def note_content(self, text: str, now: float) -> None:
        """Note the time of visible text or reasoning. A sign of life without any does not end a silence."""
        if self.first_content_at is None:
            self.first_content_at = now
        if self.last_content_at is not None and now - self.last_content_at >= MIN_SILENCE_S:
            self.pauses.append((now - self.last_content_at, text))
        self.last_content_at = now

    def silent_s(self, now: float) -> float:
        """Return the seconds in which the model may have reasoned unseen.

        That is the time before the first text or visible reasoning, and the time since the last of it, in which a model
        may also have written text that has not arrived.
        """
        if self.sent_at is None:
            return 0.0
        if self.first_content_at is None:
            return now - self.sent_at
        before_content = self.first_content_at - self.sent_at
        if self.last_content_at is None or self.finished is not None:
            return before_content
        return before_content + now - self.last_content_at
