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


# The Markdown repeats the plain text, so it is left out of long outputs: a saved notebook would have it three times.
MAX_REPEATED_CHARS = 1_000


def bundle(page: str, plain: str) -> Bundle:
    if len(plain) > MAX_REPEATED_CHARS:
        return {"text/html": page, "text/plain": plain}
    return {"text/html": page, "text/markdown": fenced(plain), "text/plain": plain}


def runs(states: RunStates, picked: str | None = None) -> Bundle:
    """Return a run, or a comparison with the label of the picked answer.

    The bundle needs no kernel, no widget and no network to be displayed.
    """
    if not any(state.is_visible for state in states.values()):
        return NOTHING
    if len(states) > 1:
        comparison = facts.comparison_facts(states, picked)
        return bundle(html.comparison(comparison), runs_text(states))
    (state,) = states.values()
    return bundle(html.run(facts.run_facts(state), facts.answer_markdown(state)), runs_text(states))


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
    return runs({"": RunState.of_result(result)})


def _comparison(comparison: Comparison) -> Bundle:
    return runs(states_of(comparison))


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
