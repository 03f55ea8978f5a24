"""Buttons with a visible word and a label for screen readers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llm_magic.errors import LLMMagicError


def button(label: str, press: Callable[[], None], on_error: Callable[[LLMMagicError], None]) -> Any:
    import ipywidgets

    widget = ipywidgets.Button(tooltip=label)

    def on_click(_: Any) -> None:
        try:
            press()
        except LLMMagicError as error:
            on_error(error)

    widget.on_click(on_click)
    return widget


def set_word(widget: Any, word: str) -> None:
    """Set the visible first line of a button. The second line is for screen readers; the style hides it."""
    if widget.description != (description := f"{word}\n{widget.tooltip}"):
        widget.description = description


class Toggle:
    """A button that is on or off. A sign and a word show it."""

    def __init__(self, widget: Any, off: str, on: str) -> None:
        self.button = widget
        self._off, self._on = off, f"✓ {on}"
        self.show(is_on=False)

    def show(self, *, is_on: bool) -> None:
        set_word(self.button, self._on if is_on else self._off)
