"""Correction of words that are one letter away from a common word, so that a typo seldom changes a classification.

`vocabulary.txt` has the words of the lexicon and the frequent words of the training prompts (`lab/fit/vocabulary.py`).
"""

from __future__ import annotations

import functools
import re
from importlib import resources

MIN_LETTERS = 5
_WORD = re.compile(r"\b[a-z]{5,20}\b")


@functools.cache
def vocabulary() -> frozenset[str]:
    return frozenset(resources.files("llm_magic.classify").joinpath("vocabulary.txt").read_text("ascii").split())


@functools.cache
def _by_deletion() -> dict[str, str]:
    """Map every word of the vocabulary without one of its letters to the word."""
    words = sorted(filter(lambda word: len(word) >= MIN_LETTERS, vocabulary()), reverse=True)
    return {word[:place] + word[place + 1 :]: word for word in words for place in range(len(word))}


@functools.lru_cache(maxsize=8_192)
def correct_word(word: str) -> str:
    """Return the word of the vocabulary that lacks, adds, or changes one letter, or swaps two; else the word itself."""
    known, by_deletion = vocabulary(), _by_deletion()
    if word in known:
        return word
    if word in by_deletion:
        return by_deletion[word]
    shorter = [word[:place] + word[place + 1 :] for place in range(len(word))]
    for candidates in (known, by_deletion):
        for rest in shorter:
            if rest in candidates and len(rest) >= MIN_LETTERS - 1:
                return by_deletion.get(rest, rest) if candidates is by_deletion else rest
    return word


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
