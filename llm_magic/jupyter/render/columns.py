"""A column as HTML and as text: its progress while it runs, its summary, and its plan."""

from __future__ import annotations

from dataclasses import dataclass

from llm_magic.columns import Column, ColumnPlan
from llm_magic.columns.estimate import plan_lines
from llm_magic.columns.line import counts, money, pace
from llm_magic.columns.output import DEFAULT_INTO
from llm_magic.jupyter.render import html
from llm_magic.jupyter.render.grid import grid, scrolling, words
from llm_magic.jupyter.render.style import styled

SAMPLED_ROWS = 5
SHOWN_ROWS = 8
_MAX_CHARS, _MAX_ERROR_CHARS = 80, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnFacts:
    """A column at a moment. total: distinct rows to ask, None for a stream. lines: counts, pace, and money."""

    title: str
    done: int
    total: int | None
    state: str
    lines: tuple[str, ...]
    errors: tuple[str, ...]
    header: tuple[str, str]
    sample: tuple[tuple[str, str], ...]
    has_ended: bool


def column_facts(column: Column, *, ending: str = "", rows: int = SAMPLED_ROWS) -> ColumnFacts:
    progress, plan = column.progress, column.plan_before
    done = progress.answered + progress.failed
    total = None if plan is None else plan.distinct
    return ColumnFacts(
        title=_cut(column.spec.base.prompt),
        done=done,
        total=total,
        state=ending or progress.stopped or progress.waiting or ("reading the rows" if plan is None else ""),
        lines=(counts(column), *pace(column), money(column)),
        errors=tuple(
            f"{name.replace('_', ' ')} ({count:,}): {_cut(text, _MAX_ERROR_CHARS)}"
            for name, (count, text) in progress.errors.items()
        ),
        header=("row", column.spec.into or DEFAULT_INTO),
        has_ended=column.done(),
        sample=tuple((_cut(value), _cut(answer)) for value, answer in column.sample(rows)),
    )


def column_html(facts: ColumnFacts) -> str:
    label = html.escape(f"Column: {facts.title}")
    bar = ""
    if facts.total and not facts.has_ended:
        share = f"{facts.done / facts.total:.0%}"
        bar = (
            f'<progress max="{facts.total}" value="{min(facts.done, facts.total)}" aria-label="Rows that have ended">'
            f"{share}</progress>"
        )
    rows = [f'<div class="llmr-row"><span class="llmr-model">{words(facts.title)}</span>{bar}</div>']
    rows += [_line(line) for line in facts.lines]
    if facts.state:
        # The view is drawn twice a second: a live region would be read each time.
        role = ' role="status"' if facts.has_ended else ""
        rows.append(f'<div class="llmr-row"{role}><b>{words(facts.state)}</b></div>')
    rows += [_line(f"✗ {error}") for error in facts.errors]
    head = f'<div class="llmr-head" role="group" aria-label="{label}">{"".join(rows)}</div>'
    return head + _table(facts)


def column_text(facts: ColumnFacts) -> str:
    lines = [facts.title, *facts.lines]
    if facts.state:
        lines.append(facts.state)
    lines += [f"✗ {error}" for error in facts.errors]
    lines += [f"  {value} → {answer}" for value, answer in facts.sample]
    return "\n".join(lines)


def column_page(column: Column) -> tuple[str, str]:
    """Return the summary as HTML and as text."""
    facts = column_facts(column, ending=_ending(column), rows=SHOWN_ROWS)
    return styled(column_html(facts)), column_text(facts)


def plan_page(plan: ColumnPlan) -> tuple[str, str]:
    lines = plan_lines(plan)
    rows = "".join(_line(line) for line in lines)
    head = f'<div class="llmr-head" role="group" aria-label="Plan of the column">{rows}</div>'
    return styled(head), "\n".join(lines)


def _ending(column: Column) -> str:
    if column.progress.stopped:
        return column.progress.stopped
    if not column.done():
        return ""
    if column.error is not None:
        kept = "; run it again to ask the other rows" if column.progress.answered else ""
        return f"stopped before the last row{kept}"
    if (failed := column.progress.failed) == 0:
        return "done"
    rows = f"{failed:,} row{'s' * (failed > 1)}"
    return f"done; {rows} without an answer: see _route.errors, or ask again with _route.retry_failed()"


def _table(facts: ColumnFacts) -> str:
    return scrolling(grid(facts.header, facts.sample, texts=facts.header), "Some answers") if facts.sample else ""


def _line(text: str) -> str:
    return f'<div class="llmr-row"><span>{words(text)}</span></div>'


def _cut(text: str, max_chars: int = _MAX_CHARS) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= max_chars else f"{flat[: max_chars - 1]}…"
