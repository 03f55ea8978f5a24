"""The session's panel: what it has cost, how the providers are, and the last runs with what can be done about them.

It is one live widget; its twin, plain HTML in the same cell, is hidden while the widget lives and is what a saved
notebook shows. A button's callback runs when the kernel is idle, on any thread: it only starts runs in the background,
updates widgets, and never prints.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from llm_magic import routing
from llm_magic.budget import show_usd
from llm_magic.errors import LLMMagicError
from llm_magic.jupyter import binding, draw, jobs, session
from llm_magic.jupyter.live import Live
from llm_magic.jupyter.safe import escape, fenced
from llm_magic.jupyter.session import Done
from llm_magic.jupyter.style import PANEL_STYLE, STYLE, hides
from llm_magic.jupyter.watch import error_text

if TYPE_CHECKING:
    from llm_magic.jupyter.state import RunState
    from llm_magic.routing import Router

SHOWN = 8
"""Runs that the panel lists."""
_COPY = (
    "const button=this,text=this.nextElementSibling;"
    "(navigator.clipboard?navigator.clipboard.writeText(text.value):Promise.reject())"
    ".then(()=>{button.textContent='Copied'},"
    "()=>{text.hidden=false;text.select();document.execCommand('copy');button.textContent='Select and copy'})"
)
"""In the page alone: it works while the kernel is busy, and when it is gone."""


class Panel:
    """Made at the first `%route_panel`; shown again by each further one."""

    def __init__(self, shell: Any) -> None:
        import ipywidgets

        self._shell = shell
        self._html, self._button = ipywidgets.HTML, ipywidgets.Button
        self._vertical, self._horizontal = ipywidgets.VBox, ipywidgets.HBox
        self._head = ipywidgets.HTML()
        self._said = ipywidgets.HTML()
        self._rows = ipywidgets.VBox()
        style = ipywidgets.HTML()
        self._box = ipywidgets.VBox([style, self._head, self._said, self._rows])
        self._box.add_class("llmr-panel")
        self._name = f"of-{self._box.model_id}"
        style.value = STYLE + PANEL_STYLE + hides(self._name)
        self._of: dict[int, _Row] = {}
        self._under_way: list[_Escalation] = []
        self._lock = threading.RLock()
        self._twin: Any = None

    def show(self) -> None:
        """In the cell that is running."""
        from IPython.display import display

        self.refresh()
        self._twin = display(bundle(routing.session_router(), self._name), raw=True, display_id=True)
        view = {"model_id": self._box.model_id, "version_major": 2, "version_minor": 0}
        display({"application/vnd.jupyter.widget-view+json": view, "text/plain": ""}, raw=True)

    def refresh(self) -> None:
        """Draw it anew. From any thread."""
        with self._lock:
            router = routing.session_router()
            _set(self._head, f"<div class='llmr mathjax_ignore tex2jax_ignore'>{_head(router)}</div>")
            rows = [self._row(done) for done in session.recent()[:SHOWN]]
            children = (*(each.live.box for each in self._under_way), *(row.box for row in rows))
            if self._rows.children != children:
                self._rows.children = children
            self._of = {row.done.number: row for row in rows}
            if self._twin is not None:
                self._twin.update(bundle(router, self._name), raw=True)

    def close(self) -> None:
        """Take it down; the twins stay."""
        self._box.close()

    def say(self, words: str) -> None:
        _set(self._said, f'<div class="llmr llmr-said" role="status" aria-live="polite">{escape(words)}</div>')

    def _row(self, done: Done) -> _Row:
        row = self._of.get(done.number)
        if row is None:
            mine = [each for each in self._under_way if each.state is done.state]
            self._under_way = [each for each in self._under_way if each.state is not done.state]
            row = _Row(self, done, mine[0].live.box if mine else None)
        row.refresh()
        return row

    def escalate(self, done: Done) -> None:
        """Run it again one tier up, in the background; the answer comes into the panel."""
        router = routing.session_router()
        request = session.escalated(router, done)
        run = _Escalation(self, done)
        with self._lock:
            self._under_way.insert(0, run)
        self.say(f"Run {done.number} is asked again one tier up: {router.plan(request).tier}.")
        self.refresh()
        jobs.start(router, request, run, self._shell.user_ns, [binding.LAST])

    def rate(self, done: Done, rating: Literal[1, -1]) -> None:
        """Rate it, or take the same rating back."""
        new: Literal[1, -1] | None = None if done.rating == rating else rating
        session.rate(routing.session_router(), done, new)
        words = {1: "rated good", -1: "rated bad", None: "no longer rated"}
        self.say(f"Run {done.number} is {words[new]}.")

    def forget(self, run: _Escalation) -> None:
        """One that was refused before it began."""
        with self._lock:
            self._under_way = [each for each in self._under_way if each is not run]
        self.refresh()


class _Row:
    """One run: its facts, its buttons, and its answer where that came into the panel."""

    def __init__(self, panel: Panel, done: Done, answer: Any) -> None:
        self.done = done
        self._facts = panel._html()
        buttons: list[Any] = []
        self._up = self._down = None
        about = f"run {done.number}: {_prompt(done, 60)}"
        if done.state.result is not None:
            self._up = _button(panel, "Good", f"Rate good {about}", partial(panel.rate, done, 1))
            self._down = _button(panel, "Bad", f"Rate bad {about}", partial(panel.rate, done, -1))
            label = escape(f"Copy the answer of {about}")
            text = escape(done.state.result.text)
            copy = panel._html(
                f'<button type="button" class="llmr-copy" aria-label="{label}" title="{label}" '
                f'onclick="{escape(_COPY)}">Copy</button>'
                f'<textarea hidden readonly aria-label="{label}" rows="4">{text}</textarea>'
            )
            buttons = [self._up, self._down, copy]
        buttons.insert(0, _button(panel, "Escalate", f"Ask again one tier up {about}", partial(panel.escalate, done)))
        actions = panel._horizontal(buttons)
        actions.add_class("llmr-actions")
        self.box = panel._vertical([self._facts, actions, *([answer] if answer is not None else [])])
        self.box.add_class("llmr-run")

    def refresh(self) -> None:
        _set(self._facts, f"<div class='llmr mathjax_ignore tex2jax_ignore'>{_run(self.done)}</div>")
        for button, rating, word in ((self._up, 1, "Good"), (self._down, -1, "Bad")):
            if button is not None:
                chosen = self.done.rating == rating
                button.description = f"✓ {word}" if chosen else word


class _Escalation:
    """The screen of a run that was started by a button: in the panel, above the others."""

    def __init__(self, panel: Panel, of: Done) -> None:
        self.live = Live()
        self.state: RunState | None = None
        self._panel, self._of = panel, of

    def update(self, state: RunState) -> None:
        self.state = state
        self.live.update(state)

    def finish(self, state: RunState) -> None:
        self.state = state
        if state.plan is None:
            self._panel.say(f"Run {self._of.number} was not asked again: {state.ended}")
            self._panel.forget(self)
            self.live.close()
            return
        self.live.finish(state)
        cost = draw.cost(state).removeprefix("this cell ")
        self._panel.say(f"Run {self._of.number} was asked again: {state.ended or f'answered, {cost}'}.")


def _button(panel: Panel, word: str, about: str, do: Callable[[], None]) -> Any:
    button = panel._button(description=word, tooltip=about)

    def pressed(_: Any) -> None:
        try:
            do()
        except LLMMagicError as error:
            panel.say(error_text(error))

    button.on_click(pressed)
    return button


def _set(widget: Any, value: str) -> None:
    if widget.value != value:
        widget.value = value


# What the panel says, for the widget and for its twin.


def bundle(router: Router, name: str = "") -> dict[str, str]:
    """The panel as it stands: for a saved notebook, a terminal, or a kernel that nobody watches.

    Hidden while the widget of this name lives.
    """
    runs = session.recent()[:SHOWN]
    listed = "".join(f'<li class="llmr-run">{_run(done)}</li>' for done in runs)
    now = f"{datetime.now().astimezone():%Y-%m-%d %H:%M}"
    lines = [*_lines(router), *(" · ".join(_facts(done)) for done in runs)]
    text = "\n".join(lines)
    return {
        "text/html": f'{STYLE}{PANEL_STYLE}<div class="llmr llmr-twin llmr-{name} mathjax_ignore tex2jax_ignore">'
        f'{_head(router)}<ol class="llmr-runs" aria-label="The last runs">{listed}</ol>'
        f'<div class="llmr-row">as of {now}; run %route_panel for the live one</div></div>',
        "text/markdown": fenced(text),
        "text/plain": text,
    }


def _lines(router: Router) -> list[str]:
    """The session in lines: its money, its providers."""
    spent, held, cap = router.ledger.spent_usd, router.ledger.held_usd, router.budget.session_usd
    of = "" if cap is None else f" of {show_usd(cap)}"
    reserved = f", {show_usd(held)} held" if held else ""
    saved = router.ledger.saved_usd
    word = f"saved {show_usd(saved)}" if saved >= 0 else f"spent {show_usd(-saved)} more"
    return [f"session {show_usd(spent)}{of}{reserved}; {word} against the top model", *providers(router)]


def providers(router: Router) -> list[str]:
    """Each provider in a line: usable, or why not, and which of its models are cooling down until when."""
    lines: list[str] = []
    for name in dict.fromkeys(model.provider for model in router.registry):
        models = [model for model in router.registry if model.provider == name]
        if why := router.unavailable(models[0]):
            lines.append(f"– {name}: {why}")
            continue
        troubles: list[str] = []
        for model in models:
            circuit = router.circuit(model)
            if circuit.state == "open":
                until = datetime.now().astimezone() + timedelta(seconds=circuit.left_s)
                troubles.append(f"{model.id} cooling down until {until:%H:%M:%S}")
            elif circuit.state == "half_open":
                troubles.append(f"{model.id} to be tried out")
        count = f"{len(models)} model{'s' * (len(models) > 1)}"
        lines.append(f"✗ {name}: {'; '.join(troubles)}" if troubles else f"✓ {name}: {count}")
    return lines


def _head(router: Router) -> str:
    money, *health = _lines(router)
    session_part, saved = money.split("; ", 1)
    cap, spent = router.budget.session_usd, router.ledger.spent_usd
    meter = "" if cap is None else f" {draw.meter(spent, cap, session_part)}"
    listed = "".join(f"<li><span class='{_KIND[line[0]]}'>{escape(line)}</span></li>" for line in health)
    return (
        '<div class="llmr-head" role="group" aria-label="This session"><div class="llmr-row">'
        f'<span class="llmr-model">{escape(session_part)}</span><span>{meter}</span>'
        f'<span class="llmr-cost">{escape(saved)}</span></div>'
        f'<ul class="llmr-health" aria-label="Providers">{listed}</ul></div>'
    )


_KIND = {"✓": "ok", "✗": "bad", "–": ""}


def _facts(done: Done) -> list[str]:
    """A run in a few words each."""
    parent = next((each.number for each in session.recent() if each.state.run_id == done.request.parent_run_id), None)
    rated = {1: "rated good", -1: "rated bad", None: ""}[done.rating]
    facts = [
        f"{done.number}",
        done.model,
        str(done.tier or ""),
        draw.cost(done.state).removeprefix("this cell ") or "USD 0",
        done.state.ended,
        f"again of {parent}" if parent else "",
        rated,
        f"{done.at.astimezone():%H:%M}",
        _prompt(done, 80),
    ]
    return [fact for fact in facts if fact]


def _run(done: Done) -> str:
    number, *facts, prompt = _facts(done)
    spans = "".join(f"<span>{escape(fact)}</span>" for fact in facts)
    return f'<div class="llmr-prompt"><b>{number}</b> <b>{escape(prompt)}</b></div><div class="llmr-row">{spans}</div>'


def _prompt(done: Done, most: int) -> str:
    words = " ".join(done.request.prompt[:1_000].split())
    return words if len(words) <= most else f"{words[: most - 1]}…"
