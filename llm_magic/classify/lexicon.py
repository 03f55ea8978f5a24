"""Kinds of task that a prompt's words indicate, and words of requests, from lexicon.toml (several languages)."""

from __future__ import annotations

import functools
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import chain

_COUNT_LEVELS = (1, 2, 4, 8, 16)
_DENSITY_LEVELS = (0.05, 0.1, 0.2, 0.4)
# Words at the ends also count on their own: the request stands there, whatever material is between.
_FIRST_WORDS, _LAST_WORDS = 12, 15
_SUBSTRING_WEIGHT = 2
_MIN_DENSITY_WORDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestWords:
    """verbs: of commands. asking: words that begin a question. polite: words before a command. here: words
    about the writer, the place, or the day. referring: pronouns that refer to an
    earlier sentence. function: words such as articles, which no language does without."""

    verbs: frozenset[str]
    asking: frozenset[str]
    polite: frozenset[str]
    here: frozenset[str]
    referring: frozenset[str]
    function: frozenset[str]


@functools.cache
def _data() -> dict[str, dict[str, str]]:
    return tomllib.loads(resources.files("llm_magic.classify").joinpath("lexicon.toml").read_text("utf-8"))


@functools.cache
def request_words() -> RequestWords:
    words = _data()["request"]
    names = ("verbs", "asking", "polite", "function", "here", "referring")
    return RequestWords(**{name: frozenset(words[name].split()) for name in names})


@functools.cache
def _lexicon() -> tuple[dict[str, tuple[str, ...]], tuple[tuple[str, str], ...]]:
    data = _data()
    kinds_by_word: dict[str, tuple[str, ...]] = {}
    for kind, words in data["words"].items():
        for word in words.split():
            kinds_by_word[word] = (*kinds_by_word.get(word, ()), kind)
    return kinds_by_word, tuple((part, kind) for kind, parts in data["substrings"].items() for part in parts.split())


def task_kinds(lowered: str, words: Sequence[str]) -> list[str]:
    """Name the kinds of task that the words indicate: count, density, kinds at the ends, and the leading kinds."""
    kinds_by_word, kind_by_substring = _lexicon()

    def kinds_of(some: Sequence[str]) -> Iterator[str]:
        known = filter(kinds_by_word.__contains__, some)
        return chain.from_iterable(map(kinds_by_word.__getitem__, known))

    counts = Counter(kinds_of(words))
    if not lowered.isascii():
        for part, kind in kind_by_substring:
            if part in lowered:
                counts[kind] += _SUBSTRING_WEIGHT
    length = max(_MIN_DENSITY_WORDS, len(words))
    names = [f"starts {kind}" for kind in dict.fromkeys(kinds_of(words[:_FIRST_WORDS]))]
    names += [f"ends {kind}" for kind in dict.fromkeys(kinds_of(words[-_LAST_WORDS:]))]
    for kind, count in counts.items():
        names += _level_names(kind, count, length)
    leading = sorted(counts)
    leading.sort(key=counts.__getitem__, reverse=True)
    names += [f"first {kind}" for kind in leading[:1]] + [f"among the first {kind}" for kind in leading[:3]]
    return names or ["no kind"]


@functools.lru_cache(maxsize=4_096)
def _level_names(kind: str, count: int, length: int) -> tuple[str, ...]:
    reached = [f"{kind} {level}+" for level in _COUNT_LEVELS if count >= level]
    return (*reached, *(f"{kind} dense {level}" for level in _DENSITY_LEVELS if count / length >= level))


@functools.cache
def technical_words() -> frozenset[str]:
    """Return the words that say something about a task, and hardly occur in small talk."""
    data = _data()
    kinds = data["request"]["technical_kinds"].split(",")
    words = {word for kind in kinds for word in data["words"][kind.strip()].split()}
    return frozenset(words - set(data["request"]["talk"].split()))


def lexicon_words() -> frozenset[str]:
    """Return all words of the lexicon, of whatever kind."""
    return frozenset(
        word for table in ("words", "request") for words in _data()[table].values() for word in words.split()
    )
