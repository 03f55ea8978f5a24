"""What a person sees: the state folded from events, and how it is drawn."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from decimal import Decimal
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest

from llm_magic import AuthFailed, Overloaded
from llm_magic.events import AttemptStarted, Note, Planned, Progress, RunEvent, TextDelta, Waiting
from llm_magic.jupyter.display import live_view, run_view
from llm_magic.jupyter.render import run
from llm_magic.jupyter.render.run_state import RunState
from llm_magic.testing import Failure, Reply
from tests.support.builders import router
from tests.support.display import Display, Time, paragraphs


def events_of(*replies: Reply | Failure, budget: str | None = "5", **options: Any) -> list[RunEvent]:
    ours = router(replies=replies)
    ours.set_budget(budget)
    return list(ours.stream_sync("hello", **{"tier": "bulk", **options}))


def after(events: list[RunEvent]) -> RunState:
    state = RunState(cap_usd=Decimal(5))
    for event in events:
        state.apply(event)
    return state


def test_the_state_says_where_the_run_is() -> None:
    time = Time()
    state = RunState(monotonic=time)
    assert state.phase() == "planning"
    events = events_of(Reply())
    state.apply(events[0])
    state.apply(Waiting(reason="queued: cloud has as many requests under way as it may have"))
    time.now = 3.2
    assert state.phase() == "queued: cloud has as many requests under way as it may have, 3 s"
    started = next(event for event in events if isinstance(event, AttemptStarted))
    state.apply(started)
    assert state.phase() == "waiting for the first token of cheap"
    state.apply(Progress(message="loading the local model", fraction=0.42))
    assert state.phase() == "loading the local model 42%"
    state.apply(Progress(message="loaded", done=True))
    assert state.phase() == "loaded"
    state.apply(TextDelta(text="x"))
    time.now = 5.0
    assert state.phase() == "answering, 1 s"
    state.apply(Waiting(reason="cheap: rate limited, trying again", seconds=7.0))
    time.now = 7.0
    assert state.phase() == "cheap: rate limited, trying again in 5 s"


def test_the_path_while_it_runs_and_when_it_is_over() -> None:
    events = events_of(Failure(error=AuthFailed("bad key")), Reply())
    state = after(events[:4])
    assert [(step.model, step.outcome) for step in state.path()] == [
        ("cheap", "auth_failed"),
        ("strong", "running"),
    ]
    done = after(events)
    assert [(step.model, step.outcome) for step in done.path()] == [("cheap", "auth_failed"), ("strong", "ok")]


def test_all_three_twins_carry_the_same_facts() -> None:
    bundle = run.bundle(after(events_of(Failure(error=AuthFailed("bad key")), Reply(chunks=("**Hi** <b>",)))))
    for kind in ("text/html", "text/markdown", "text/plain"):
        for fact in ("strong", "BULK", "you asked for this tier", "auth failed", "10 in, 5 out tokens", "of USD 5.00"):
            assert fact in bundle[kind], (kind, fact)
    assert "<strong>Hi</strong> &lt;b&gt;" in bundle["text/html"]
    assert "**Hi** <b>" in bundle["text/plain"]
    assert bundle["text/markdown"].startswith("```\n")


def test_the_session_bar_is_labelled_and_full_at_most() -> None:
    state = after(events_of(Reply()))
    state.session_usd = Decimal("2.5")
    html = run.head(state)
    assert 'value="0.5000" aria-label="session USD 2.50 of USD 5.00, 50% of the cap"' in html
    state.session_usd = Decimal(7)
    assert 'value="1.0000"' in run.head(state)
    state.cap_usd = Decimal(0)
    assert 'value="1.0000"' in run.head(state)
    state.cap_usd = None
    assert "<meter" not in run.head(state)


def test_what_should_be_known_is_said_while_it_runs_and_afterwards() -> None:
    state = RunState()
    events = [*events_of(Reply())[:-1], Note(message="history: 900 tokens, USD 0.0001 (2 exchanges, the 4 <oldest>)")]
    for event in events:
        state.apply(event)
    assert "(2 exchanges, the 4 &lt;oldest&gt;)" in run.head(state)
    assert "(2 exchanges, the 4 <oldest>)" in run.plain(state)


def test_how_sure_the_tier_is_is_said_in_words() -> None:
    assert "BULK</span> you asked for this tier" in run.head(after(events_of(Reply())))
    plan = router().plan("Translate to French: hello")
    for confidence, said in ((0.62, "62% sure: "), (0.996, "99% sure: "), (1.0, "")):
        classification = dataclasses.replace(plan.classification, confidence=confidence)
        assert f"BULK</span> {said}translation" in run.plan_html(
            dataclasses.replace(plan, classification=classification)
        )


def test_what_comes_from_elsewhere_is_escaped() -> None:
    evil = "<img src=x onerror=alert(1)>"
    state = after(events_of(Failure(error=Overloaded(evil, retry_after_s=99)), Reply(served_model=evil)))
    assert "<img" not in run.bundle(state)["text/html"]
    assert "<img" not in run.plan_html(router().plan(f"Prove {evil}"))


def test_json_is_shown_as_code() -> None:
    reply = Reply(chunks=('{"a": "*x*"}',))
    state = after(events_of(reply, schema={"type": "object"}))
    html = re.sub("</?span[^>]*>", "", run.bundle(state)["text/html"]).replace("&quot;", '"')
    assert '<code class="language-json">{"a": "*x*"}' in html


@pytest.mark.parametrize(
    ("savings", "baseline", "says"),
    [
        ("0.9", "1", "saved USD 0.90 against top (90%)"),
        ("-0.5", "1", "spent USD 0.50 more against top (50%)"),
        ("0", "0", "USD 0 against top"),
    ],
)
def test_savings_are_signed(savings: str, baseline: str, says: str) -> None:
    assert run.savings(Decimal(savings), Decimal(baseline), "top") == says


def test_an_answer_that_was_cut_off_says_so() -> None:
    assert "cut off at the output limit: allow more with --max-tokens" in run.plain(
        after(events_of(Reply(finish_reason="length")))
    )


def test_the_screen_fits_the_shell() -> None:
    def shell(**kernel: Any) -> Any:
        return SimpleNamespace(kernel=SimpleNamespace(**kernel))

    assert isinstance(run_view.choose(SimpleNamespace(), freeze=True, stream=True), run_view.TerminalScreen)
    assert isinstance(run_view.choose(shell(_allow_stdin=False), freeze=True, stream=True), run_view.StaticScreen)


def test_voila_has_a_live_widget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOILA_APP_IP", "x")
    monkeypatch.setattr(run_view, "WidgetScreen", lambda **_: "widget")
    kernel = SimpleNamespace(_allow_stdin=False)
    assert run_view.choose(SimpleNamespace(kernel=kernel), freeze=True, stream=True) == "widget"


def watched(events: list[RunEvent], screen: run_view.Screen, time: Time, step: float = 1.0) -> RunState:
    state = RunState(cap_usd=Decimal(5), monotonic=time)
    for event in events:
        state.apply(event)
        time.now += step
        screen.update(state)
    screen.finish(state)
    return state


def test_the_widget_streams_and_is_frozen_in_the_same_place(display: Display) -> None:
    time = Time()
    screen = run_view.WidgetScreen(monotonic=time)
    head, body = screen._live.head, screen._live.blocks[0]
    events = events_of(Reply(chunks=("Hello ", "**you**")))
    state = RunState(monotonic=time)
    for event in events[:-1]:
        state.apply(event)
        time.now += 1
        screen.update(state)
    assert "cheap" in head.value
    assert "<strong>you</strong>" in body.value
    state.apply(events[-1])
    screen.finish(state)
    frozen, whole = display.updates[-1], run.bundle(state)
    assert {**frozen, "text/html": ""} == {**whole, "text/html": ""}
    assert whole["text/html"] in frozen["text/html"]
    assert display.places[1][-1] == {"text/html": ""}, "what is left of the widget takes no room"
    assert len(display.places) == 2
    assert head.comm is None
    assert body.comm is None, "closed: no widget state is left for the notebook to lose"


def test_a_frozen_run_leaves_no_widget_state(display: Display) -> None:
    """Where a front end saves the state of widgets, too. Kept alive, an answer in prose is less than twice its text."""
    from ipywidgets import Widget

    def state() -> dict[str, Any]:
        return Widget.get_manager_state(drop_defaults=True)["state"]

    words = tuple(
        f"{word} " for word in ("A paragraph of **words** and `code`, of the usual kind.\n\n" * 700).split(" ")
    )
    events = events_of(Reply(chunks=words))
    for freeze in (True, False):
        before, time = set(state()), Time()
        run = watched(events, run_view.WidgetScreen(freeze=freeze, monotonic=time), time)
        left = {key: value for key, value in state().items() if key not in before}
        assert bool(left) is not freeze
        assert len(json.dumps(left)) < 2 * len(run.text)


def test_what_a_dead_kernel_leaves_behind_is_there_from_the_start(display: Display) -> None:
    screen = run_view.WidgetScreen(monotonic=Time())
    note, view = display.places
    assert "its kernel was stopped or has died" in note[0]["text/plain"]
    assert list(view[0]) == ["application/vnd.jupyter.widget-view+json", "text/plain"]
    state = RunState(monotonic=Time())
    for event in events_of(Reply())[:4]:
        state.apply(event)
        screen.update(state)
    assert "<p>cheap was asked. This run did not end" in note[-1]["text/html"]
    assert f'class="llmr-twin {screen._twin.name}"' in note[-1]["text/html"]
    assert f".{screen._twin.name}{{display:none}}" in screen._twin._style.value, "hidden while the widget lives"
    assert len(note) == 2, "said once an attempt"


def test_a_run_that_never_began_leaves_nothing(display: Display) -> None:
    screen = run_view.WidgetScreen(monotonic=Time())
    screen.finish(RunState())
    assert [place[-1] for place in display.places] == [{"text/html": ""}] * 2


def test_without_freezing_it_stays_live_and_complete(display: Display) -> None:
    screen = run_view.WidgetScreen(freeze=False, stream=False, monotonic=Time())
    state = watched(events_of(Reply(chunks=("the end",))), screen, Time(), step=0.0)
    assert "the end" in screen._live.blocks[-1].value
    assert "this cell" in screen._live.head.value
    assert len(display.places[1]) == 1, "the widget stays"
    assert run.bundle(state)["text/html"] in display.updates[-1]["text/html"], "and so does what is read without it"


def code(number: int) -> str:
    return ("```python\n" if number == 0 else "") + f"x = {number}\n"


def items(number: int) -> str:
    return f"- item {number}\n"


def table(number: int) -> str:
    return ("| a | b |\n|---|---|\n" if number == 0 else "") + f"| {number} | {number} |\n"


def one_line(number: int) -> str:
    return f"word {number} "


@pytest.mark.parametrize("chunk", [paragraphs, code, items, table, one_line])
def test_updates_are_bounded_in_number_and_in_size(
    display: Display, monkeypatch: pytest.MonkeyPatch, chunk: Callable[[int], str]
) -> None:
    """Ten times the text is ten times the traffic, not a hundred times; and at most ten updates a second."""

    def traffic(chunks: int) -> tuple[int, int]:
        sent: list[int] = []

        def set_value(widget: Any, value: str) -> None:
            if widget.value != value:
                widget.value = value
                sent.append(len(value))

        monkeypatch.setattr(live_view, "_set", set_value)
        time = Time()
        reply = Reply(chunks=tuple(map(chunk, range(chunks))))
        events = [event for event in events_of(reply) if isinstance(event, TextDelta | AttemptStarted | Planned)]
        state, screen = RunState(monotonic=time), run_view.WidgetScreen(monotonic=time)
        for event in events:
            state.apply(event)
            time.now += 0.02
            screen.update(state)
        assert len(sent) <= 3 * (chunks * 0.02 / live_view.FRAME_S + 2)
        return len(sent), sum(sent)

    (few, small), (many, large) = traffic(150), traffic(1_500)
    assert many <= 11 * few
    text = sum(len(chunk(number)) for number in range(1_500))
    assert large <= max(13 * small, (live_view.MOST_TRAFFIC + 10) * (text + live_view.BLOCK_CHARS))


def test_blocks_make_up_the_text_and_code_stays_code(display: Display) -> None:
    time = Time()
    text = "".join(map(paragraphs, range(400))) + "".join(map(code, range(400))) + "```\n\n" + "end\n\n" * 400
    screen = run_view.WidgetScreen(monotonic=time)
    state = RunState(monotonic=time)
    for event in events_of(Reply(chunks=tuple(text[at : at + 200] for at in range(0, len(text), 200))))[:-1]:
        state.apply(event)
        time.now += 1
        screen.update(state)
    blocks = [block.value for block in screen._live.blocks]
    assert len(blocks) > 4
    words = re.sub(r"<[^>]*>", "", "".join(blocks)).split()
    assert words == text.replace("```python", "").replace("```", "").split()
    for block in blocks:
        assert "x = " not in re.sub(r"<pre[^>]*>.*?</pre>", "", re.sub(r"</?span[^>]*>", "", block), flags=re.DOTALL)


def test_a_restarted_answer_replaces_the_broken_one(display: Display) -> None:
    time = Time()
    screen = run_view.WidgetScreen(monotonic=time)
    first = "long paragraph. " * 120 + "\n\n"
    from llm_magic import StreamBroken

    events = events_of(Failure(error=StreamBroken("x"), chunks=(first, "tail")), Reply(chunks=("whole",)))
    state = RunState(monotonic=time)
    for event in events:
        state.apply(event)
        time.now += 1
        screen.update(state)
    shown = "".join(block.value for block in screen._live.blocks)
    assert "whole" in shown
    assert "paragraph" not in shown
    assert screen._live.blocks[0].layout.comm is not None, "shared with the blocks that are gone"


def test_a_terminal_says_where_the_run_is_and_takes_it_away() -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    state = watched(events_of(Reply(chunks=("the end",))), run_view.TerminalScreen(out=out), Time())
    assert "\r\x1b[K… waiting for the first token of cheap" in out.getvalue()
    assert f"\r\x1b[K{state.text}" in out.getvalue()


def test_the_terminal_writes_only_the_new_tokens() -> None:
    class Counting(StringIO):
        writes = 0

        def write(self, text: str) -> int:
            Counting.writes += len(text)
            return super().write(text)

    out = Counting()
    state = watched(events_of(Reply(chunks=tuple("abcdefghij" * 50))), run_view.TerminalScreen(out=out), Time())
    assert out.getvalue().startswith(state.text)
    assert Counting.writes == len(out.getvalue())
