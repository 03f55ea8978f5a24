"""Model output as HTML in which nothing runs and nothing loads.

A cell that was run is trusted: JupyterLab sanitises none of its HTML. So the answer goes through a Markdown renderer
that passes no HTML on, and then through an allow-list of tags and attributes. Images become their alternative text.
"""

from __future__ import annotations

import html
import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_TAGS = {
    "p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "s", "code", "pre", "blockquote",
    "ul", "ol", "li", "a", "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip
_LANGUAGE = re.compile(r"language-[\w+#.-]{1,30}\Z")
_FENCES = re.compile(r"`{3,}")


@lru_cache(maxsize=1)
def _renderer() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")


def markdown_to_html(text: str) -> str:
    """The Markdown of a model as inert HTML."""
    import nh3

    return nh3.clean(
        _renderer().render(text),
        tags=_TAGS,
        attributes={"a": {"href"}, "code": {"class"}, "ol": {"start"}},
        attribute_filter=_keep,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer",
        strip_comments=True,
    )


def _keep(tag: str, name: str, value: str) -> str | None:
    """nh3 also lets `title` and `lang` through, on every tag."""
    if name == "class":
        return value if tag == "code" and _LANGUAGE.match(value) else None
    return value if name in ("href", "start") else None


def escape(text: str) -> str:
    """Any other text, fit for HTML content and for a quoted attribute."""
    return html.escape(text, quote=True)


def fenced(text: str, language: str = "") -> str:
    """Text as Markdown that shows it and does nothing else: in a fence longer than any within it."""
    longest = max((len(fence) for fence in _FENCES.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
