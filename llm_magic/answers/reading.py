"""The JSON values in the text of an answer: alone, in a code fence, after reasoning, or in prose."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

_BYTE_ORDER_MARK = "\ufeff"
_REASONING = re.compile(r"\s*<(think|thinking|thought|reasoning)>.*?(?:</\1>|\Z)\s*", re.DOTALL | re.IGNORECASE)
_END_OF_REASONING = re.compile(r".*</(?:think|thinking|thought|reasoning)>", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"```\w*\s*(.*?)\s*(?:```)?", re.DOTALL)
_MARKS = "`*'\"“”‘’. \n"
_OPENING = re.compile(r"[{\[]")
_JSON_OPENING = re.compile(r'\{\s*(?:["}]|\Z)|\[\s*(?:[\[{"\]\d-]|true\b|false\b|null\b|\Z)')
_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\Z)|[{}\[\]]', re.DOTALL)
_MAX_SCANNED_CHARS = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonValue:
    """A JSON value in an answer.

    problem: why the value can't be used, without quoting it. is_broken: True if it can't be parsed. is_cut: True if the
    text ends before the value does.
    """

    text: str
    data: Any = None
    problem: str = ""
    is_broken: bool = False
    is_cut: bool = False


def json_values(answer: str) -> list[JsonValue]:
    """Return the JSON values that an answer consists of or contains.

    A value within another one, or within a broken one, is not a value of its own.
    """
    answer = answer.strip().removeprefix(_BYTE_ORDER_MARK).strip()
    if (whole := _decoded(answer)) is not None:
        return [whole]
    text = answer
    while reasoning := _REASONING.match(text):
        text = text[reasoning.end() :]
    if (whole := _decoded(text.strip())) is not None:
        return [whole]
    if (ending := _END_OF_REASONING.match(text)) and (values := list(_embedded(text[ending.end() :]))):
        return values
    return list(_embedded(text))


def bare_text(answer: str) -> JsonValue:
    """Return a text of an answer that should be a JSON string and is not, without reasoning, a fence, and quotes."""
    text = answer.strip()
    while reasoning := _REASONING.match(text):
        text = text[reasoning.end() :].strip()
    if fence := _FENCE.fullmatch(text):
        text = fence[1]
    text = text.lstrip(_MARKS.replace(".", "")).rstrip(_MARKS)
    return JsonValue(text=json.dumps(text), data=text)


def bare_scalar(text: str) -> JsonValue | None:
    """Return a number, a truth value or null that is the whole text, in any case: `True` is also Python's spelling."""
    return None if _OPENING.match(text) else _decoded(text.lower())


def _embedded(text: str) -> Iterator[JsonValue]:
    """Yield the objects and arrays in a text, and the scalars that have a line of their own."""
    position, scanned = 0, 0
    while opening := _OPENING.search(text, position):
        yield from _scalars(text[position : opening.start()])
        start = opening.start()
        if (value := _decoded(text, start)) is not None:
            yield value
            position = start + len(value.text)
            continue
        looks_like_json = _JSON_OPENING.match(text, start) is not None
        end = None
        if looks_like_json or (text[start] == "{" and not text.startswith("{{", start)):
            end = _closing(text, start)
            scanned += (len(text) if end is None else end) - start
        if looks_like_json:
            problem = "it ends in the middle of a value" if end is None else "a value has an error in its syntax"
            yield JsonValue(text=text[start:end], problem=problem, is_broken=True, is_cut=end is None)
        if (looks_like_json and end is None) or scanned > _MAX_SCANNED_CHARS:
            return
        position = end or start + 1
    yield from _scalars(text[position:])


def _scalars(prose: str) -> Iterator[JsonValue]:
    for line in prose.split("\n"):
        if (value := _decoded(line.strip())) is not None:
            yield value


def _closing(text: str, start: int) -> int | None:
    depth = 0
    for token in _STRUCTURE.finditer(text, start):
        depth += token[0] in "{["
        depth -= token[0] in "}]"
        if depth == 0:
            return token.end()
    return None


def _decoded(text: str, start: int | None = None) -> JsonValue | None:
    """Decode the value at `start`, or the whole text; None if it is not JSON."""
    decoder = _Decoder()
    try:
        data, end = decoder.raw_decode(text, start or 0)
    except ValueError:
        return None
    except RecursionError:
        return JsonValue(text=text[start or 0 :], problem="its values are nested too deeply", is_broken=True)
    if start is None and end != len(text):
        return None
    source = text[start or 0 : end]
    if decoder.problem is None and any(character < " " for character in source):
        source = _without_control_characters(source, data)
    return JsonValue(text=source, data=data, problem=decoder.problem or "")


def _without_control_characters(source: str, data: Any) -> str:
    try:
        json.loads(source)
    except ValueError:
        return json.dumps(data)
    return source


class _Decoder(json.JSONDecoder):
    """Notes what JSON does not permit, and Python's decoder accepts."""

    def __init__(self) -> None:
        self.problem: str | None = None
        super().__init__(
            strict=False,
            parse_constant=self._constant,
            parse_float=self._float,
            parse_int=self._int,
            object_pairs_hook=self._object,
        )

    def _constant(self, name: str) -> float:
        self.problem = f"it contains {name}, which is not JSON"
        return float(name)

    def _float(self, digits: str) -> float:
        number = float(digits)
        if math.isinf(number):
            self.problem = "it contains a number that is too large"
        return number

    def _int(self, digits: str) -> int:
        try:
            return int(digits)
        except ValueError:
            self.problem = "it contains a number with too many digits"
            return 0

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) < len(pairs) and any(table[key] != value for key, value in pairs):
            self.problem = "an object has the same key twice, with different values"
        return table


def member(value: JsonValue, key: str) -> JsonValue | None:
    """Return the value of an object's only member if it has this key, with its own text."""
    data: object = value.data
    if not isinstance(data, dict) or list(cast("dict[str, Any]", data)) != [key]:
        return None
    opening = re.match(rf"\{{\s*{re.escape(json.dumps(key))}\s*:\s*", value.text)
    return None if opening is None else _decoded(value.text, opening.end())
