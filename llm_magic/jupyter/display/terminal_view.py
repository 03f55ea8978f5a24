"""Views for a terminal."""

from __future__ import annotations

import sys
import threading
from typing import TextIO

from llm_magic.jupyter.render import bundles, text
from llm_magic.jupyter.render.facts import model_name, run_facts
from llm_magic.jupyter.render.run_state import RunState, RunStates, Verbosity


class TerminalView:
    """Streams the answer of a run, then prints its facts. A comparison is printed at the end.

    A status line precedes the answer and is erased. Pipes and files get no status line.
    """

    verbosity: Verbosity = "normal"

    def __init__(self, *, stream: bool = True, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._stream = stream
        self._printed_parts = 0
        self._attempt = 0
        self._status = ""

    def update(self, states: RunStates) -> None:
        if len(states) == 1:
            (state,) = states.values()
            self._update(state)

    def finish(self, states: RunStates) -> None:
        if len(states) == 1:
            (state,) = states.values()
            self._finish(state)
        elif states:
            self._print(f"{text.printable(bundles.runs_text(states))}\n")

    def _update(self, state: RunState) -> None:
        if not self._stream or not state.parts:
            self._set_status(state.phase())
            return
        self._set_status("")
        if self._attempt != state.attempts_started:
            if self._printed_parts:
                self._out.write(f"\n[the answer broke off; starting again with {model_name(state)}]\n")
            self._attempt, self._printed_parts = state.attempts_started, 0
        new = "".join(state.parts[self._printed_parts :])
        self._printed_parts = len(state.parts)
        self._print(text.printable(new))

    def _finish(self, state: RunState) -> None:
        if state.plan is None:
            return
        self._update(state)
        self._set_status("")
        if not self._stream:
            self._out.write(text.printable(state.text))
        lines = text.printable("\n".join(text.run_lines(run_facts(state))))
        self._print(f"\n\n{lines}\n" if state.parts else f"{lines}\n")

    def _set_status(self, status: str) -> None:
        if status == self._status or not self._out.isatty():
            return
        self._status = status
        self._print(f"\r\x1b[K{f'… {text.printable(status)}' if status else ''}")

    def _print(self, output: str) -> None:
        self._out.write(output)
        self._out.flush()


class DeferredTerminalView:
    """Prints a background run only from the main thread, which is when the user waits for it."""

    verbosity: Verbosity = "normal"

    def update(self, states: RunStates) -> None:
        pass

    def finish(self, states: RunStates) -> None:
        if threading.current_thread() is threading.main_thread():
            TerminalView(stream=False).finish(states)
