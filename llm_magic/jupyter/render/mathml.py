"""TeX in an answer as MathML, which the browser draws.

MathJax never sees a model's text: its `\\href`, `\\style` and `\\require` create links, styles and requests, and front
ends differ in which of them they allow. Here TeX becomes elements of an allow-list that contain only text.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline

MAX_CHARS = 2_000
_OPEN, _CLOSE = "\ue000", "\ue001"
_PLACEHOLDER = re.compile(f"{_OPEN}(\\d+){_CLOSE}")
_INLINE = [
    # Pandoc's rule: no space inside the dollar signs and no digit after them, so that prices stay prices. Each match
    # is bounded and stops at the next opening, so that a text full of openings takes linear time.
    (re.compile(r"\$\$((?:[^$\\]|\\.){1,2000}?)\$\$", re.DOTALL), True),
    (re.compile(r"\$(?![\s$])((?:[^$\\\n]|\\.){1,500}?)(?<!\s)\$(?!\d)"), False),
    (re.compile(r"\\\(((?:(?!\\[()]).){1,500}?)\\\)", re.DOTALL), False),
    (re.compile(r"\\\[((?:(?!\\[\[\]]).){1,2000}?)\\\]", re.DOTALL), True),
]
_ENVIRONMENT = re.compile(r"\\begin\{((?:align|equation|gather|multline)\*?)\}")
_NUMBERED = re.compile(r"(\\(?:begin|end)\{(?:align|equation|gather|multline))\}")
# Macros can expand without limit.
_MACROS = re.compile(r"\\(?:(?:re)?newcommand|provide|def|let|DeclareMathOperator)")
TAGS = {
    "math", "mrow", "mi", "mo", "mn", "mtext", "mspace", "mfrac", "msqrt", "mroot", "msub", "msup", "msubsup",
    "munder", "mover", "munderover", "mmultiscripts", "mprescripts", "mtable", "mtr", "mtd", "mphantom", "mpadded",
    "mstyle", "menclose",
}  # fmt: skip
ATTRIBUTES = {
    "stretchy", "fence", "form", "accent", "accentunder", "displaystyle", "scriptlevel", "linethickness",
    "mathvariant", "minsize", "maxsize", "width", "columnalign", "separator", "largeop", "movablelimits", "display",
}  # fmt: skip
_VALUE = re.compile(r"[\w.+ %-]{0,40}\Z")


def plugin(renderer: MarkdownIt) -> None:
    """Add `$x$`, `$$x$$`, `\\(x\\)`, `\\[x\\]` and the usual environments to a Markdown renderer.

    The rendered HTML has a placeholder for each formula. `restore` inserts the formulas after sanitizing.
    """
    renderer.block.ruler.before("fence", "math", _block, {"alt": ["paragraph", "blockquote", "list"]})
    renderer.inline.ruler.before("escape", "math", _inline)
    renderer.add_render_rule("math", _placeholder)


def without_placeholders(text: str) -> str:
    return text.replace(_OPEN, "\ufffd").replace(_CLOSE, "\ufffd")


def has_placeholder(text: str) -> bool:
    return _OPEN in text


def restore(cleaned: str, formulas: list[str]) -> str:
    return _PLACEHOLDER.sub(lambda match: formulas[int(match.group(1))], cleaned)


def to_html(tex: str, *, display: bool) -> str:
    """Return MathML, or code if the formula can't be parsed."""
    if (element := _parsed(tex, display=display)) is not None:
        return _serialized(element, label=tex)
    escaped = html.escape(tex)
    return f"<pre><code>{escaped}</code></pre>" if display else f"<code>{escaped}</code>"


def _parsed(tex: str, *, display: bool) -> Any:
    if len(tex) > MAX_CHARS or _MACROS.search(tex) or tex.count("{") > 200:
        return None
    from latex2mathml.converter import convert_to_element

    try:
        return convert_to_element(_NUMBERED.sub(r"\1*}", tex.strip()), display="block" if display else "inline")
    except Exception:  # noqa: BLE001 - invalid formulas raise errors of many types
        return None


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


def _inline(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] not in "$\\":
        return False
    for pattern, display in _INLINE:
        if match := pattern.match(state.src, state.pos):
            if not silent:
                token = state.push("math", "math", 0)
                token.content, token.meta = match.group(1), {"display": display}
            state.pos = match.end()
            return True
    return False


def _block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Parse lines from `$$`, `\\[` or `\\begin{align}` to its end, in which Markdown has no meaning."""
    if state.is_code_block(start):
        return False
    first = _line(state, start)
    if environment := _ENVIRONMENT.match(first):
        closing, skip = f"\\end{{{environment.group(1)}}}", 0
    elif first.startswith(("$$", "\\[")):
        closing, skip = {"$$": "$$", "\\[": "\\]"}[first[:2]], 2
    else:
        return False
    lines: list[str] = []
    size = 0
    for number in range(start, min(end, start + 60)):
        line = _line(state, number)
        size += len(line)
        if size > MAX_CHARS or not line:
            return False
        position = line.find(closing, skip if number == start else 0)
        if position >= 0:
            if line[position + len(closing) :].strip():
                return False
            lines.append(line[: position + (len(closing) if skip == 0 else 0)])
            break
        lines.append(line)
    else:
        return False
    if not silent:
        token = state.push("math", "math", 0)
        token.block, token.map = True, [start, start + len(lines)]
        token.content, token.meta = "\n".join(lines)[skip:], {"display": True}
        state.line = start + len(lines)
    return True


def _line(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]].strip()


def _placeholder(self: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    formulas: list[str] = env.setdefault("formulas", [])
    token = tokens[index]
    formulas.append(to_html(token.content, display=token.meta["display"]))
    placeholder = f"{_OPEN}{len(formulas) - 1}{_CLOSE}"
    return f"<p>{placeholder}</p>\n" if token.block else placeholder
