"""The wait that a provider asks for before the next request, from its headers, its error's fields, or its words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

from llm_magic.providers.error_body import ErrorBody

_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,15})?"
_UNIT = r"(?:milliseconds?|ms|minutes?|mins?|m|seconds?|secs?|s|hours?|hrs?|h|days?|d)"
_DURATION = rf"{_NUMBER}(?:\s*{_UNIT}(?:(?:,|\s|\band\b)*{_NUMBER}\s*{_UNIT})*)?(?![a-z0-9])"
_PART = re.compile(rf"({_NUMBER})\s*({_UNIT})?", re.I)
_IN_WORDS = re.compile(
    r"\b(?:(?:retry|retrying|try|available|resets?|resumes?|again|allowed|back off"
    r"|(?:next|another) (?:request|slot))\b[^.\d]{0,40}?"
    r"\b(?:in|after|for|about|approximately)"
    rf"|retry_after|wait(?:\s+(?:for|about|at least))?)\s*[:=]?\s*({_DURATION})(?![\d:/-])",
    re.I,
)
_DATE_IN_WORDS = re.compile(
    r"(?:\b(?:on|at|until|after|resets?)\b:?|在|于)\s*(\d{4}-\d\d-\d\d)(?:T|\s+at\s+|\s+)?(\d\d:\d\d(?::\d\d)?)?", re.I
)
_IN_CHINESE = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*(毫秒|秒|分|小时|天)钟?(?:之?[后後]|内)")
_CHINESE_UNIT_S = {"毫秒": 0.001, "秒": 1.0, "分": 60.0, "小时": 3_600.0, "天": 86_400.0}
_CLOCK_IN_WORDS = re.compile(r"\bin (?:(\d{1,3})\.)?(\d\d):(\d\d):(\d\d)\b")
"""Azure's form of days, hours, minutes and seconds, such as `2.12:13:14`."""
# Zhipu and Z.ai state their resets in Beijing time, without a time zone.
_BEIJING = timezone(timedelta(hours=8))
_BEIJING_CODES = frozenset({"1308", "1310"})
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_SECONDS_OF = {"d": 86_400.0, "h": 3_600.0, "s": 1.0}
# Names without separators, such as `retryafterms`.
_DURATION_NAME = re.compile(
    r"x?(?:ratelimit)?(?:retryafter|retryin|retrydelay|resets?after|resets?in|quotaresetdelay|waittime|waitfor|estimatedtime)"
    r"(?P<unit>seconds?|secs?|s|milliseconds|ms)?"
)
_MOMENT_NAME = re.compile(r"(?:quota|ratelimit)?(?:resets?(?:at|on|time|timestamp)|retryat)|xratelimitreset")
_SEPARATORS = re.compile(r"[-_]")
_NOTHING_LEFT = re.compile(r"\bremaining=0\b|;\s*r=0\b")
_STRUCTURED_RESET = re.compile(r"(?:\breset=|;\s*t=)(\d{1,9})\b")
_EPOCH_S, _EPOCH_MS = 1e9, 1e12


def wait_s(headers: Mapping[str, str], body: ErrorBody) -> float | None:
    """Return the wait in seconds, or None if none is stated. Headers take precedence over the body."""
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    for stated in (
        _in_fields(((name, value) for name, value in headers.items() if "reset" not in name.lower()), now),
        _in_fields(body.values, now),
        _in_words(body, now),
        _reset(headers, now),
    ):
        if stated is not None:
            return stated
    return None


def parse_duration_s(text: str) -> float | None:
    """Return the seconds of `7`, `7.5s`, `1m2.5s`, `20ms`, `2 minutes and 3 seconds`; None for anything else."""
    if not re.fullmatch(_DURATION, text := text.strip(), re.I):
        return None
    return sum(float(number) * _unit_s(unit.lower()) for number, unit in _PART.findall(text))


def _unit_s(unit: str) -> float:
    if unit.startswith(("ms", "milli")):
        return 0.001
    return 60.0 if unit.startswith("m") else _SECONDS_OF.get(unit[:1], 1.0)


def _milliseconds(text: str) -> float | None:
    return float(text) / 1_000 if re.fullmatch(_NUMBER, text := text.strip()) else None


def _seconds(text: str, now: datetime) -> float | None:
    if (duration := parse_duration_s(text)) is not None:
        return duration
    when = _date(text)
    return None if when is None else max(0.0, (when - now).total_seconds())


def _date(text: str, naive_zone: timezone = UTC) -> datetime | None:
    try:
        when = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        try:
            when = datetime.fromisoformat(text.strip())
        except ValueError:
            return None
    return when if when.tzinfo is not None else when.replace(tzinfo=naive_zone)


def _in_fields(fields: Iterable[tuple[str, object]], now: datetime) -> float | None:
    """Return the wait in the field that is named for it: in milliseconds, else a duration, else until a moment."""
    waits: list[tuple[int, float]] = []
    for name, value in fields:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            continue
        name = _SEPARATORS.sub("", name.lower())
        if (named := _DURATION_NAME.fullmatch(name)) is not None:
            is_ms = (named["unit"] or "").startswith("m")
            rank, wait = (0, _milliseconds(str(value))) if is_ms else (1, _seconds(str(value), now))
        elif _MOMENT_NAME.fullmatch(name):
            rank, wait = 2, _reset_s(str(value), now)
        else:
            continue
        waits += [] if wait is None else [(rank, wait)]
    return min(waits, key=lambda stated: stated[0])[1] if waits else None


def _in_words(body: ErrorBody, now: datetime) -> float | None:
    text = body.text
    if words := _CLOCK_IN_WORDS.search(text):
        days, hours, minutes, seconds = (int(part or 0) for part in words.groups())
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()
    if words := _IN_WORDS.search(text):
        return parse_duration_s(words.group(1))
    if words := _IN_CHINESE.search(text):
        return float(words.group(1)) * _CHINESE_UNIT_S[words.group(2)]
    if (words := _DATE_IN_WORDS.search(text)) is None:
        return None
    in_beijing = body.codes & _BEIJING_CODES or _CHINESE.search(text)
    when = _date(f"{words.group(1)}T{words.group(2) or '00:00'}", _BEIJING if in_beijing else UTC)
    return None if when is None else max(0.0, (when - now).total_seconds())


def _reset(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the longest wait for a limit of which nothing remains."""
    waits = [
        _reset_s(headers.get(name.replace("remaining", reset), ""), now)
        for name, left in headers.items()
        if "remaining" in name.lower() and left.strip() == "0"
        for reset in ("reset", "reset-after")
    ]
    structured = headers.get("ratelimit", "")
    if _NOTHING_LEFT.search(structured) and (reset := _STRUCTURED_RESET.search(structured)):
        waits.append(float(reset[1]))
    return max((wait for wait in waits if wait is not None), default=None)


def _reset_s(text: str, now: datetime) -> float | None:
    """Return the seconds until a reset, given as a duration, a date, or a Unix time in seconds or milliseconds."""
    if re.fullmatch(_NUMBER, text := text.strip()) and float(text) > _EPOCH_S:
        epoch_s = float(text) / (1_000 if float(text) > _EPOCH_MS else 1)
        return max(0.0, epoch_s - now.timestamp())
    return _seconds(text, now)
