"""The panel's rows: a run or a comparison, with its buttons."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from llm_magic.jupyter.display.buttons import Toggle, button, set_word
from llm_magic.jupyter.display.live_view import set_value
from llm_magic.jupyter.panel import facts
from llm_magic.jupyter.panel.output import column_html, entry_html
from llm_magic.jupyter.render.facts import answer_markdown
from llm_magic.jupyter.render.html import INERT_CLASSES, escape, folded, lone_answer
from llm_magic.jupyter.run.history import PastRun, Rating

# Runs in the page, so that copying works while the kernel is busy and after it has ended.
_ON_COPY = (
    "const button=this,text=this.nextElementSibling;"
    "(navigator.clipboard?navigator.clipboard.writeText(text.value):Promise.reject())"
    ".then(()=>{button.textContent='Copied'},"
    "()=>{text.hidden=false;text.select();document.execCommand('copy');button.textContent='Select and copy'})"
)
_LABEL_CHARS = 60
_ANSWER_CHARS = 20_000
_RATINGS: tuple[tuple[str, Rating], ...] = (("Good", 1), ("Bad", -1))


class Actions(Protocol):
    def can_escalate(self, past: PastRun) -> bool: ...

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
        has_answer = past.state.result is not None
        self._ratings = [
            (rating, _rating_toggle(actions, past, word, rating, run)) for word, rating in _RATINGS if has_answer
        ]
        buttons: list[Any] = [toggle.button for _, toggle in self._ratings]
        buttons += _copy(past, run)
        if actions.can_escalate(past):
            escalate = _button(actions, f"ask the next better model {run}", partial(actions.escalate, past))
            set_word(escalate, "Escalate")
            buttons.append(escalate)
        self.buttons = _actions(*buttons)
        self.box = ipywidgets.VBox([_line(self._facts, self.buttons), *_below(past, answer)])
        self.box.add_class("llmr-run")

    def refresh(self) -> None:
        set_html(self._facts, entry_html(facts.run_entry(self._past, with_rating=False)))
        for rating, toggle in self._ratings:
            toggle.show(is_on=rating == self._past.rating)


def _rating_toggle(actions: Actions, past: PastRun, word: str, rating: Rating, run: str) -> Toggle:
    return Toggle(_button(actions, f"rate {word.lower()} {run}", partial(actions.rate, past, rating)), word, word)


class ComparisonRow:
    def __init__(self, actions: Actions, runs: list[PastRun]) -> None:
        import ipywidgets

        self.number, self._runs = runs[0].number, runs
        self._facts = ipywidgets.HTML()
        self._picks: list[tuple[PastRun, Toggle]] = []
        self._columns: list[tuple[PastRun, Any]] = []
        self.lines: list[Any] = []
        answers: list[Any] = []
        for past in runs:
            column = ipywidgets.HTML()
            self._columns.append((past, column))
            buttons: list[Any] = []
            if past.state.result is not None:
                label = f"{past.model} for comparison {self.number}: {facts.short_prompt(past, _LABEL_CHARS)}"
                toggle = Toggle(_button(actions, label, partial(actions.pick, runs, past)), "Pick", "Picked")
                self._picks.append((past, toggle))
                buttons = [toggle.button, *_copy(past, label)]
            self.lines.append(_line(column, _actions(*buttons)))
            answers += [self.lines[-1], *_below(past, None)]
        self.box = ipywidgets.VBox([self._facts, *answers])
        self.box.add_class("llmr-run")

    def refresh(self) -> None:
        set_html(self._facts, entry_html(facts.comparison_entry(self._runs)))
        for past, column in self._columns:
            set_html(column, column_html(facts.entry_column(past, with_rating=False)))
        for past, toggle in self._picks:
            toggle.show(is_on=past.rating == 1)


Row = RunRow | ComparisonRow


def set_html(widget: Any, html: str) -> None:
    set_value(widget, f"<div class='{INERT_CLASSES}'>{html}</div>")


def _line(facts: Any, buttons: Any) -> Any:
    import ipywidgets

    line = ipywidgets.HBox([facts, buttons])
    line.add_class("llmr-line")
    return line


def _actions(*buttons: Any) -> Any:
    import ipywidgets

    box = ipywidgets.HBox(buttons)
    box.add_class("llmr-actions")
    return box


def _below(past: PastRun, live_answer: Any) -> list[Any]:
    """Return the live answer of a run that the panel started, or the folded answer. The page unfolds it: no kernel."""
    import ipywidgets

    if live_answer is not None:
        return [live_answer]
    if not past.state.text:
        return []
    text = answer_markdown(past.state)
    if len(text) > _ANSWER_CHARS:
        text = f"{text[:_ANSWER_CHARS]}…\n\n*The rest is in its cell.*"
    widget = ipywidgets.HTML()
    set_html(widget, folded(lone_answer(text)))
    return [widget]


def _button(actions: Actions, label: str, press: Callable[[], None]) -> Any:
    return button(label, press, lambda error: actions.show_message(str(error)))


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
