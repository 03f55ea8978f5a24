"""The panel's rows: a run or a comparison, with its buttons."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from llm_magic.errors import LLMMagicError
from llm_magic.jupyter.display.live_view import set_value
from llm_magic.jupyter.panel import facts
from llm_magic.jupyter.panel.output import column_html, entry_html
from llm_magic.jupyter.render.html import INERT_CLASSES, escape
from llm_magic.jupyter.run.foreground import error_text
from llm_magic.jupyter.run.history import PastRun, Rating

# Runs in the page, so that copying works while the kernel is busy and after it has ended.
_ON_COPY = (
    "const button=this,text=this.nextElementSibling;"
    "(navigator.clipboard?navigator.clipboard.writeText(text.value):Promise.reject())"
    ".then(()=>{button.textContent='Copied'},"
    "()=>{text.hidden=false;text.select();document.execCommand('copy');button.textContent='Select and copy'})"
)
_LABEL_CHARS = 60
_RATINGS: tuple[tuple[str, Rating], ...] = (("Good", 1), ("Bad", -1))


class Actions(Protocol):
    def escalate(self, past: PastRun) -> None: ...

    def rate(self, past: PastRun, rating: Rating) -> None: ...

    def pick(self, runs: list[PastRun], past: PastRun) -> None: ...

    def show_message(self, message: str) -> None: ...


class RunRow:
    def __init__(self, actions: Actions, past: PastRun, answer: Any) -> None:
        import ipywidgets

        self.number, self._past = past.number, past
        self._facts = ipywidgets.HTML()
        run = f"run {past.number}: {facts.short_prompt(past, _LABEL_CHARS)}"
        self._ratings = [
            _Toggle(actions, word, word, f"rate {word.lower()} {run}", partial(actions.rate, past, rating), rating)
            for word, rating in _RATINGS
            if past.state.result is not None
        ]
        escalate = _button(actions, f"ask the next better model {run}", partial(actions.escalate, past))
        _set_word(escalate, "Escalate")
        self.buttons = ipywidgets.HBox([escalate, *(toggle.button for toggle in self._ratings), *_copy(past, run)])
        self.buttons.add_class("llmr-actions")
        self.box = ipywidgets.VBox([self._facts, self.buttons, *([answer] if answer is not None else [])])
        self.box.add_class("llmr-run")

    def refresh(self) -> None:
        set_html(self._facts, entry_html(facts.run_entry(self._past, with_rating=False)))
        for toggle in self._ratings:
            toggle.set_rating(self._past.rating)


class ComparisonRow:
    def __init__(self, actions: Actions, runs: list[PastRun]) -> None:
        import ipywidgets

        self.number, self._runs = runs[0].number, runs
        self._facts = ipywidgets.HTML()
        self._picks: list[tuple[PastRun, _Toggle]] = []
        self._columns: list[tuple[PastRun, Any]] = []
        self.lines: list[Any] = []
        for past in runs:
            column = ipywidgets.HTML()
            self._columns.append((past, column))
            buttons: list[Any] = []
            if past.state.result is not None:
                label = f"{past.model} for comparison {self.number}: {facts.short_prompt(past, _LABEL_CHARS)}"
                toggle = _Toggle(actions, "Pick", "Picked", label, partial(actions.pick, runs, past), 1)
                self._picks.append((past, toggle))
                buttons = [toggle.button, *_copy(past, label)]
            line = ipywidgets.HBox([column, *buttons])
            line.add_class("llmr-actions")
            line.add_class("llmr-column")
            self.lines.append(line)
        self.box = ipywidgets.VBox([self._facts, *self.lines])
        self.box.add_class("llmr-run")

    def refresh(self) -> None:
        set_html(self._facts, entry_html(facts.comparison_entry(self._runs)))
        for past, column in self._columns:
            set_html(column, column_html(facts.entry_column(past, with_rating=False)))
        for past, toggle in self._picks:
            toggle.set_rating(past.rating)


Row = RunRow | ComparisonRow


class _Toggle:
    """A button that is on for one rating. A sign and a word show it."""

    def __init__(
        self, actions: Actions, off: str, on: str, label: str, press: Callable[[], None], rating: Rating
    ) -> None:
        self.button = _button(actions, label, press)
        self._off, self._on, self._rating = off, f"✓ {on}", rating
        self.set_rating(None)

    def set_rating(self, rating: Rating | None) -> None:
        _set_word(self.button, self._on if rating == self._rating else self._off)


def set_html(widget: Any, html: str) -> None:
    set_value(widget, f"<div class='{INERT_CLASSES}'>{html}</div>")


def _button(actions: Actions, label: str, press: Callable[[], None]) -> Any:
    import ipywidgets

    button = ipywidgets.Button(tooltip=label)

    def on_click(_: Any) -> None:
        try:
            press()
        except LLMMagicError as error:
            actions.show_message(error_text(error))

    button.on_click(on_click)
    return button


def _set_word(button: Any, word: str) -> None:
    """Set the visible first line of a button. The second line is for screen readers; the style hides it."""
    if button.description != (description := f"{word}\n{button.tooltip}"):
        button.description = description


def _copy(past: PastRun, label: str) -> list[Any]:
    import ipywidgets

    if past.state.result is None:
        return []
    label = escape(f"Copy the answer of {label}")
    return [
        ipywidgets.HTML(
            f'<button type="button" class="llmr-copy" aria-label="{label}" title="{label}" '
            f'onclick="{escape(_ON_COPY)}">Copy</button>'
            f'<textarea hidden readonly aria-label="{label}" rows="4">{escape(past.state.result.text)}</textarea>'
        )
    ]
