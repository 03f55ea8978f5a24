"""The words that `classify/spelling.py` corrects typos to, and the ones that it must not take for typos."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from llm_magic.classify.lexicon import lexicon_words, request_words
from llm_magic.classify.spelling import likely_word
from llm_magic.classify.text import canonical
from llm_magic.lab.prompts import own_prompts
from llm_magic.lab.prompts.composed import composed_prompts

# Minimum number of prompts with a word: to correct typos to it, and to accept it as correctly spelled.
MIN_PROMPTS, MIN_PROMPTS_OF_VALID = 5, 2
_WORD = re.compile(r"[a-z]{3,20}")
_ANY_WORD = re.compile(r"[a-z]{2,20}")
_SHORT_WORD = re.compile(r"[a-z]{2}")


def frequent_words() -> list[str]:
    """Return the words of the lexicon, those that occur in several training prompts, and function words of two letters,
    the most frequent first."""
    prompts = (*own_prompts().prompts, *composed_prompts().prompts)
    counts = _counts(prompts)
    words = {word for word, count in counts.items() if count >= MIN_PROMPTS and _WORD.fullmatch(word)}
    words |= set(filter(_WORD.fullmatch, lexicon_words()))
    words |= set(filter(_SHORT_WORD.fullmatch, request_words().function))
    return sorted(words, key=lambda word: (-counts[word], word))


def words_to_keep(recorded: Iterable[str]) -> list[str]:
    """Return the words of recorded and own prompts that would be corrected, in alphabetical order."""
    counts = _counts((*recorded, *own_prompts().prompts, *composed_prompts().prompts))
    valid = (word for word, count in counts.items() if count >= MIN_PROMPTS_OF_VALID and _WORD.fullmatch(word))
    return sorted(word for word in valid if likely_word(word) != word)


def _counts(prompts: Iterable[str]) -> Counter[str]:
    return Counter(word for prompt in prompts for word in set(_ANY_WORD.findall(canonical(prompt)[0])))
