"""TeX in an answer as MathML, drawn by the browser itself.

MathJax is kept away from what a model wrote: its `\\href`, `\\style` and `\\require` make links, styles, requests, and
which of them a front end allows differs. Here TeX becomes elements of a fixed list, with nothing but text in them.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline

MOST_CHARS = 2_000
"""Longer than any formula that a person reads."""
_OPEN, _CLOSE = "\ue000", "\ue001"
_PLACE = re.compile(f"{_OPEN}(\\d+){_CLOSE}")
_INLINE = [
    # As pandoc has it: no space inside the dollars, no digit behind them, so that prices stay prices. Bounded, and
    # stopped by the next opening: a text full of openings takes linear time.
    (re.compile(r"\$\$((?:[^$\\]|\\.){1,2000}?)\$\$", re.DOTALL), True),
    (re.compile(r"\$(?![\s$])((?:[^$\\\n]|\\.){1,500}?)(?<!\s)\$(?!\d)"), False),
    (re.compile(r"\\\(((?:(?!\\[()]).){1,500}?)\\\)", re.DOTALL), False),
    (re.compile(r"\\\[((?:(?!\\[\[\]]).){1,2000}?)\\\]", re.DOTALL), True),
]
_ENVIRONMENT = re.compile(r"\\begin\{((?:align|equation|gather|multline)\*?)\}")
_NUMBERED = re.compile(r"(\\(?:begin|end)\{(?:align|equation|gather|multline))\}")
_MACROS = re.compile(r"\\(?:(?:re)?newcommand|provide|def|let|DeclareMathOperator)")
"""A few of them can grow without bound."""
_TAGS = {
    "math", "mrow", "mi", "mo", "mn", "mtext", "mspace", "mfrac", "msqrt", "mroot", "msub", "msup", "msubsup",
    "munder", "mover", "munderover", "mmultiscripts", "mprescripts", "mtable", "mtr", "mtd", "mphantom", "mpadded",
    "mstyle", "menclose",
}  # fmt: skip
_ATTRIBUTES = {
    "stretchy", "fence", "form", "accent", "accentunder", "displaystyle", "scriptlevel", "linethickness",
    "mathvariant", "minsize", "maxsize", "width", "columnalign", "separator", "largeop", "movablelimits", "display",
}  # fmt: skip
_VALUE = re.compile(r"[\w.+ %-]{0,40}\Z")


def plugin(renderer: MarkdownIt) -> None:
    """Teach a Markdown renderer `$x$`, `$$x$$`, `\\(x\\)`, `\\[x\\]` and the usual environments.

    What it renders has a placeholder for each formula; `restore` puts the formulas in, once the rest is sanitised.
    """
    renderer.block.ruler.before("fence", "math", _block, {"alt": ["paragraph", "blockquote", "list"]})
    renderer.inline.ruler.before("escape", "math", _inline)
    renderer.add_render_rule("math", _placeholder)


def without_places(text: str) -> str:
    """Text in which nothing looks like a placeholder."""
    return text.replace(_OPEN, "\ufffd").replace(_CLOSE, "\ufffd")


def has_place(text: str) -> bool:
    return _OPEN in text


def restore(cleaned: str, formulas: list[str]) -> str:
    """The formulas in the places that were kept for them."""
    return _PLACE.sub(lambda place: formulas[int(place.group(1))], cleaned)


def to_html(tex: str, *, display: bool) -> str:
    """A formula as MathML, or as code where it is not understood."""
    if (element := _parsed(tex, display=display)) is not None:
        return _written(element, label=tex)
    shown = html.escape(tex)
    return f"<pre><code>{shown}</code></pre>" if display else f"<code>{shown}</code>"


def _parsed(tex: str, *, display: bool) -> Any:
    if len(tex) > MOST_CHARS or _MACROS.search(tex) or tex.count("{") > 200:
        return None
    from latex2mathml.converter import convert_to_element

    try:
        return convert_to_element(_NUMBERED.sub(r"\1*}", tex.strip()), display="block" if display else "inline")
    except Exception:  # noqa: BLE001 - it fails on a formula in as many ways as formulas can be wrong
        return None


def _written(element: Any, *, label: str = "") -> str:
    """An element and what is in it, by the lists above; of any other element only its children are left."""
    inner = _text(element.text) + "".join(_written(child) + _text(child.tail) for child in element)
    if element.tag not in _TAGS:
        return inner
    kept = {name: value for name, value in element.attrib.items() if name in _ATTRIBUTES and _VALUE.match(value)}
    if label:
        kept["alttext"] = label
    attributes = "".join(f' {name}="{html.escape(value)}"' for name, value in kept.items())
    return f"<{element.tag}{attributes}>{inner}</{element.tag}>"


def _text(text: str | None) -> str:
    """The library leaves `&#x02211;` in its texts."""
    return html.escape(html.unescape(text or ""))


def _inline(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] not in "$\\":
        return False
    for pattern, display in _INLINE:
        if found := pattern.match(state.src, state.pos):
            if not silent:
                token = state.push("math", "math", 0)
                token.content, token.meta = found.group(1), {"display": display}
            state.pos = found.end()
            return True
    return False


def _block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Lines from `$$`, `\\[` or `\\begin{align}` to its end. No Markdown is seen in them."""
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
        if size > MOST_CHARS or not line:
            return False
        at = line.find(closing, skip if number == start else 0)
        if at >= 0:
            if line[at + len(closing) :].strip():
                return False
            lines.append(line[: at + (len(closing) if skip == 0 else 0)])
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
    place = f"{_OPEN}{len(formulas) - 1}{_CLOSE}"
    return f"<p>{place}</p>\n" if token.block else place
