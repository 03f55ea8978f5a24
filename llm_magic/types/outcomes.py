"""Outcomes of attempts, and reasons to replace an answer."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """The state of an attempt, or of one step of a run's path."""

    OK = "ok"
    CACHED = "cached"
    """Answered from the cache: nothing was sent."""
    CANCELLED = "cancelled"
    AGREED = "agreed"
    """A cheap answer of a cascade that matched the accepted answer."""
    SUPERSEDED = "superseded"
    """A cheap answer of a cascade that was replaced by another answer."""
    JUDGED = "judged"
    UNCONFIRMED = "unconfirmed"
    """A cheap answer whose run ended before the answer was confirmed."""

    IN_FLIGHT = "in_flight"
    RESERVED = "reserved"
    UNCERTAIN = "uncertain"
    """The process that sent the attempt died before it settled it."""
    SKIPPED = "skipped"
    """A model of the plan that was not asked. Occurs in paths only."""
    RUNNING = "running"
    """An attempt that is in progress. Occurs in paths only."""

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
        """The outcome as it is displayed."""
        return self.value.replace("_", " ")


_NOT_FAILURES = frozenset(
    (
        Outcome.OK,
        Outcome.CACHED,
        Outcome.CANCELLED,
        Outcome.AGREED,
        Outcome.SUPERSEDED,
        Outcome.JUDGED,
        Outcome.UNCONFIRMED,
        Outcome.IN_FLIGHT,
        Outcome.RESERVED,
        Outcome.UNCERTAIN,
        Outcome.SKIPPED,
        Outcome.RUNNING,
    )
)


class CostBasis(StrEnum):
    """Evidence for the cost of an attempt."""

    REPORTED = "reported"
    """The provider's final usage."""
    COUNTED = "counted"
    """Tokens of what was sent and received. Nothing hidden is expected."""
    ESTIMATED = "estimated"
    """Includes hidden reasoning, estimated by time and pace."""
    HELD = "held"
    """The whole hold: nothing indicates less."""


class Doubt(StrEnum):
    """The reason why a cheap answer of a cascade was replaced."""

    DISAGREED = "disagreed"
    CHECK_FAILED = "check_failed"
    JUDGED_BAD = "judged_bad"
    UNUSABLE = "unusable"
    """The answer could not be confirmed: it failed, or nothing was there to compare it with."""
