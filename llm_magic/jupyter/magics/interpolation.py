"""`{{name}}` in a prompt: values from the notebook. Single braces, and double ones around anything else, are text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llm_magic.errors import RequestError

_HOLE = re.compile(r"\{\{\s*([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s*\}\}")


def interpolate(prompt: str, names: Mapping[str, Any]) -> tuple[str, str]:
    """The prompt with its values in place, and without them: what is brought in does not set the tier.

    A hole is a name, or attributes of one; nothing is called. Raises RequestError for a name that is not there.
    """
    return _HOLE.sub(lambda hole: str(_value(hole.group(1), names)), prompt), _HOLE.sub(" ", prompt)


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
