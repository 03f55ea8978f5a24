"""One cheap featurisation for both heads: hashed words and pairs of words, and how the prompt is built.

A prompt becomes a sparse vector of `BUCKETS` numbers. Words and neighbouring pairs are hashed (crc32, so that every
process and machine agrees); what is known of the structure (length, options, numbers, code, function definitions)
is cut into bins, and each bin is hashed like a word. Each family has length one, so neither drowns the other.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BITS = 16
BUCKETS = 1 << BITS
FAMILIES = ("words", "pairs", "structure", "details", "ends")

_HEAD, _TAIL = 2_000, 1_000
"""Characters looked at from each end: that is where instructions stand, and it bounds the time."""

_ENDS = 20
"""Words at each end that are looked at once more on their own: long material between them must not drown them."""

# A word, a number, a sign; scripts without spaces letter by letter.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\d_]+|\d+|[^\w\s]")
_OPTION = re.compile(r"^ ?\(?([a-j])[.)] ?(.*)$", re.MULTILINE)
_NUMERIC = re.compile(r"[\s\d.,%$€£/^*+=()×·-]+[a-z°/%]{0,3}[\d^]*\.?\Z")
_LATEX = re.compile(r"\\[a-z]+|\$[^$\s]")
_CODE = re.compile(r"==|\(\)|;\n|=>|```|</?\w+>|#include")
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
_STATEMENTS = re.compile(r"statement 1|^i\. |\(i\)", re.MULTILINE)
_LISTED = re.compile(r"^[ \t]*(?:\d+[.)]|[-*•])\s", re.MULTILINE)

Scales = tuple[float, float, float, float, float]
"""How much of each family, in the order of `FAMILIES`, a head looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """A prompt as a sparse vector, by family: distinct buckets, and how much of each."""

    parts: tuple[tuple[NDArray[np.int64], NDArray[np.float32]], ...]
    """One for each of `FAMILIES`, of length one where there is anything in it."""

    def vector(self, scales: Scales) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Buckets (not always distinct) and values, each family scaled."""
        import numpy as np

        kept = [(part, scale) for part, scale in zip(self.parts, scales, strict=True) if scale]
        if not kept:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        index = np.concatenate([part[0] for part, _ in kept])
        return index, np.concatenate([part[1] * np.float32(scale) for part, scale in kept])

    @property
    def words(self) -> NDArray[np.int64]:
        """The buckets of its different words."""
        return self.parts[0][0]


def window(text: str) -> str:
    """The part of a text that is looked at."""
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]}\n{text[-_TAIL:]}"


def featurise(text: str, extra: tuple[str, ...] = ()) -> Features:
    """The features of a prompt, in time bounded by the window. extra: further details, as names."""
    import numpy as np

    lowered = window(text).lower()
    words = _WORD.findall(lowered)
    hashes = np.fromiter(map(_hash, words), np.uint64, len(words))
    pairs = hashes[:-1] * np.uint64(0x9E3779B1) + hashes[1:] * np.uint64(0x85EBCA77) + np.uint64(1)
    facts, details = structure(lowered, words, len(text))
    named = (np.fromiter(map(_fact, names), np.uint64) for names in (facts, [*details, *extra]))
    ends = np.concatenate([hashes[:_ENDS], hashes[_ENDS:][-_ENDS:]]) * np.uint64(3) + np.uint64(7)
    return Features(parts=tuple(_counted(_bucket(each)) for each in (hashes, pairs, *named, ends)))


@functools.lru_cache(maxsize=1 << 15)
def _hash(word: str) -> int:
    """Of a word; of a number, by how many digits it has."""
    return crc32((f"0{min(len(word), 6)}" if word.isdigit() else word).encode("utf-8", "surrogatepass"))


@functools.lru_cache(maxsize=1 << 13)
def _fact(name: str) -> int:
    return crc32(f"={name}".encode("utf-8", "surrogatepass"))


def _bucket(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A multiplicative hash: the upper bits of the lower half."""
    import numpy as np

    return ((hashes * np.uint64(2654435761)) & np.uint64(0xFFFFFFFF)) >> np.uint64(32 - BITS)


def _counted(buckets: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Distinct buckets with the logarithm of their counts, scaled to a vector of length one."""
    import numpy as np

    index, counts = np.unique(buckets.astype(np.int64), return_counts=True)
    value = np.log1p(counts).astype(np.float32)
    return index, value / np.float32(math.sqrt(float(value @ value)) or 1.0)


def structure(lowered: str, words: list[str], whole: int) -> tuple[list[str], list[str]]:
    """How a prompt is built, in bins, as short names: what holds across kinds of task, and further details."""
    many = max(1, len(words))
    lines = lowered.count("\n")
    options = _OPTION.findall(lowered) if lines else []
    found = [word for word in words if word.isdigit()]
    numbers, longest = len(found), max(map(len, found), default=0)
    letters = sum(map(len, words))
    body = lowered[: lowered.find("\na.")] if options and "\na." in lowered else lowered
    facts = [
        f"body {round(2 * math.log2(len(body) + 1))}",
        f"lines {round(2 * math.log2(lines + 1))}",
        f"word length {round(4 * letters / many)}",
        f"numbers per word {round(20 * numbers / many)}",
        f"longest number {min(longest, 6)}",
        f"questions {_few(lowered.count('?'))}",
        f"latex {_few(len(_LATEX.findall(lowered)))}",
        f"code {_few(len(_CODE.findall(lowered)) + sum(map(_CODE_WORDS.__contains__, words)))}",
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
        f"listed {_few(len(_LISTED.findall(lowered)))}",
        f"different words {round(10 * len(set(words)) / many)}",
        f"statements {bool(_STATEMENTS.search(lowered))}",
    ]
    if "__" in lowered:
        facts.append("blank")
    if options:
        facts += [
            f"options {min(len(options), 12)}",
            f"length of options {round(2 * math.log2(1 + sum(len(option) for _, option in options) / len(options)))}",
        ]
        numeric = sum(bool(_NUMERIC.match(option)) for _, option in options)
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
