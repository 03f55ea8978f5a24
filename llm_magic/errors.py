"""Every error of the package.

LLMMagicError
├─ RegistryError          a models.toml that can't be used; also a ValueError
│  └─ UnknownPrice        a model without a known price: unknown is not zero
├─ RequestError           the caller's own prompt or option; also a ValueError
│  ├─ InvalidOption       an option with a value that it can't take
│  └─ UnknownOption       an option that does not exist; also a TypeError
├─ BudgetError            an amount that is negative, NaN, infinite or not a number; also a ValueError
├─ TuningError            a tuning.toml that can't be used; also a ValueError
├─ LedgerError            the ledger can't be read or written
├─ EvaluationError        recorded outcomes that can't be read, or lack what is evaluated; also a ValueError
├─ BudgetExceeded         a cap would be exceeded: nothing was sent
├─ NoCandidate            no model in the plan can be used now
├─ AllAttemptsFailed      an ExceptionGroup with every cause
└─ ProviderError          one attempt failed
   ├─ RateLimited, Overloaded, ServerError, ConnectionFailed                 retried, then the next candidate
   ├─ TimedOut, StreamBroken, ProtocolError                                  billed; retried, then the next candidate
   ├─ EmptyAnswer                                                            billed; the next candidate
   ├─ InvalidAnswer                                                          billed; one repair, then the next candidate
   ├─ ModelNotFound, ContextTooLong, LocalModelUnavailable                   free; the next candidate at once
   ├─ AuthFailed, PaymentRequired                                            free; another provider at once
   ├─ Refused                                                                billed; one other provider
   └─ BadRequest                                                             free; another provider, until two agree
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, TypedDict, Unpack

from llm_magic.types.outcomes import Outcome


class LLMMagicError(Exception):
    """The base class of all errors that llm_magic raises on purpose."""


class RegistryError(LLMMagicError, ValueError):
    """A registry entry that can't be used. The message names the file and the key."""


class UnknownPrice(RegistryError):
    pass


class RequestError(LLMMagicError, ValueError):
    pass


class InvalidOption(RequestError):
    """message: overrides the default one, which begins with the keyword."""

    def __init__(self, option: str, value: object, requirement: str, *, message: str = "") -> None:
        super().__init__(message or f"{option} = {value!r} must be {requirement}")
        self.option = option
        self.value = value
        self.requirement = requirement


class UnknownOption(RequestError, TypeError):
    pass


class BudgetError(LLMMagicError, ValueError):
    pass


class TuningError(LLMMagicError, ValueError):
    pass


class LedgerError(LLMMagicError):
    pass


class EvaluationError(LLMMagicError, ValueError):
    pass


class BudgetExceeded(LLMMagicError):
    """A hold did not fit under a cap. `reachable_usd`: at most this much is left once the attempts in flight end."""

    def __init__(
        self, message: str, *, scope: str, asked_usd: Decimal, left_usd: Decimal, reachable_usd: Decimal
    ) -> None:
        super().__init__(message)
        self.scope = scope
        self.asked_usd = asked_usd
        self.left_usd = left_usd
        self.reachable_usd = reachable_usd


class NoCandidate(LLMMagicError):
    """No model can serve the request now. The message gives the reason for each."""


class AllAttemptsFailed(LLMMagicError, ExceptionGroup[Exception]):
    """Every candidate failed. `exceptions` holds the causes, in the order of the attempts."""

    def __str__(self) -> str:
        return self.message  # a group appends "(2 sub-exceptions)", and the message names every cause

    def derive(self, excs: Sequence[Exception], /) -> AllAttemptsFailed:  # pyright: ignore[reportIncompatibleMethodOverride] - the base is generic over what split() may hand it, ours holds Exceptions
        return AllAttemptsFailed(self.message, excs)


class Scope(StrEnum):
    """The part of a plan that an error says something about."""

    MODEL = "model"
    """Another model may answer."""
    PROVIDER = "provider"
    """The account: every model of the provider fails."""
    REQUEST = "request"
    """The endpoint's opinion of the request: another provider may accept it."""


class ErrorAttributes(TypedDict, total=False):
    """The keywords of every `ProviderError`, which override the defaults of its class."""

    retry_after_s: float | None
    accepted: bool
    scope: Scope
    retryable: bool
    cools_down: bool
    billed: bool


class ProviderError(LLMMagicError):
    """One attempt failed. The attributes determine what follows; each class has its defaults.

    scope: what to ask instead. retryable: a retry with the same model may succeed.
    cools_down: the model is skipped for a while after its retries.
    billed: the provider may bill for it even if no token arrived.
    accepted: the provider read the request, so that the input may be billed.
    retry_after_s: the wait that the provider asked for; with `Scope.PROVIDER`, the time until the account works again.
    """

    outcome: ClassVar[Outcome] = Outcome.ERROR
    billed: bool = False
    scope: Scope = Scope.MODEL
    retryable: bool = False
    cools_down: bool = False

    def __init__(self, message: str, **attributes: Unpack[ErrorAttributes]) -> None:
        super().__init__(message)
        self.retry_after_s = attributes.get("retry_after_s")
        self.accepted = attributes.get("accepted", False)
        self.scope = attributes.get("scope", self.scope)
        self.retryable = attributes.get("retryable", self.retryable)
        self.cools_down = attributes.get("cools_down", self.cools_down)
        self.billed = attributes.get("billed", self.billed)


class RateLimited(ProviderError):
    outcome, retryable, cools_down = Outcome.RATE_LIMITED, True, True


class Overloaded(ProviderError):
    outcome, retryable, cools_down = Outcome.OVERLOADED, True, True


class ServerError(ProviderError):
    outcome, retryable, cools_down = Outcome.SERVER_ERROR, True, True


class ConnectionFailed(ProviderError):
    """The request did not reach the provider."""

    outcome, retryable, cools_down = Outcome.CONNECTION_FAILED, True, True


class TimedOut(ProviderError):
    """The provider sent nothing for too long. It may still have generated an answer, so the attempt is charged."""

    outcome, retryable, cools_down, billed = Outcome.TIMED_OUT, True, True, True


class StreamBroken(ProviderError):
    outcome, retryable, cools_down, billed = Outcome.STREAM_BROKEN, True, True, True


class ProtocolError(ProviderError):
    outcome, retryable, cools_down, billed = Outcome.PROTOCOL_ERROR, True, True, True


class EmptyAnswer(ProviderError):
    outcome, billed = Outcome.EMPTY, True


class CutOff(ProviderError):
    """The answer was cut off at an output limit that llm_magic had derived from the lengths of earlier answers."""

    outcome, billed = Outcome.CUT_OFF, True


class InvalidAnswer(ProviderError):
    """The answer does not fit its schema.

    hint: a validator's own message. It can quote the answer, so it is shown and sent to the model, but never recorded.
    """

    outcome, billed = Outcome.INVALID, True

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = " ".join(hint.split())

    @property
    def details(self) -> str:
        return f"{self} ({self.hint})" if self.hint else str(self)


class Refused(ProviderError):
    """The model or a content filter refused to answer. category: in the provider's words; may be empty."""

    outcome, scope, billed = Outcome.REFUSED, Scope.REQUEST, True

    def __init__(self, message: str, *, category: str = "", **attributes: Unpack[ErrorAttributes]) -> None:
        super().__init__(message, **attributes)
        self.category = category


class AuthFailed(ProviderError):
    outcome, scope = Outcome.AUTH_FAILED, Scope.PROVIDER


class PaymentRequired(ProviderError):
    outcome, scope = Outcome.PAYMENT_REQUIRED, Scope.PROVIDER


class ModelNotFound(ProviderError):
    outcome = Outcome.MODEL_NOT_FOUND


class ContextTooLong(ProviderError):
    outcome = Outcome.CONTEXT_TOO_LONG


class BadRequest(ProviderError):
    """The endpoint rejected the request.

    refused_parameter: the parameter that the endpoint does not take; the request is sent again without it.
    output_limit: the endpoint's maximum of output tokens, if it is lower than what was asked for; sent again with it.
    """

    outcome, scope = Outcome.BAD_REQUEST, Scope.REQUEST

    def __init__(
        self,
        message: str,
        *,
        refused_parameter: str = "",
        output_limit: int | None = None,
        **attributes: Unpack[ErrorAttributes],
    ) -> None:
        super().__init__(message, **attributes)
        self.refused_parameter = refused_parameter
        self.output_limit = output_limit


class LocalModelUnavailable(ProviderError):
    outcome, cools_down = Outcome.LOCAL_UNAVAILABLE, True


def any_of(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
