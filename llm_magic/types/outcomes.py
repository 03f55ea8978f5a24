from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Outcome(StrEnum):
    """The state of an attempt, or of one step of a run's path.

    Cheap answers of a cascade end as agreed, superseded, or, if the run ended first, unconfirmed. Uncertain: the
    process that sent the attempt died before it settled it. Skipped and running occur in paths only. Shadow is an
    answer that was asked for comparison and is not shown.
    """

    OK = "ok"
    CACHED = "cached"
    CANCELLED = "cancelled"
    AGREED = "agreed"
    SUPERSEDED = "superseded"
    JUDGED = "judged"
    UNCONFIRMED = "unconfirmed"
    SHADOW = "shadow"

    IN_FLIGHT = "in_flight"
    RESERVED = "reserved"
    UNCERTAIN = "uncertain"
    SKIPPED = "skipped"
    RUNNING = "running"

    ERROR = "error"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    CONNECTION_FAILED = "connection_failed"
    TIMED_OUT = "timed_out"
    STREAM_BROKEN = "stream_broken"
    PROTOCOL_ERROR = "protocol_error"
    EMPTY = "empty"
    INVALID = "invalid"
    CUT_OFF = "cut_off"
    REFUSED = "refused"
    AUTH_FAILED = "auth_failed"
    PAYMENT_REQUIRED = "payment_required"
    MODEL_NOT_FOUND = "model_not_found"
    CONTEXT_TOO_LONG = "context_too_long"
    BAD_REQUEST = "bad_request"
    LOCAL_UNAVAILABLE = "local_unavailable"

    __repr__ = str.__repr__

    @property
    def is_answer(self) -> bool:
        return self in (Outcome.OK, Outcome.CACHED)

    @property
    def is_failure(self) -> bool:
        return self not in _NOT_FAILURES

    @property
    def was_sent(self) -> bool:
        return self not in (Outcome.CACHED, Outcome.RESERVED, Outcome.SKIPPED)

    @property
    def words(self) -> str:
        return "canceled" if self is Outcome.CANCELLED else self.value.replace("_", " ")


_NOT_FAILURES = frozenset(
    (
        Outcome.OK,
        Outcome.CACHED,
        Outcome.CANCELLED,
        Outcome.AGREED,
        Outcome.SUPERSEDED,
        Outcome.JUDGED,
        Outcome.UNCONFIRMED,
        Outcome.SHADOW,
        Outcome.IN_FLIGHT,
        Outcome.RESERVED,
        Outcome.UNCERTAIN,
        Outcome.SKIPPED,
        Outcome.RUNNING,
    )
)


class CostBasis(StrEnum):
    """Evidence for the cost of an attempt.

    Reported: the provider's final usage. Counted: the tokens of what was sent and received; nothing hidden is
    expected. Estimated: includes hidden reasoning, by time and pace. Held: the whole hold; nothing indicates less.
    """

    REPORTED = "reported"
    COUNTED = "counted"
    ESTIMATED = "estimated"
    HELD = "held"


class Doubt(StrEnum):
    """The reason why a cheap answer of a cascade was replaced.

    Malformed: its form can't be right, such as code that does not parse. Unusable: there was no way to confirm it.
    """

    DISAGREED = "disagreed"
    CHECK_FAILED = "check_failed"
    MALFORMED = "malformed"
    JUDGED_BAD = "judged_bad"
    UNUSABLE = "unusable"


class Confirmation(StrEnum):
    """The test that decides if a cheap answer of a cascade is kept. The last four are looks at its form."""

    AGREE = "agree"
    TWICE = "twice"
    CHECK = "check"
    SCHEMA = "schema"
    JUDGE = "judge"
    CODE = "code"
    DATA = "data"
    LABEL = "label"
    NUMBER = "number"


class Accepted(NamedTuple):
    """Shares of right and of wrong answers that a confirmation accepts, 0..1."""

    right: float
    wrong: float


class Verdict(StrEnum):
    """Comparison of a shadow answer with the answer that was shown.

    Inconsistent: the judge's preference changed with the order of the answers.
    """

    BETTER = "better"
    WORSE = "worse"
    TIE = "tie"
    INCONSISTENT = "inconsistent"


ENDED_ANSWERS = (
    Outcome.OK,
    Outcome.AGREED,
    Outcome.SUPERSEDED,
    Outcome.UNCONFIRMED,
    Outcome.INVALID,
    Outcome.EMPTY,
    Outcome.SHADOW,
)
"""Outcomes of attempts whose model ended its answer."""
