"""Runs, comparisons, plans and the panel as HTML. Every text from outside is escaped here."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from llm_magic.budget import short_usd
from llm_magic.jupyter.render.facts import (
    Badge,
    ComparisonFacts,
    RunFacts,
    SessionFacts,
    TierFacts,
    Tone,
    plan_notes,
    tier_facts,
)
from llm_magic.jupyter.render.markdown import markdown_to_html
from llm_magic.jupyter.render.style import PANEL_STYLE, styled
from llm_magic.types import Candidate, Plan, Skipped

INERT_CLASSES = "llmr mathjax_ignore tex2jax_ignore"
_TONE_CLASS = {Tone.GOOD: "ok", Tone.BAD: "bad", Tone.NEUTRAL: ""}
_PLAN_COLUMNS = (
    "model",
    "effort",
    "reason",
    "expected quality",
    "tokens in",
    "max tokens out",
    "low",
    "expected",
    "worst",
)
_WORDS = ' class="llmr-words"'


def escape(text: str) -> str:
    return html.escape(text, quote=True)


def answer(markdown: str) -> str:
    return f'<div class="llmr-body jp-RenderedHTMLCommon {INERT_CLASSES}">{markdown_to_html(markdown)}</div>'


def run(facts: RunFacts, markdown: str) -> str:
    return styled((answer(markdown) if markdown else "") + run_foot(facts))


def run_foot(facts: RunFacts) -> str:
    """Return one line on the run, with the rest behind it."""
    if facts.phase:
        status = f'<div role="status">… {_joined((facts.phase, *facts.summary))} · {_session(facts.session)}</div>'
        return _foot(status + _path(facts.path) + _lines(facts.notes))
    if not facts.shows_summary:
        return ""
    ending = f'<div role="status"><b>{escape(facts.ending)}</b></div>' if facts.ending else ""
    summary = f"{_joined(facts.summary)} · {_session(facts.session)}"
    details = _path(facts.path) + _lines((*facts.notes, *facts.details))
    opened = " open" if facts.opens_details else ""
    return _foot(f"{ending}<details{opened}><summary>{summary}</summary>{details}</details>")


def _foot(content: str) -> str:
    return f'<div class="llmr-foot" role="group" aria-label="How this was answered">{content}</div>'


def _lines(texts: Iterable[str]) -> str:
    return "".join(f"\n<div>{escape(text)}</div>" for text in texts)


def _joined(texts: Iterable[str]) -> str:
    return " · ".join(map(escape, texts))


def comparison(facts: ComparisonFacts) -> str:
    sections = "".join(
        f'<section aria-label="{escape(column.name)}">{column_head(column.name, column.lines)}'
        f"{answer(column.answer_markdown) if column.answer_text else ''}</section>"
        for column in facts.columns
    )
    footer = f'<div class="llmr-row">{_spans(facts.footer)}</div>'
    columns = f'<div class="llmr-columns" tabindex="0" role="region" aria-label="The answers">{sections}</div>'
    return styled(columns + footer)


def column_head(name: str, lines: Iterable[str]) -> str:
    title = _row(f'<span class="llmr-model">{escape(name)}</span>')
    return _head(name, title + "".join(map(_text_row, lines)))


def plan(plan: Plan) -> str:
    notes = "".join(map(_text_row, plan_notes(plan)))
    header = "".join(f'<th scope="col"{_WORDS if name == "reason" else ""}>{name}</th>' for name in _PLAN_COLUMNS)
    rows = "".join(f"<tr>{_plan_row(entry)}</tr>" for entry in plan.ranked)
    return styled(
        f'<div class="llmr-head">{_row(_tier(tier_facts(plan.classification)))}{notes}</div>'
        '<div class="jp-RenderedHTMLCommon llmr-plan" tabindex="0" role="region" aria-label="The candidates">'
        f"<table><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def unfinished(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def panel(head: str, entries: Iterable[str], footer: str) -> str:
    items = "".join(f'<li class="llmr-run">{entry}</li>' for entry in entries)
    return styled(
        f'<div class="llmr-still">{head}<ol class="llmr-runs" aria-label="The last runs">{items}</ol>'
        f'<div class="llmr-row">{_spans((footer,))}</div></div>',
        PANEL_STYLE,
    )


def panel_head(session: SessionFacts, savings: str, providers: Sequence[Badge]) -> str:
    items = "".join(
        f"<li><span class='{_TONE_CLASS[badge.tone]}'>{escape(badge.text)}</span></li>" for badge in providers
    )
    money = (
        f'<span class="llmr-model">{escape(session.text)}</span><span>{_meter(session)}</span>'
        f'<span class="llmr-cost">{escape(savings)}</span>'
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
    return " · ".join(f"<span>{escape(text)}</span>" for text in texts)


def _tier(tier: TierFacts) -> str:
    sure = "" if tier.confidence == 1 else f"{min(tier.confidence, 0.99):.0%} sure: "
    return f'<span><span class="llmr-tier">{tier.name}</span> {sure}{escape(tier.reasons)}</span>'


def _path(steps: Sequence[Badge]) -> str:
    if not steps:
        return ""
    items = "".join(
        f'<li><span class="{_TONE_CLASS[step.tone]}" title="{escape(step.detail)}">{escape(step.text)}</span></li>'
        for step in steps
    )
    return f'<ol class="llmr-path" aria-label="Path of this run">{items}</ol>'


def _session(session: SessionFacts) -> str:
    return f"{escape(session.text)}{_meter(session)}"


def _meter(session: SessionFacts) -> str:
    if session.cap_usd is None:
        return ""
    share = session.share
    return (
        f' <meter min="0" max="1" low="0.8" high="0.95" optimum="0" value="{share:.4f}" '
        f'aria-label="{escape(session.text)}, {share:.0%} of the cap"></meter> {share:.0%}'
    )


def _plan_row(entry: Candidate | Skipped) -> str:
    if isinstance(entry, Skipped):
        return f'<td>{escape(entry.model.id)}</td><td{_WORDS} colspan="8">skipped: {escape(entry.reason)}</td>'
    costs = "".join(f"<td>{short_usd(cost)}</td>" for cost in (entry.low_usd, entry.expected_usd, entry.worst_usd))
    return (
        f"<td><b>{escape(entry.model.id)}</b></td><td>{entry.effort or '–'}</td><td{_WORDS}>{escape(entry.why)}</td>"
        f"<td>{entry.expected_quality:.0%}</td>"
        f"<td>{entry.input_tokens:,}</td><td>{entry.max_output_tokens:,}</td>{costs}"
    )
