"""Interpolation of `{{name}}` in a prompt. All other braces are text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llm_magic.errors import RequestError

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s*\}\}")


def interpolate(prompt: str, names: Mapping[str, Any]) -> tuple[str, str]:
    """Return the prompt with its values, and the prompt without them, which determines the tier.

    A placeholder is a name or its attributes. Nothing is called. Raises RequestError for an unknown name.
    """
    return _PLACEHOLDER.sub(lambda placeholder: str(_value(placeholder.group(1), names)), prompt), _PLACEHOLDER.sub(
        " ", prompt
    )


def _value(path: str, names: Mapping[str, Any]) -> Any:
    name, *attributes = path.split(".")
    if name not in names:
        raise RequestError(
            f"{{{{{path}}}}} in the prompt: no variable {name!r} is defined. Define it, or keep the braces with "
            "--no-interpolate"
        )
    value = names[name]
    for attribute in attributes:
        if attribute.startswith("_") or not hasattr(value, attribute):
            raise RequestError(f"{{{{{path}}}}} in the prompt: {name!r} has no attribute {attribute!r}")
        value = getattr(value, attribute)
    return value
