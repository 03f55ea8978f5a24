"""Formulas in Markdown: `$x$`, `$$x$$`, `\\(x\\)`, `\\[x\\]`, and the usual environments."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from llm_magic.jupyter.render.mathml import MAX_CHARS, to_html

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline

_OPEN, _CLOSE = "\ue000", "\ue001"
_PLACEHOLDER = re.compile(f"{_OPEN}(\\d+){_CLOSE}")
# Each match is bounded and stops at the next opening, so that a text full of openings takes linear time.
_DELIMITED = [
    (re.compile(r"\$\$((?:[^$\\`]|\\.){1,2000}?)\$\$", re.DOTALL), True),
    (re.compile(r"\\\(((?:(?!\\[()]).){1,500}?)\\\)", re.DOTALL), False),
    (re.compile(r"\\\[((?:(?!\\[\[\]]).){1,2000}?)\\\]", re.DOTALL), True),
]
_IN_DOLLARS = re.compile(r"\$(?![\s$])((?:[^$\\\n`]|\\.){1,500}?)(?<![\s:,;/@&])\$(?!\$)")
_WORD_CHARACTER = re.compile(r"[A-Za-z0-9_\u00c0-\u024f]")
_ORDINAL = re.compile(r"(?:st|nd|rd|th|s)\b")
_SYMBOL = re.compile(r"\\?[A-Za-z]+(?:[_^+-]\w+)?\Z")
_PROSE = re.compile(r"(?:^|\s)[A-Za-z]{2,}\s")
_AMOUNT = re.compile(r"[\d.,]+\Z")
# Amounts with words or with another currency: `$5 (or 5$)`, `$5 – or 10$`, `$50/yr; R$ 20`.
_PRICES = re.compile(r"\d[^\\^_={<>]*?(?:\s\(?[A-Za-z]{2,}|\s[–—]\s|;)")
_CURRENCY = re.compile(r"\d[^\\^_={<>$\n]{0,200}\s[A-Z]{1,3}\$\s?\d")
_LINE_CHARS = 300
_ENVIRONMENT = re.compile(
    r"\\begin\{((?:align|alignat|flalign|equation|eqnarray|gather|multline|displaymath|math)\*?|aligned|gathered|split)\}"
)
_CODE_OR_FORMULA = re.compile(r"(?P<ticks>`+)(?!`).*?(?<!`)(?P=ticks)(?!`)|\\\(|\$")
_BARS = (r"\vert{}", r"\Vert{}")
_BAR = re.compile(r"(\\?)\|")
_PLAIN_BAR = re.compile(r"(?<!\\)\|")


def plugin(renderer: MarkdownIt) -> None:
    """Add formulas to a Markdown renderer.

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


def without_bars(row: str) -> str:
    r"""Replace `|` in the formulas of a table's row by `\vert`, `\|` by `\Vert`, and `|` in code by `\|`.

    A bar would end the cell.
    """
    parts: list[str] = []
    position = 0
    while opening := _CODE_OR_FORMULA.search(row, position):
        match = None if opening["ticks"] else _match(row, opening.start())
        end = opening.end() if match is None else match[0].end()
        text = row[opening.start() : end]
        if opening["ticks"]:
            text = _PLAIN_BAR.sub(r"\|", text)
        elif match is not None:
            text = _BAR.sub(_bar, text)
        parts += [row[position : opening.start()], text]
        position = end
    return "".join(parts) + row[position:]


def _bar(match: re.Match[str]) -> str:
    return _BARS[bool(match.group(1))]


def _match(text: str, position: int) -> tuple[re.Match[str], bool] | None:
    """Return the formula that begins at a position, and whether it is displayed on lines of its own."""
    for pattern, display in _DELIMITED:
        if match := pattern.match(text, position):
            return match, display
    match = _IN_DOLLARS.match(text, position)
    return (match, False) if match and _is_formula(text, match) else None


def _is_formula(text: str, match: re.Match[str]) -> bool:
    """Return True unless the dollar signs are those of prices or of shell variables."""
    start, end, content = match.start(), match.end(), match.group(1)
    if start and (_WORD_CHARACTER.match(text[start - 1]) or text[start - 1] == "$"):
        return False
    if end < len(text) and _WORD_CHARACTER.match(text[end]):
        return bool(_ORDINAL.match(text, end) and _SYMBOL.match(content))
    if _PROSE.search(content) and not re.search(r"[\\^_={]", content):
        return False
    if _PRICES.match(content) or _CURRENCY.match(text, start + 1):
        return False
    before = text[max(0, start - _LINE_CHARS) : start].rpartition("\n")[2]
    return not (_AMOUNT.match(content) and before.count("$") % 2)


def _inline(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] not in "$\\" or (matched := _match(state.src, state.pos)) is None:
        return False
    match, display = matched
    if not silent:
        token = state.push("math", "math", 0)
        # The bars that `without_bars` replaced.
        tex = match.group(1).replace(_BARS[0], "|").replace(_BARS[1], r"\|")
        token.content, token.meta = tex, {"display": display}
    state.pos = match.end()
    return True


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
