"""A comparison in columns, which stack where the screen is narrow: while it runs, and when it is over."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from llm_magic.budget import show_usd
from llm_magic.jupyter.display.live_view import FRAME_S, LiveView, Pace
from llm_magic.jupyter.display.run_view import is_watched, printable
from llm_magic.jupyter.display.static_copy import StaticCopy, close_tree
from llm_magic.jupyter.render import run
from llm_magic.jupyter.render.markdown import escape, fenced
from llm_magic.jupyter.render.run_state import RunState
from llm_magic.jupyter.render.style import NOTHING, styled
from llm_magic.types import ZERO, Comparison

States = Mapping[str, RunState]


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
        return NOTHING
    sections = "".join(
        f'<section aria-label="{escape(_name(number, label))}">{_head(number, label, state)}'
        f"{run.body(run.shown(state)) if state.parts else ''}</section>"
        for number, (label, state) in enumerate(states.items(), 1)
    )
    text = plain(states)
    foot = "".join(f"<span>{escape(part)}</span>" for part in _foot(states))
    return {
        "text/html": styled(f'<div class="llmr-columns">{sections}</div><div class="llmr-row llmr-foot">{foot}</div>'),
        "text/markdown": fenced(text),
        "text/plain": text,
    }


def plain(states: States) -> str:
    """The columns one below the other, as text."""
    parts: list[str] = []
    for number, (label, state) in enumerate(states.items(), 1):
        parts.append("\n".join([f"{_name(number, label)}  [{'; '.join(_facts(label, state))}]", state.text]).rstrip())
    return "\n\n".join([*parts, " | ".join(_foot(states))])


def together(states: States) -> str:
    return f"together {show_usd(sum((state.cost_usd for state in states.values()), ZERO))}"


def _name(number: int, label: str) -> str:
    return f"{number}. {label}"


def _head(number: int, label: str, state: RunState) -> str:
    lines = "".join(f'<div class="llmr-row"><span>{escape(line)}</span></div>' for line in _facts(label, state))
    return (
        f'<div class="llmr-head" role="group" aria-label="{escape(_name(number, label))}"><div class="llmr-row">'
        f'<span class="llmr-model">{escape(_name(number, label))}</span></div>{lines}</div>'
    )


def _facts(label: str, state: RunState) -> list[str]:
    """What is to be said of a column besides its answer."""
    result = state.result
    if result is None:
        return [state.ended or f"… {state.phase()}"]
    lines = [f"{show_usd(result.cost_usd)}{' (estimated)' if result.cost_estimated else ''}, {result.latency_s:.1f} s"]
    lines += [result.model] if result.model != label else []
    lines.append(f"{result.usage.input_tokens:,} in, {result.usage.output_tokens:,} out tokens")
    if result.finish_reason == "length":
        lines.append("cut off at the output limit: allow more with --max-tokens")
    return [*lines, *state.notes]


def _foot(states: States) -> list[str]:
    parts = [together(states), f"session {show_usd(max(state.session_usd for state in states.values()))}"]
    if any(state.result is not None for state in states.values()):
        parts.append("keep the best one: %route_pick N, or Pick in %route_panel")
    return parts


class Screen(Protocol):
    """Draws a comparison. Called from the cell's own thread only."""

    def update(self, states: States) -> None:
        """Something may have changed, or time has passed."""
        ...

    def finish(self, states: States) -> None:
        """It is over: leave what is to stay. No states: nothing was sent."""
        ...


def choose(shell: Any, labels: list[str], *, freeze: bool, stream: bool) -> Screen:
    """The screen for where this shell runs."""
    if getattr(shell, "kernel", None) is None:
        return _Terminal()
    return _Columns(labels, freeze=freeze, stream=stream) if is_watched(shell) else _Static()


class _Terminal:
    """Printed at the end."""

    def update(self, states: States) -> None:
        pass

    def finish(self, states: States) -> None:
        if states:
            sys.stdout.write(f"{printable(plain(states))}\n")
            sys.stdout.flush()


class _Static:
    """One output at the end."""

    def update(self, states: States) -> None:
        pass

    def finish(self, states: States) -> None:
        from IPython.display import display

        if states:
            display(bundle(states), raw=True)


class _Columns:
    """A live column each, replaced at the end by static output. Together no more updates than a run alone has."""

    def __init__(
        self, labels: list[str], *, freeze: bool, stream: bool, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        import ipywidgets

        self._freeze = freeze
        self._live = {
            label: LiveView(stream=stream, head=partial(_head, number, label)) for number, label in enumerate(labels, 1)
        }
        self._grid = ipywidgets.Box([each.box for each in self._live.values()])
        self._grid.add_class("llmr-columns")
        self._twin = StaticCopy(self._grid)
        self._twin.show(run.unfinished(labels))
        self._pace = Pace(FRAME_S * len(labels), monotonic)

    def update(self, states: States) -> None:
        def drawing() -> None:
            for label, state in states.items():
                self._live[label].draw(state)

        self._pace.draw(drawing)

    def finish(self, states: States) -> None:
        if self._freeze or not states:
            self._twin.freeze(bundle(states))
            for live in self._live.values():
                live.close()
            close_tree(self._grid)
            return
        for label, state in states.items():
            self._live[label].finish(state)
        self._twin.update(bundle(states))
