"""The words that `classify/spelling.py` corrects typos to."""

from __future__ import annotations

import re
from collections import Counter

from llm_magic.classify.lexicon import lexicon_words
from llm_magic.classify.text import canonical
from llm_magic.lab.prompts import own_prompts
from llm_magic.lab.prompts.composed import composed_prompts

MIN_PROMPTS = 3
_WORD = re.compile(r"[a-z]{3,20}")


def frequent_words() -> list[str]:
    """Return the words of the lexicon, and those that occur in several training prompts, in alphabetical order."""
    prompts = (*own_prompts().prompts, *composed_prompts().prompts)
    counts = Counter(word for prompt in prompts for word in set(_WORD.findall(canonical(prompt)[0])))
    frequent = {word for word, count in counts.items() if count >= MIN_PROMPTS}
    return sorted(frequent | set(filter(_WORD.fullmatch, lexicon_words())))
