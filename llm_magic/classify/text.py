"""A canonical form of prompts: letter case, amounts of white space, quotes, and code fences do not change it."""

from __future__ import annotations

import re

# Beyond this size, only the ends are made canonical, which bounds the time.
_MAX_CHARS = 20_000
_HEAD_CHARS, _TAIL_CHARS = 8_000, 4_000

_FENCE_LINE = re.compile(r"^[ \t]*(?:`{3,}|~{3,})[\w+.-]*[ \t]*$", re.MULTILINE)
_QUOTING = re.compile(r"(?<![^\W_])'|'(?![^\W_])")
_CHARACTERS = str.maketrans(
    dict.fromkeys('"`“”„‟«»‹›「」『』\u200b\u200c\u200d\u2060\ufeff\u00ad', None) | dict.fromkeys("’‘ʼ´", "'")
)


def canonical(text: str) -> tuple[str, int]:
    """Return the canonical form of a text, or of its ends if it is long, and the length of the whole."""
    skipped = 0
    if len(text) > _MAX_CHARS:
        text = text.strip()
        skipped = max(0, len(text) - _HEAD_CHARS - _TAIL_CHARS)
        if skipped:
            text = f"{text[:_HEAD_CHARS]}\n{text[-_TAIL_CHARS:]}"
    if "```" in text or "~~~" in text:
        text = _FENCE_LINE.sub("", text)
    # Upper case first: some letters have several lower-case forms.
    text = (text.lower() if text.isascii() else text.upper().casefold()).translate(_CHARACTERS)
    if "'" in text:
        text = _QUOTING.sub("", text)
    lines = (" ".join(line.split()) for line in text.splitlines())
    text = "\n".join(filter(None, lines))
    return text, len(text) + skipped
