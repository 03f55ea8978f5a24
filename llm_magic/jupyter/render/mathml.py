"""TeX as MathML, which the browser draws.

MathJax never sees a model's text: its `\\href`, `\\style` and `\\require` create links, styles and requests, and front
ends differ in which of them they allow. Here TeX becomes elements of an allow-list that contain only text.
"""

from __future__ import annotations

import html
import re
from typing import Any

from llm_magic.jupyter.render.tex import supported

MAX_CHARS = 2_000
# Macros can expand without limit.
_MACROS = re.compile(r"\\(?:(?:re)?newcommand|provide|def|let|DeclareMathOperator)")
TAGS = {
    "math", "mrow", "mi", "mo", "mn", "mtext", "mspace", "mfrac", "msqrt", "mroot", "msub", "msup", "msubsup",
    "munder", "mover", "munderover", "mmultiscripts", "mprescripts", "mtable", "mtr", "mtd", "mphantom", "mpadded",
    "mstyle", "menclose",
    "rp",  # around each formula, see `to_html`
}  # fmt: skip
ATTRIBUTES = {
    "stretchy", "fence", "form", "accent", "accentunder", "displaystyle", "scriptlevel", "linethickness",
    "mathvariant", "minsize", "maxsize", "width", "columnalign", "separator", "largeop", "movablelimits", "display",
    "notation", "columnlines", "rowlines",
}  # fmt: skip
_ARGUMENTS = {"mfrac": 2, "mroot": 2, "msub": 2, "msup": 2, "mover": 2, "munder": 2, "msubsup": 3, "munderover": 3}
_COMMAND = re.compile(r"\\[a-zA-Z]")
_DELIMITERS = {r"\{": "{", r"\}": "}"}
_VALUE = re.compile(r"[\w.+ %-]{0,40}\Z")


def to_html(tex: str, *, display: bool) -> str:
    """Return MathML with its TeX as text, or code if the formula can't be parsed.

    The TeX is hidden by a style rule. The MathML is hidden twice unless a style rule shows it: by the attribute
    `hidden`, which JupyterLab's sanitizer keeps if it has a value, and by the element `rp`, which GitHub's keeps and
    which browsers don't display. Without styles and MathML, a reader sees the TeX, not the characters of a formula
    without their places.
    """
    escaped = html.escape(tex.strip())
    if (element := _parsed(tex, display=display)) is None:
        return f"<pre><code>{escaped}</code></pre>" if display else f"<code>{escaped}</code>"
    marks = ("\\[", "\\]") if display else ("\\(", "\\)")
    source = f'<span class="t">{marks[0]}{escaped}{marks[1]}</span>'
    return f'{source}<span class="m" hidden="hidden"><rp>{_serialized(element)}</rp></span>'


def _parsed(tex: str, *, display: bool) -> Any:
    """Return the MathML of a formula; None if it is not supported or if a part of it would be lost."""
    if len(tex) > MAX_CHARS or _MACROS.search(tex) or tex.count("{") > 200:
        return None
    if (understood := supported(tex)) is None:
        return None
    element = _converted(understood, display=display)
    if element is not None and _has_line_break(element):
        element = _converted(rf"\begin{{array}}{{l}}{understood}\end{{array}}", display=display)
    return None if element is None or _loses_meaning(element) else element


def _converted(tex: str, *, display: bool) -> Any:
    from latex2mathml.converter import convert_to_element

    try:
        return convert_to_element(tex, display="block" if display else "inline")
    except Exception:  # noqa: BLE001 - invalid formulas raise errors of many types
        return None


def _has_line_break(element: Any) -> bool:
    return any(part.get("linebreak") for part in element.iter("mspace"))


def _loses_meaning(element: Any) -> bool:
    """Return True if a command, an argument, an alignment mark or a line break was not understood."""
    if _has_line_break(element):
        return True
    for part in element.iter():
        text = part.text or ""
        is_left_over = "\\" in text if part.tag == "mtext" else text == "&" or _COMMAND.match(text)
        if is_left_over or len(part) < _ARGUMENTS.get(part.tag, 0):
            return True
    return False


def _serialized(element: Any) -> str:
    """Serialize the allowed elements and attributes. An element that is not allowed is replaced by its children."""
    inner = _text(element.text) + "".join(_serialized(child) + _text(child.tail) for child in _children(element))
    if element.tag not in TAGS:
        return inner
    allowed = {name: value for name, value in element.attrib.items() if name in ATTRIBUTES and _VALUE.match(value)}
    attributes = "".join(f' {name}="{html.escape(value)}"' for name, value in allowed.items())
    return f"<{element.tag}{attributes}>{inner}</{element.tag}>"


def _children(element: Any) -> Any:
    # `math` is a row itself.
    return element[0] if element.tag == "math" and len(element) == 1 and element[0].tag == "mrow" else element


def _text(text: str | None) -> str:
    """Escape a text of latex2mathml, which contains character references such as `&#x02211;`."""
    return html.escape(html.unescape(_DELIMITERS.get(text or "", text or "")))
