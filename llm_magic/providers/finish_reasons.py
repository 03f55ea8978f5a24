"""The words with which providers end an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llm_magic.providers.error_words import any_of
from llm_magic.providers.payload import clean_text, json_object

_STOP = frozenset(
    {
        "complete",
        "completed",
        "done",
        "end",
        "end_turn",
        "finish",
        "finished",
        "natural",
        "normal",
        "ok",
        "success",
    }
)
_TOKEN = any_of(
    r"^(?:(?:natural|model|matched|hit)_)?(?:stop(?:ped)?|eos|eot|end)"
    r"(?:[_ -]?(?:criteria|id|sequence|str|string|token|tokens|turn|word|words))*$",
    r"end_?of_?(?:message|sequence|text|turn)|im_end|^<(?!.*(?:call|tool)).{1,30}>$",
)
_NOT_WHOLE = any_of(
    r"error(?!_toxic)|fail|abort|cancel|time_?out|time_limit|overload|resource|interrupt|unavailable|incomplete|malformed|network",
    r"evict|preempt|disconnect|tool|function|pause|other|unknown|unspecified",
)
_REFUSAL = any_of(
    r"filter|safety|moderat|sensitive|refus|prohibited|block|guardrail|recitation|spii|policy|censor|violation"
    r"|flagged|toxic|risk|armor|unsafe|harm"
)
_PLACEHOLDERS = ("", "none", "null", "false")
_LENGTH = any_of(
    r"length|max_?(?:\w+_)?tokens|(?:token|output)s?_?limit|context_window|max_context"
    r"|limit_reached|truncat|^too_long$|^stopped_limit$"
)
_PREFIX = re.compile(r"^(?:(?:finish|stop)_?)?reason[._]")


def stated_reason(choice: Mapping[str, Any]) -> str:
    """Return the reason that a choice of Chat Completions ended for, or an empty text if it has not ended."""
    for name in ("finish_reason", "finishReason", "finish_details", "native_finish_reason"):
        value: object = choice.get(name) or ""
        reason = clean_text(json_object(value).get("type") or value)
        if reason.strip().lower() not in _PLACEHOLDERS:
            return reason
    return ""


def is_full_context(reason: str) -> bool:
    """True if the answer ended because the context window was full."""
    return "context" in reason.lower()


def normalized(reason: str) -> str:
    """Return `stop`, `length`, or `refusal`; or the provider's word if it is unknown or the answer is not whole."""
    word = _PREFIX.sub("", reason.strip().lower()).strip("[]")
    if word in _STOP or _TOKEN.search(word):
        return "stop"
    if _NOT_WHOLE.search(word):
        return reason
    if _REFUSAL.search(word):
        return "refusal"
    return "length" if _LENGTH.search(word) else reason
