"""The canonical form of a prompt: letter case, white space, quotes around it, and code fences do not change it."""

from __future__ import annotations

import re

# Beyond this size, only the ends are made canonical, which bounds the time.
_MAX_CHARS = 12_000
_HEAD_CHARS, _TAIL_CHARS = 5_000, 2_500

_FENCE_LINE = re.compile(r"^[ \t]*(?:`{3,}|~{3,})[\w+.-]*[ \t]*$", re.MULTILINE)
_DROPPED = re.compile("[`«»‹›「」『』\u200b\u200c\u200d\u2060\ufeff\u00ad]+")
_AROUND = "\"'"
_QUOTES = re.compile("[“”„‟]")
_APOSTROPHES = re.compile("[’‘ʼ´]")


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
    if text.isascii():
        text = text.lower().replace("`", "")
    else:
        text = _QUOTES.sub('"', _APOSTROPHES.sub("'", _DROPPED.sub("", text.upper().casefold())))
    text = "\n".join(filter(None, map(" ".join, map(str.split, text.splitlines()))))
    while len(text) > 1 and text[0] == text[-1] and text[0] in _AROUND:
        text = text[1:-1].strip()
    return text, len(text) + skipped
