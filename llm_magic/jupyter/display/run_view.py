"""The choice of a view: how a run, or several runs of a comparison, are displayed in this shell."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol

from llm_magic.jupyter.display.capture import is_recorded
from llm_magic.jupyter.display.comparison_view import ComparisonView
from llm_magic.jupyter.display.static_view import PlaceholderView, StaticView
from llm_magic.jupyter.display.terminal_view import DeferredTerminalView, TerminalView
from llm_magic.jupyter.display.widget_view import WidgetView
from llm_magic.jupyter.render.run_state import RunStates, Verbosity


class RunView(Protocol):
    """Displays a run, or the runs of a comparison. One thread at a time calls it."""

    verbosity: Verbosity

    def update(self, states: RunStates) -> None: ...

    def finish(self, states: RunStates) -> None:
        """Draw the final output. `states` is empty if nothing was sent."""
        ...


def choose_view(
    shell: Any,
    labels: Sequence[str] = ("",),
    /,
    *,
    freeze: bool,
    stream: bool,
    background: bool = False,
    verbosity: Verbosity = "normal",
) -> RunView:
    """Return the view for the runs of these labels.

    A notebook in front of a person gets a widget, an unattended one static output, and a terminal gets text. A
    background view outlives its cell: it can be drawn from another thread.
    """
    view = _view(shell, labels, freeze=freeze, stream=stream, background=background)
    view.verbosity = verbosity
    return view


def _view(shell: Any, labels: Sequence[str], *, freeze: bool, stream: bool, background: bool) -> RunView:
    if getattr(shell, "kernel", None) is None:
        return DeferredTerminalView() if background else TerminalView(stream=stream)
    if is_attended(shell) and not is_recorded():
        return WidgetView(freeze=freeze, stream=stream) if len(labels) == 1 else ComparisonView(labels, stream=stream)
    return PlaceholderView() if background else StaticView()


def is_attended(shell: Any) -> bool:
    """Return True if a person uses this notebook.

    A kernel without stdin is unattended, as in nbclient and papermill. Voila also has no stdin, but has a person.
    """
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return False
    return getattr(kernel, "_allow_stdin", True) or any(name.startswith("VOILA_") for name in os.environ)
