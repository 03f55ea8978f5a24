"""The session's panel: what it has cost, how the providers are, and the last runs with what can be done about them.

It is one live widget; its twin, plain HTML in the same cell, is hidden while the widget lives and is what a saved
notebook shows. A button's callback runs when the kernel is idle, on any thread: it only starts runs in the background,
updates widgets, and never prints.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from llm_magic import routing
from llm_magic.jupyter.display.live_view import LiveView, Pace
from llm_magic.jupyter.display.static_copy import StaticCopy, close_tree
from llm_magic.jupyter.panel.rows import ComparedRow, Row, RunRow, put
from llm_magic.jupyter.panel.text import LIVE_AGAIN, SHOWN, bundle, head_html
from llm_magic.jupyter.render import run
from llm_magic.jupyter.render.markdown import escape
from llm_magic.jupyter.render.style import PANEL_STYLE
from llm_magic.jupyter.run import background, history
from llm_magic.jupyter.run.history import PastRun

if TYPE_CHECKING:
    from llm_magic.jupyter.render.run_state import RunState

__all__ = ["Panel", "bundle"]


class Panel:
    """Made at the first `%route_panel`; shown again by each further one."""

    def __init__(self, shell: Any) -> None:
        import ipywidgets

        self._shell = shell
        self._head, self._said = ipywidgets.HTML(), ipywidgets.HTML()
        self._rows = ipywidgets.VBox()
        self._box = ipywidgets.VBox([self._head, self._said, self._rows])
        self._box.add_class("llmr-panel")
        self._twin = StaticCopy(self._box, PANEL_STYLE, gone=f"For the live one: {LIVE_AGAIN}.")
        self._of: dict[int, Row] = {}
        self._under_way: list[_Escalation] = []
        self._lock = threading.RLock()

    def show(self) -> None:
        """In the cell that is running."""
        self.refresh()
        self._twin.show(bundle(routing.session_router()))

    def refresh(self) -> None:
        """Draw it anew. From any thread."""
        with self._lock:
            router = routing.session_router()
            put(self._head, head_html(router))
            rows = [self._row(runs) for runs in history.entries()[:SHOWN]]
            children = (*(each.live.box for each in self._under_way), *(row.box for row in rows))
            if self._rows.children != children:
                self._rows.children = children
            gone, self._of = self._of, {row.number: row for row in rows}
            for number in gone.keys() - self._of.keys():
                close_tree(gone[number].box)
            self._twin.update(bundle(router))

    def close(self) -> None:
        """Take it down; the twins stay."""
        self._twin.close()
        close_tree(self._box)

    def say(self, words: str) -> None:
        put(self._said, f'<div class="llmr-said" role="status" aria-live="polite">{escape(words)}</div>')

    def _row(self, runs: list[PastRun]) -> Row:
        """What is there stays, and with it the focus."""
        if (row := self._of.get(runs[0].number)) is None:
            if runs[0].column is not None:
                row = ComparedRow(self, runs)
            else:
                mine = [each for each in self._under_way if each.state is runs[0].state]
                self._under_way = [each for each in self._under_way if each.state is not runs[0].state]
                row = RunRow(self, runs[0], mine[0].live.box if mine else None)
        row.refresh()
        return row

    def escalate(self, done: PastRun) -> None:
        """Run it again one tier up, in the background; the answer comes into the panel."""
        router = routing.session_router()
        request = history.escalated(router, done)
        run = _Escalation(self, done)
        with self._lock:
            self._under_way.insert(0, run)
        self.say(f"Run {done.number} is asked again one tier up: {router.plan(request).tier}.")
        self.refresh()
        background.start(router, request, run, self._shell.user_ns, [history.RESULT_NAME])

    def rate(self, done: PastRun, rating: Literal[1, -1]) -> None:
        """Rate it, or take the same rating back."""
        new: Literal[1, -1] | None = None if done.rating == rating else rating
        history.rate(routing.session_router(), done, new)
        words = {1: "rated good", -1: "rated bad", None: "no longer rated"}
        self.say(f"Run {done.number} is {words[new]}.")

    def pick(self, runs: list[PastRun], done: PastRun) -> None:
        """Keep it as the best of a comparison, as `%route_pick` does, or take the same pick back."""
        taken_back = done.rating == 1
        answered = [each.state.run_id for each in runs if each.state.result is not None]
        history.pick(routing.session_router(), answered, None if taken_back else done.state.run_id)
        if not taken_back:
            self._shell.user_ns[history.RESULT_NAME] = done.state.result
        self.say(f"{done.model} is {'no longer ' if taken_back else ''}your pick.")

    def forget(self, run: _Escalation) -> None:
        """One that was refused before it began."""
        with self._lock:
            self._under_way = [each for each in self._under_way if each is not run]
        self.refresh()


class _Escalation:
    """The screen of a run that was started by a button: in the panel, above the others."""

    def __init__(self, panel: Panel, of: PastRun) -> None:
        self.live, self._pace = LiveView(), Pace()
        self.state: RunState | None = None
        self._panel, self._of = panel, of

    def update(self, state: RunState) -> None:
        self.state = state
        self._pace.draw(partial(self.live.draw, state))

    def finish(self, state: RunState) -> None:
        self.state = state
        if state.plan is None:
            self._panel.say(f"Run {self._of.number} was not asked again: {state.ended}")
            self._panel.forget(self)
            self.live.close()
            return
        self.live.finish(state)
        cost = run.cost(state).removeprefix("this cell ")
        self._panel.say(f"Run {self._of.number} was asked again: {state.ended or f'answered, {cost}'}.")
