"""Syntax highlighting of code in an answer, with five CSS classes for all languages. `style` has their colors."""

from __future__ import annotations

import html
from functools import lru_cache
from itertools import groupby
from typing import Any

# Highlighting takes about one second per 500,000 characters.
MAX_CHARS = 20_000
# Some rare lexers of Pygments have regexes with exponential backtracking.
LANGUAGES = {
    "bash", "c", "c#", "c++", "cmake", "console", "cpp", "csharp", "css", "diff", "docker", "dockerfile", "elixir",
    "fortran", "go", "golang", "graphql", "haskell", "html", "http", "ini", "ipython", "java", "javascript", "js",
    "json", "jsx", "julia", "kotlin", "latex", "lua", "make", "makefile", "markdown", "matlab", "md", "objective-c",
    "perl", "php", "powershell", "proto", "ps1", "py", "py3", "pycon", "python", "python3", "r", "rb", "rs", "rst",
    "ruby", "rust", "scala", "scheme", "scss", "sh", "shell", "shell-session", "sql", "swift", "tex", "toml", "ts",
    "tsx", "typescript", "xml", "yaml", "yml", "zsh",
}  # fmt: skip
_ALIASES = {"yml": "yaml"}
CLASSES = {"Keyword": "k", "String": "s", "Comment": "c", "Number": "n", "Name": "f"}
_NAMES = ("Function", "Class", "Decorator", "Builtin", "Tag", "Attribute")


def highlight(code: str, language: str, attributes: str = "") -> str:
    """Return the escaped content of a code element, with spans of these classes. Empty if the code stays plain."""
    if len(code) > MAX_CHARS or (lexer := _lexer(language.lower())) is None:
        return ""
    tokens = list(lexer.get_tokens(code))
    if sum(len(text) for _, text in tokens) != len(code):
        return ""
    parts: list[str] = []
    for name, group in groupby(tokens, key=lambda token: _class(token[0])):
        escaped = html.escape("".join(text for _, text in group))
        parts.append(f'<span class="{name}">{escaped}</span>' if name and not escaped.isspace() else escaped)
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
    for part in reversed(kind):
        if part == "Name":
            break
        if part in CLASSES:
            return CLASSES[part]
    return CLASSES["Name"] if kind and kind[0] == "Name" and set(kind) & set(_NAMES) else ""
