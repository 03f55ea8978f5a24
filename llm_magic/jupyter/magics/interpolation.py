"""Interpolation of `{{name}}` in a prompt. Single braces are text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from llm_magic import placeholders
from llm_magic.errors import RequestError

# Not further than this: a stray {{ and a stray }} pages apart are text.
_MAX_CHARS = 300
_DOUBLE_BRACES = re.compile(rf"\{{\{{(?!\{{)((?:(?!\{{\{{|\}}\}}).){{0,{_MAX_CHARS}}})\}}\}}", re.DOTALL)
_SHOWN_CHARS = 40


def interpolate(prompt: str, names: Mapping[str, Any]) -> tuple[str, str]:
    """Return the prompt with its values, and the prompt without them, which determines the tier.

    A placeholder is a name or its attributes. Nothing is called. Raises RequestError for anything else in double
    braces, and for an unknown name.
    """
    return (
        _DOUBLE_BRACES.sub(lambda braces: _value(braces.group(1), names), prompt),
        _DOUBLE_BRACES.sub(" ", prompt),
    )


def _value(text: str, names: Mapping[str, Any]) -> str:
    path = unicodedata.normalize("NFKC", text.strip())  # as Python does with names
    if placeholders.PATH.fullmatch(path) is None:
        shown = text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
        raise RequestError(
            f"{{{{{shown}}}}}: only a name and its attributes are replaced, as in {{{{name}}}}. Assign "
            "the value to a variable first, or keep the braces with --no-interpolate"
        )
    name = path.partition(".")[0]
    if name not in names:
        near = placeholders.nearest_variable(name, names)
        hint = f" Did you mean {{{{{near}}}}}?" if near else ""
        raise RequestError(
            f"{{{{{path}}}}}: no variable {name!r} is defined. Define it, or keep the braces with "
            f"--no-interpolate.{hint}"
        )
    return placeholders.as_text(placeholders.attribute(names[name], path), path)
