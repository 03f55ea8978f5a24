"""Runs, comparisons, plans and the panel as HTML. Every text from outside is escaped here."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from llm_magic.budget import short_usd
from llm_magic.jupyter.render.facts import (
    Badge,
    ColumnFacts,
    ComparisonFacts,
    RunFacts,
    SessionFacts,
    TierFacts,
    Tone,
    tier_facts,
)
from llm_magic.jupyter.render.grid import grid, scrolling, words
from llm_magic.jupyter.render.markdown import markdown_to_html
from llm_magic.jupyter.render.style import PANEL_STYLE, styled
from llm_magic.routing.plan_text import plan_notes
from llm_magic.types import Candidate, Plan, Skipped

INERT_CLASSES = "llmr mathjax_ignore tex2jax_ignore"
_TONE_CLASS = {Tone.GOOD: "ok", Tone.BAD: "bad", Tone.NEUTRAL: ""}
_PICKED = ' class="llmr-picked"'
_MAX_CHARS_DRAWN_AT_ONCE = 1_000
_PLAN_FIGURES = ("quality", "low / expected / worst", "tokens in / out")
_PLAN_COLUMNS = ("model", "effort", *_PLAN_FIGURES, "reason")


def escape(text: str) -> str:
    return html.escape(text, quote=True)


def answer(markdown: str, classes: str = "") -> str:
    return f'<div class="llmr-body jp-RenderedHTMLCommon{classes}">{markdown_to_html(markdown)}</div>'


def lone_answer(markdown: str) -> str:
    return answer(markdown, f" {INERT_CLASSES}")


def run(facts: RunFacts, markdown: str) -> str:
    # Browsers draw a long answer only near the viewport, which makes long notebooks fast.
    classes = " llmr-far" if len(markdown) > _MAX_CHARS_DRAWN_AT_ONCE else ""
    return styled((answer(markdown, classes) if markdown else "") + run_foot(facts))


def run_foot(facts: RunFacts) -> str:
    """Return one line on the run, with the rest behind it."""
    if facts.phase:
        line = _joined((facts.phase, *facts.summary, facts.session.text))
        status = f'<div role="status">… {line}{_meter(facts.session)}</div>'
        return _foot(status + _path(facts.path) + _lines(facts.notes))
    if not facts.shows_summary:
        return ""
    ending = f'<div role="status"><b>{words(facts.ending)}</b></div>' if facts.ending else ""
    summary = f"{_joined((*facts.summary, facts.session.text))}{_meter(facts.session)}"
    details = _path(facts.path) + _lines((*facts.notes, *facts.details))
    opened = " open" if facts.opens_details else ""
    facts_html = f"<details{opened}><summary>{summary}</summary>{details}</details>"
    return _foot(f"{ending}{_thinking(facts.thinking)}{facts_html}")


def _thinking(markdown: str) -> str:
    return f"<details><summary>Thinking</summary>{answer(markdown)}</details>" if markdown else ""


def _foot(content: str) -> str:
    return f'<div class="llmr-foot">{content}</div>'


def _lines(texts: Iterable[str]) -> str:
    return "\n" + "<br>\n".join(map(words, texts))


def _joined(texts: Iterable[str]) -> str:
    return words(" · ".join(texts))


def comparison(facts: ComparisonFacts) -> str:
    columns = "".join(map(_column, facts.columns))
    page = f'<div class="llmr-columns" tabindex="0" role="region" aria-label="The answers">{columns}</div>'
    return styled(page + comparison_foot(facts.footer))


def comparison_foot(footer: Iterable[str]) -> str:
    return f'<div class="llmr-foot">{_joined(footer)}</div>'


def _column(column: ColumnFacts) -> str:
    text = answer(column.answer_markdown) if column.answer_text else ""
    return (
        f'<section aria-label="{escape(column.name)}"{_PICKED if column.is_picked else ""}>'
        f"{column_head(column.name, column.lines, is_picked=column.is_picked)}"
        f"{folded(text) if column.is_folded and text else text}</section>"
    )


def column_head(name: str, lines: Iterable[str], *, is_picked: bool = False) -> str:
    sign = "✓ " if is_picked else ""
    facts = _joined((*(["your pick"] if is_picked else []), *lines))
    return (
        f'<div class="llmr-title" role="group" aria-label="{escape(name)}">'
        f"<b>{sign}{words(name)}</b>"
        f"\n<div>{facts}</div></div>"
    )


def folded(answer: str) -> str:
    return f'<details class="llmr-fold"><summary>Show the answer</summary>{answer}</details>'


def plan(plan: Plan) -> str:
    notes = "".join(map(_text_row, plan_notes(plan)))
    table = grid(_PLAN_COLUMNS, map(_plan_row, plan.ranked), figures=_PLAN_FIGURES, texts=_PLAN_COLUMNS[-1:])
    head = f'<div class="llmr-head">{_row(_tier(tier_facts(plan.classification)))}{notes}</div>'
    return styled(head + scrolling(table, "The candidates"))


def unfinished(text: str) -> str:
    return f"<p>{words(text)}</p>"


def panel(head: str, entries: Iterable[str], earlier: str, footer: str) -> str:
    return styled(
        f'<div class="llmr-still">{head}{_runs("The last runs", entries)}{earlier}'
        f'<div class="llmr-caption">{words(footer)}</div></div>',
        PANEL_STYLE,
    )


def panel_earlier(entries: Sequence[str]) -> str:
    if not entries:
        return ""
    summary = f"{len(entries)} earlier {'run' if len(entries) == 1 else 'runs'}"
    return f'<details class="llmr-fold"><summary>{summary}</summary>{_runs("Earlier runs", entries)}</details>'


def _runs(label: str, entries: Iterable[str]) -> str:
    items = "".join(f'<li class="llmr-run">{entry}</li>' for entry in entries)
    return f'<ol class="llmr-runs" aria-label="{label}">{items}</ol>' if items else "<div>no runs yet</div>"


def panel_head(session: SessionFacts, savings: str, providers: Sequence[Badge]) -> str:
    items = "".join(
        f"<li><span class='{_TONE_CLASS[badge.tone]}'>{escape(badge.text)}</span></li>" for badge in providers
    )
    money = (
        f'<span class="llmr-model">{words(session.text)}</span><span>{_meter(session)}</span>'
        f'<span class="llmr-cost">{words(savings)}</span>'
    )
    return _head("This session", f'{_row(money)}<ul class="llmr-health" aria-label="Providers">{items}</ul>')


def panel_entry(number: str, prompt: str, facts: Iterable[str]) -> str:
    title = f'<div class="llmr-prompt"><b>{escape(number)}</b> <b>{escape(prompt)}</b></div>'
    return title + _row(_spans(facts))


def panel_column(name: str, facts: Iterable[str]) -> str:
    return _row(f"<b>{escape(name)}</b>{_spans(facts)}")


def _head(label: str, content: str) -> str:
    return f'<div class="llmr-head" role="group" aria-label="{escape(label)}">{content}</div>'


def _row(content: str) -> str:
    return f'<div class="llmr-row">{content}</div>'


def _text_row(text: str) -> str:
    return _row(_spans((text,)))


def _spans(texts: Iterable[str]) -> str:
    return " · ".join(f"<span>{words(text)}</span>" for text in texts)


def _tier(tier: TierFacts) -> str:
    sure = "" if tier.confidence == 1 else f"{min(tier.confidence, 0.99):.0%} sure: "
    return f'<span><span class="llmr-tier">{tier.name}</span> {sure}{words(tier.reasons)}</span>'


def _path(steps: Sequence[Badge]) -> str:
    if not steps:
        return ""
    items = "".join(
        f'<li><span class="{_TONE_CLASS[step.tone]}" title="{escape(step.detail)}">{escape(step.text)}</span></li>'
        for step in steps
    )
    return f'<ol class="llmr-path" aria-label="Path of this run">{items}</ol>'


def _meter(session: SessionFacts) -> str:
    if session.cap_usd is None:
        return ""
    share = f"{session.share:.0%}"
    label, text = (f"{share} of the cap", share) if not session.is_passed else ("above the cap", "above the cap")
    value = f"{session.share:.3g}"
    return f' <meter low=".8" high=".95" optimum="0" value="{value}" aria-label="{label}"></meter> {text}'


def _plan_row(entry: Candidate | Skipped) -> tuple[str, ...]:
    if isinstance(entry, Skipped):
        return (entry.model.id, "", "", "", "", f"skipped: {entry.reason}")
    costs = " / ".join(map(short_usd, (entry.low_usd, entry.expected_usd, entry.worst_usd)))
    tokens = f"{entry.input_tokens:,} / {entry.max_output_tokens:,}"
    return (entry.model.id, str(entry.effort or "–"), f"{entry.expected_quality:.0%}", costs, tokens, entry.why)
