"""How a plan and a result look when they are the last value of a cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llm_magic.jupyter.display import comparison_view
from llm_magic.jupyter.display.run_view import printable
from llm_magic.jupyter.render import run
from llm_magic.jupyter.render.markdown import fenced
from llm_magic.jupyter.render.run_state import RunState
from llm_magic.ledger.report import Report
from llm_magic.types import Comparison, Plan, RouteResult


def _plan(plan: Plan) -> dict[str, str]:
    lines = "\n".join(run.plan_lines(plan))
    return {"text/html": run.plan_html(plan), "text/markdown": fenced(lines), "text/plain": lines}


def _result(result: RouteResult) -> dict[str, str]:
    state = RunState(result=result, parts=[result.text], cap_usd=result.cap_usd, session_usd=result.session_cost_usd)
    return run.bundle(state)


def _comparison(comparison: Comparison) -> dict[str, str]:
    return comparison_view.bundle(comparison_view.states_of(comparison))


def _report(report: Report) -> dict[str, str]:
    from llm_magic.jupyter.render.tables import report_bundle

    return report_bundle(report)


def _for_terminals(show: Callable[..., dict[str, str]]) -> Callable[..., dict[str, str]]:
    """A terminal shows the text of a bundle as it is."""

    def shown(value: Any, include: Any = None, exclude: Any = None) -> dict[str, str]:
        bundle = show(value)
        return {**bundle, "text/plain": printable(bundle["text/plain"])}

    return shown


FORMATS: dict[type[Any], Callable[..., dict[str, str]]] = {
    kind: _for_terminals(show)
    for kind, show in {Plan: _plan, RouteResult: _result, Comparison: _comparison, Report: _report}.items()
}
