"""A run as live widgets. The answer is split into blocks, so that an update sends only the end of the text."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Any

from llm_magic.jupyter.display.static_copy import close_tree
from llm_magic.jupyter.render import html
from llm_magic.jupyter.render.facts import answer_markdown, run_facts
from llm_magic.jupyter.render.run_state import RunState

FRAME_S = 0.1
# A longer last block is split: its finished part moves to a block of its own (in long texts: beyond 1/50 of the text).
BLOCK_CHARS = 1_000
# Text that can't be split is drawn less often, to stay below this number of characters sent per character.
MAX_TRAFFIC_PER_CHAR = 50
_BLOCK_END = re.compile(r"\n(?:\n+|(?=[-*+] |\d{1,9}[.)] |#{1,6} ))")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)


class FrameLimiter:
    """Limits drawing to one frame in `frame_s` seconds, and to half of the time on slow machines."""

    def __init__(self, frame_s: float = FRAME_S, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._frame_s, self._monotonic = frame_s, monotonic
        self._next = monotonic()

    def draw(self, drawing: Callable[[], None]) -> None:
        if (started := self._monotonic()) < self._next:
            return
        drawing()
        ended = self._monotonic()
        self._next = max(started + self._frame_s, 2 * ended - started)


def run_foot(state: RunState) -> str:
    return html.run_foot(run_facts(state))


class LiveView:
    """`box` is the widget to display. One thread at a time may draw.

    The facts of the run are below its answer, or above it if `head` renders them. actions: widgets below the head.
    """

    def __init__(
        self, *, stream: bool = True, head: Callable[[RunState], str] | None = None, actions: Sequence[Any] = ()
    ) -> None:
        import ipywidgets

        self._stream, self._render, self._above = stream, head or run_foot, head is not None
        self._actions = tuple(actions)
        self.facts = ipywidgets.HTML()
        self.blocks: list[Any] = [self._new_block()]
        self.box = ipywidgets.VBox(self._children(), layout=self.facts.layout)
        self.box.add_class("llm-magic")
        self._attempt = 0
        self._block_start = 0
        self._open_fence = ""
        self._sent_chars = 0

    @property
    def answer_html(self) -> str:
        return "".join(block.value for block in self.blocks)

    def draw(self, state: RunState) -> None:
        self._draw_facts(state)
        if self._stream:
            self._draw_text(state)

    def finish(self, state: RunState, *, is_folded: bool = False) -> None:
        self._draw_facts(state)
        self._restart(state)
        self._open_fence = ""
        answer = html.lone_answer(answer_markdown(state))
        set_value(self.blocks[0], html.folded(answer) if is_folded else answer)

    def close(self) -> None:
        for widget in (*self.blocks, self.box):
            widget.close()
        for widget in (*self._actions, self.facts):
            close_tree(widget)

    def _draw_facts(self, state: RunState) -> None:
        set_value(self.facts, f"<div class='llmr'>{self._render(state)}</div>")

    def _restart(self, state: RunState) -> None:
        is_json = state.plan is not None and state.plan.request.schema is not None
        self._attempt, self._block_start = state.attempts_started, 0
        self._open_fence = "```json\n" if is_json else ""
        for block in self.blocks[1:]:
            block.close()
        if self.blocks[1:]:
            del self.blocks[1:]
            self._update_children()

    def _new_block(self) -> Any:
        import ipywidgets

        return ipywidgets.HTML(layout=self.facts.layout, style=self.facts.style)

    def _draw_text(self, state: RunState) -> None:
        if self._attempt != state.attempts_started:
            self._restart(state)
        text = state.text
        if len(text) - self._block_start > max(BLOCK_CHARS, len(text) // 50):
            end, fence = finished_part(text, self._block_start, self._open_fence)
            if end > self._block_start:
                self._draw_last_block(text[self._block_start : end])
                self._block_start, self._open_fence = end, fence
                self.blocks.append(self._new_block())
                self._update_children()
        rest = text[self._block_start :]
        if self._sent_chars + len(rest) <= MAX_TRAFFIC_PER_CHAR * (len(text) + BLOCK_CHARS):
            self._draw_last_block(rest)

    def _draw_last_block(self, text: str) -> None:
        value = html.lone_answer(self._open_fence + text)
        if self.blocks[-1].value != value:
            self._sent_chars += len(value)
        set_value(self.blocks[-1], value)

    def _update_children(self) -> None:
        self.box.children = self._children()

    def _children(self) -> tuple[Any, ...]:
        return (self.facts, *self._actions, *self.blocks) if self._above else (*self.blocks, self.facts)


def set_value(widget: Any, value: str) -> None:
    """Set the widget's value if it differs, because each assignment sends a message."""
    if widget.value != value:
        widget.value = value


def finished_part(text: str, start: int, fence: str) -> tuple[int, str]:
    """Return the end of the Markdown after `start` that later text can't change, and the code fence open there.

    The end is that of a paragraph or a list item, or within a code fence that of a line. `fence` is the opening line
    of the fence that is open at `start`, or empty.
    """
    position = start
    end, fence_at_end = start, fence
    for match in [*_FENCE.finditer(text, start), None]:
        stop = match.start() if match is not None else text.rfind("\n", start) + 1
        if fence:
            if (newline := text.rfind("\n", position, stop)) >= position:
                end, fence_at_end = newline + 1, fence
        else:
            for block_end in _BLOCK_END.finditer(text, position, max(position, stop)):
                end, fence_at_end = block_end.end(), ""
        if match is None:
            break
        mark, info = match.groups()
        if not fence:
            fence = match.group().rstrip() + "\n"
        elif mark[0] == fence.lstrip()[0] and len(mark) >= _mark_length(fence) and not info.strip():
            fence = ""
        position = match.end()
    return end, fence_at_end


def _mark_length(fence: str) -> int:
    mark = fence.lstrip()
    return len(mark) - len(mark.lstrip(mark[0]))
