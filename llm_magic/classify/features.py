"""The feature vector of a prompt, shared by both heads: hashed words, pairs of words, kinds of words, and structure.

Every name is hashed into one of `BUCKETS` buckets by crc32, which gives the same result in every process and on every
machine. Each family of features is scaled to unit length, so that none outweighs the others.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar
from zlib import crc32

from llm_magic.classify.lexicon import task_kinds
from llm_magic.classify.request import Request
from llm_magic.classify.structure import describe_request, describe_structure

Value = TypeVar("Value")

BITS = 16
BUCKETS = 1 << BITS
FAMILIES = (
    "words", "pairs", "stems", "kinds", "signals", "shape", "context",
    "all_words", "all_pairs", "structure", "details", "ends",
)  # fmt: skip
"""The first seven are of the request and its surroundings, the others of the whole prompt."""

# The window: instructions stand at the ends of a prompt, and a bounded window bounds the time.
_HEAD_CHARS, _TAIL_CHARS = 2_000, 1_000
# Words at each end form a family of their own, so that long material between them cannot drown them.
_END_WORDS = 20

# A word, a number, or a sign. Scripts without spaces between words are split into letters.
_ASCII_TOKEN = re.compile(r"[a-z]+|[0-9]+|[^a-z0-9_\s]")
_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\d_]+|\d+|[^\w\s]")

# The weight that a head gives each family, in the order of `FAMILIES`.
Scales = tuple[float, ...]

# What `_hash_word` returns.
WordBuckets = tuple[int, int, int, int, int]
_END, _STEM = 3, 4

# A value, and the buckets that have it.
Group = tuple[float, "array[int]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    families: tuple[tuple[Group, ...], ...]
    """In the order of `FAMILIES`: distinct buckets, of unit length unless empty."""

    def scaled(self, scales: Scales) -> list[Group]:
        pairs = zip(self.families, scales, strict=True)
        return [(scale * value, buckets) for family, scale in pairs if scale for value, buckets in family]

    @property
    def word_buckets(self) -> list[int]:
        return [bucket for _, buckets in self.families[0] for bucket in buckets]


def family_scales(**weights: float) -> Scales:
    """Return the weights in the order of `FAMILIES`; 0 for families that are not named."""
    return tuple(weights.get(family, 0.0) for family in FAMILIES)


def window(text: str) -> str:
    if len(text) <= _HEAD_CHARS + _TAIL_CHARS:
        return text
    # A word that is cut is dropped, unless it is as long as the window.
    head = text[:_HEAD_CHARS].rpartition(" ")[0] or text[:_HEAD_CHARS]
    return f"{head}\n{text[-_TAIL_CHARS:].partition(' ')[2] or text[-_TAIL_CHARS:]}"


def featurize(
    request: Request, text_length: int, signals: Sequence[str] = (), *, families: Collection[str] = FAMILIES
) -> Features:
    """Compute the features of a prompt in canonical form.

    signals: names of the signals of its request. families: the ones to compute; the others stay empty.
    """
    words = _tokens(request.whole)
    hashed = _hashed(words)
    of_all = _normalized(_column(hashed, 0)), _normalized_counts(_pairs(hashed))
    asked, of_asked, of_request = words, hashed, of_all
    if request.asked != request.whole:
        asked = _tokens(request.asked)
        of_asked = _hashed(asked)
        of_request = _normalized(_column(of_asked, 0)), _normalized(_pairs(of_asked))
    with_details = "details" in families
    facts, details = describe_structure(request.whole, words, text_length, with_details=with_details)
    return Features(
        families=(
            *of_request,
            _normalized(_column(of_asked, _STEM)) if "stems" in families else (),
            _normalized_names(task_kinds(request.asked, asked)),
            _normalized_names(signals),
            _normalized_names(describe_request(request, asked)),
            _normalized(_column(_hashed(_tokens(request.context)), 0)) if request.context else (),
            *of_all,
            _normalized_names(facts),
            _normalized_names([*details, *signals]) if with_details else (),
            _normalized(_at_ends(_column(hashed, _END))) if "ends" in families else (),
        )
    )


def _at_ends(buckets: Sequence[int]) -> Sequence[int]:
    return buckets if len(buckets) <= 2 * _END_WORDS else [*buckets[:_END_WORDS], *buckets[-_END_WORDS:]]


def _tokens(text: str) -> list[str]:
    return (_ASCII_TOKEN if text.isascii() else _TOKEN).findall(text)


def _hashed(words: Sequence[str]) -> list[WordBuckets]:
    return list(map(_WORD_BUCKETS.__getitem__, words))


def _column(hashed: Sequence[WordBuckets], index: int) -> list[int]:
    return [buckets[index] for buckets in hashed]


def _pairs(hashed: Sequence[WordBuckets]) -> list[int]:
    return [first[1] + second[2] & _BUCKET_MASK for first, second in pairwise(hashed)]


def _normalized_names(names: Iterable[str]) -> tuple[Group, ...]:
    return _normalized(map(_NAME_BUCKETS.__getitem__, names))


def _normalized(buckets: Iterable[int]) -> tuple[Group, ...]:
    """Return each bucket once: a word that is repeated counts no more than others."""
    distinct = array("H", dict.fromkeys(buckets))
    return ((1 / math.sqrt(len(distinct)), distinct),) if distinct else ()


def _normalized_counts(buckets: Sequence[int]) -> tuple[Group, ...]:
    """Return each bucket once, with the logarithm of its count: what is repeated, as in JSON, outweighs the rest."""
    counts = Counter(buckets)
    if len(counts) == len(buckets):
        return _normalized(buckets)
    by_count: dict[int, list[int]] = {1: [bucket for bucket, count in counts.items() if count == 1]}
    for bucket, count in counts.items():
        if count > 1:
            by_count.setdefault(count, []).append(bucket)
    amounts = {count: math.log1p(count) for count in by_count}
    length = math.sqrt(sum(amounts[count] ** 2 * len(group) for count, group in by_count.items()))
    return tuple((amounts[count] / length, array("H", group)) for count, group in by_count.items() if group)


_BUCKET_MASK = BUCKETS - 1
_HASH_MULTIPLIER = 2654435761  # 2^32 / golden ratio (Knuth)
_STEM_CHARS = 5


def _bucket(hashed: int) -> int:
    return (hashed * _HASH_MULTIPLIER & 0xFFFFFFFF) >> (32 - BITS)


def _hash_name(name: str) -> int:
    return _bucket(crc32(f"={name}".encode("utf-8", "surrogatepass")))


def _hash_word(word: str) -> WordBuckets:
    """Return the bucket of a word, its share of a pair's bucket as the first and as the second word, its bucket at the
    ends of a prompt, and the bucket of its first letters, which an ending changes less. A number is hashed by how many
    digits it has."""
    text = f"0{min(len(word), 6)}" if word.isdigit() else word
    hashed = crc32(text.encode("utf-8", "surrogatepass"))
    return (
        _bucket(hashed),
        _bucket(hashed * 0x9E3779B1 + 1),
        _bucket(hashed * 0x85EBCA77),
        _bucket(hashed * 3 + 7),
        _bucket(crc32(f"{text[:_STEM_CHARS]}-".encode("utf-8", "surrogatepass"))),
    )


class _HashCache(dict[str, Value], Generic[Value]):
    """A dict that computes missing values. It starts over when full, which is faster than an LRU cache."""

    def __init__(self, compute: Callable[[str], Value], *, max_entries: int, max_key_length: int) -> None:
        super().__init__()
        self._compute = compute
        self._max_entries = max_entries
        self._max_key_length = max_key_length

    def __missing__(self, key: str) -> Value:
        value = self._compute(key)
        if len(key) <= self._max_key_length:
            if len(self) >= self._max_entries:
                self.clear()
            self[key] = value
        return value


_WORD_BUCKETS = _HashCache(_hash_word, max_entries=1 << 15, max_key_length=40)
_NAME_BUCKETS = _HashCache(_hash_name, max_entries=1 << 13, max_key_length=120)
