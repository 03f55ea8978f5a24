"""Rules for the Markdown that models write, beyond CommonMark.

Emphasis next to Chinese, Japanese or Korean punctuation, inline HTML tags without attributes, bars in the formulas of
tables, fences within a Markdown fence, task lists, and the direction of right-to-left scripts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING

from llm_magic.jupyter.render.math_syntax import without_bars

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

# The HTML parser would continue most of these in the next paragraph if they were not closed: see `_unpaired_as_text`.
_PAIRED_TAGS = {"b", "del", "i", "ins", "kbd", "mark", "small", "sub", "sup", "u"}
INLINE_TAGS = {"br", *_PAIRED_TAGS}
_TAG = re.compile(rf"<(/?)({'|'.join(sorted(INLINE_TAGS, key=len, reverse=True))})\s*/?>", re.IGNORECASE)
_DELIMITER_ROW = re.compile(r"[\s>]*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)+\|?\s*\Z|[\s>]*\|\s*:?-+:?\s*\|\s*\Z")
_FENCE = re.compile(r"( {0,3})(`{3,}|~{3,})\s*([^`\s]*)[^`]*\Z")
_MARKDOWN = ("markdown", "md")
_TASK = re.compile(r"\[([ xX])\] ")
_CJK = re.compile(
    "[\u1100-\u11ff\u2e80-\u2fdf\u2ff0-\u303f\u3041-\u33ff\u3400-\u4dbf\u4e00-\ua4cf\ua960-\ua97f\uac00-\ud7ff"
    "\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U0001f200-\U0001f2ff\U00020000-\U0003ffff]"
)
_RTL = ("R", "AL")
_MIGHT_BE_RTL = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]")
_DIRECTED = ("paragraph_open", "heading_open", "list_item_open", "th_open", "td_open", "blockquote_open")


def plugin(renderer: MarkdownIt) -> None:
    from markdown_it.rules_inline import emphasis, strikethrough

    renderer.inline.ruler.at("emphasis", _next_to_cjk(emphasis.tokenize))
    renderer.inline.ruler.at("strikethrough", _next_to_cjk(strikethrough.tokenize))
    renderer.inline.ruler.before("html_inline", "plain_tag", _plain_tag)


_OVERRIDES = re.compile("[\u202d\u202e]")


def normalized(text: str) -> str:
    """Return the text with longer outer fences around Markdown, and without bars in the formulas and code of tables.

    Characters that override the direction of text are removed: they could disguise the target of a link.
    """
    lines = _OVERRIDES.sub("", text).split("\n")
    if "```" in text or "~~~" in text:
        _lengthen_outer_fences(lines)
    fence = ""
    for number, line in enumerate(lines):
        if mark := _FENCE.match(line):
            fence = _after(fence, mark)
        elif not fence and "|" in line and _DELIMITER_ROW.match(line) and number:
            row = number - 1
            while row < len(lines) and lines[row].strip():
                if row != number:
                    lines[row] = without_bars(lines[row])
                row += 1
    return "\n".join(lines)


def annotate(tokens: list[Token]) -> None:
    """Show the boxes of task lists and unpaired HTML tags, and set the direction of right-to-left texts."""
    for index, token in enumerate(tokens):
        if token.type == "inline":
            is_item = index > 1 and tokens[index - 2].type == "list_item_open"
            if is_item and token.children and (task := _TASK.match(token.children[0].content)):
                box = "☐ " if task.group(1) == " " else "☑ "
                token.children[0].content = box + token.children[0].content[task.end() :]
            _unpaired_as_text(token.children or [])
            if _MIGHT_BE_RTL.search(token.content):
                _set_direction(tokens, index)


def _unpaired_as_text(children: list[Token]) -> None:
    unpaired: list[Token] = []
    for token in children:
        if token.type != "html_inline" or token.content == "<br>":
            continue
        if unpaired and token.content == unpaired[-1].content.replace("<", "</"):
            unpaired.pop()
        else:
            unpaired.append(token)
    for token in unpaired:
        token.type = "text"


def _set_direction(tokens: list[Token], index: int) -> None:
    is_rtl = is_rtl_text(tokens[index].content)
    for opening in reversed(tokens[:index]):
        if opening.type in _DIRECTED and "dir" not in opening.attrs:
            opening.attrSet("dir", "auto")
        if opening.type == "table_open" and is_rtl and "dir" not in opening.attrs:
            opening.attrSet("dir", "rtl")
        if opening.level == 0:
            break


def is_rtl_text(text: str) -> bool:
    """Return True if the first letter of a text belongs to a right-to-left script."""
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind in _RTL or kind == "L":
            return kind in _RTL
    return False


def _lengthen_outer_fences(lines: list[str]) -> None:
    """Lengthen the fences of Markdown blocks that contain fences of the same length.

    A line with a language opens a fence, and a line without one closes the innermost fence.
    """
    start, depth = -1, 0
    for number, line in enumerate(lines):
        if (mark := _FENCE.match(line)) is None:
            continue
        language = mark.group(3).lower()
        if start < 0:
            if language in _MARKDOWN and len(mark.group(2)) == 3:
                start, depth = number, 1
            elif not language:
                start, depth = -1, 0
            continue
        depth += 1 if language else -1
        if depth == 0:
            if any(_FENCE.match(line) for line in lines[start + 1 : number]):
                lines[start] = lines[start].replace("```", "`````", 1).replace("~~~", "~~~~~", 1)
                lines[number] = lines[number].replace("```", "`````", 1).replace("~~~", "~~~~~", 1)
            start = -1


def _after(fence: str, mark: re.Match[str]) -> str:
    """Return the fence that is open after a line with a fence; empty if none is."""
    if not fence:
        return mark.group(2)
    closes = mark.group(2)[0] == fence[0] and len(mark.group(2)) >= len(fence) and not mark.group(3)
    return "" if closes else fence


def _plain_tag(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] != "<" or (match := _TAG.match(state.src, state.pos)) is None:
        return False
    if not silent:
        state.push("html_inline", "", 0).content = f"<{match.group(1)}{match.group(2).lower()}>"
    state.pos = match.end()
    return True


def _next_to_cjk(tokenize: Callable[[StateInline, bool], bool]) -> Callable[[StateInline, bool], bool]:
    """Return a rule for emphasis that also opens and closes next to a CJK character.

    CommonMark takes a mark between a letter and punctuation for one side only, but scripts without spaces need both:
    https://github.com/tats-u/markdown-cjk-friendly/blob/main/specification.md.
    """

    def rule(state: StateInline, silent: bool) -> bool:
        start, count = state.pos, len(state.delimiters)
        if not tokenize(state, silent):
            return False
        if start > 0 and state.pos < len(state.src) and state.src[start] != "_":
            before, after = state.src[start - 1], state.src[state.pos]
            if not before.isspace() and not after.isspace() and (_CJK.match(before) or _CJK.match(after)):
                for delimiter in state.delimiters[count:]:
                    delimiter.open = delimiter.close = True
        return True

    return rule
