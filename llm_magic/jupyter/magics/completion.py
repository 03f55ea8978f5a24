"""Tab completion on the lines of the magics: options, models, tiers, threads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from llm_magic import routing
from llm_magic.errors import LLMMagicError
from llm_magic.plan.cascade import MODES
from llm_magic.types import TaskTier

if TYPE_CHECKING:
    from IPython.core.completer import CompletionContext

_LINE = re.compile(r"\s*(?:[\w.]+\s*=\s*)?%{1,2}(route\w*)[ \t]")
_FIRST_WORDS_WITHOUT_CHOICES = {"route_budget": ("off",)}
_VALUES_BY_METAVAR: dict[str, Callable[[], Iterable[str]]] = {
    "TIER": lambda: [tier.lower() for tier in TaskTier],
    "MODEL": lambda: [model.id for model in routing.session_router().registry],
    "THREAD": lambda: routing.session_router().conversations.names(),
    "MODE": lambda: [*MODES, "off"],
}


def matcher(shell: Any) -> Any:
    """Return a matcher for `shell.Completer.custom_matchers`."""
    try:
        from IPython.core.completer import SimpleCompletion, context_matcher
    except ImportError:  # IPython 7, as in Colab: a matcher returns only the words

        def words(_: str) -> list[str]:
            return completions(shell, shell.Completer.text_until_cursor)[0]

        return words

    @context_matcher(identifier="llm_magic", priority=200)
    def complete(context: CompletionContext) -> Any:
        words, fragment = completions(shell, context.text_until_cursor)
        return {
            "completions": [SimpleCompletion(text=text, type="param") for text in words],
            "suppress": bool(words),
            "matched_fragment": fragment,
        }

    return complete


def completions(shell: Any, line: str) -> tuple[list[str], str]:
    """Return the words that can complete a line, and the part of the last word that they replace.

    Empty for lines without a magic of llm_magic.
    """
    if not (magic := _LINE.match(line)):
        return [], ""
    method = shell.find_line_magic(magic.group(1))
    if not str(getattr(method, "__module__", "")).startswith("llm_magic."):
        return [], ""
    *before, word = re.split(r"\s+", line[magic.end() :])
    option, assigned, value = word.partition("=")
    fragment = value if assigned else word
    words = _words(shell, magic.group(1), method, before, option if assigned else None, word)
    return [candidate for candidate in words if candidate.startswith(fragment)], fragment


def _words(shell: Any, name: str, method: Any, before: list[str], assigned: str | None, word: str) -> Iterable[str]:
    parser = getattr(shell.find_line_magic("route") if name in ("route_plan", "route_fix") else method, "parser", None)
    if parser is None:
        return ()
    options = {option: action for action in parser._actions for option in action.option_strings}
    if assigned is not None:
        return _values(options.get(assigned))
    if before and (action := options.get(before[-1])) is not None and action.nargs is None:
        return _values(action)
    if word.startswith("-"):
        return sorted(options)
    if before:
        return ()
    positional = [action for action in parser._actions if not action.option_strings]
    return [*_FIRST_WORDS_WITHOUT_CHOICES.get(name, ()), *(value for action in positional for value in _values(action))]


def _values(action: Any) -> list[str]:
    if action is None:
        return []
    if action.choices:
        return [str(choice) for choice in action.choices]
    try:
        return list(_VALUES_BY_METAVAR[action.metavar]()) if action.metavar in _VALUES_BY_METAVAR else []
    except LLMMagicError:
        return []
