"""Values that `{{name}}` and `{{name.attribute}}` stand for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from llm_magic.errors import RequestError

PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
# The default text of objects, such as generators and functions, and that of open files.
_WITHOUT_TEXT = re.compile(r"<.* at 0x[0-9A-Fa-f]+>|<_io\..*>", re.DOTALL)
_SHOWN_CHARS = 60


def attribute(value: object, path: str) -> object:
    """Return what a path such as `name.attribute` stands for, if `value` is that of its name. Raises RequestError."""
    name, *attributes = path.split(".")
    for part in attributes:
        if part.startswith("_"):
            raise RequestError(f"{{{{{path}}}}}: attributes that begin with _ are not read")
        if not hasattr(value, part):
            raise RequestError(f"{{{{{path}}}}}: {name!r} has no attribute {part!r}{_hint(value, name, part)}")
        value, name = getattr(value, part), f"{name}.{part}"
    return value


def _hint(value: object, name: str, part: str) -> str:
    near = nearest(part, dir(value))
    if isinstance(value, Mapping) and part in value:
        return f". Assign {name}[{part!r}] to a variable first"
    return f". Did you mean {{{{{name}.{near}}}}}?" if near else ""


def nearest_variable(name: str, variables: Mapping[str, object]) -> str | None:
    # Functions have no text. IPython's own, such as `exit` and `open`, would hide the hint that helps.
    return nearest(name, (known for known, value in variables.items() if not callable(value)))


def nearest(name: str, names: Iterable[str]) -> str | None:
    public = [known for known in names if not known.startswith("_")]
    return next(iter(difflib.get_close_matches(name, public, 1, 0.7)), None)


def as_text(value: object, path: str) -> str:
    """Return the text of a value. Raises RequestError if it has none, such as a generator, an image, or other bytes."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes | bytearray):
        return _decoded(value, path)
    text = str(value)
    if _WITHOUT_TEXT.fullmatch(text):
        shown = text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
        raise RequestError(
            f"{{{{{path}}}}}: a {type(value).__name__} has no text, only {shown}. Assign its text to a variable first"
        )
    return text


def _decoded(value: bytes | bytearray, path: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(
            f"{{{{{path}}}}}: {len(value):,} bytes are not UTF-8 text: decode them, or attach them with --attach"
        ) from error
