"""The live panel of a session.

It is one widget with a static copy, which a saved notebook shows instead. A button's callback runs on any thread while
the kernel is idle, so it only starts background runs and updates widgets. It never prints.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

from llm_magic import routing
from llm_magic.jupyter.display.live_view import FrameLimiter, LiveView
from llm_magic.jupyter.display.static_copy import StaticCopy, close_tree
from llm_magic.jupyter.panel.output import OPEN_ENTRIES, REOPEN_HINT, bundle, earlier_html, head_html
from llm_magic.jupyter.panel.rows import ComparisonRow, Row, RunRow, set_html
from llm_magic.jupyter.render.facts import run_cost
from llm_magic.jupyter.render.html import escape
from llm_magic.jupyter.render.run_state import RunState, RunStates, Verbosity
from llm_magic.jupyter.render.style import PANEL_STYLE
from llm_magic.jupyter.run import background, history
from llm_magic.jupyter.run.history import PastRun, Rating


class Panel:
    """The panel of this session. `%route_panel` creates it once and shows the same one again later."""

    def __init__(self, shell: Any) -> None:
        import ipywidgets

        self._shell = shell
        self.head, self.message = ipywidgets.HTML(), ipywidgets.HTML()
        self.list, self.earlier = ipywidgets.VBox(), ipywidgets.HTML()
        self.box = ipywidgets.VBox([self.head, self.message, self.list, self.earlier])
        self.box.add_class("llmr-panel")
        self._static_copy = StaticCopy(self.box, PANEL_STYLE, disconnected_hint=f"For a live panel: {REOPEN_HINT}.")
        self.rows: list[Row] = []
        self._running: list[_Escalation] = []
        self._lock = threading.RLock()

    def show(self) -> None:
        self.refresh()
        self._static_copy.show(bundle(routing.session_router()))

    def refresh(self) -> None:
        with self._lock:
            router = routing.session_router()
            set_html(self.head, head_html(router))
            entries = history.entries(router.ledger)
            rows = [self._row(runs) for runs in entries[:OPEN_ENTRIES]]
            set_html(self.earlier, earlier_html(entries[OPEN_ENTRIES:]))
            children = (*(escalation.live.box for escalation in self._running), *(row.box for row in rows))
            if self.list.children != children:
                self.list.children = children
            for row in self.rows:
                if row not in rows:
                    close_tree(row.box)
            self.rows = rows
            self._static_copy.update(bundle(router))

    def close(self) -> None:
        self._static_copy.close()
        close_tree(self.box)

    def show_message(self, message: str) -> None:
        set_html(self.message, f'<div class="llmr-said" role="status" aria-live="polite">{escape(message)}</div>')

    def can_escalate(self, past: PastRun) -> bool:
        return history.can_escalate(routing.session_router(), past)

    def escalate(self, past: PastRun) -> None:
        router = routing.session_router()
        request = history.escalated(router, past)
        escalation = _Escalation(self, past)
        with self._lock:
            self._running.insert(0, escalation)
        self.show_message(f"Run {past.number} is running again on a better model: {request.model}.")
        self.refresh()
        background.start(router, request, escalation, self._shell.user_ns, [history.RESULT_NAME])

    def rate(self, past: PastRun, rating: Rating) -> None:
        """Rate a run. The same rating again clears it."""
        new = None if past.rating == rating else rating
        history.rate(routing.session_router(), past, new)
        words = {1: "rated good", -1: "rated bad", None: "no longer rated"}
        self.show_message(f"Run {past.number} is {words[new]}.")

    def pick(self, runs: list[PastRun], past: PastRun) -> None:
        """Pick a run as the best of its comparison, as `%route_pick` does. The same pick again clears it."""
        cleared = past.rating == 1
        answered = [run.state.run_id for run in runs if run.state.result is not None]
        history.pick(routing.session_router(), answered, None if cleared else past.state.run_id)
        if not cleared:
            self._shell.user_ns[history.RESULT_NAME] = past.state.result
        self.show_message(f"{past.model} is {'no longer ' if cleared else ''}your pick.")

    def drop(self, escalation: _Escalation) -> None:
        with self._lock:
            self._running = [running for running in self._running if running is not escalation]
        self.refresh()

    def _row(self, runs: list[PastRun]) -> Row:
        """Return the row of an entry. An existing row is reused, so that it keeps the focus."""
        row = next((row for row in self.rows if row.number == runs[0].number), None)
        if row is None and runs[0].column is not None:
            row = ComparisonRow(self, runs)
        elif row is None:
            escalation = next((item for item in self._running if item.state is runs[0].state), None)
            if escalation is not None:
                self._running.remove(escalation)
            row = RunRow(self, runs[0], None if escalation is None else escalation.live.box)
        row.refresh()
        return row


class _Escalation:
    """The view of a run that a button started: in the panel, above the rows."""

    verbosity: Verbosity = "normal"

    def __init__(self, panel: Panel, past: PastRun) -> None:
        self.live, self._limiter = LiveView(), FrameLimiter()
        self.state: RunState | None = None
        self._panel, self._past = panel, past

    def update(self, states: RunStates) -> None:
        (self.state,) = states.values()
        self._limiter.draw(partial(self.live.draw, self.state))

    def finish(self, states: RunStates) -> None:
        (state,) = states.values()
        self.state = state
        if state.plan is None:
            self._panel.show_message(f"Run {self._past.number} could not run again: {state.ending}")
            self._panel.drop(self)
            self.live.close()
            return
        self.live.finish(state)
        outcome = state.ending or f"answered, {run_cost(state)}"
        self._panel.show_message(f"Run {self._past.number} was run again: {outcome}.")
