"""A run as live widgets: its head, and its answer in blocks, so that an update carries the end of the text only."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from llm_magic.jupyter.display.static_copy import close_tree
from llm_magic.jupyter.render import run
from llm_magic.jupyter.render.run_state import RunState

FRAME_S = 0.1
"""Seconds between two updates."""
BLOCK_CHARS = 1_000
"""Beyond this, or a fiftieth of a long text, what will not change any more gets a widget of its own."""
MOST_TRAFFIC = 50
"""Characters sent for each one of the answer, at the most: text that can't be cut is drawn less and less often."""
_CUT = re.compile(r"\n(?:\n+|(?=[-*+] |\d{1,9}[.)] |#{1,6} ))")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)


class Pace:
    """When to draw again: not within `frame_s` seconds, and for half of the time at most, however slow the machine."""

    def __init__(self, frame_s: float = FRAME_S, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._frame_s, self._monotonic = frame_s, monotonic
        self._next = monotonic()

    def draw(self, drawing: Callable[[], None]) -> None:
        """Draw, unless it was drawn just now."""
        if (started := self._monotonic()) < self._next:
            return
        drawing()
        ended = self._monotonic()
        self._next = max(started + self._frame_s, 2 * ended - started)


class LiveView:
    """`box` is the widget to show. Drawn by one thread at a time; `head` says what is above the answer, as HTML."""

    def __init__(self, *, stream: bool = True, head: Callable[[RunState], str] = run.head) -> None:
        import ipywidgets

        self._stream, self._says = stream, head
        self.head = ipywidgets.HTML()
        self.blocks: list[Any] = [self._block()]
        self.box = ipywidgets.VBox([self.head, *self.blocks], layout=self.head.layout)
        self.box.add_class("llm-magic")
        self._attempt = 0
        self._from, self._fence = 0, ""
        """Where in the text the last block begins, and the fence that is open there."""
        self._sent = 0

    def draw(self, state: RunState) -> None:
        """Draw where the run is."""
        self._draw_head(state)
        if self._stream:
            self._draw_text(state)

    def finish(self, state: RunState) -> None:
        """Draw how it ended, whole."""
        self._draw_head(state)
        self._begin(state)
        self._fence = ""
        _set(self.blocks[0], run.body(run.shown(state)))

    def close(self) -> None:
        for widget in (*self.blocks, self.box):
            widget.close()
        close_tree(self.head)

    def _draw_head(self, state: RunState) -> None:
        _set(self.head, f"<div class='llmr'>{self._says(state)}</div>")

    def _begin(self, state: RunState) -> None:
        """Start again from the first block."""
        json = state.plan is not None and state.plan.request.schema is not None
        self._attempt, self._from, self._fence = state.started, 0, "```json\n" if json else ""
        for block in self.blocks[1:]:
            block.close()
        if self.blocks[1:]:
            del self.blocks[1:]
            self._arrange()

    def _block(self) -> Any:
        """Layout and style are widgets, too: one of each will do for all."""
        import ipywidgets

        return ipywidgets.HTML(layout=self.head.layout, style=self.head.style)

    def _draw_text(self, state: RunState) -> None:
        if self._attempt != state.started:
            self._begin(state)
        text = state.text
        if len(text) - self._from > max(BLOCK_CHARS, len(text) // 50):
            end, fence = _settled(text, self._from, self._fence)
            if end > self._from:
                self._send(text[self._from : end])
                self._from, self._fence = end, fence
                self.blocks.append(self._block())
                self._arrange()
        rest = text[self._from :]
        if self._sent + len(rest) <= MOST_TRAFFIC * (len(text) + BLOCK_CHARS):
            self._send(rest)

    def _send(self, text: str) -> None:
        """Draw the last block."""
        value = run.body(self._fence + text)
        if self.blocks[-1].value != value:
            self._sent += len(value)
        _set(self.blocks[-1], value)

    def _arrange(self) -> None:
        self.box.children = (self.head, *self.blocks)


def _set(widget: Any, value: str) -> None:
    if widget.value != value:
        widget.value = value


def _settled(text: str, start: int, fence: str) -> tuple[int, str]:
    """The end of what can be drawn for good after `start`, and the opening of the fence, if any, that is open there.

    Outside of fences that is the end of a paragraph or of an item of a list; within one the end of a line.
    """
    begins = start
    end, still = start, fence
    for found in [*_FENCE.finditer(text, start), None]:
        stretch = found.start() if found is not None else text.rfind("\n", start) + 1
        if fence:
            if (newline := text.rfind("\n", begins, stretch)) >= begins:
                end, still = newline + 1, fence
        else:
            for cut in _CUT.finditer(text, begins, max(begins, stretch)):
                end, still = cut.end(), ""
        if found is None:
            break
        mark, info = found.groups()
        if not fence:
            fence = found.group().rstrip() + "\n"
        elif mark[0] == fence.lstrip()[0] and len(mark) >= len(_mark(fence)) and not info.strip():
            fence = ""
        begins = found.end()
    return end, still


def _mark(fence: str) -> str:
    opened = fence.lstrip()
    return opened[: len(opened) - len(opened.lstrip(opened[0]))]
