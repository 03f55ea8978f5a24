"""Comparison of two answers, whatever the words around them.

Each answer is reduced to a JSON value, a number, a label, or code; otherwise to its plain text. In case of doubt two
answers differ: to ask a better model once too often costs less than to accept a wrong answer.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, cast

from llm_magic.answers.schema import parse_json
from llm_magic.errors import InvalidAnswer
from llm_magic.types import Schema

LONGEST_LABEL = 60
SAME_RIGHT = 0.967
SAME_MISTAKE = 0.27
"""Shares of pairs of right and of wrong answers that compare as equal, if the answers themselves are not known.

They are fitted to full answers on ZeroEval: gpt-4o-mini and deepseek-v2.5 asked first, and claude-3.5-sonnet if
they differ, is right in .847 of 2,117 prompts at 46 % of its cost. With these shares, recorded scores and costs give
the same accuracy and cost (within rounding: .956 to .977, .259 to .280). `llm-magic eval` computes them again. 0 and 1
bound the latter."""
_MAX_DIGITS = 400
"""Limit on the digits of a number: a model may write a million, or an exponent that fills the memory."""
_MAX_CHARACTERS = 100_000

Kind = Literal["json", "number", "label", "code", "text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CanonicalForm:
    """The comparable content of an answer.

    value: `7/2` for 3.5, sorted keys for JSON, lower case for a label.
    """

    kind: Kind
    value: str
    unit: str = ""

    @property
    def comparable(self) -> bool:
        return self.kind != "text"

    def __str__(self) -> str:
        return f"{self.value} {self.unit}".rstrip()


def agree(
    one: str,
    other: str,
    *,
    schema: Schema | None = None,
    check: Callable[[str], bool] | None = None,
) -> bool:
    """Return True if two answers have the same content.

    `1,000` equals `1000.0`, `Answer: B` equals `**B**`, `{"a": 1, "b": 2}` equals `{"b": 2.0, "a": 1}`. With a schema
    both must fit it. Code is equal if it is so line by line, or if the user's `check` accepts both.
    """
    if schema is not None:
        try:
            return _canonical(parse_json(one, schema)) == _canonical(parse_json(other, schema))
        except (InvalidAnswer, RecursionError):
            return False
    first, second = canonical_form(one), canonical_form(other)
    if first.kind == second.kind == "code" and check is not None and first.value != second.value:
        return check(one) and check(other)
    same_unit = first.unit == second.unit or not (first.unit and second.unit)
    return (first.kind, first.value) == (second.kind, second.value) and same_unit


def canonical_form(text: str) -> CanonicalForm:
    """Reduce an answer to JSON, code, the part it marks as its answer, a short answer, or the end of a calculation."""
    text = _plain(text[-_MAX_CHARACTERS:])  # a worked solution states its result at the end
    if (data := _json(text)) is not None:
        return CanonicalForm(kind="json", value=data)
    blocks: list[str] = _BLOCK.findall(text)
    if blocks:
        if _NO_CODE.match(text) and not _BLOCK.sub("", text).strip() and _is_short(blocks[0]):
            return _short(blocks[0])
        return CanonicalForm(kind="code", value="\n".join(_code(block) for block in blocks))
    marked = _marked(text)
    if marked is not None and _is_short(marked):
        return _short(marked)
    if _is_short(text):
        return _short(text)
    if _WORKED.search(text) and (numbers := list(_NUMBER.finditer(_unmarked(text.rstrip().splitlines()[-1])))):
        return _number(numbers[-1], numbers[-1].string)
    return CanonicalForm(kind="text", value=" ".join(text.casefold().split()))


_BLOCK = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)
_NO_CODE = re.compile(r"```(?:text|txt|plaintext|markdown|md|latex|tex|math)?\s*\n", re.IGNORECASE)
_WORKED = re.compile(r"\d[^\n\w=]{0,3}=[^\n\w=]{0,3}\d|[-+*/×÷^]\s?\$?\d[\d.,]*\)?\s?=|=\s?\$?-?\d")
_MARK = re.compile(
    r"####|\b(?:(?:the|my|your) )?(?:(?:final|correct|right|best) )?"
    r"(?:answer|option|choice|antwort|réponse|respuesta|risposta)\b(?P<is> (?:is|ist|est|es|è)\b)?\s?(?P<colon>:)?",
    re.IGNORECASE,
)
_OPTION = re.compile(r"[(\[]?([A-Za-z])(?:[)\].:,](?:\s|\Z)|[)\]]|\s*\Z|\s+(?:because|since|as|-|–|—)\s)")
# A group of three digits after a comma is a thousand; a digit, letter or power next to a number makes it another thing.
_NUMBER = re.compile(
    r"(?<![\w.^])(?P<sign>-)?\s?(?P<money>[$€£])?\s?(?P<minus>-)?"
    r"(?P<value>(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d{1,3})?|\.\d+)"
    r"(?:\s?/\s?(?P<over>\d+(?:\.\d+)?))?"
    r"(?![\w^²³/]|[.,]\d)"
)
_LEADS_TO_NUMBER = re.compile(
    r"(?:[=:(\[≈]|\b(?:is|are|was|were|be|has|have|had|equals|costs?|makes|earns|gives|in|by|to|of))\Z"
)
_HEDGED = re.compile(
    r"\b(?:not|no|more|less|fewer|least|most|about|around|than|over|under|between|or|and)\b|n't\b", re.IGNORECASE
)
_UNITS = {
    word: unit
    for unit, words in {
        "percent": "% percent", "degree": "° degree degrees", "dollar": "$ dollar dollars usd",
        "cent": "¢ cent cents", "euro": "€ euro euros eur", "pound": "£ pound pounds gbp lb lbs",
        "second": "s sec secs second seconds", "minute": "min mins minute minutes", "hour": "h hr hrs hour hours",
        "day": "day days", "week": "week weeks", "month": "month months", "year": "yr yrs year years",
        "millimetre": "mm", "centimetre": "cm", "metre": "m meter meters metre metres",
        "kilometre": "km kilometer kilometers kilometre kilometres", "inch": "in inch inches", "foot": "ft foot feet",
        "mile": "mi mile miles", "milligram": "mg", "gram": "g gram grams", "kilogram": "kg kilogram kilograms",
        "ounce": "oz ounce ounces", "litre": "l liter liters litre litres", "millilitre": "ml",
    }.items()
    for word in words.split()
}  # fmt: skip
_LATEX = (
    (re.compile(r"\\(?:left|right|displaystyle|,|;|!|:|quad)"), ""),
    (re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox)\s*\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\[dt]?frac\s*\{([^{}]+)\}\s*\{([^{}]+)\}"), r"\1/\2"),
    (re.compile(r"\\[dt]frac"), r"\\frac"),
    (re.compile(r"\\([%$#&_{}])"), r"\1"),
    (re.compile(r"(?<=\d)\{,\}(?=\d{3})"), ","),
    (re.compile(r"\\(?:circ|degree)\b|\^\{?\\circ\}?"), "°"),
)
_SAME = str.maketrans(
    {"−": "-", "–": "-", "⁄": "/", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "’": "'", "‘": "'", "“": '"', "”": '"'}
    | {chr(0xFF10 + digit): str(digit) for digit in range(10)}
)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text.translate(_SAME)).replace("\r\n", "\n").strip()


def _is_short(text: str) -> bool:
    return 0 < len(text.strip()) <= LONGEST_LABEL and "\n" not in text.strip()


def _marked(text: str) -> str | None:
    """Find the part that a text marks as its answer: in a box, after `Answer:`, or alone in bold on its last line."""
    if (boxed := _boxed(text)) is not None:
        return boxed
    unmarked = _unmarked(text)
    last = None
    for mark in _MARK.finditer(unmarked):
        end = unmarked.find("\n", mark.end())
        line = unmarked[mark.end() : end if end >= 0 else len(unmarked)].strip()
        if line and (mark["is"] or mark["colon"] or mark.group() == "####" or _OPTION.match(line)):
            last = line
    if last is None:
        lines = text.splitlines()
        alone = re.fullmatch(r"\*\*([^*]+)\*\*[.!]?", lines[-1].strip()) if len(lines) > 1 else None
        return None if alone is None else alone.group(1)
    sentence = re.split(r"(?<=[^\W\d_])[.!?](?:\s|\Z)", last, maxsplit=1)[0]
    return sentence if _is_short(sentence) or not _OPTION.match(last) else last[:LONGEST_LABEL]


def _boxed(text: str) -> str | None:
    position = text.rfind("\\boxed{")
    if position < 0:
        return None
    depth = 0
    for end in range(start := position + len("\\boxed"), len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[start + 1 : end]
    return None


def _unmarked(text: str) -> str:
    return re.sub(r"\*\*|__|`|^\s{0,3}(?:#{1,3}\s|>\s)", "", text, flags=re.MULTILINE)


def _short(text: str) -> CanonicalForm:
    """Reduce a short answer to a number, the letter of an option, or a label."""
    for pattern, replacement in _LATEX:
        text = pattern.sub(replacement, text)
    text = _unmarked(text).strip().strip("*_\"'").strip()
    if text.startswith("\\(") and text.endswith("\\)"):
        text = text[2:-2]
    if text.startswith("$") and text.endswith("$"):
        text = text[1:-1]
    text = text.strip()
    numbers = list(_NUMBER.finditer(text))
    if len(numbers) == 1 and _is_amount(text[: numbers[0].start()], text[numbers[0].end() :]):
        return _number(numbers[0], text)
    if option := _OPTION.match(text):
        return CanonicalForm(kind="label", value=option.group(1).casefold())
    marked = _MARK.match(text)
    label = text[marked.end() :] if marked and marked["colon"] else text
    label = re.sub(r"\s*([(),;:\[\]{}+*/=<>^-])\s*", r"\1", " ".join(label.split()))
    return CanonicalForm(kind="label", value=label.strip(" .!\"'*").casefold())


def _is_amount(before: str, after: str) -> bool:
    """True if a short answer is the one number in it: `x = 18`, `she has 18 apples`; not `Apollo 11`."""
    if re.search(r"[\d\\<>≤≥~±√]", before + after) or _HEDGED.search(before + after):
        return False
    return not before.strip() or re.search(_LEADS_TO_NUMBER, before.rstrip()) is not None


def _number(match: re.Match[str], text: str) -> CanonicalForm:
    value = match["value"].replace(",", "")
    mantissa, _, exponent = value.lower().partition("e")
    if len(mantissa) > _MAX_DIGITS or abs(int(exponent or 0)) > _MAX_DIGITS or Fraction(match["over"] or 1) == 0:
        return CanonicalForm(kind="label", value=match.group().casefold())
    amount = Fraction(value) / Fraction(match["over"] or 1)
    if match["sign"] or match["minus"]:
        amount = -amount
    after = re.match(r"\s?(%|°|¢|€|[A-Za-z]+)", text[match.end() :])
    unit = _UNITS.get(match["money"] or "", "") or _UNITS.get(after.group(1).casefold() if after else "", "")
    return CanonicalForm(kind="number", value=str(amount), unit=unit)


def unit_of(word: str) -> str:
    """Return the unit that a word or a sign names; empty if it is not a unit."""
    return _UNITS.get(word.casefold(), "")


def _code(block: str) -> str:
    return "\n".join(line.rstrip() for line in block.splitlines() if line.strip())


def _json(text: str) -> str | None:
    blocks: list[str] = _BLOCK.findall(text)
    candidate = blocks[0].strip() if len(blocks) == 1 else text
    if not candidate.startswith(("{", "[")):
        return None
    try:
        return _canonical(json.loads(candidate))
    except (ValueError, RecursionError):
        return None


def _canonical(value: Any) -> str:
    """Return one text for all equal JSON values: keys sorted, 1.0 as 1, true never 1."""
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        return "{" + ",".join(f"{json.dumps(key)}:{_canonical(table[key])}" for key in sorted(table)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_canonical(part) for part in cast("list[Any]", value)) + "]"
    if isinstance(value, str):
        return json.dumps(" ".join(_plain(value).split()))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value)
