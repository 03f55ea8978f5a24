"""Tables of short facts as HTML, and amounts in it."""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterable, Sequence

_AMOUNT = re.compile(r"(?:\w+ )?(?:&[lg]t;)?-?\$[\d.,]*\d")


def words(text: str) -> str:
    """Escape a text for HTML. Amounts after the first are elements: two dollar signs in a text can be a formula."""
    escaped = html.escape(text)
    start = escaped.find("$") + 1
    return escaped[:start] + _AMOUNT.sub(r"<span>\g<0></span>", escaped[start:])


def grid(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, figures: Collection[str] = (), texts: Collection[str] = ()
) -> str:
    """Return a table. figures: columns that are aligned at the right. texts: columns whose lines may be broken."""
    classes = [
        "" if name in figures else ' class="llmr-text"' if name in texts else ' class="llmr-words"' for name in header
    ]
    head = "".join(f'<th scope="col"{kind}>{words(name)}</th>' for name, kind in zip(header, classes, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{kind}>{words(cell)}</td>' for cell, kind in zip(row, classes, strict=True))}</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def scrolling(content: str, label: str) -> str:
    label = html.escape(label)
    return (
        f'<div class="jp-RenderedHTMLCommon llmr-plan" tabindex="0" role="region" aria-label="{label}">{content}</div>'
    )
