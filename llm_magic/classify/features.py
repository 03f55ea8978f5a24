"""One cheap featurization for both heads: hashed words and pairs of words, and how the prompt is built.

A prompt becomes a sparse vector of `BUCKETS` numbers. Words and neighbouring pairs are hashed (crc32, so that every
process and machine agrees); what is known of the structure (length, options, numbers, code, function definitions)
is cut into bins, and each bin is hashed like a word. Each family has length one, so neither drowns the other.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from zlib import crc32

from llm_magic.classify.lexicon import kinds

BITS = 16
BUCKETS = 1 << BITS
FAMILIES = ("words", "pairs", "structure", "details", "ends", "kinds")

_HEAD, _TAIL = 2_000, 1_000
"""Characters looked at from each end: that is where instructions stand, and it bounds the time."""

_ENDS = 20
"""Words at each end that are looked at once more on their own: long material between them must not drown them."""

# A word, a number, a sign; scripts without spaces letter by letter.
_ASCII_WORD = re.compile(r"[a-z]+|[0-9]+|[^a-z0-9_\s]")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\d_]+|\d+|[^\w\s]")
_OPTION = re.compile(r" ?\(?([a-j])[.)] ?(.*)")
_NUMERIC = re.compile(r"[\s\d.,%$€£/^*+=()×·-]+[a-z°/%]{0,3}[\d^]*\.?\Z")
_LATEX = re.compile(r"\\[a-z]+|\$[^$\s]")
_BACKSLASH = "\\"
_CODE_SIGNS = ("()", ";\n", "```", "#include")
_ARROW, _TAG = re.compile(r"=[=>]"), re.compile(r"</?\w+>")
_CODE_WORDS = frozenset(("def", "return", "import", "assert", "elif", "const", "void", "select", "lambda"))
_FUNCTION = re.compile(r'"name": ?"([^"]{1,80})", ?"description"')
_PARAMETER = re.compile(r'"type": ?"(?!dict|object)')
_NEGATIONS = frozenset(("not", "except", "least", "never", "false", "incorrect", "neither", "without"))
_COMPARISONS = frozenset(
    (
        "more",
        "less",
        "most",
        "than",
        "twice",
        "half",
        "each",
        "every",
        "per",
        "total",
        "percent",
        "times",
        "remaining",
        "average",
    )
)
_STATEMENTS = ("statement 1", "\ni. ", "(i)")
_LISTED = re.compile(r"[ \t]*(?:\d+[.)]|[-*•])\s")

Scales = tuple[float, float, float, float, float, float]
"""How much of each family, in the order of `FAMILIES`, a head looks at."""


Group = tuple[float, "array[int]"]
"""So much of each of these buckets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """A prompt as a sparse vector, by family: distinct buckets, and how much of each."""

    parts: tuple[tuple[Group, ...], ...]
    """One for each of `FAMILIES`, of length one where there is anything in it: most buckets have the same amount."""

    def groups(self, scales: Scales) -> list[Group]:
        """Amounts and buckets (not always distinct), each family scaled."""
        pairs = zip(self.parts, scales, strict=True)
        return [(scale * amount, buckets) for part, scale in pairs if scale for amount, buckets in part]

    @property
    def words(self) -> list[int]:
        """The buckets of its different words."""
        return [bucket for _, buckets in self.parts[0] for bucket in buckets]


def window(text: str) -> str:
    """The part of a text that is looked at."""
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]}\n{text[-_TAIL:]}"


def featurize(text: str, extra: Iterable[str] = ()) -> Features:
    """The features of a prompt, in time bounded by the window. extra: further details, as names."""
    lowered = window(text).lower()
    words = (_ASCII_WORD if lowered.isascii() else _WORD).findall(lowered)
    own, left, right, end = zip(*map(_PLACES.__getitem__, words), strict=True) if words else ((), (), (), ())
    pairs = [first + second & _LAST for first, second in zip(left, right[1:], strict=False)]
    facts, details = structure(lowered, words, len(text))
    named = [map(_FACTS.__getitem__, names) for names in (facts, [*details, *extra], kinds(lowered, words))]
    ends = end if len(end) <= 2 * _ENDS else end[:_ENDS] + end[-_ENDS:]
    return Features(parts=tuple(map(_counted, (own, pairs, *named[:2], ends, named[2]))))


_LAST = BUCKETS - 1
_SPREAD = 2654435761
"""A multiplicative hash: a bucket is the upper bits of the lower half of a hash times this."""


_LONGEST = 40
"""Letters of a word whose places are kept."""


class _Places(dict[str, tuple[int, int, int, int]]):
    """Of a word: its bucket, what it adds to the bucket of a pair as the first and as the second of it, and its bucket
    at the ends of a prompt. Of a number, by how many digits it has."""

    def __missing__(self, word: str) -> tuple[int, int, int, int]:
        if len(self) >= 1 << 15:
            self.clear()
        found = crc32((f"0{min(len(word), 6)}" if word.isdigit() else word).encode("utf-8", "surrogatepass"))
        left, right = _bucket(found * 0x9E3779B1 + 1), _bucket(found * 0x85EBCA77)
        places = _bucket(found), left, right, _bucket(found * 3 + 7)
        if len(word) <= _LONGEST:
            self[word] = places
        return places


class _Facts(dict[str, int]):
    """The bucket of a name."""

    def __missing__(self, name: str) -> int:
        if len(self) >= 1 << 13:
            self.clear()
        self[name] = bucket = _bucket(crc32(f"={name}".encode("utf-8", "surrogatepass")))
        return bucket


_PLACES, _FACTS = _Places(), _Facts()
_LOGS = [math.log1p(count) for count in range(2 * (_HEAD + _TAIL) + 4)]


def _bucket(found: int) -> int:
    return (found * _SPREAD & 0xFFFFFFFF) >> (32 - BITS)


def _counted(buckets: Iterable[int]) -> tuple[Group, ...]:
    """Distinct buckets with the logarithm of their counts, scaled to a vector of length one."""
    counts = Counter(buckets)
    alike: dict[int, list[int]] = {1: [bucket for bucket, count in counts.items() if count == 1]}
    if len(alike[1]) < len(counts):
        for bucket, count in counts.items():
            if count > 1:
                alike.setdefault(count, []).append(bucket)
    length = math.sqrt(sum(len(each) * _LOGS[count] ** 2 for count, each in alike.items()))
    return tuple((_LOGS[count] / length, array("H", each)) for count, each in alike.items() if each)


def line_starts(text: str) -> list[int]:
    """Where its lines begin. To try a pattern there is quicker than to let it look for them."""
    starts, at = [0], text.find("\n")
    while at >= 0:
        starts.append(at + 1)
        at = text.find("\n", at + 1)
    return starts


def structure(lowered: str, words: list[str], whole: int) -> tuple[list[str], list[str]]:
    """How a prompt is built, in bins, as short names: what holds across kinds of task, and further details."""
    many = max(1, len(words))
    lines = lowered.count("\n")
    starts = line_starts(lowered)
    options = [found[2] for start in starts if (found := _OPTION.match(lowered, start))] if lines else []
    found = list(filter(str.isdigit, words))
    numbers, longest = len(found), max(map(len, found), default=0)
    letters = sum(map(len, words))
    stated = any(mark in lowered for mark in _STATEMENTS) or lowered.startswith("i. ")
    code = sum(map(lowered.count, _CODE_SIGNS)) + len(_ARROW.findall(lowered)) + len(_TAG.findall(lowered))
    body = lowered[: lowered.find("\na.")] if options and "\na." in lowered else lowered
    facts = [
        f"body {round(2 * math.log2(len(body) + 1))}",
        f"lines {round(2 * math.log2(lines + 1))}",
        f"word length {round(4 * letters / many)}",
        f"numbers per word {round(20 * numbers / many)}",
        f"longest number {min(longest, 6)}",
        f"questions {_few(lowered.count('?'))}",
        f"latex {_few(len(_LATEX.findall(lowered)) if '$' in lowered or _BACKSLASH in lowered else 0)}",
        f"code {_few(code + sum(map(_CODE_WORDS.__contains__, words)))}",
        f"negated {not _NEGATIONS.isdisjoint(words)}",
        f"ends {body.rstrip()[-1:]}",
        f"ends at last {lowered.rstrip()[-1:]}",
        f"first {' '.join(words[:1])}",
        f"first two {' '.join(words[:2])}",
    ]
    details = [
        f"length {round(2 * math.log2(whole + 1))}",
        f"numbers {_few(numbers)}",
        f"comparisons {_few(sum(map(_COMPARISONS.__contains__, words)))}",
        f"listed {_few(sum(_LISTED.match(lowered, start) is not None for start in starts))}",
        f"different words {round(10 * len(set(words)) / many)}",
        f"statements {stated}",
    ]
    if "__" in lowered:
        facts.append("blank")
    if options:
        facts += [
            f"options {min(len(options), 12)}",
            f"length of options {round(2 * math.log2(1 + sum(map(len, options)) / len(options)))}",
        ]
        numeric = sum(bool(_NUMERIC.match(option)) for option in options)
        details.append(f"numeric options {round(4 * numeric / len(options))}")
    else:
        facts.append(f"no options, length {round(math.log2(whole + 1))}")
        details.append(f"no options, numbers {_few(numbers)}")
    if functions := _FUNCTION.findall(lowered):
        details += _tools(lowered, functions)
    return facts, details


def _tools(lowered: str, functions: list[str]) -> list[str]:
    """What is known of function definitions, and of how far they match what is asked."""
    start = lowered.find('"name":')
    asked = set(re.findall(r"[a-z]{4,}", lowered[:start]))
    offered = set(re.findall(r"[a-z]{4,}", lowered[start:]))
    names = set(re.findall(r"[a-z]{4,}", " ".join(functions).replace("_", " ")))
    overlap = len(asked & offered) / max(1, len(asked))
    named = len({word[:5] for word in asked} & {word[:5] for word in names}) / max(1, len(names))
    many = "several functions" if len(functions) > 1 else "one function"
    return [
        f"functions {min(len(functions), 6)}",
        f"parameters {_few(len(_PARAMETER.findall(lowered)))}",
        f"overlap {round(5 * overlap)}",
        f"{many}, names asked for {round(4 * named)}",
        f"list {'[' in lowered[max(0, start - 4) : start]}",
        f"{many}, asks for several {bool(re.search(r' and |also|then|;|, and', lowered[:start]))}",
        f"{many}, numbers {_few(len(re.findall(r'[0-9]+', lowered[:start])))}",
    ]


def _few(count: int) -> int:
    """A count in bins: 0, 1, 2, 3, 4, then doubling."""
    return count if count <= 4 else 3 + round(math.log2(count / 2.0))
