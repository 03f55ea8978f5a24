"""The views of a comparison: each answer streams in its column, with no more traffic than a single run."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest

from llm_magic.errors import StreamBroken
from llm_magic.events import RunFailed
from llm_magic.jupyter.display import live_view
from llm_magic.jupyter.display.comparison_view import ComparisonView
from llm_magic.jupyter.render import bundles, html
from llm_magic.jupyter.render.facts import comparison_footer
from llm_magic.jupyter.render.run_state import RunState
from llm_magic.providers.base import ProviderRequest
from llm_magic.testing import Failure, Reply
from tests.support.builders import model, router
from tests.support.display import Display, Time, paragraphs

NAMES = ["a", "b", "c"]


def interleaved_events(chunks: int, failing: str = "") -> list[tuple[str, Any]]:
    """The events of a comparison, in turn by column. The answers of b and c are two and three times as long as a's."""

    def reply(request: ProviderRequest) -> Reply | Failure:
        length = chunks * (NAMES.index(request.model.id) + 1)
        parts = tuple(f"{request.model.id} {paragraphs(number)}" for number in range(length))
        if request.model.id == failing:
            return Failure(error=StreamBroken("x"), chunks=parts)
        return Reply(chunks=parts)

    session = router(*(model(name) for name in NAMES), replies=reply)
    job = session.compare_job(session.plans("hello", models=NAMES))
    by_label: dict[str, list[Any]] = {name: [] for name in NAMES}
    for label, event in job:
        by_label[label].append(event)
    longest = max(map(len, by_label.values()))
    return [(name, by_label[name][turn]) for turn in range(longest) for name in NAMES if turn < len(by_label[name])]


def advance(events: list[tuple[str, Any]], view: ComparisonView, time: Time, step_s: float) -> dict[str, RunState]:
    """Apply the events to new states, and update the view after each."""
    states = {name: RunState(monotonic=time, shows_error=True) for name in NAMES}
    for label, event in events:
        if isinstance(event, RunFailed):
            states[label].ending = "no answer"
        else:
            states[label].apply(event)
        time.now += step_s
        view.update(states)
    return states


def test_each_answer_streams_in_its_column(display: Display) -> None:
    time = Time()
    view = ComparisonView(NAMES, monotonic=time)
    events = interleaved_events(5)
    half = advance(events[: len(events) // 2], view, time, 1.0)
    for number, name in enumerate(NAMES, 1):
        assert half[name].parts
        assert f"{name} word 0" in view.live[name].answer_html
        assert f'aria-label="{number}. {name}"' in view.live[name].facts.value
    states = advance(events, view, time, 1.0)
    view.finish(states)
    static, widget = display.places
    assert bundles.runs(states)["text/html"] in static[-1]["text/html"]
    assert len(widget) == 1
    assert view.box.comm is not None, "it stays, for its buttons"
    view.freeze()
    assert bundles.runs(states)["text/html"] in static[-1]["text/html"]
    assert widget[-1] == {"text/html": ""}
    assert view.box.comm is None, "closed"


def test_the_picked_answer_stays_in_its_place_and_the_others_are_folded(display: Display) -> None:
    view = ComparisonView(NAMES, monotonic=(time := Time()))
    states = advance(interleaved_events(5, failing="c"), view, time, 1.0)
    picked: list[str] = []
    view.finish(states)
    assert [pick.button.layout.display for pick in view.picks.values()] == ["none"] * 3
    view.offer(picked.append)
    assert [pick.button.layout.display for pick in view.picks.values()] == [None, None, "none"]
    view.picks["b"].button.click()
    assert picked == ["b"]
    view.show_pick("b")
    assert [pick.button.description.split("\n")[0] for pick in view.picks.values()] == ["Pick", "✓ Picked", "Pick"]
    assert [live.answer_html.startswith("<details") for live in view.live.values()] == [True, False, True]
    sections = re.findall(r"<section.*?</section>", display.places[0][-1]["text/html"], re.DOTALL)
    assert ["<details" in section for section in sections] == [True, False, True]
    assert ["your pick" in section for section in sections] == [False, True, False]
    assert all("word 0" in section for section in sections), "nothing is lost"
    view.show_pick(None)
    assert "<details" not in display.places[0][-1]["text/html"]


def test_the_output_of_a_dead_kernel_names_the_models(display: Display) -> None:
    ComparisonView(NAMES, monotonic=Time())
    assert display.places[0][0]["text/plain"].startswith("Sent to a and b and c. This run did not finish")


def test_a_comparison_that_was_refused_leaves_no_output(display: Display) -> None:
    view = ComparisonView(NAMES, monotonic=Time())
    view.finish({})
    assert display.places[-2][-1] == display.places[-1][-1] == {"text/html": ""}
    assert view.box.comm is None, "closed"


def test_streaming_can_be_turned_off(display: Display) -> None:
    time = Time()
    view = ComparisonView(NAMES, stream=False, monotonic=time)
    events = interleaved_events(5)
    advance(events[:-1], view, time, 1.0)
    assert "c word" not in view.live["c"].answer_html
    states = advance(events, view, time, 1.0)
    view.finish(states)
    assert "c word 14" in view.live["c"].answer_html
    assert view.box.comm is not None, "stays open"
    assert "c word 14" in display.places[0][-1]["text/html"]


def test_a_broken_answer_is_displayed_with_how_it_ended(display: Display) -> None:
    time = Time()
    view = ComparisonView(NAMES, monotonic=time)
    states = advance(interleaved_events(5, failing="b"), view, time, 1.0)
    assert "no answer" in view.live["b"].facts.value
    view.finish(states)
    assert "b word 0" in bundles.runs(states)["text/html"]


def test_a_comparison_sends_no_more_updates_than_a_single_run(
    display: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most 20 messages per second, and traffic that grows linearly with the text."""

    def traffic(chunks: int) -> tuple[float, int]:
        sent: list[tuple[float, int]] = []
        time = Time()

        def set_value(widget: Any, value: str) -> None:
            if widget.value != value:
                widget.value = value
                sent.append((time.now, len(value)))

        monkeypatch.setattr(live_view, "set_value", set_value)
        advance(interleaved_events(chunks), ComparisonView(NAMES, monotonic=time), time, 0.01)
        seconds = [int(sent_at) for sent_at, _ in sent]
        return max(map(seconds.count, set(seconds))), sum(size for _, size in sent)

    short_rate, short_size = traffic(60)
    long_rate, long_size = traffic(600)
    assert max(short_rate, long_rate) <= 20
    assert long_size <= 13 * short_size


def test_the_footer_states_the_session_against_its_cap() -> None:
    states = {label: RunState(cap_usd=Decimal(5), session_usd=Decimal(2)) for label in ("a", "b")}
    assert comparison_footer(states) == ("total $0", "session $2.00 of $5.00")


def test_hostile_text_is_inert_while_it_streams(display: Display) -> None:
    time = Time()
    view = ComparisonView(NAMES, monotonic=time)
    evil = "<img src=x onerror=alert(1)>"
    session = router(*(model(name) for name in NAMES), replies=lambda _: Reply(chunks=(evil,)))
    states = advance(list(session.compare_job(session.plans("hello", models=NAMES))), view, time, 1.0)
    states["a"].ending, states["a"].result = evil, None
    time.now += 1
    view.update(states)
    assert "&lt;img" in view.live["a"].facts.value
    assert "<img" not in view.live["a"].answer_html + view.live["b"].answer_html + view.live["a"].facts.value
    assert html.lone_answer(evil) == view.live["b"].answer_html
