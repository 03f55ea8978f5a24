"""Several models side by side: drawn in columns, which stack where the screen is narrow, and a pick that is kept."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from llm_magic.bridge import SETTLE_S
from llm_magic.budget import show_usd
from llm_magic.errors import LLMMagicError, RequestError
from llm_magic.events import RunFailed
from llm_magic.jupyter import draw, session
from llm_magic.jupyter.safe import escape, fenced
from llm_magic.jupyter.screens import printable
from llm_magic.jupyter.state import RunState
from llm_magic.jupyter.style import STYLE
from llm_magic.jupyter.watch import Stopped, no_answer, settled
from llm_magic.routing import Router
from llm_magic.types import ZERO, Compared, Comparison, RouteResult

FRAME_S = 0.5
"""Seconds between two looks at how the columns are doing; their answers are drawn once, at the end."""
_GRID = """<style>
.llmr-columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,240px),1fr));gap:12px}
.llmr-columns>section{min-width:0}
</style>"""

States = Mapping[str, RunState]


def run(router: Router, shell: Any, prompt: Any, models: list[str]) -> Comparison:
    """Ask several models at once and draw them. An interrupt cancels and settles all of them before the cell ends.

    Raises BudgetExceeded where the money for all does not fit, and the first model's error where none has answered.
    """
    plans = router.plans(prompt, models=models)
    states = {label: RunState(session_usd=router.ledger.spent_usd, unwatched=True) for label in plans}
    errors: dict[str, LLMMagicError] = {}
    screen = _Screen(shell)
    job = router.compare_job(plans)
    try:
        for item in job.ticking():
            if item is not None:
                label, event = item
                if isinstance(event, RunFailed):
                    errors[label] = event.error
                    settled(router, states[label], "failed")
                    states[label].ended = no_answer(event.error)
                else:
                    states[label].apply(event)
            screen.update(states)
    except KeyboardInterrupt:
        job.cancel()
        job.join(SETTLE_S)
        _stop(router, states, screen)
    except LLMMagicError:
        screen.finish({})
        raise
    finally:
        job.cancel()
    for label, state in states.items():
        state.session_usd = router.ledger.spent_usd
        session.note(plans[label].request, state)
    screen.finish(states)
    if len(errors) == len(plans):
        raise next(iter(errors.values()))
    columns = [
        Compared(label=label, result=state.result, error="" if state.result is not None else state.ended)
        for label, state in states.items()
    ]
    return Comparison(columns=tuple(columns))


def _stop(router: Router, states: States, screen: _Screen) -> NoReturn:
    for state in states.values():
        if state.result is None and not state.ended:
            settled(router, state, "stopped")
    screen.finish(states)
    raise Stopped(f"stopped: {_together(states)}") from None


def pick(router: Router, comparison: Comparison, which: str) -> RouteResult:
    """The answer of a column, by its number or its label, rated 1 in the ledger; the others' ratings are taken back."""
    labels = [column.label for column in comparison.columns]
    number = int(which) - 1 if which.isdecimal() else labels.index(which) if which in labels else -1
    if not 0 <= number < len(labels):
        raise RequestError(f"no column {which!r}: pick 1 to {len(labels)}, or one of {', '.join(labels)}")
    picked = comparison.columns[number].result
    if picked is None:
        raise RequestError(f"{labels[number]} has no answer to pick")
    for result in comparison.results:
        router.ledger.rate(result.run_id, 1 if result is picked else None)
    return picked


def states_of(comparison: Comparison) -> States:
    """A comparison that is over, as it is drawn."""
    states: dict[str, RunState] = {}
    for column in comparison.columns:
        result = column.result
        state = RunState(result=result, unwatched=True, ended=column.error)
        if result is not None:
            state.parts, state.attempts = [result.text], list(result.attempts)
            state.session_usd = result.session_cost_usd
        states[column.label] = state
    return states


def bundle(states: States) -> dict[str, str]:
    """The columns as HTML, Markdown and text. Empty where nothing was sent."""
    if not states:
        return {"text/plain": ""}
    sections = "".join(_section(number, label, state) for number, (label, state) in enumerate(states.items(), 1))
    foot = escape(_foot(states))
    twin = _plain(states)
    return {
        "text/html": f'{STYLE}{_GRID}<div class="llmr mathjax_ignore tex2jax_ignore">'
        f'<div class="llmr-columns">{sections}</div><div class="llmr-row"><span>{foot}</span></div></div>',
        "text/markdown": fenced(twin),
        "text/plain": twin,
    }


def _section(number: int, label: str, state: RunState) -> str:
    name = escape(f"{number}. {label}")
    lines = "".join(f'<div class="llmr-row"><span>{escape(line)}</span></div>' for line in _facts(label, state))
    answer = draw.body(draw.shown(state)) if state.result is not None else ""
    return (
        f'<section aria-label="{name}"><div class="llmr-head"><div class="llmr-row">'
        f'<span class="llmr-model">{name}</span></div>{lines}</div>{answer}</section>'
    )


def _facts(label: str, state: RunState) -> list[str]:
    """What is to be said of a column besides its answer."""
    result = state.result
    if result is None:
        so_far = f", {len(state.text):,} characters" if state.parts else ""
        return [state.ended or f"… {state.phase()}{so_far}"]
    lines = [f"{show_usd(result.cost_usd)}{' (estimated)' if result.cost_estimated else ''}, {result.latency_s:.1f} s"]
    lines += [result.model] if result.model != label else []
    lines.append(f"{result.usage.input_tokens:,} in, {result.usage.output_tokens:,} out tokens")
    if result.finish_reason == "length":
        lines.append("cut off at the output limit: allow more with --max-tokens")
    return lines


def _together(states: States) -> str:
    return f"together {show_usd(sum((state.cost_usd for state in states.values()), ZERO))}"


def _foot(states: States) -> str:
    parts = [_together(states), f"session {show_usd(max(state.session_usd for state in states.values()))}"]
    if any(state.result is not None for state in states.values()):
        parts.append("keep the best one: %route_pick N")
    return " | ".join(parts)


def _plain(states: States) -> str:
    parts: list[str] = []
    for number, (label, state) in enumerate(states.items(), 1):
        parts.append("\n".join([f"{number}. {label}  [{'; '.join(_facts(label, state))}]", state.text]).rstrip())
    return "\n\n".join([*parts, _foot(states)])


class _Screen:
    """Where the columns are drawn: in one display of a notebook, or at the end in a terminal."""

    def __init__(self, shell: Any, monotonic: Callable[[], float] = time.monotonic) -> None:
        kernel = getattr(shell, "kernel", None)
        self._terminal = kernel is None
        self._monotonic = monotonic
        self._drawn_at = monotonic()
        self._handle: Any = None
        if kernel is not None:
            from IPython.display import display

            self._handle = display({"text/plain": "comparing"}, raw=True, display_id=True)

    def update(self, states: States) -> None:
        if self._handle is not None and self._monotonic() - self._drawn_at >= FRAME_S:
            self._drawn_at = self._monotonic()
            self._handle.update({"text/html": bundle(states)["text/html"], "text/plain": "comparing"}, raw=True)

    def finish(self, states: States) -> None:
        if self._terminal:
            if states:
                sys.stdout.write(f"{printable(_plain(states))}\n")
                sys.stdout.flush()
        elif self._handle is not None:
            self._handle.update(bundle(states), raw=True)
