"""Checks that a page has nothing live in what a model wrote."""

from __future__ import annotations

from typing import Any

NOTHING = {"dialogs": [], "requests": [], "globals": []}

LIVE = """() => [...document.querySelectorAll('.llmr')].flatMap(root => [...root.querySelectorAll('*')])
    .filter(each => each.matches('script,iframe,frame,object,embed,applet,form,input,textarea,select,button,img,picture,'
        + 'video,audio,svg,link,meta,base,portal,template,marquee,details,style,[id],[name],[style],[srcdoc]')
        || [...each.attributes].some(({name}) => name.startsWith('on') || name.startsWith('data-')))
    .filter(each => !each.matches('tr[style="text-align: right;"]'))  // of every table that pandas writes
    .filter(each => !each.matches('.llmr-foot > details, details.llmr-fold'))  // the facts of a run, a folded answer
    .map(each => each.outerHTML.slice(0, 200))"""

LINKS = """() => [...document.querySelectorAll('.llmr-body a[href]')]
    .map(a => [a.href, a.textContent + (a.nextSibling?.textContent ?? '')])"""


def inert(notebook: Any) -> None:
    """Check that the page has no active content, and that every link shows its target."""
    assert notebook.watch.seen() == NOTHING
    assert notebook.page.evaluate(LIVE) == []
    for href, said in notebook.page.evaluate(LINKS):
        assert href.startswith(("http://", "https://", "mailto:")), href
        assert "evil.example" in said, (href, said)
