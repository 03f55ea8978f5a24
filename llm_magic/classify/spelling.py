"""Correction of typos in common words, so that a typo seldom changes a classification.

`vocabulary.txt` has the words of the lexicon and the frequent words of the training prompts, the most frequent first.
`valid_words.txt` has others, which would be taken for typos (`lab/fit/vocabulary.py` lists them).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from importlib import resources

MIN_LETTERS = 5
"""The shortest words whose added and changed letters are corrected. Missing ones are in words of one letter less, and
swapped and doubled ones in all words."""
_MIN_LETTERS_BY_SET = 6
_MIN_LETTERS_WITHOUT_FIRST = 5
_SUFFIXES = ("s", "es", "d", "ed", "ing", "r", "er", "est", "ly", "n")
_MIN_STEM = 3
_WORD = re.compile(r"\b[a-z]{3,20}\b")


def _words(file: str) -> dict[str, None]:
    return dict.fromkeys(resources.files("llm_magic.classify").joinpath(file).read_text("ascii").split())


@functools.cache
def vocabulary() -> dict[str, None]:
    return _words("vocabulary.txt")


@functools.cache
def valid_words() -> dict[str, None]:
    return _words("valid_words.txt")


@functools.cache
def _by_deletion() -> dict[str, str]:
    """Map every word of the vocabulary without one of its letters to the word."""
    words = [word for word in reversed(vocabulary()) if len(word) >= MIN_LETTERS - 1]
    return {word[:place] + word[place + 1 :]: word for word in words for place in range(len(word))}


@functools.cache
def _by_letters() -> dict[str, str]:
    """Map the first letter and the set of letters of long words to the word: several swaps and doublings keep both."""
    words = [word for word in reversed(vocabulary()) if len(word) >= _MIN_LETTERS_BY_SET]
    return {_letters(word): word for word in words}


def _letters(word: str) -> str:
    return word[0] + "".join(sorted(set(word)))


@functools.lru_cache(maxsize=8_192)
def correct_word(word: str) -> str:
    """Return the likeliest word of the vocabulary, else the word itself.

    In this order: one letter doubled, two swapped, one missing, one added, one changed, and several swapped or doubled.
    Of several words, it is the most frequent. Forms of known words ("settings") stay.
    """
    return word if word in valid_words() else likely_word(word)


def likely_word(word: str) -> str:
    """Correct a word without regard to `valid_words`."""
    known = vocabulary()
    if word in known:
        return word
    for place in range(len(word) - 1):
        if word[place] == word[place + 1] and (single := word[:place] + word[place + 1 :]) in known:
            return single
    if _is_form(word):
        return word
    for place in range(len(word) - 1):
        swapped = f"{word[:place]}{word[place + 1]}{word[place]}{word[place + 2 :]}"
        if swapped in known:
            return swapped
    return next(filter(None, _likely(word)), word)


def _is_form(word: str) -> bool:
    known = vocabulary()
    for suffix in filter(word.endswith, _SUFFIXES):
        stem = word.removesuffix(suffix)
        if len(stem) >= _MIN_STEM and (stem in known or (suffix[0] in "ei" and f"{stem}e" in known)):
            return True
    return False


def _likely(word: str) -> Iterator[str]:
    known, by_deletion = vocabulary(), _by_deletion()
    meant = by_deletion.get(word, "")
    if meant[:1] == word[0] or len(meant) >= _MIN_LETTERS_WITHOUT_FIRST:
        yield meant
    if len(word) >= MIN_LETTERS:
        shorter = [word[:place] + word[place + 1 :] for place in range(1, len(word))]
        yield from filter(known.__contains__, shorter)
        if word[1:] in known and len(word) > MIN_LETTERS:
            yield word[1:]
        changed = (by_deletion.get(rest, "") for rest in shorter)
        yield from (meant for meant in changed if len(meant) == len(word) and meant[:1] == word[0])
    if len(word) >= _MIN_LETTERS_BY_SET - 1:
        yield _by_letters().get(_letters(word), "")


_CORRECT: set[str] = set()
"""Words that need no correction, to look them up only once. It starts over when full."""
_MAX_CORRECT = 1 << 15


def correct_spelling(text: str) -> str:
    """Correct the words of a text in canonical form."""
    # `difference` looks words up in a dict, and `-` of its keys iterates over all of them.
    for word in sorted(set(_WORD.findall(text)).difference(vocabulary()) - _CORRECT):
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
