"""The view of a comparison: one column for each answer, with a button that picks it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from llm_magic.jupyter.display.buttons import Toggle, button
from llm_magic.jupyter.display.live_view import FRAME_S, FrameLimiter, LiveView, set_value
from llm_magic.jupyter.display.static_copy import StaticCopy, close_tree
from llm_magic.jupyter.render import bundles, html
from llm_magic.jupyter.render.facts import column_lines, column_name, comparison_footer
from llm_magic.jupyter.render.run_state import RunState, RunStates, Verbosity


class ComparisonView:
    """Sends no more updates than the view of a single run.

    At the end, the widgets stay for the buttons, above a static copy that a saved notebook shows. The picked answer
    stays in its place, and the others are folded.
    """

    verbosity: Verbosity = "normal"

    def __init__(
        self, labels: Sequence[str], *, stream: bool = True, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        import ipywidgets

        self._states: RunStates = {}
        self._picked: str | None = None
        self._on_pick: Callable[[str], None] = lambda _: None
        self._lock = threading.RLock()
        self.picks = {label: self._pick_button(label) for label in labels}
        self.live = {
            label: LiveView(stream=stream, head=partial(self._head, number, label), actions=(self.picks[label].button,))
            for number, label in enumerate(labels, 1)
        }
        self.foot = ipywidgets.HTML()
        grid = ipywidgets.Box([live.box for live in self.live.values()])
        grid.add_class("llmr-columns")
        self.box = ipywidgets.VBox([grid, self.foot], layout=self.foot.layout)
        self._limiter = FrameLimiter(FRAME_S * len(labels), monotonic)
        self._static_copy = StaticCopy(self.box)
        self._static_copy.show(bundles.unfinished(list(labels)))

    def update(self, states: RunStates) -> None:
        self._limiter.draw(partial(self._draw, states))

    def finish(self, states: RunStates) -> None:
        self._states = states
        if any(state.plan is not None for state in states.values()):
            self._redraw()
        else:
            self._static_copy.freeze(bundles.NOTHING)
            self._close()

    def offer(self, on_pick: Callable[[str], None]) -> None:
        """Show the buttons. `on_pick` is called with the label of the picked answer."""
        self._on_pick = on_pick
        for label, state in self._states.items():
            if state.result is not None:
                self.picks[label].button.layout.display = None

    def show_pick(self, label: str | None) -> None:
        with self._lock:
            if label != self._picked:
                self._picked = label
                self._redraw()

    def freeze(self) -> None:
        """Replace the widgets by static output, without buttons. Within an Output widget, only the buttons go."""
        with self._lock:
            if self._static_copy.is_shown:
                self._static_copy.freeze(bundles.runs(self._states, self._picked))
                self._close()
            else:
                for pick in self.picks.values():
                    pick.button.layout.display = "none"

    def _close(self) -> None:
        for live in self.live.values():
            live.close()
        close_tree(self.box)

    def _pick_button(self, label: str) -> Toggle:
        widget = button(f"the answer of {label}", lambda: self._on_pick(label), lambda error: self._say(str(error)))
        widget.layout.display = "none"
        widget.add_class("llmr-pick")
        return Toggle(widget, "Pick", "Picked")

    def _say(self, message: str) -> None:
        set_value(self.foot, f'<div class="llmr" role="status">{html.escape(message)}</div>')

    def _draw(self, states: RunStates) -> None:
        for label, state in states.items():
            self.live[label].draw(state)

    def _redraw(self) -> None:
        for label, state in self._states.items():
            is_picked = label == self._picked
            self.live[label].finish(state, is_folded=self._picked is not None and not is_picked)
            self.picks[label].show(is_on=is_picked)
            (self.live[label].box.add_class if is_picked else self.live[label].box.remove_class)("llmr-picked")
        foot = html.comparison_foot(comparison_footer(self._states))
        set_value(self.foot, f'<div class="{html.INERT_CLASSES}">{foot}</div>')
        self._static_copy.update(bundles.runs(self._states, self._picked))

    def _head(self, number: int, label: str, state: RunState) -> str:
        name, lines = column_name(number, label), column_lines(label, state)
        return html.column_head(name, lines, is_picked=label == self._picked)
