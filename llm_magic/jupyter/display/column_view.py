"""Views of a column: a widget that becomes static, a static output at the end, or a line that moves in a terminal."""

from __future__ import annotations

import sys
import threading
from typing import Any, Protocol, TextIO

from llm_magic.columns import Column
from llm_magic.columns.line import terminal_line
from llm_magic.jupyter.display.capture import can_update, is_recorded
from llm_magic.jupyter.display.live_view import FrameLimiter, set_value
from llm_magic.jupyter.display.run_view import is_attended
from llm_magic.jupyter.display.static_copy import StaticCopy, close_tree
from llm_magic.jupyter.render import bundles, text
from llm_magic.jupyter.render.columns import column_facts, column_html

_FRAME_S = 0.5


class ColumnView(Protocol):
    def update(self, column: Column) -> None: ...

    def finish(self, column: Column) -> None: ...


def choose_column_view(shell: Any, *, background: bool) -> ColumnView:
    if getattr(shell, "kernel", None) is None:
        return TerminalColumnView(is_silent=background)
    return WidgetColumnView() if is_attended(shell) and not is_recorded() else StaticColumnView()


class WidgetColumnView:
    def __init__(self) -> None:
        import ipywidgets

        self._body = ipywidgets.HTML()
        self._box = ipywidgets.VBox([self._body], layout=self._body.layout)
        self._box.add_class("llm-magic")
        self._limiter = FrameLimiter(_FRAME_S)
        self._copy = StaticCopy(self._box)
        unfinished = "The column did not finish. Run the cell again: it asks only the rows without an answer."
        self._copy.show(bundles.bundle(f"<p>{unfinished}</p>", unfinished))

    def update(self, column: Column) -> None:
        self._limiter.draw(lambda: self._draw(column))

    def finish(self, column: Column) -> None:
        if not self._copy.is_shown:  # within an Output widget: the widget itself stays
            self._draw(column)
            return
        self._copy.freeze(bundles.column(column))
        close_tree(self._box)

    def _draw(self, column: Column) -> None:
        set_value(self._body, f'<div class="llmr">{column_html(column_facts(column))}</div>')


class StaticColumnView:
    """Displays a placeholder in the cell that is running, and replaces it by the summary."""

    def __init__(self) -> None:
        from IPython.display import display

        placeholder = {"text/plain": "a column is running"}
        self._handle: Any = display(placeholder, raw=True, display_id=True) if can_update() else None

    def update(self, column: Column) -> None:
        pass

    def finish(self, column: Column) -> None:
        from IPython.display import display

        if self._handle is not None:
            self._handle.update(bundles.column(column), raw=True)
        elif threading.current_thread() is threading.main_thread():
            display(bundles.column(column), raw=True)


class TerminalColumnView:
    """Rewrites one line, and prints the summary. Pipes and files get the summary only."""

    def __init__(self, *, is_silent: bool = False, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._is_silent = is_silent
        self._limiter = FrameLimiter(_FRAME_S)
        self._has_line = False

    def update(self, column: Column) -> None:
        if self._out.isatty() and not self._is_silent:
            self._limiter.draw(lambda: self._draw(column))

    def finish(self, column: Column) -> None:
        if self._is_silent and threading.current_thread() is not threading.main_thread():
            return
        start = "\r\x1b[K" if self._has_line else ""
        self._out.write(f"{start}{text.printable(bundles.column(column)['text/plain'])}\n")
        self._out.flush()

    def _draw(self, column: Column) -> None:
        self._has_line = True
        self._out.write(f"\r\x1b[K{text.printable(terminal_line(column))}")
        self._out.flush()
