"""Tab completion of the magics' lines: options, models, tiers, threads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from llm_magic import routing
from llm_magic.errors import LLMMagicError
from llm_magic.types import TaskTier

if TYPE_CHECKING:
    from IPython.core.completer import CompletionContext

_LINE = re.compile(r"\s*(?:[\w.]+\s*=\s*)?%{1,2}(route\w*)[ \t]")
_WORDS = {"route_budget": ("off",)}
"""Words of magics whose line is no parser's."""


def matcher(shell: Any) -> Any:
    """For `shell.Completer.custom_matchers`."""
    try:
        from IPython.core.completer import SimpleCompletion, context_matcher
    except ImportError:  # IPython 7, as Colab has it: a matcher gives the words alone

        def words(_: str) -> list[str]:
            return completions(shell, shell.Completer.text_until_cursor)[0]

        return words

    @context_matcher(identifier="llm_magic", priority=200)
    def complete(context: CompletionContext) -> Any:
        found, fragment = completions(shell, context.text_until_cursor)
        return {
            "completions": [SimpleCompletion(text=text, type="param") for text in found],
            "suppress": bool(found),
            "matched_fragment": fragment,
        }

    return complete


def completions(shell: Any, line: str) -> tuple[list[str], str]:
    """What could stand at the end of a line, and the part of it that is there already. Nothing for lines not ours."""
    if not (magic := _LINE.match(line)):
        return [], ""
    method = shell.find_line_magic(magic.group(1))
    if not str(getattr(method, "__module__", "")).startswith("llm_magic."):
        return [], ""
    *before, word = re.split(r"\s+", line[magic.end() :])
    option, assigned, value = word.partition("=")
    fragment = value if assigned else word
    found = _at(shell, magic.group(1), method, before, option if assigned else None, word)
    return [each for each in found if each.startswith(fragment)], fragment


def _at(shell: Any, name: str, method: Any, before: list[str], assigned: str | None, word: str) -> Iterable[str]:
    """What could stand behind the words before."""
    parser = getattr(shell.find_line_magic("route") if name == "route_plan" else method, "parser", None)
    if parser is None:
        return _WORDS.get(name, ())
    options = {option: action for action in parser._actions for option in action.option_strings}
    if assigned is not None:
        return _values(options.get(assigned))
    if before and (action := options.get(before[-1])) is not None and action.nargs is None:
        return _values(action)
    if word.startswith("-"):
        return sorted(options)
    return [str(choice) for each in parser._actions if not (each.option_strings or before) for choice in _values(each)]


def _values(action: Any) -> list[str]:
    """What an argument may be."""
    if action is None:
        return []
    if action.choices:
        return [str(choice) for choice in action.choices]
    try:
        if action.metavar == "TIER":
            return [str(tier).lower() for tier in TaskTier]
        if action.dest in ("model", "judge"):
            return [model.id for model in routing.session_router().registry]
        if action.metavar == "NAME" and action.dest in ("thread", "name"):
            return routing.session_router().conversations.names()
    except LLMMagicError:
        return []
    return []
