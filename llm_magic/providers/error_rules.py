"""The meaning of a provider's error: from its status, its body and its headers to what can be done about it.

Codes decide before words. Words are needed because many endpoints send the same code for every error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from llm_magic.errors import (
    AuthFailed,
    BadRequest,
    ContextTooLong,
    ErrorAttributes,
    InvalidAnswer,
    ModelNotFound,
    Overloaded,
    PaymentRequired,
    ProviderError,
    RateLimited,
    Refused,
    Scope,
    ServerError,
)
from llm_magic.providers import error_words as words
from llm_magic.providers import limit_words, refused_parameters
from llm_magic.providers.error_body import ErrorBody
from llm_magic.providers.limits import is_too_long, output_limit
from llm_magic.providers.refused_parameters import SentRequest
from llm_magic.providers.waits import wait_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error response, or an error event within a stream, whose status is then the one that it names.

    message: for people, with the status, without secrets. accepted: the response had begun. url: where the request was
    sent.
    """

    status: int
    body: ErrorBody
    message: str
    sent: SentRequest
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    accepted: bool = False
    url: str = ""

    def has_code(self, codes: Set[str]) -> bool:
        return bool(self.body.codes & codes)

    def says(self, pattern: re.Pattern[str]) -> bool:
        return bool(pattern.search(self.body.text))


_LIMIT_AND_REQUESTED = re.compile(r"limit:? ([\d,]+)\b.{0,60}?requested:? ([\d,]+)")
_REQUESTED_AND_LIMIT = re.compile(r"request of ([\d,]+) tokens exceeds[\w ]{0,30} limit of ([\d,]+)")
_MIN_NAME_CHARS = 3
_CATEGORY_KEYS = ("category", "reasons", "filtered_category")
_TRANSIENT_STATUSES = (408, 409, 424, 425, 499)


def error_of(failure: Failure) -> ProviderError:
    for rule in (_account, _filtered, _model, _limited, _size, _parameter):
        if (error := rule(failure)) is not None:
            return error
    return _by_status(failure)


def _attributes(failure: Failure) -> ErrorAttributes:
    return {"accepted": failure.accepted, "retry_after_s": wait_s(failure.headers, failure.body)}


def _is_unpaid(failure: Failure) -> bool:
    text = failure.body.text
    if words.ALIBABA_QUOTA.search(text):
        return False
    if failure.has_code(words.NO_CREDIT_CODES):
        return True
    if (failure.status == 429 or failure.has_code(limit_words.RATE_CODES)) and failure.says(limit_words.PER_MINUTE):
        return False  # the message may mention that a payment raises the limit
    if failure.says(words.NO_CREDIT) or (failure.status < 500 and failure.says(words.LACKS_MONEY)):
        return True
    # Google words its limits per minute like an unpaid bill.
    is_google = "resource_exhausted" in failure.body.codes or "ai.google.dev" in text or "generativelanguage" in text
    return not is_google and failure.says(words.UNCLEAR_QUOTA)


def _is_not_included(failure: Failure) -> bool:
    return failure.has_code(words.NOT_INCLUDED_CODES) or failure.says(words.NOT_INCLUDED)


def _account(failure: Failure) -> ProviderError | None:
    if failure.status == 402 or _is_unpaid(failure):
        return PaymentRequired(failure.message, **_attributes(failure))
    if _is_not_included(failure):
        return ModelNotFound(failure.message, accepted=failure.accepted)
    if failure.status == 401 or failure.has_code(words.BAD_KEY_CODES) or _refuses_key(failure):
        return AuthFailed(failure.message, **_attributes(failure))
    return None


def _refuses_key(failure: Failure) -> bool:
    if failure.says(words.BAD_KEY) or (failure.status == 403 and failure.says(words.INVALID_TOKEN)):
        return True
    return failure.status < 500 and failure.says(words.REFUSED_KEY)


def _filtered(failure: Failure) -> ProviderError | None:
    has_code = failure.has_code(words.FILTER_CODES) or any(map(words.FILTER_CODE.search, failure.body.codes))
    if failure.status == 429 or (failure.status in _TRANSIENT_STATUSES and failure.status != 424):  # 424: Cloudflare
        return None
    if not (has_code or (failure.status < 500 and failure.says(words.FILTERED))):
        return None
    category = refusal_category(failure.body)
    message = (
        failure.message if not category or category in failure.message.lower() else f"{failure.message} [{category}]"
    )
    return Refused(message, category=category, accepted=True)


def refusal_category(body: ErrorBody) -> str:
    """Return the categories that a content filter names, such as `hate, jailbreak`, or its code."""
    named = [str(value) for key, value in body.values if key in _CATEGORY_KEYS and value]
    if check := re.search(r"failed check: (?:safety_check_type_)?([\w-]+)", body.text):
        named.append(check.group(1))
    named += [] if named else sorted(body.codes & words.FILTER_CATEGORY_CODES)
    return ", ".join(dict.fromkeys(name.lower() for name in named))[:100]


def _model(failure: Failure) -> ProviderError | None:
    if failure.status not in (400, 403, 404, 410, 422, 503):
        return None
    if failure.says(words.NO_CHANNEL):
        return ModelNotFound(failure.message, accepted=failure.accepted)
    if failure.status == 503:  # a gateway without an endpoint for the model
        is_named, is_worded = "model_not_found" in failure.body.codes, False
    else:
        text, named = _naming_the_model(failure), {403: r"\bmodel\b(?!\.)", 404: "model"}.get(failure.status)
        is_named = failure.has_code(words.NO_MODEL_CODES)
        is_worded = bool(words.NO_MODEL.search(text) or (named and re.search(named, text)))
        is_worded = is_worded and not words.ABOUT_A_PARAMETER.search(text)
    return ModelNotFound(failure.message, accepted=failure.accepted) if is_named or is_worded else None


def _naming_the_model(failure: Failure) -> str:
    name = failure.sent.model.lower()
    if len(name) < _MIN_NAME_CHARS:
        return failure.body.text
    return re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", "model", failure.body.text)


def _limited(failure: Failure) -> ProviderError | None:
    attributes = _attributes(failure)
    is_rate = (
        failure.status == 429
        or failure.has_code(limit_words.RATE_CODES)
        or any(map(limit_words.RATE_CODE.search, failure.body.codes))
    )
    if is_rate or (failure.status in (400, 403, 413) and failure.says(limit_words.RATE)):
        if failure.has_code(limit_words.OVERLOADED_CODES) and not failure.has_code(limit_words.RATE_CODES):
            return Overloaded(failure.message, **_advised(failure, attributes))
        if failure.says(limit_words.TOO_LARGE_FOR_RATE) or _requests_more_than_limit(failure.body.text):
            return RateLimited(failure.message, **{**attributes, "retryable": False, "cools_down": False})
        is_upgrade = failure.says(limit_words.UPGRADE) and attributes.get("retry_after_s") is None
        if (
            is_upgrade
            or failure.says(limit_words.NO_SHORT_WAIT)
            or any("perday" in code for code in failure.body.codes)
        ):
            return RateLimited(failure.message, **{**attributes, "retryable": False})
        return RateLimited(failure.message, **_advised(failure, attributes))
    is_overloaded = failure.has_code(limit_words.OVERLOADED_CODES) or (
        failure.status < 500 and failure.says(limit_words.OVERLOADED)
    )
    if failure.status in (498, 529) or is_overloaded:
        return Overloaded(failure.message, **_advised(failure, attributes))
    return None


def _requests_more_than_limit(text: str) -> bool:
    if (stated := _REQUESTED_AND_LIMIT.search(text)) is not None:
        requested, limit = (int(number.replace(",", "") or 0) for number in stated.groups())
        return requested > limit
    numbers = _LIMIT_AND_REQUESTED.search(text)
    if numbers is None or "used" in numbers.group(0):
        return False
    limit, requested = (int(number.replace(",", "") or 0) for number in numbers.groups())
    return requested > limit


def _size(failure: Failure) -> ProviderError | None:
    if failure.status not in (400, 413, 416, 422, 424, 500, 502, 503):
        return None
    if failure.status < 500 and (limit := output_limit(failure.body, failure.sent.output_limit)) is not None:
        return BadRequest(failure.message, output_limit=limit, accepted=failure.accepted)
    if is_too_long(failure.body):
        return ContextTooLong(failure.message, accepted=failure.accepted)
    return None


def _parameter(failure: Failure) -> ProviderError | None:
    is_unknown = failure.says(words.UNKNOWN_PARAMETER)
    if failure.status not in (400, 404, 422, 500, 501) and not (is_unknown and failure.status in (502, 503)):
        return None
    if "json_validate_failed" in failure.body.codes:
        return InvalidAnswer(failure.message)
    parameter = refused_parameters.refused_parameter(failure.body, failure.sent)
    is_sure = failure.status not in (500, 502, 503) or is_unknown or parameter == refused_parameters.FORMAT
    if parameter and is_sure:  # llama.cpp answers 500 for a grammar, and gateways for a parameter
        refused_parameters.remember(failure.sent, parameter, failure.body)
        return BadRequest(failure.message, refused_parameter=parameter, accepted=failure.accepted)
    return None


def _by_status(failure: Failure) -> ProviderError:
    attributes, status = _attributes(failure), failure.status
    if status in (501, 505):
        return BadRequest(failure.message, **_advised(failure, attributes))
    if status >= 500 or status in _TRANSIENT_STATUSES:
        error_class = Overloaded if failure.says(limit_words.OVERLOADED) else ServerError
        return error_class(failure.message, **_advised(failure, attributes))
    if status == 403:  # a page is from a firewall, which may object to the words of the prompt
        scope = Scope.REQUEST if failure.body.is_page else Scope.PROVIDER
        return AuthFailed(failure.message, **{**attributes, "scope": scope})
    if status in (404, 413):
        error_class = ModelNotFound if status == 404 else ContextTooLong
        return error_class(failure.message + _advice_on_path(failure), **{**attributes, "scope": Scope.REQUEST})
    if status == 405:
        return BadRequest(failure.message + _advice_on_path(failure), **attributes)
    return BadRequest(failure.message, **_advised(failure, attributes))


def _advice_on_path(failure: Failure) -> str:
    if failure.status not in (404, 405) or not failure.url:
        return ""
    version = "has a '/v1' too many" if "/v1/" in failure.url else "lacks '/v1' at its end"
    return f" (no API at {failure.url}: check whether base_url {version})"


def _advised(failure: Failure, attributes: ErrorAttributes) -> ErrorAttributes:
    """Add the server's own advice on a retry, the header `x-should-retry`."""
    match failure.headers.get("x-should-retry", "").strip().lower():
        case "true":
            return {**attributes, "retryable": True}
        case "false":
            return {**attributes, "retryable": False}
        case _:
            return attributes
