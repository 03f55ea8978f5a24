"""MIME bundles: the same facts as HTML, Markdown and plain text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llm_magic.columns import Column, ColumnPlan
from llm_magic.jupyter.render import columns, facts, html, text
from llm_magic.jupyter.render.markdown import fenced
from llm_magic.jupyter.render.run_state import RunState, RunStates, states_of
from llm_magic.ledger.report import Report
from llm_magic.routing.plan_text import plan_text
from llm_magic.types import Comparison, Plan, RouteResult

Bundle = dict[str, str]

# An output without height. Front ends display an empty text as a line, and nbconvert warns about missing data.
NOTHING: Bundle = {"text/html": ""}


def bundle(page: str, plain: str) -> Bundle:
    """Return the HTML with its plain text, which a short output has as Markdown, too."""
    if len(plain) > text.MAX_REPEATED_CHARS:
        return {"text/html": page, "text/plain": plain}
    return {"text/html": page, "text/markdown": fenced(plain), "text/plain": plain}


def runs(states: RunStates, picked: str | None = None) -> Bundle:
    """Return a run, or a comparison with the label of the picked answer.

    The bundle needs no kernel, no widget and no network to be displayed. Only its HTML has the whole of a long answer:
    a saved notebook would have the text twice.
    """
    if not any(state.is_visible for state in states.values()):
        return NOTHING
    if len(states) > 1:
        comparison = facts.comparison_facts(states, picked)
        return _with_excerpt(html.comparison(comparison), runs_text(states), text.comparison_excerpt(comparison))
    (state,) = states.values()
    run_facts = facts.run_facts(state)
    page = html.run(run_facts, facts.answer_markdown(state))
    return _with_excerpt(page, runs_text(states), text.run_excerpt(run_facts, state.text))


def _with_excerpt(page: str, plain: str, excerpt: str) -> Bundle:
    if len(plain) > text.MAX_REPEATED_CHARS:
        return {"text/html": page, "text/plain": excerpt}
    return bundle(page, plain)


def runs_text(states: RunStates) -> str:
    if len(states) > 1:
        return text.comparison(facts.comparison_facts(states))
    (state,) = states.values()
    return text.run(facts.run_facts(state), state.text)


def unfinished(models: Sequence[str]) -> Bundle:
    plain = facts.unfinished(models)
    return bundle(html.unfinished(plain), plain)


def plan(plan: Plan) -> Bundle:
    return bundle(html.plan(plan), plan_text(plan))


def column(column: Column) -> Bundle:
    return bundle(*columns.column_page(column))


def _column_plan(plan: ColumnPlan) -> Bundle:
    return bundle(*columns.plan_page(plan))


def _result(result: RouteResult) -> Bundle:
    return _whole({"": RunState.of_result(result)})


def _comparison(comparison: Comparison) -> Bundle:
    return _whole(states_of(comparison))


def _whole(states: RunStates) -> Bundle:
    return {**runs(states), "text/plain": runs_text(states)}


def _report(report: Report) -> Bundle:
    from llm_magic.jupyter.render.tables import report_bundle

    return report_bundle(report)


def _formatter(render: Callable[[Any], Bundle]) -> Callable[..., Bundle]:
    """Adapt a renderer to IPython's MIME bundle formatter. A terminal prints the plain text as it is."""

    def formatted(value: Any, include: Any = None, exclude: Any = None) -> Bundle:
        rendered = render(value)
        return {**rendered, "text/plain": text.printable(rendered["text/plain"])}

    return formatted


FORMATTERS: dict[type[Any], Callable[..., Bundle]] = {
    Plan: _formatter(plan),
    Column: _formatter(column),
    ColumnPlan: _formatter(_column_plan),
    RouteResult: _formatter(_result),
    Comparison: _formatter(_comparison),
    Report: _formatter(_report),
}
