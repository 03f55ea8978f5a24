"""The body of a provider's error, in whatever form it came: JSON, nested JSON, text, HTML, nothing."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from llm_magic.providers.payload import clean_text

_MAX_BYTES = 1_000_000
_MAX_TEXT_CHARS = 4_000
_MAX_PYTHON_CHARS = 20_000
_MAX_VALUES = 500
_MAX_DEPTH = 12
_MESSAGE_KEYS = (
    "message",
    "msg",
    "error_message",
    "errormessage",
    "error_msg",
    "errmsg",
    "status_msg",
    "detail",
    "error",
    "errors",
    "error_description",
    "faultstring",
    "title",
    "raw",
)
_CODE_KEYS = (
    "code",
    "type",
    "status",
    "error_code",
    "reason",
    "errortype",
    "error_type",
    "err_code",
    "@type",
    "__type",
)
_ECHO_KEYS = ("input", "flagged_input", "failed_generation", "prompt", "content")
"""Parts of the request or the answer, which say nothing about the error."""
_ECHO_IN_WORDS = re.compile(r"input_value=.*?, input_type=\w+", re.S)  # of a ValidationError of Pydantic
_PARAMETER_KEYS = ("param", "parameter", "loc", "field", "additionalproperty")
_PAGE = re.compile(r"<(!doctype|html|head|body|title)\b", re.I)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.I | re.S)
_TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.I | re.S)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBody:
    """An error, read. message: for people. codes: of every level, in lower case. text: all words, for searching.

    parameter: the parameter at fault, dotted (`stream_options.include_usage`), if the body names one. is_page: HTML.
    values: the key, in lower case, and the value of each scalar.
    """

    message: str
    codes: frozenset[str]
    text: str
    parameter: str
    is_page: bool
    values: tuple[tuple[str, object], ...]

    def number(self, *keys: str) -> float | None:
        """Return the first value of these keys that is a number, or text of one."""
        for key, value in self.values:
            if key in keys and not isinstance(value, bool) and isinstance(value, str | int | float):
                try:
                    return float(value)
                except ValueError:
                    continue
        return None


def parse_body(content: bytes | object) -> ErrorBody:
    if isinstance(content, bytes):
        content = content[:_MAX_BYTES].decode("utf-8", "replace").strip().strip('"')
    values = tuple(_scalars("error", content, 0))[:_MAX_VALUES]
    named: list[str] = []
    for key, value in values:
        if key in _MESSAGE_KEYS and isinstance(value, str) and (text := _readable(value)) and text not in named:
            named.append(text)
    codes = frozenset(str(value).lower() for key, value in values if key in _CODE_KEYS and value not in (None, ""))
    words = " . ".join(
        str(value)
        for key, value in values
        if value is not None and key not in _ECHO_KEYS and (key not in _CODE_KEYS or " " in str(value))
    )
    parameter = next((str(value) for key, value in values if key in _PARAMETER_KEYS and value), "")
    if " " in parameter and parameter not in named:
        named.append(parameter)
    message = ": ".join(named) or next((code for code in sorted(codes) if not code.isdigit()), "")
    return ErrorBody(
        message=clean_text(message)[:_MAX_TEXT_CHARS],
        codes=codes,
        text=clean_text(_readable(_ECHO_IN_WORDS.sub("", words))).lower()[:_MAX_TEXT_CHARS],
        parameter=parameter.removeprefix("body."),
        is_page=isinstance(content, str) and _is_page(content),
        values=values,
    )


def _scalars(key: str, value: object, depth: int) -> Iterator[tuple[str, object]]:
    """Yield the scalars of nested data, depth first, with the keys nearest to them. JSON within text is parsed."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, dict):
        for name, item in list(cast("dict[Any, object]", value).items())[:_MAX_VALUES]:
            if str(name).lower() == "loc" and isinstance(item, list | tuple):
                yield "loc", ".".join(str(part) for part in cast("list[object]", item))
            elif str(name).lower() in _ECHO_KEYS and isinstance(item, dict | list):
                continue
            elif name == "filtered" and item is True:  # Azure has one such object per category
                yield "filtered_category", key
            else:
                yield from _scalars(str(name).lower(), item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in cast("list[object]", value)[:_MAX_VALUES]:
            yield from _scalars(key, item, depth + 1)
    elif isinstance(value, str) and (nested := _nested(value)) is not None:
        yield from _scalars(key, nested, depth + 1)
    else:
        yield key, value


def _nested(text: str) -> object | None:
    """Return the data that a text consists of: JSON, or Python's form of it, as `str` of a list of errors gives."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    for parse in (json.loads, ast.literal_eval) if len(text) <= _MAX_PYTHON_CHARS else (json.loads,):
        try:
            return cast("object", parse(text))
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def _readable(text: str) -> str:
    """Return one line of text; for an HTML page, its title."""
    if _is_page(text):
        title = _TITLE.search(text)
        text = title.group(1) if title else _TAGS.sub(" ", text)
    return " ".join(text.split())[:_MAX_TEXT_CHARS]


def _is_page(text: str) -> bool:
    return "<" in text and bool(_PAGE.search(text, 0, 2_000))
