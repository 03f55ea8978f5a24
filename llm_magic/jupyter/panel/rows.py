"""What was asked, in the panel: a run, or a comparison, with its buttons."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from llm_magic.errors import LLMMagicError
from llm_magic.jupyter.panel import text
from llm_magic.jupyter.render.markdown import escape
from llm_magic.jupyter.run.foreground import error_text
from llm_magic.jupyter.run.history import PastRun

if TYPE_CHECKING:
    from llm_magic.jupyter.panel import Panel

_COPY = (
    "const button=this,text=this.nextElementSibling;"
    "(navigator.clipboard?navigator.clipboard.writeText(text.value):Promise.reject())"
    ".then(()=>{button.textContent='Copied'},"
    "()=>{text.hidden=false;text.select();document.execCommand('copy');button.textContent='Select and copy'})"
)
"""In the page alone: it works while the kernel is busy, and when it is gone."""


_RATINGS: tuple[tuple[str, Literal[1, -1]], ...] = (("Good", 1), ("Bad", -1))


class RunRow:
    """One run: its facts, its buttons, and its answer where that came into the panel."""

    def __init__(self, panel: Panel, done: PastRun, answer: Any) -> None:
        import ipywidgets

        self.number, self._done = done.number, done
        self._facts = ipywidgets.HTML()
        about = f"run {done.number}: {text.prompt(done, 60)}"
        self._rates = [
            _Choice(panel, word, word, f"rate {word.lower()} {about}", partial(panel.rate, done, rating), rating)
            for word, rating in _RATINGS
            if done.state.result is not None
        ]
        escalate = _button(panel, f"ask again one tier up {about}", partial(panel.escalate, done))
        _say(escalate, "Escalate")
        buttons = [escalate, *(each.button for each in self._rates), *_copy(done, about)]
        actions = ipywidgets.HBox(buttons)
        actions.add_class("llmr-actions")
        self.box = ipywidgets.VBox([self._facts, actions, *([answer] if answer is not None else [])])
        self.box.add_class("llmr-run")

    def refresh(self) -> None:
        put(self._facts, text.run_html(self._done, rated=False))
        for each in self._rates:
            each.chosen(self._done.rating)


class ComparedRow:
    """A comparison: the facts of all, and of each model with its buttons."""

    def __init__(self, panel: Panel, runs: list[PastRun]) -> None:
        import ipywidgets

        self.number, self._runs = runs[0].number, runs
        self._facts = ipywidgets.HTML()
        self._picks: list[tuple[PastRun, _Choice]] = []
        self._columns: list[tuple[PastRun, Any]] = []
        lines: list[Any] = []
        for done in runs:
            facts = ipywidgets.HTML()
            self._columns.append((done, facts))
            about = f"{done.model} for comparison {self.number}: {text.prompt(done, 60)}"
            buttons: list[Any] = []
            if done.state.result is not None:
                choice = _Choice(panel, "Pick", "Picked", about, partial(panel.pick, runs, done), 1)
                self._picks.append((done, choice))
                buttons = [choice.button, *_copy(done, about)]
            line = ipywidgets.HBox([facts, *buttons])
            line.add_class("llmr-actions")
            line.add_class("llmr-column")
            lines.append(line)
        self.box = ipywidgets.VBox([self._facts, *lines])
        self.box.add_class("llmr-run")

    def refresh(self) -> None:
        put(self._facts, text.compared_html(self._runs))
        for done, facts in self._columns:
            put(facts, text.column_html(done, rated=False))
        for done, choice in self._picks:
            choice.chosen(done.rating)


Row = RunRow | ComparedRow


class _Choice:
    """A button that can be on: said by a sign and a word."""

    def __init__(self, panel: Panel, off: str, on: str, about: str, do: Callable[[], None], rating: int) -> None:
        self.button = _button(panel, about, do)
        self._off, self._on, self._rating = off, f"✓ {on}", rating
        self.chosen(None)

    def chosen(self, rating: int | None) -> None:
        _say(self.button, self._on if rating == self._rating else self._off)


def _button(panel: Panel, about: str, do: Callable[[], None]) -> Any:
    import ipywidgets

    button = ipywidgets.Button(tooltip=about)

    def pressed(_: Any) -> None:
        try:
            do()
        except LLMMagicError as error:
            panel.say(error_text(error))

    button.on_click(pressed)
    return button


def _say(button: Any, word: str) -> None:
    """A button's word; its second line is cut off by the style, and is there for screen readers."""
    if button.description != (description := f"{word}\n{button.tooltip}"):
        button.description = description


def _copy(done: PastRun, about: str) -> list[Any]:
    import ipywidgets

    if done.state.result is None:
        return []
    label = escape(f"Copy the answer of {about}")
    return [
        ipywidgets.HTML(
            f'<button type="button" class="llmr-copy" aria-label="{label}" title="{label}" '
            f'onclick="{escape(_COPY)}">Copy</button>'
            f'<textarea hidden readonly aria-label="{label}" rows="4">{escape(done.state.result.text)}</textarea>'
        )
    ]


def put(widget: Any, html: str) -> None:
    """Show this, if it does not already."""
    if widget.value != (value := f"<div class='llmr mathjax_ignore tex2jax_ignore'>{html}</div>"):
        widget.value = value
