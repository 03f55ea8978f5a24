"""Correction of typos in common words, so that a typo seldom changes a classification.

`vocabulary.txt` has the words of the lexicon and the frequent words of the training prompts. `valid_words.txt` has
others, which would be taken for typos (`lab/fit/vocabulary.py` lists them).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from importlib import resources

MIN_LETTERS = 5
"""The shortest words whose missing and changed letters are corrected. In shorter ones, only swaps and doublings are."""
_MIN_LETTERS_BY_SET = 6
_SUFFIXES = ("s", "es", "d", "ed", "ing", "r", "er", "est", "ly", "n")
_MIN_STEM = 3
_WORD = re.compile(r"\b[a-z]{3,20}\b")


def _words(file: str) -> frozenset[str]:
    return frozenset(resources.files("llm_magic.classify").joinpath(file).read_text("ascii").split())


@functools.cache
def vocabulary() -> frozenset[str]:
    return _words("vocabulary.txt")


@functools.cache
def valid_words() -> frozenset[str]:
    return _words("valid_words.txt")


@functools.cache
def _by_deletion() -> dict[str, str]:
    """Map every word of the vocabulary without one of its letters to the word."""
    words = sorted(filter(lambda word: len(word) >= MIN_LETTERS, vocabulary()), reverse=True)
    return {word[:place] + word[place + 1 :]: word for word in words for place in range(len(word))}


@functools.cache
def _by_letters() -> dict[str, str]:
    """Map sets of letters to the only long word that has them, which several swaps and doublings do not change."""
    by_letters: dict[str, str] = {}
    for word in vocabulary():
        if len(word) >= _MIN_LETTERS_BY_SET:
            letters = _letters(word)
            by_letters[letters] = "" if letters in by_letters else word
    return {letters: word for letters, word in by_letters.items() if word}


def _letters(word: str) -> str:
    return "".join(sorted(set(word)))


@functools.lru_cache(maxsize=8_192)
def correct_word(word: str) -> str:
    """Return the likeliest word of the vocabulary, else the word itself.

    In this order: two letters swapped, one doubled, one missing, one added, one changed, and several of these. Only a
    swap changes the first letter, and forms of known words ("settings") stay.
    """
    return word if word in valid_words() else likely_word(word)


def likely_word(word: str) -> str:
    """Correct a word without regard to `valid_words`."""
    known = vocabulary()
    if word in known or _is_form(word):
        return word
    for place in range(len(word) - 1):
        first, second = word[place], word[place + 1]
        rest = word[place + 2 :]
        swapped = f"{word[:place]}{second}{first}{rest}" if first != second else f"{word[:place]}{first}{rest}"
        if swapped in known:
            return swapped
    if len(word) < MIN_LETTERS - 1:
        return word
    return next((meant for meant in _likely(word) if meant[:1] == word[0]), word)


def _is_form(word: str) -> bool:
    stems = [word.removesuffix(suffix) for suffix in _SUFFIXES if word.endswith(suffix)]
    return any(len(stem) >= _MIN_STEM and (stem in vocabulary() or f"{stem}e" in vocabulary()) for stem in stems)


def _likely(word: str) -> Iterator[str]:
    known, by_deletion = vocabulary(), _by_deletion()
    yield by_deletion.get(word, "")
    if len(word) >= MIN_LETTERS:
        shorter = [word[:place] + word[place + 1 :] for place in range(1, len(word))]
        long_enough = [rest for rest in shorter if len(rest) >= MIN_LETTERS - 1]
        yield from filter(known.__contains__, long_enough)
        yield from (by_deletion[rest] for rest in long_enough if rest in by_deletion)
    yield _by_letters().get(_letters(word), "")


_CORRECT: set[str] = set()
"""Words that need no correction, to look them up only once. It starts over when full."""
_MAX_CORRECT = 1 << 15


def correct_spelling(text: str) -> str:
    """Correct the words of a text in canonical form."""
    for word in sorted(set(_WORD.findall(text)) - vocabulary() - _CORRECT):
        if (better := correct_word(word)) != word:
            text = _replace_word(text, word, better)
        else:
            if len(_CORRECT) >= _MAX_CORRECT:
                _CORRECT.clear()
            _CORRECT.add(word)
    return text


def _replace_word(text: str, word: str, better: str) -> str:
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        if not (text[start - 1 : start].isalpha() or text[end : end + 1].isalpha()):
            text, end = f"{text[:start]}{better}{text[end:]}", start + len(better)
        start = text.find(word, end)
    return text
