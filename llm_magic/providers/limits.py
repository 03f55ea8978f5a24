"""Errors about a number of tokens: a prompt that is too long, or an output limit that is too high."""

from __future__ import annotations

import re

from llm_magic.providers import error_words as words
from llm_magic.providers import limit_words
from llm_magic.providers.error_body import ErrorBody

_OUTPUT_NAMES = words.any_of(
    r"max_(?:completion_|output_|new_)?tokens|maxoutputtokens|max_tokens_to_sample|max tokens\b",
    r"(?:output|completion) (?:tokens|limit)|maximum tokens you requested|\bmaxtokens\b",
)
_ABOUT_INPUT = words.any_of(
    r"context|prompt|input (?:length|token|is)|`inputs`|messages resulted|in the messages",
    r"at least 1|must be (?:positive|greater)|per minute|n_ctx|tokens_in|input_tokens",
)
_IS_A_LIMIT = words.any_of(
    rf"(?:{_OUTPUT_NAMES.pattern})\W{{0,4}}(?:must|should) be (?:less than or equal to|at most|<=|between|in )"
)
_SUM = re.compile(r"`inputs`|input length and|\+|prompt|messages")
_ROOM_LEFT = re.compile(
    r"is too large: [\d,]+\. this model's maximum context length is ([\d,]+) tokens and your request has ([\d,]+)"
)
_REQUESTED = re.compile(
    r"context length is ([\d,]+) tokens\. however, you requested [\d,]+ tokens"
    r" \(([\d,]+) in the messages, ([\d,]+) in the completion\)"
)
_STATUS = re.compile(r"\b(?:http|error code|status(?: code)?):?\s*\d{3}\b|\b(?:line|column) \d+")
_TOO_MANY = words.any_of(
    r"exceed|max|limit|longer|larger|greater|too (?:long|many|large)|only|less than|at most|up to",
    r"support|surpass|over\b|>|does ?n[o']t fit|window|dépass|excede|límite|limite|supera|massim|máxim|zu lang",
    r"überschr|超|초과|слишком|превыш",
)
_COUNTED = words.any_of(
    r"tokens?|トークン|토큰|токен|(?:context|sequence|prompt|input|total)[ _]length|context[ _](?:size|window)|n_ctx"
)
_MIN_CONTEXT_TOKENS = 256
_INTEGER = re.compile(r"(?<![\w-])(?<!\w\.)(?:\d{1,3}(?:,\d{3})+(?![\w,-])|\d+(?![\w-]|[.,]\d))", re.ASCII)
_IS_EXCLUSIVE = words.any_of(r"exclusive", r"(?:must|should) be (?:less|smaller|lower|fewer) than \d")


def is_too_long(body: ErrorBody) -> bool:
    """True if the prompt exceeds the context window."""
    if body.codes & limit_words.TOO_LONG_CODES:
        return True
    if body.number("n_prompt_tokens") is not None and body.number("n_ctx") is not None:
        return True
    if limit_words.NOT_TOO_LONG.search(body.text):
        return False
    return bool(limit_words.TOO_LONG.search(body.text)) or _compares_token_counts(body.text)


def _compares_token_counts(text: str) -> bool:
    """True for a count of tokens next to a lower limit, whatever the words between them."""
    if not (_COUNTED.search(text) and _TOO_MANY.search(text)) or _OUTPUT_NAMES.search(text):
        return False
    counts = {int(number.replace(",", "")) for number in _INTEGER.findall(_STATUS.sub("", text))}
    return len([count for count in counts if count >= _MIN_CONTEXT_TOKENS]) > 1


def output_limit(body: ErrorBody, sent_limit: int) -> int | None:
    """Return the output limit that an error names, if the limit that was sent is too high; None for other errors."""
    text = words.ALTERNATIVES.sub("", _STATUS.sub("", f"{body.message} {body.parameter}".lower()))
    if left := _ROOM_LEFT.search(text) or _REQUESTED.search(text):
        context, prompt, *requested = (int(number.replace(",", "")) for number in left.groups())
        if requested not in ([], [sent_limit]):
            return None
        return context - prompt if 0 < context - prompt < sent_limit else None
    if not _OUTPUT_NAMES.search(text):
        return None
    is_stated = _IS_A_LIMIT.search(text) and not _SUM.search(text)
    if not is_stated and _ABOUT_INPUT.search(text):
        return None
    limits = [int(number.replace(",", "")) for number in _INTEGER.findall(text)]
    lower = [limit for limit in limits if 0 < limit < sent_limit]
    return max(lower) - bool(_IS_EXCLUSIVE.search(text)) if lower else None
