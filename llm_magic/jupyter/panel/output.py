"""The panel as HTML and as text."""

from __future__ import annotations

from datetime import datetime

from llm_magic.jupyter.panel import facts
from llm_magic.jupyter.panel.facts import EntryColumn, EntryFacts
from llm_magic.jupyter.render import html
from llm_magic.jupyter.render.bundles import Bundle
from llm_magic.jupyter.render.bundles import bundle as make_bundle
from llm_magic.jupyter.run import history
from llm_magic.jupyter.run.history import PastRun
from llm_magic.routing import Router

OPEN_ENTRIES = 5
REOPEN_HINT = "%load_ext llm_magic, then %route_panel"


def bundle(router: Router) -> Bundle:
    entries = history.entries(router.ledger)
    footer = f"as of {datetime.now().astimezone():%Y-%m-%d %H:%M}; for a live panel: {REOPEN_HINT}"
    session, badges = facts.session(router), facts.providers(router)
    lines = [f"{session.text}; {facts.savings(router)}", *(badge.text for badge in badges)]
    lines += [line for runs in entries for line in _entry_lines(runs)]
    newest, earlier = map(_entry_html, entries[:OPEN_ENTRIES]), earlier_html(entries[OPEN_ENTRIES:])
    return make_bundle(html.panel(head_html(router), newest, earlier, footer), "\n".join(lines))


def earlier_html(entries: list[list[PastRun]]) -> str:
    return html.panel_earlier(list(map(_entry_html, entries)))


def head_html(router: Router) -> str:
    return html.panel_head(facts.session(router), facts.savings(router), facts.providers(router))


def entry_html(entry: EntryFacts) -> str:
    return html.panel_entry(entry.number, entry.prompt, entry.facts)


def column_html(column: EntryColumn) -> str:
    return html.panel_column(column.name, column.facts)


def _entry_html(runs: list[PastRun]) -> str:
    if runs[0].column is None:
        return entry_html(facts.run_entry(runs[0]))
    columns = (f'<div class="llmr-column">{column_html(facts.entry_column(past))}</div>' for past in runs)
    return entry_html(facts.comparison_entry(runs)) + "".join(columns)


def _entry_lines(runs: list[PastRun]) -> list[str]:
    if runs[0].column is None:
        return [_line(facts.run_entry(runs[0]))]
    columns = map(facts.entry_column, runs)
    return [
        _line(facts.comparison_entry(runs)),
        *(f"  {' · '.join([column.name, *column.facts])}" for column in columns),
    ]


def _line(entry: EntryFacts) -> str:
    return " · ".join([entry.number, *entry.facts, entry.prompt])
