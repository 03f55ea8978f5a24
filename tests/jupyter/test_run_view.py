"""The views of a run: widget, static output and terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest

from llm_magic import StreamBroken
from llm_magic.events import AttemptStarted, Planned, RunEvent, TextDelta
from llm_magic.jupyter.display import live_view
from llm_magic.jupyter.display.comparison_view import ComparisonView
from llm_magic.jupyter.display.run_view import RunView, choose_view
from llm_magic.jupyter.display.static_view import PlaceholderView, StaticView
from llm_magic.jupyter.display.terminal_view import DeferredTerminalView, TerminalView
from llm_magic.jupyter.display.widget_view import WidgetView
from llm_magic.jupyter.render import bundles
from llm_magic.jupyter.render.run_state import RunState
from llm_magic.testing import Failure, Reply
from tests.support.display import Display, Time, events_of, paragraphs


@pytest.mark.parametrize(
    ("labels", "background", "expected"),
    [
        (("",), False, (TerminalView, StaticView, WidgetView)),
        (("",), True, (DeferredTerminalView, PlaceholderView, WidgetView)),
        (("a", "b"), False, (TerminalView, StaticView, ComparisonView)),
    ],
)
def test_the_view_fits_the_shell(
    display: Display, labels: tuple[str, ...], background: bool, expected: tuple[type, ...]
) -> None:
    shells = [SimpleNamespace(), *(SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=on)) for on in (False, True))]
    for shell, kind in zip(shells, expected, strict=True):
        assert type(choose_view(shell, labels, freeze=True, stream=True, background=background)) is kind


def test_voila_gets_a_live_widget(display: Display, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOILA_APP_IP", "x")
    shell = SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=False))
    assert isinstance(choose_view(shell, freeze=True, stream=True), WidgetView)


def advance(state: RunState, events: Iterable[RunEvent], view: RunView, time: Time, step_s: float = 1.0) -> None:
    """Apply the events to the state, and update the view after each."""
    for event in events:
        state.apply(event)
        time.now += step_s
        view.update({"": state})


def display_run(events: list[RunEvent], view: RunView, time: Time, step_s: float = 1.0) -> RunState:
    """Display a whole run."""
    state = RunState(cap_usd=Decimal(5), monotonic=time)
    advance(state, events, view, time, step_s)
    view.finish({"": state})
    return state


def test_a_widget_streams_and_is_replaced_by_static_output_in_the_same_place(display: Display) -> None:
    time = Time()
    view = WidgetView(monotonic=time)
    live = view.live
    facts, body = live.facts, live.blocks[0]
    events = events_of(Reply(chunks=("Hello ", "**you**")))
    state = RunState(monotonic=time)
    advance(state, events[:-1], view, time)
    assert "cheap" in facts.value
    assert "<strong>you</strong>" in body.value
    state.apply(events[-1])
    view.finish({"": state})
    frozen, whole = display.updates[-1], bundles.runs({"": state})
    assert {**frozen, "text/html": ""} == {**whole, "text/html": ""}
    assert whole["text/html"] in frozen["text/html"]
    assert display.places[1][-1] == {"text/html": ""}, "the remaining output has no height"
    assert len(display.places) == 2
    assert facts.comm is None
    assert body.comm is None, "closed, so that no widget state is left"


def test_a_frozen_run_leaves_no_widget_state(display: Display) -> None:
    """For front ends that save widget state. Without freezing, the state is smaller than twice the answer."""
    from ipywidgets import Widget

    def state() -> dict[str, Any]:
        return Widget.get_manager_state(drop_defaults=True)["state"]

    events = events_of(Reply(chunks=("A paragraph of **words** ", "and `code`, of the usual kind.\n\n") * 700))
    for freeze in (True, False):
        before, time = set(state()), Time()
        run = display_run(events, WidgetView(freeze=freeze, monotonic=time), time)
        left = {key: value for key, value in state().items() if key not in before}
        assert bool(left) is not freeze
        assert len(json.dumps(left)) < 2 * len(run.text)


def test_the_output_of_a_dead_kernel_is_displayed_from_the_start(display: Display) -> None:
    view = WidgetView(monotonic=Time())
    note, widget = display.places
    assert "its kernel was stopped or died" in note[0]["text/plain"]
    assert list(widget[0]) == ["application/vnd.jupyter.widget-view+json", "text/plain"]
    state = RunState(monotonic=Time())
    advance(state, events_of(Reply())[:4], view, Time())
    assert "<p>Sent to cheap. This run did not finish" in note[-1]["text/html"]
    assert f'class="llmr-twin {view.static_copy.css_class}"' in note[-1]["text/html"]
    assert f".{view.static_copy.css_class}{{display:none}}" in view.static_copy.style.value, (
        "hidden while the widget is alive"
    )
    assert len(note) == 2, "updated once per model"


def test_a_run_that_never_began_leaves_no_output(display: Display) -> None:
    view = WidgetView(monotonic=Time())
    view.finish({"": RunState()})
    assert [place[-1] for place in display.places] == [{"text/html": ""}] * 2


def test_without_freezing_the_widget_stays_with_the_whole_answer(display: Display) -> None:
    view = WidgetView(freeze=False, stream=False, monotonic=Time())
    state = display_run(events_of(Reply(chunks=("the end",))), view, Time(), step_s=0.0)
    assert "the end" in view.live.answer_html
    assert "<summary>" in view.live.facts.value
    assert len(display.places[1]) == 1, "the widget stays"
    assert bundles.runs({"": state})["text/html"] in display.updates[-1]["text/html"], "and so does its static copy"


def code(number: int) -> str:
    return ("```python\n" if number == 0 else "") + f"x = {number}\n"


def items(number: int) -> str:
    return f"- item {number}\n"


def table(number: int) -> str:
    return ("| a | b |\n|---|---|\n" if number == 0 else "") + f"| {number} | {number} |\n"


def one_line(number: int) -> str:
    return f"word {number} "


@pytest.mark.parametrize("chunk", [paragraphs, code, items, table, one_line])
def test_updates_are_limited_in_number_and_in_size(
    display: Display, monkeypatch: pytest.MonkeyPatch, chunk: Callable[[int], str]
) -> None:
    """Traffic grows linearly with the text, with at most ten updates per second."""

    def traffic(chunks: int) -> tuple[int, int]:
        sent: list[int] = []

        def set_value(widget: Any, value: str) -> None:
            if widget.value != value:
                widget.value = value
                sent.append(len(value))

        monkeypatch.setattr(live_view, "set_value", set_value)
        time = Time()
        reply = Reply(chunks=tuple(map(chunk, range(chunks))))
        events = [event for event in events_of(reply) if isinstance(event, TextDelta | AttemptStarted | Planned)]
        advance(RunState(monotonic=time), events, WidgetView(monotonic=time), time, step_s=0.02)
        assert len(sent) <= 3 * (chunks * 0.02 / live_view.FRAME_S + 2)
        return len(sent), sum(sent)

    (short_updates, short_size), (long_updates, long_size) = traffic(150), traffic(1_500)
    assert long_updates <= 11 * short_updates
    text = sum(len(chunk(number)) for number in range(1_500))
    assert long_size <= max(13 * short_size, (live_view.MAX_TRAFFIC_PER_CHAR + 10) * (text + live_view.BLOCK_CHARS))


def test_blocks_contain_the_whole_text_and_never_split_code_from_its_fence(display: Display) -> None:
    time = Time()
    text = "".join(map(paragraphs, range(400))) + "".join(map(code, range(400))) + "```\n\n" + "end\n\n" * 400
    view = WidgetView(monotonic=time)
    state = RunState(monotonic=time)
    chunks = tuple(text[start : start + 200] for start in range(0, len(text), 200))
    advance(state, events_of(Reply(chunks=chunks))[:-1], view, time)
    blocks = [block.value for block in view.live.blocks]
    assert len(blocks) > 4
    words = re.sub(r"<[^>]*>", "", "".join(blocks)).split()
    assert words == text.replace("```python", "").replace("```", "").split()
    for block in blocks:
        assert "x = " not in re.sub(r"<pre[^>]*>.*?</pre>", "", re.sub(r"</?span[^>]*>", "", block), flags=re.DOTALL)


def test_a_restarted_answer_replaces_the_broken_one(display: Display) -> None:
    time = Time()
    view = WidgetView(monotonic=time)
    first = "long paragraph. " * 120 + "\n\n"
    events = events_of(Failure(error=StreamBroken("x"), chunks=(first, "tail")), Reply(chunks=("whole",)))
    state = RunState(monotonic=time)
    advance(state, events, view, time)
    live = view.live
    assert "whole" in live.answer_html
    assert "paragraph" not in live.answer_html
    assert live.blocks[0].layout.comm is not None, "shared with the closed blocks"


def test_a_terminal_prints_a_status_line_and_erases_it() -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    state = display_run(events_of(Reply(chunks=("the end",))), TerminalView(out=out), Time())
    assert "\r\x1b[K… waiting for the first token from cheap" in out.getvalue()
    assert f"\r\x1b[K{state.text}" in out.getvalue()


def test_a_terminal_prints_each_token_once() -> None:
    class Counting(StringIO):
        writes = 0

        def write(self, text: str) -> int:
            Counting.writes += len(text)
            return super().write(text)

    out = Counting()
    state = display_run(events_of(Reply(chunks=tuple("abcdefghij" * 50))), TerminalView(out=out), Time())
    assert out.getvalue().startswith(state.text)
    assert Counting.writes == len(out.getvalue())
