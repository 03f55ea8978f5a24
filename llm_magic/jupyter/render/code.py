"""Code in an answer, coloured: five classes, whatever the language. Their colours are in `style`."""

from __future__ import annotations

import html
from functools import lru_cache
from itertools import groupby
from typing import Any

MOST_CHARS = 20_000
"""Longer code stays plain: colouring takes about a second per 500,000 characters."""
LANGUAGES = {
    "bash", "c", "console", "cpp", "csharp", "css", "diff", "docker", "dockerfile", "elixir", "fortran", "go",
    "graphql", "haskell", "html", "http", "ini", "ipython", "java", "javascript", "js", "json", "jsx", "julia",
    "kotlin", "latex", "lua", "make", "makefile", "markdown", "matlab", "md", "objective-c", "perl", "php",
    "powershell", "proto", "py", "py3", "pycon", "python", "python3", "r", "rb", "rs", "rst", "ruby", "rust", "scala",
    "scheme", "scss", "sh", "shell", "shell-session", "sql", "swift", "tex", "toml", "ts", "tsx", "typescript", "xml",
    "yaml", "yml", "zsh",
}  # fmt: skip
"""Pygments knows six hundred; the expressions of some rare ones take for ever on a text made for it."""
_ALIASES = {"yml": "yaml"}
"""Names that Pygments has learnt only lately."""
CLASSES = {"Keyword": "llmr-k", "String": "llmr-s", "Comment": "llmr-c", "Number": "llmr-n", "Name": "llmr-f"}
_NAMES = ("Function", "Class", "Decorator", "Builtin", "Tag", "Attribute")


def highlight(code: str, language: str, attributes: str = "") -> str:
    """The inside of a code element: escaped, with `span`s of the classes above. Empty where it is to stay plain."""
    if len(code) > MOST_CHARS or (lexer := _lexer(language.lower())) is None:
        return ""
    found = list(lexer.get_tokens(code))
    if sum(len(text) for _, text in found) != len(code):
        return ""
    parts: list[str] = []
    for name, tokens in groupby(found, key=lambda token: _class(token[0])):
        shown = html.escape("".join(text for _, text in tokens))
        parts.append(f'<span class="{name}">{shown}</span>' if name and not shown.isspace() else shown)
    return "".join(parts)


@lru_cache(maxsize=64)
def _lexer(language: str) -> Any:
    if language not in LANGUAGES:
        return None
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        return get_lexer_by_name(_ALIASES.get(language, language), stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


@lru_cache(maxsize=512)
def _class(kind: Any) -> str:
    """The class of a token of Pygments, of which there are a hundred kinds."""
    for part in reversed(kind):
        if part == "Name":
            break
        if part in CLASSES:
            return CLASSES[part]
    return CLASSES["Name"] if kind and kind[0] == "Name" and set(kind) & set(_NAMES) else ""
