"""Where a run is shown: a live widget that is frozen at the end, a static output, or a terminal."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TextIO

from llm_magic.jupyter.display.live_view import LiveView, Pace
from llm_magic.jupyter.display.static_copy import StaticCopy
from llm_magic.jupyter.render import run
from llm_magic.jupyter.render.run_state import RunState


class Screen(Protocol):
    """Draws a run. Called from the cell's own thread only."""

    def update(self, state: RunState) -> None:
        """Something may have changed, or time has passed."""
        ...

    def finish(self, state: RunState) -> None:
        """It is over: leave what is to stay."""
        ...


def choose(shell: Any, *, freeze: bool, stream: bool) -> Screen:
    """The screen for where this shell runs: notebook, notebook without a person, or terminal."""
    if getattr(shell, "kernel", None) is None:
        return TerminalScreen(stream=stream)
    return WidgetScreen(freeze=freeze, stream=stream) if is_watched(shell) else StaticScreen()


def is_watched(shell: Any) -> bool:
    """Whether a person has the notebook before them. Without stdin nobody has: nbclient, papermill; but Voila has."""
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return False
    return getattr(kernel, "_allow_stdin", True) or any(name.startswith("VOILA_") for name in os.environ)


def in_background(shell: Any, *, freeze: bool, stream: bool) -> Screen:
    """The screen for a run that outlives its cell: everything it does later may be done from another thread."""
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return JoinedScreen()
    chosen = choose(shell, freeze=freeze, stream=stream)
    return chosen if isinstance(chosen, WidgetScreen) else PlaceScreen()


class PlaceScreen:
    """One output, in the place that was taken for it at the start."""

    def __init__(self) -> None:
        from IPython.display import display

        self._handle = display({"text/plain": "running in the background"}, raw=True, display_id=True)

    def update(self, state: RunState) -> None:
        pass

    def finish(self, state: RunState) -> None:
        if self._handle is not None:
            self._handle.update(run.bundle(state), raw=True)


class JoinedScreen:
    """A terminal: printed when somebody waits for it, by the thread that may print."""

    def update(self, state: RunState) -> None:
        pass

    def finish(self, state: RunState) -> None:
        if threading.current_thread() is threading.main_thread():
            TerminalScreen(stream=False).finish(state)


class StaticScreen:
    """One output at the end."""

    def update(self, state: RunState) -> None:
        pass

    def finish(self, state: RunState) -> None:
        from IPython.display import display

        if state.plan is not None:
            display(run.bundle(state), raw=True)


class TerminalScreen:
    """The answer as it comes, then the facts in a few lines. Where it is before that, in a line that goes away."""

    def __init__(self, *, stream: bool = True, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._stream = stream
        self._shown = 0
        self._attempt = 0
        self._status = ""

    def update(self, state: RunState) -> None:
        if not self._stream or not state.parts:
            self._say(state.phase())
            return
        self._say("")
        if self._attempt != state.started:
            if self._shown:
                self._out.write(f"\n[the answer broke off; starting again with {run.model_name(state)}]\n")
            self._attempt, self._shown = state.started, 0
        new = "".join(state.parts[self._shown :])
        self._shown = len(state.parts)
        self._out.write(printable(new))
        self._out.flush()

    def finish(self, state: RunState) -> None:
        if state.plan is None:
            return
        self.update(state)
        self._say("")
        if not self._stream:
            self._out.write(printable(state.text))
        lines = "\n".join(run.summary(state))
        self._out.write(f"\n\n{printable(lines)}\n" if state.parts else f"{printable(lines)}\n")
        self._out.flush()

    def _say(self, status: str) -> None:
        """Replace the status line; an empty one takes it away. Not in a pipe or a file, where nothing goes away."""
        if status == self._status or not self._out.isatty():
            return
        self._status = status
        self._out.write(f"\r\x1b[K{f'… {printable(status)}' if status else ''}")
        self._out.flush()


class WidgetScreen:
    """A live widget, replaced at the end by static output in the same place."""

    def __init__(
        self, *, freeze: bool = True, stream: bool = True, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._freeze = freeze
        self._live, self._pace = LiveView(stream=stream), Pace(monotonic=monotonic)
        self._twin = StaticCopy(self._live.box)
        # A kernel that dies can say nothing more: what a reopened notebook then says is there from the start.
        self._twin.show(run.unfinished([]))
        self._noted = 0

    def update(self, state: RunState) -> None:
        if self._noted != state.started:
            self._noted = state.started
            self._twin.update(run.unfinished([state.current.model.id] if state.current is not None else []))
        self._pace.draw(partial(self._live.draw, state))

    def finish(self, state: RunState) -> None:
        if self._freeze or state.plan is None:
            self._twin.freeze(run.bundle(state))
            self._live.close()
        else:
            self._live.finish(state)
            self._twin.update(run.bundle(state))


def printable(text: str) -> str:
    """Text of a model without the control characters that would drive the terminal."""
    return "".join(char for char in text if char in "\n\t" or (char >= " " and not "\x7f" <= char <= "\x9f"))
