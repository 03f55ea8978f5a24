"""The words that `classify/spelling.py` corrects typos to, and the ones that it must not take for typos."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from llm_magic.classify.lexicon import lexicon_words
from llm_magic.classify.spelling import likely_word
from llm_magic.classify.text import canonical
from llm_magic.lab.prompts import own_prompts
from llm_magic.lab.prompts.composed import composed_prompts

MIN_PROMPTS = 2
_WORD = re.compile(r"[a-z]{3,20}")


def frequent_words() -> list[str]:
    """Return the words of the lexicon, and those that occur in several training prompts, in alphabetical order."""
    counts = _counts((*own_prompts().prompts, *composed_prompts().prompts))
    frequent = {word for word, count in counts.items() if count >= MIN_PROMPTS}
    return sorted(frequent | set(filter(_WORD.fullmatch, lexicon_words())))


def words_to_keep(recorded: Iterable[str]) -> list[str]:
    """Return the words of recorded and own prompts that would be corrected, in alphabetical order."""
    counts = _counts((*recorded, *own_prompts().prompts, *composed_prompts().prompts))
    valid = (word for word, count in counts.items() if count >= MIN_PROMPTS)
    return sorted(word for word in valid if likely_word(word) != word)


def _counts(prompts: Iterable[str]) -> Counter[str]:
    return Counter(word for prompt in prompts for word in set(_WORD.findall(canonical(prompt)[0])))
