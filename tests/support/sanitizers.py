"""Sanitizers of viewers of notebooks, by their published rules, and the text that a reader sees after them."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import nh3

# html-pipeline, lib/html_pipeline/sanitization_filter.rb (the base of GitHub's rules): no class, style, hidden, or MathML.
_GITHUB_TAGS = {
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "br",
    "b",
    "i",
    "strong",
    "em",
    "a",
    "pre",
    "code",
    "img",
    "tt",
    "div",
    "ins",
    "del",
    "sup",
    "sub",
    "p",
    "ol",
    "ul",
    "table",
    "thead",
    "tbody",
    "tfoot",
    "blockquote",
    "dl",
    "dt",
    "dd",
    "kbd",
    "q",
    "samp",
    "var",
    "hr",
    "ruby",
    "rt",
    "rp",
    "li",
    "tr",
    "td",
    "th",
    "s",
    "strike",
    "summary",
    "details",
    "caption",
    "figure",
    "figcaption",
    "abbr",
    "bdo",
    "cite",
    "dfn",
    "mark",
    "small",
    "span",
    "time",
    "wbr",
}
_GITHUB_ATTRIBUTES = {
    "align",
    "alt",
    "aria-hidden",
    "aria-label",
    "dir",
    "height",
    "open",
    "role",
    "start",
    "tabindex",
    "title",
    "width",
}
# JupyterLab 4, @jupyterlab/apputils, the sanitizer of untrusted outputs: no style element and no MathML.
_LAB_TAGS = {
    "a",
    "abbr",
    "acronym",
    "address",
    "area",
    "article",
    "aside",
    "audio",
    "b",
    "bdi",
    "bdo",
    "big",
    "blockquote",
    "br",
    "button",
    "caption",
    "center",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "del",
    "details",
    "dfn",
    "dir",
    "div",
    "dl",
    "dt",
    "em",
    "fieldset",
    "figcaption",
    "figure",
    "font",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hgroup",
    "hr",
    "i",
    "img",
    "input",
    "ins",
    "kbd",
    "label",
    "legend",
    "li",
    "map",
    "mark",
    "menu",
    "meter",
    "nav",
    "nobr",
    "ol",
    "optgroup",
    "option",
    "output",
    "p",
    "pre",
    "progress",
    "q",
    "s",
    "samp",
    "section",
    "select",
    "small",
    "source",
    "span",
    "strike",
    "strong",
    "sub",
    "summary",
    "sup",
    "table",
    "tbody",
    "td",
    "textarea",
    "tfoot",
    "th",
    "thead",
    "time",
    "tr",
    "track",
    "tt",
    "u",
    "ul",
    "var",
    "video",
    "wbr",
}
_LAB_ATTRIBUTES = {"align", "class", "dir", "hidden", "id", "lang", "style", "title", "translate"}


def github(html: str) -> str:
    return _cleaned(html, _GITHUB_TAGS, _GITHUB_ATTRIBUTES)


def jupyterlab(html: str) -> str:
    return _cleaned(html, _LAB_TAGS, _LAB_ATTRIBUTES)


def _cleaned(html: str, tags: set[str], attributes: set[str]) -> str:
    return nh3.clean(
        html,
        tags=tags,
        attributes={"*": attributes, "a": {"href"}},
        link_rel=None,
        # JupyterLab's sanitizer removes attributes without a value, too.
        attribute_filter=lambda tag, name, value: (value or None) if name in attributes | {"href"} else None,
    )


def visible_text(html: str) -> str:
    """Return the text that a browser displays without style sheets. It shows no space at the end of a line."""
    reader = _Reader()
    reader.feed(html)
    return re.sub(r" +(?=\n|\Z)", "", "".join(reader.parts))


class _Reader(HTMLParser):
    _VOID = ("br", "hr", "img", "input", "wbr", "meter")
    _LINES = ("p", "div", "li", "tr", "pre", "h1", "h2", "h3", "summary")

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden: list[bool] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in (*self._LINES, "br"):
            self.parts.append("\n")
        if tag not in self._VOID:
            self._hidden.append(tag in ("rp", "style", "script") or "hidden" in dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        if tag == "summary":
            self.parts.append("\n")
        if tag not in self._VOID:
            self._hidden.pop()

    def handle_data(self, data: str) -> None:
        if not any(self._hidden):
            self.parts.append(data)
