"""What the panel says, for the widget and for its twin."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from llm_magic.budget import show_usd
from llm_magic.jupyter.display import comparison_view
from llm_magic.jupyter.render import run
from llm_magic.jupyter.render.markdown import escape, fenced
from llm_magic.jupyter.render.style import PANEL_STYLE, styled
from llm_magic.jupyter.run import history
from llm_magic.jupyter.run.history import PastRun

if TYPE_CHECKING:
    from llm_magic.routing import Router

SHOWN = 8
"""Runs and comparisons that the panel lists."""
LIVE_AGAIN = "%load_ext llm_magic, then %route_panel"
"""What a panel says whose kernel has gone."""
_KIND = {"✓": "ok", "✗": "bad", "–": ""}


def bundle(router: Router) -> dict[str, str]:
    """The panel as it stands: for a saved notebook, a terminal, or a kernel that nobody watches."""
    entries = history.entries()[:SHOWN]
    listed = "".join(f'<li class="llmr-run">{_entry_html(runs)}</li>' for runs in entries)
    now = f"{datetime.now().astimezone():%Y-%m-%d %H:%M}"
    lines = [*_lines(router), *(line for runs in entries for line in _entry_lines(runs))]
    text = "\n".join(lines)
    return {
        "text/html": styled(
            f'<div class="llmr-still">{head_html(router)}'
            f'<ol class="llmr-runs" aria-label="The last runs">{listed}</ol>'
            f'<div class="llmr-row llmr-foot"><span>as of {now}; for the live one: {LIVE_AGAIN}</span></div></div>',
            PANEL_STYLE,
        ),
        "text/markdown": fenced(text),
        "text/plain": text,
    }


def _entry_html(runs: list[PastRun]) -> str:
    if runs[0].column is None:
        return run_html(runs[0])
    return compared_html(runs) + "".join(f'<div class="llmr-column">{column_html(done)}</div>' for done in runs)


def _entry_lines(runs: list[PastRun]) -> list[str]:
    if runs[0].column is None:
        return [" · ".join(_facts(runs[0]))]
    return [" · ".join(_compared(runs)), *(f"  {' · '.join(_column(done))}" for done in runs)]


def _lines(router: Router) -> list[str]:
    """The session in lines: its money, its providers."""
    spent, held, cap = router.ledger.spent_usd, router.ledger.held_usd, router.budget.session_usd
    of = "" if cap is None else f" of {show_usd(cap)}"
    reserved = f", {show_usd(held)} held" if held else ""
    saved = router.ledger.saved_usd
    word = f"saved {show_usd(saved)}" if saved >= 0 else f"spent {show_usd(-saved)} more"
    return [f"session {show_usd(spent)}{of}{reserved}; {word} against the top model", *providers(router)]


def providers(router: Router) -> list[str]:
    """Each provider in a line: usable, or why not, and which of its models are cooling down until when."""
    lines: list[str] = []
    for name in dict.fromkeys(model.provider for model in router.registry):
        models = [model for model in router.registry if model.provider == name]
        if why := router.unavailable(models[0]):
            lines.append(f"– {name}: {why}")
            continue
        troubles: list[str] = []
        for model in models:
            circuit = router.circuit(model)
            if circuit.state == "open":
                until = datetime.now().astimezone() + timedelta(seconds=circuit.left_s)
                troubles.append(f"{model.id} cooling down until {until:%H:%M:%S}")
            elif circuit.state == "half_open":
                troubles.append(f"{model.id} to be tried out")
        count = f"{len(models)} model{'s' * (len(models) > 1)}"
        lines.append(f"✗ {name}: {'; '.join(troubles)}" if troubles else f"✓ {name}: {count}")
    return lines


def head_html(router: Router) -> str:
    """The session: its money against the cap, what it saved, its providers."""
    money, *health = _lines(router)
    session_part, saved = money.split("; ", 1)
    cap, spent = router.budget.session_usd, router.ledger.spent_usd
    meter = "" if cap is None else f" {run.meter(spent, cap, session_part)}"
    listed = "".join(f"<li><span class='{_KIND[line[0]]}'>{escape(line)}</span></li>" for line in health)
    return (
        '<div class="llmr-head" role="group" aria-label="This session"><div class="llmr-row">'
        f'<span class="llmr-model">{escape(session_part)}</span><span>{meter}</span>'
        f'<span class="llmr-cost">{escape(saved)}</span></div>'
        f'<ul class="llmr-health" aria-label="Providers">{listed}</ul></div>'
    )


def run_html(done: PastRun, *, rated: bool = True) -> str:
    """A run: its prompt, and the facts below it. `rated`: say how it was rated, where no button does."""
    number, *facts, asked = _facts(done, rated=rated)
    return _titled(number, asked, facts)


def compared_html(runs: list[PastRun]) -> str:
    """A comparison: its prompt, and what all of it came to."""
    number, *facts, asked = _compared(runs)
    return _titled(number, asked, facts)


def column_html(done: PastRun, *, rated: bool = True) -> str:
    """One model of a comparison. `rated`: say whether it was picked, where no button does."""
    name, *facts = _column(done, rated=rated)
    spans = "".join(f"<span>{escape(fact)}</span>" for fact in facts)
    return f'<div class="llmr-row"><b>{escape(name)}</b>{spans}</div>'


def prompt(done: PastRun, most: int) -> str:
    """What was asked, in a line of at most so many characters."""
    said = " ".join(done.request.prompt[:1_000].split())
    return said if len(said) <= most else f"{said[: most - 1]}…"


def _facts(done: PastRun, *, rated: bool = True) -> list[str]:
    """A run in a few words each."""
    parent = next((each.number for each in history.recent() if each.state.run_id == done.request.parent_run_id), None)
    rating = {1: "rated good", -1: "rated bad", None: ""}[done.rating if rated else None]
    facts = [
        f"{done.number}",
        done.model,
        str(done.tier or ""),
        _cost(done),
        done.state.ended,
        f"again of {parent}" if parent else "",
        rating,
        _time(done),
        prompt(done, 80),
    ]
    return [fact for fact in facts if fact]


def _compared(runs: list[PastRun]) -> list[str]:
    numbers = f"{runs[0].number}–{runs[-1].number}" if len(runs) > 1 else f"{runs[0].number}"
    together = comparison_view.together({str(done.number): done.state for done in runs})
    return [numbers, "comparison", together, _time(runs[0]), prompt(runs[0], 80)]


def _column(done: PastRun, *, rated: bool = True) -> list[str]:
    assert done.column is not None
    name = f"{done.column.number}. {done.column.label}"
    result = done.state.result
    facts = [
        name,
        done.model if done.model != done.column.label else "",
        _cost(done) if result is not None or done.state.cost_usd else "",
        f"{result.latency_s:.1f} s" if result is not None else done.state.ended,
        "picked" if rated and done.rating == 1 else "",
    ]
    return [fact for fact in facts if fact]


def _cost(done: PastRun) -> str:
    return run.cost(done.state).removeprefix("this cell ") or "USD 0"


def _time(done: PastRun) -> str:
    return f"{done.at.astimezone():%H:%M}"


def _titled(number: str, asked: str, facts: list[str]) -> str:
    spans = "".join(f"<span>{escape(fact)}</span>" for fact in facts)
    return f'<div class="llmr-prompt"><b>{number}</b> <b>{escape(asked)}</b></div><div class="llmr-row">{spans}</div>'
