"""TeX as MathML, which the browser draws.

MathJax never sees a model's text: its `\\href`, `\\style` and `\\require` create links, styles and requests, and front
ends differ in which of them they allow. Here TeX becomes elements of an allow-list that contain only text.
"""

from __future__ import annotations

import html
import re
from typing import Any

MAX_CHARS = 2_000
# Macros can expand without limit.
_MACROS = re.compile(r"\\(?:(?:re)?newcommand|provide|def|let|DeclareMathOperator)")
_WITHOUT_EFFECT = re.compile(r"\\(?:label|require)\s*\{[^{}]*\}|\\(?:nonumber|notag)(?![a-zA-Z])")
_BEGIN_OR_END = re.compile(r"\\(begin|end)\s*\{([a-zA-Z]+)\*?\}")
_ARGUMENT = re.compile(r"\s*(?:\[[a-z]\])?\s*\{[^{}]*\}")
_ALIGNED = (r"\begin{align*}", r"\end{align*}")
_CENTERED = (r"\begin{array}{c}", r"\end{array}")
_BRACE_AT_RIGHT = (r"\left.\begin{array}{ll}", r"\end{array}\right\}")
_SUPPORTED = {
    "align": _ALIGNED, "aligned": _ALIGNED, "alignat": _ALIGNED, "alignedat": _ALIGNED, "flalign": _ALIGNED,
    "eqnarray": _ALIGNED, "gather": _CENTERED, "gathered": _CENTERED, "multline": _CENTERED, "subarray": _CENTERED,
    "dcases": (r"\begin{cases}", r"\end{cases}"), "rcases": _BRACE_AT_RIGHT, "drcases": _BRACE_AT_RIGHT,
    "equation": ("", ""), "math": ("", ""), "displaymath": ("", ""),
}  # fmt: skip
"""Environments that latex2mathml lacks or numbers, and the equivalents that it supports."""
_WITH_ARGUMENT = ("alignat", "alignedat", "subarray")
TAGS = {
    "math", "mrow", "mi", "mo", "mn", "mtext", "mspace", "mfrac", "msqrt", "mroot", "msub", "msup", "msubsup",
    "munder", "mover", "munderover", "mmultiscripts", "mprescripts", "mtable", "mtr", "mtd", "mphantom", "mpadded",
    "mstyle", "menclose",
    "rp",  # around each formula, see `to_html`
}  # fmt: skip
ATTRIBUTES = {
    "stretchy", "fence", "form", "accent", "accentunder", "displaystyle", "scriptlevel", "linethickness",
    "mathvariant", "minsize", "maxsize", "width", "columnalign", "separator", "largeop", "movablelimits", "display",
    "notation",
}  # fmt: skip
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
    source = f'<span class="llmr-tex">{marks[0]}{escaped}{marks[1]}</span>'
    return f'{source}<span class="llmr-math" hidden="hidden"><rp>{_serialized(element, label=tex)}</rp></span>'


def _parsed(tex: str, *, display: bool) -> Any:
    """Return the MathML of a formula; None if it is not supported or if a part of it would be lost."""
    if len(tex) > MAX_CHARS or _MACROS.search(tex) or tex.count("{") > 200:
        return None
    supported = _supported(tex)
    element = _converted(supported, display=display)
    if element is not None and _has_line_break(element):
        element = _converted(rf"\begin{{array}}{{l}}{supported}\end{{array}}", display=display)
    return None if element is None or _loses_meaning(element) else element


def _supported(tex: str) -> str:
    """Replace environments that latex2mathml does not support by equivalents."""
    parts: list[str] = []
    position = 0
    tex = _WITHOUT_EFFECT.sub("", tex.strip())
    for match in _BEGIN_OR_END.finditer(tex):
        if (pair := _SUPPORTED.get(match.group(2))) is None:
            continue
        is_begin = match.group(1) == "begin"
        parts += [tex[position : match.start()], pair[0] if is_begin else pair[1]]
        position = match.end()
        if is_begin and match.group(2) in _WITH_ARGUMENT and (argument := _ARGUMENT.match(tex, position)):
            position = argument.end()
    return "".join(parts) + tex[position:]


def _converted(tex: str, *, display: bool) -> Any:
    from latex2mathml.converter import convert_to_element

    try:
        return convert_to_element(tex, display="block" if display else "inline")
    except Exception:  # noqa: BLE001 - invalid formulas raise errors of many types
        return None


def _has_line_break(element: Any) -> bool:
    return any(part.get("linebreak") for part in element.iter("mspace"))


def _loses_meaning(element: Any) -> bool:
    """Return True if a command, an alignment mark or a line break was not understood."""
    texts = (part.text or "" for part in element.iter() if part.tag != "mtext")
    return _has_line_break(element) or any(text == "&" or re.match(r"\\[a-zA-Z]", text) for text in texts)


def _serialized(element: Any, *, label: str = "") -> str:
    """Serialize the allowed elements and attributes. An element that is not allowed is replaced by its children."""
    inner = _text(element.text) + "".join(_serialized(child) + _text(child.tail) for child in element)
    if element.tag not in TAGS:
        return inner
    allowed = {name: value for name, value in element.attrib.items() if name in ATTRIBUTES and _VALUE.match(value)}
    if label:
        allowed["alttext"] = label
    attributes = "".join(f' {name}="{html.escape(value)}"' for name, value in allowed.items())
    return f"<{element.tag}{attributes}>{inner}</{element.tag}>"


def _text(text: str | None) -> str:
    """Escape a text of latex2mathml, which contains character references such as `&#x02211;`."""
    return html.escape(html.unescape(text or ""))
