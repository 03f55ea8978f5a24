"""Model output as HTML in which nothing runs and nothing loads.

A cell that was run is trusted: JupyterLab sanitises none of its HTML. So the answer goes through a Markdown renderer
that passes no HTML on, and then through an allow-list of tags and attributes. Images become text, links say where they
lead, and mathematics is put in at the very end, from a list of its own.
"""

from __future__ import annotations

import html
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from llm_magic.jupyter.render import mathml
from llm_magic.jupyter.render.code import CLASSES, highlight

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_TAGS = {
    "p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "s", "code", "pre", "blockquote",
    "ul", "ol", "li", "a", "span", "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip
_LANGUAGE = re.compile(r"language-[\w+#.-]{1,30}\Z")
_FENCES = re.compile(r"`{3,}")
_ELSEWHERE = re.compile(r"(?:https?://|mailto:)[^\s]", re.IGNORECASE)
_ALIGNED = {"text-align:left": "left", "text-align:right": "right", "text-align:center": "center"}


@lru_cache(maxsize=1)
def _renderer() -> MarkdownIt:
    from markdown_it import MarkdownIt

    renderer = MarkdownIt("commonmark", {"html": False, "highlight": highlight}).enable(["table", "strikethrough"])
    mathml.plugin(renderer)
    return renderer


def markdown_to_html(text: str) -> str:
    """The Markdown of a model as inert HTML."""
    import nh3

    renderer, env = _renderer(), dict[str, Any]()
    tokens = renderer.parse(mathml.without_places(text), env)
    for token in tokens:
        _align(token)
        if token.children:
            token.children = _inert(token.children)
    cleaned = nh3.clean(
        renderer.renderer.render(tokens, renderer.options, env),
        tags=_TAGS,
        attributes={
            "a": {"href"}, "code": {"class"}, "span": {"class"}, "ol": {"start"}, "th": {"align"}, "td": {"align"},
        },
        attribute_filter=_keep,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer",
        strip_comments=True,
    )  # fmt: skip
    # Wide code scrolls, also by the keyboard.
    return mathml.restore(cleaned.replace("<pre>", '<pre tabindex="0">'), env.get("formulas", []))


def _keep(tag: str, name: str, value: str) -> str | None:
    """nh3 also lets `title` and `lang` through, on every tag."""
    if mathml.has_place(value):
        return None
    if name == "class":
        ours = _LANGUAGE.match(value) if tag == "code" else value in CLASSES.values()
        return value if ours else None
    return value if name in ("href", "start", "align") else None


def _align(token: Token) -> None:
    """A column's alignment by attribute: no style of any kind gets through."""
    if token.type in ("th_open", "td_open") and (side := _ALIGNED.get(str(token.attrs.pop("style", "")))):
        token.attrSet("align", side)


def _inert(tokens: list[Token]) -> list[Token]:
    """Images as text; behind each link where it leads, unless its text is just that."""
    from markdown_it.token import Token

    found: list[Token] = []
    target, begins = "", 0
    for token in tokens:
        if token.type == "image":
            about = f"{token.content}: " if token.content else ""
            token = Token("text", "", 0, content=f"[image {about}{_short(str(token.attrGet('src') or ''))}]")
        found.append(token)
        if token.type == "link_open":
            target, begins = str(token.attrGet("href") or ""), len(found)
            if not _ELSEWHERE.match(target):
                token.attrs.pop("href", None)
        elif token.type == "link_close":
            said = "".join(each.content for each in found[begins:])
            if (named := place(target)) not in (said, said.split("://")[-1]) and said != target:
                found.append(Token("text", "", 0, content=f" ({named})"))
    return found


def place(url: str) -> str:
    """Where a link leads, in a word: the host, the address, or the whole of what is neither."""
    try:
        parts = urlsplit(url)
        return parts.hostname or _short(parts.path if parts.scheme == "mailto" else url)
    except ValueError:
        return _short(url)


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"


def escape(text: str) -> str:
    """Any other text, fit for HTML content and for a quoted attribute."""
    return html.escape(text, quote=True)


def fenced(text: str, language: str = "") -> str:
    """Text as Markdown that shows it and does nothing else: in a fence longer than any within it."""
    longest = max((len(fence) for fence in _FENCES.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
