"""A model's Markdown as sanitized HTML, in which nothing runs and nothing loads.

JupyterLab does not sanitize the output of a cell that the user ran. The Markdown renderer drops raw HTML, and an
allow-list of tags and attributes is applied to its output. Images become text, links show their targets, and formulas
are inserted after sanitizing, from their own allow-list.
"""

from __future__ import annotations

import html
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from llm_magic.jupyter.render import markdown_rules, math_syntax
from llm_magic.jupyter.render.code import CLASSES, highlight

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

TAGS = {
    "p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "s", "code", "pre", "blockquote",
    "ul", "ol", "li", "a", "span", "table", "thead", "tbody", "tr", "th", "td",
} | markdown_rules.INLINE_TAGS  # fmt: skip
_DIRECTED = ("p", "h1", "h2", "h3", "h4", "h5", "h6", "li", "th", "td", "blockquote", "table")
_LANGUAGE = re.compile(r"language-[\w+#.-]{1,30}\Z")
_DOLLAR = re.compile(r"\$[^\s$&<]*")
_FENCES = re.compile(r"`{3,}")
_EXTERNAL_LINK = re.compile(r"(?:https?://|mailto:)[^\s]", re.IGNORECASE)
_MAX_NESTING = 100
_ALIGNMENTS = {"text-align:left": "left", "text-align:right": "right", "text-align:center": "center"}


@lru_cache(maxsize=1)
def _renderer() -> MarkdownIt:
    from markdown_it import MarkdownIt

    renderer = MarkdownIt("commonmark", {"html": False, "highlight": highlight, "maxNesting": _MAX_NESTING}).enable(
        ["table", "strikethrough"]
    )
    renderer.add_render_rule("text", _text)
    math_syntax.plugin(renderer)
    markdown_rules.plugin(renderer)
    return renderer


def _text(self: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    """Escape a text. Each dollar sign is in an element of its own: two in one text can be read as a formula."""
    return _DOLLAR.sub(r"<span>\g<0></span>", html.escape(tokens[index].content))


def markdown_to_html(text: str) -> str:
    import nh3

    renderer, env = _renderer(), dict[str, Any]()
    tokens = renderer.parse(markdown_rules.normalized(math_syntax.without_placeholders(text)), env)
    if any(token.level >= _MAX_NESTING - 1 for token in tokens):  # deeper blocks are left out by the parser
        return f'<pre tabindex="0"><code>{html.escape(text)}</code></pre>'
    markdown_rules.annotate(tokens)
    for token in tokens:
        _align(token)
        if token.children:
            token.children = _inert(token.children)
    cleaned = nh3.clean(
        renderer.renderer.render(tokens, renderer.options, env),
        tags=TAGS,
        attributes={
            "a": {"href"}, "code": {"class"}, "span": {"class"}, "ol": {"start"}, "th": {"align", "dir"},
            "td": {"align", "dir"}, **{tag: {"dir"} for tag in _DIRECTED if tag not in ("th", "td")},
        },
        attribute_filter=_keep,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer",
        strip_comments=True,
    )  # fmt: skip
    # Makes wide code scrollable by keyboard.
    return math_syntax.restore(cleaned.replace("<pre>", '<pre tabindex="0">'), env.get("formulas", []))


def _keep(tag: str, name: str, value: str) -> str | None:
    """Return the value of an allowed attribute. nh3 by itself also allows `title` and `lang` on every tag."""
    if math_syntax.has_placeholder(value):
        return None
    if name == "class":
        is_allowed = _LANGUAGE.match(value) if tag == "code" else value in CLASSES.values()
        return value if is_allowed else None
    return value if name in ("href", "start", "align", "dir") else None


def _align(token: Token) -> None:
    """Replace the style of an aligned table cell by an attribute, because styles are not allowed."""
    if token.type in ("th_open", "td_open") and (side := _ALIGNMENTS.get(str(token.attrs.pop("style", "")))):
        token.attrSet("align", side)


def _inert(tokens: list[Token]) -> list[Token]:
    """Replace images by text, and append the target to each link whose text differs from it."""
    from markdown_it.token import Token

    inert: list[Token] = []
    target, link_start = "", 0
    for token in tokens:
        if token.type == "image":
            title = f"{token.content}: " if token.content else ""
            token = Token("text", "", 0, content=f"[image {title}{_short(str(token.attrGet('src') or ''))}]")
        inert.append(token)
        if token.type == "link_open":
            target, link_start = str(token.attrGet("href") or ""), len(inert)
            if not _EXTERNAL_LINK.match(target):
                token.attrs.pop("href", None)
        elif token.type == "link_close":
            text = "".join(part.content for part in inert[link_start:])
            if (name := target_name(target)) not in (text, text.split("://")[-1]) and text != target:
                inert.append(Token("text", "", 0, content=f" ({name})"))
    return inert


def code_blocks(text: str) -> list[tuple[str, str]]:
    """Return the language, in lower case, and the code of each fenced block."""
    tokens = _renderer().parse(text, {})
    fences = [token for token in tokens if token.type == "fence"]
    return [("".join(token.info.split()[:1]).lower(), token.content.rstrip("\n")) for token in fences]


def target_name(url: str) -> str:
    try:
        parts = urlsplit(url)
        return parts.hostname or _short(parts.path if parts.scheme == "mailto" else url)
    except ValueError:
        return _short(url)


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"


def fenced(text: str, language: str = "") -> str:
    longest = max((len(fence) for fence in _FENCES.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
