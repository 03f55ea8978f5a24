"""A view with live widgets, which static output replaces at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from llm_magic.jupyter.display.live_view import FRAME_S, FrameLimiter, LiveView
from llm_magic.jupyter.display.static_copy import StaticCopy, close_tree
from llm_magic.jupyter.render import bundles, html
from llm_magic.jupyter.render.facts import column_lines, column_name
from llm_magic.jupyter.render.run_state import RunState, RunStates, Verbosity


class WidgetView:
    """Shows one widget for a run, or one column for each run of a comparison.

    A comparison sends no more updates than a single run. The output says from the start that the run did not finish,
    because a kernel that dies can't say so.
    """

    verbosity: Verbosity = "normal"

    def __init__(
        self,
        labels: Sequence[str] = ("",),
        *,
        freeze: bool = True,
        stream: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._freeze = freeze
        self.live: dict[str, LiveView] = {}
        if len(labels) == 1:
            self.live[labels[0]] = LiveView(stream=stream)
            self.box, self._models = self.live[labels[0]].box, list[str]()
        else:
            for number, label in enumerate(labels, 1):
                self.live[label] = LiveView(stream=stream, head=partial(_column_head, number, label))
            self.box, self._models = _grid(self.live.values()), list(labels)
        self._limiter = FrameLimiter(FRAME_S * len(labels), monotonic)
        self.static_copy = StaticCopy(self.box)
        self.static_copy.show(bundles.unfinished(self._models))

    def update(self, states: RunStates) -> None:
        self._name_model(states)
        self._limiter.draw(partial(self._draw, states))

    def finish(self, states: RunStates) -> None:
        if (self._freeze and self.static_copy.is_shown) or not any(state.plan is not None for state in states.values()):
            self.static_copy.freeze(bundles.runs(states))
            for live in self.live.values():
                live.close()
            close_tree(self.box)
            return
        for label, state in states.items():
            self.live[label].finish(state)
        self.static_copy.update(bundles.runs(states))

    def _draw(self, states: RunStates) -> None:
        for label, state in states.items():
            self.live[label].draw(state)

    def _name_model(self, states: RunStates) -> None:
        if len(states) > 1:
            return
        models = [state.current.model.id for state in states.values() if state.current is not None]
        if models != self._models:
            self._models = models
            self.static_copy.update(bundles.unfinished(models))


def _grid(columns: Any) -> Any:
    import ipywidgets

    grid = ipywidgets.Box([column.box for column in columns])
    grid.add_class("llmr-columns")
    return grid


def _column_head(number: int, label: str, state: RunState) -> str:
    return html.column_head(column_name(number, label), column_lines(label, state))
