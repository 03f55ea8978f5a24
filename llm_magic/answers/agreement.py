"""Whether two answers say the same, whatever the words around them.

Each answer is brought down to what it comes to: a JSON value, a number, a label, or code; else to its plain text. Where
two are as hard to tell apart as an essay is from an essay, they differ: to ask a better model once too often costs
little, to keep a wrong answer costs more.
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
"""Characters of an answer that may be a label: `B`, `not spam`, `Paris`."""
SAME_RIGHT = 0.967
"""How often two models that are both right are found to say the same, where their answers are not at hand. The others
are worded so that the comparison does not see it."""
SAME_MISTAKE = 0.27
"""How often two models that are both wrong say the same, where their answers are not at hand.

Both follow from what full answers on ZeroEval gave: gpt-4o-mini and deepseek-v2.5 asked first, and claude-3.5-sonnet
where they differ, is right in .847 of 2,117 prompts at 46 % of its cost. The two are those shares with which recorded
scores and costs give the same accuracy and the same cost (as the two figures are rounded: .956 to .977, .259 to .280);
`llm-magic eval` works them out anew. 0 and 1 bound what the latter can be."""
_MOST_DIGITS = 400
"""Of a number: a model may write a million of them, or an exponent that fills the memory."""
_LOOKED_AT = 100_000
"""Characters of an answer that are looked at, from its end: that is where a worked solution says what it comes to."""

Kind = Literal["json", "number", "label", "code", "text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Essence:
    """What an answer comes to. Two answers say the same where kind and value are equal and no unit contradicts."""

    kind: Kind
    value: str
    """Canonical: `7/2` for 3.5, sorted keys for JSON, lower case for a label."""
    unit: str = ""
    """Of a number, where it is one that we know: `hour`, `dollar`, `percent`."""

    @property
    def comparable(self) -> bool:
        """Whether an equal one means anything: prose is equal only word for word."""
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
    """Whether two answers say the same.

    `1,000` is `1000.0`, `Answer: B` is `**B**`, `{"a": 1, "b": 2}` is `{"b": 2.0, "a": 1}`. With a schema both must fit
    it. Code is the same where it is so line by line, or where the user's `check` passes both.
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


def canonical_form(text: str) -> Essence:
    """What an answer comes to: JSON, code, what it marks as its answer, a short answer, the end of a calculation."""
    text = _plain(text[-_LOOKED_AT:])
    if (data := _json(text)) is not None:
        return Essence(kind="json", value=data)
    blocks: list[str] = _BLOCK.findall(text)
    if blocks:
        if _NO_CODE.match(text) and not _BLOCK.sub("", text).strip() and _is_short(blocks[0]):
            return _short(blocks[0])
        return Essence(kind="code", value="\n".join(_code(block) for block in blocks))
    marked = _marked(text)
    if marked is not None and _is_short(marked):
        return _short(marked)
    if _is_short(text):
        return _short(text)
    if _WORKED.search(text) and (found := list(_NUMBER.finditer(_unmarked(text.rstrip().splitlines()[-1])))):
        return _number(found[-1], found[-1].string)
    return Essence(kind="text", value=" ".join(text.casefold().split()))


_BLOCK = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)
_NO_CODE = re.compile(r"```(?:text|txt|plaintext|markdown|md|latex|tex|math)?\s*\n", re.IGNORECASE)
_WORKED = re.compile(r"\d[^\n\w=]{0,3}=[^\n\w=]{0,3}\d|[-+*/×÷^]\s?\$?\d[\d.,]*\)?\s?=|=\s?\$?-?\d")
_MARK = re.compile(
    r"####|\b(?:(?:the|my|your) )?(?:(?:final|correct|right|best) )?"
    r"(?:answer|option|choice|antwort|réponse|respuesta|risposta)\b(?P<is> (?:is|ist|est|es|è)\b)?\s?(?P<colon>:)?",
    re.IGNORECASE,
)
_OPTION = re.compile(r"[(\[]?([A-Za-z])(?:[)\].:,](?:\s|\Z)|[)\]]|\s*\Z|\s+(?:because|since|as|-|–|—)\s)")
# A group of three digits behind a comma is a thousand; a digit, letter or power beside a number makes it another thing.
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
    """What a text says its answer is: in a box, behind `Answer:`, or alone in bold on the last of several lines."""
    if (boxed := _boxed(text)) is not None:
        return boxed
    said = _unmarked(text)
    last = None
    for mark in _MARK.finditer(said):
        end = said.find("\n", mark.end())
        line = said[mark.end() : end if end >= 0 else len(said)].strip()
        if line and (mark["is"] or mark["colon"] or mark.group() == "####" or _OPTION.match(line)):
            last = line
    if last is None:
        lines = text.splitlines()
        alone = re.fullmatch(r"\*\*([^*]+)\*\*[.!]?", lines[-1].strip()) if len(lines) > 1 else None
        return None if alone is None else alone.group(1)
    sentence = re.split(r"(?<=[^\W\d_])[.!?](?:\s|\Z)", last, maxsplit=1)[0]
    return sentence if _is_short(sentence) or not _OPTION.match(last) else last[:LONGEST_LABEL]


def _boxed(text: str) -> str | None:
    """The inside of the last \\boxed{...}, braces counted."""
    at = text.rfind("\\boxed{")
    if at < 0:
        return None
    depth = 0
    for end in range(start := at + len("\\boxed"), len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[start + 1 : end]
    return None


def _unmarked(text: str) -> str:
    """Without Markdown's emphasis, headings and code ticks."""
    return re.sub(r"\*\*|__|`|^\s{0,3}(?:#{1,3}\s|>\s)", "", text, flags=re.MULTILINE)


def _short(text: str) -> Essence:
    """A short answer: a number with whatever stands around it, the letter of an option, or a label."""
    for pattern, instead in _LATEX:
        text = pattern.sub(instead, text)
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
        return Essence(kind="label", value=option.group(1).casefold())
    marked = _MARK.match(text)
    label = text[marked.end() :] if marked and marked["colon"] else text
    label = re.sub(r"\s*([(),;:\[\]{}+*/=<>^-])\s*", r"\1", " ".join(label.split()))
    return Essence(kind="label", value=label.strip(" .!\"'*").casefold())


def _is_amount(before: str, after: str) -> bool:
    """Whether a short answer with one number in it is that number: `x = 18`, `she has 18 apples`; not `Apollo 11`."""
    if re.search(r"[\d\\<>≤≥~±√]", before + after) or _HEDGED.search(before + after):
        return False
    return not before.strip() or re.search(_LEADS_TO_NUMBER, before.rstrip()) is not None


def _number(found: re.Match[str], text: str) -> Essence:
    value = found["value"].replace(",", "")
    mantissa, _, exponent = value.lower().partition("e")
    if len(mantissa) > _MOST_DIGITS or abs(int(exponent or 0)) > _MOST_DIGITS or Fraction(found["over"] or 1) == 0:
        return Essence(kind="label", value=found.group().casefold())
    amount = Fraction(value) / Fraction(found["over"] or 1)
    if found["sign"] or found["minus"]:
        amount = -amount
    after = re.match(r"\s?(%|°|¢|€|[A-Za-z]+)", text[found.end() :])
    unit = _UNITS.get(found["money"] or "", "") or _UNITS.get(after.group(1).casefold() if after else "", "")
    return Essence(kind="number", value=str(amount), unit=unit)


def _code(block: str) -> str:
    return "\n".join(line.rstrip() for line in block.splitlines() if line.strip())


def _json(text: str) -> str | None:
    """The canonical form of an answer that is a JSON object or list, by itself or in its only fenced block."""
    blocks: list[str] = _BLOCK.findall(text)
    candidate = blocks[0].strip() if len(blocks) == 1 else text
    if not candidate.startswith(("{", "[")):
        return None
    try:
        return _canonical(json.loads(candidate))
    except (ValueError, RecursionError):
        return None


def _canonical(value: Any) -> str:
    """One text for all JSON values that are equal: keys sorted, 1.0 as 1, true never 1."""
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
