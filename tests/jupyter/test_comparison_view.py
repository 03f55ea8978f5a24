"""A comparison while it runs: every answer streams in its column, within the traffic of one run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from llm_magic.errors import StreamBroken
from llm_magic.events import RunFailed
from llm_magic.jupyter.display import comparison_view, live_view
from llm_magic.jupyter.render import run
from llm_magic.jupyter.render.run_state import RunState
from llm_magic.providers.base import ProviderRequest
from llm_magic.testing import Failure, Reply
from tests.support.builders import model, router
from tests.support.display import Display, Time, paragraphs

NAMES = ["a", "b", "c"]


def events(chunks: int, failing: str = "") -> list[tuple[str, Any]]:
    """What happens in a comparison, in turns: b answers twice as long as a."""

    def reply(request: ProviderRequest) -> Reply | Failure:
        mine = chunks * (NAMES.index(request.model.id) + 1)
        parts = tuple(f"{request.model.id} {paragraphs(number)}" for number in range(mine))
        if request.model.id == failing:
            return Failure(error=StreamBroken("x"), chunks=parts)
        return Reply(chunks=parts)

    ours = router(*(model(name) for name in NAMES), replies=reply)
    job = ours.compare_job(ours.plans("hello", models=NAMES))
    by_label: dict[str, list[Any]] = {name: [] for name in NAMES}
    for label, event in job:
        by_label[label].append(event)
    longest = max(map(len, by_label.values()))
    return [(name, by_label[name][at]) for at in range(longest) for name in NAMES if at < len(by_label[name])]


def screen(time: Time, **options: Any) -> comparison_view._Columns:
    return comparison_view._Columns(NAMES, monotonic=time, **{"freeze": True, "stream": True, **options})


def test_the_screen_fits_the_shell(display: Display) -> None:
    def chosen(**kernel: Any) -> comparison_view.Screen:
        shell = SimpleNamespace(kernel=SimpleNamespace(**kernel)) if kernel else SimpleNamespace()
        return comparison_view.choose(shell, NAMES, freeze=True, stream=True)

    assert isinstance(chosen(_allow_stdin=True), comparison_view._Columns)
    assert isinstance(chosen(_allow_stdin=False), comparison_view._Static)
    assert isinstance(chosen(), comparison_view._Terminal)


def watch(
    happening: list[tuple[str, Any]], on: comparison_view._Columns, time: Time, step_s: float
) -> dict[str, RunState]:
    states = {name: RunState(monotonic=time, unwatched=True) for name in NAMES}
    for label, event in happening:
        if isinstance(event, RunFailed):
            states[label].ended = "no answer"
        else:
            states[label].apply(event)
        time.now += step_s
        on.update(states)
    return states


def said(on: comparison_view._Columns, label: str) -> str:
    return "".join(block.value for block in on._live[label].blocks)


def test_the_text_of_each_streams_in_its_column(display: Display) -> None:
    time = Time()
    on = screen(time)
    happening = events(5)
    half = watch(happening[: len(happening) // 2], on, time, 1.0)
    for name in NAMES:
        assert half[name].parts
        assert f"{name} word 0" in said(on, name)
        assert f'aria-label="{NAMES.index(name) + 1}. {name}"' in on._live[name].head.value
    states = watch(happening, on, time, 1.0)
    grid = on._grid
    on.finish(states)
    static, view = display.places
    assert comparison_view.bundle(states)["text/html"] in static[-1]["text/html"]
    assert view[-1] == {"text/html": ""}
    assert grid.comm is None, "closed"


def test_what_a_dead_kernel_leaves_names_the_models(display: Display) -> None:
    screen(Time())
    assert display.places[0][0]["text/plain"].startswith("a and b and c were asked. This run did not end")


def test_streaming_and_freezing_can_be_turned_off(display: Display) -> None:
    time = Time()
    on = screen(time, freeze=False, stream=False)
    happening = events(5)
    states = watch(happening[:-1], on, time, 1.0)
    assert said(on, "c") == ""
    states = watch(happening, on, time, 1.0)
    on.finish(states)
    assert "c word 14" in said(on, "c")
    assert on._grid.comm is not None, "stays"
    assert "c word 14" in display.places[0][-1]["text/html"]


def test_what_broke_off_is_shown_with_how_it_ended(display: Display) -> None:
    time = Time()
    on = screen(time)
    states = watch(events(5, failing="b"), on, time, 1.0)
    assert "no answer" in on._live["b"].head.value
    on.finish(states)
    assert "b word 0" in comparison_view.bundle(states)["text/html"]


def test_together_they_update_no_more_often_than_one_run(display: Display, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most 20 messages a second, and ten times the text is ten times the traffic."""

    def traffic(chunks: int) -> tuple[float, int]:
        sent: list[tuple[float, int]] = []
        time = Time()

        def put(widget: Any, value: str) -> None:
            if widget.value != value:
                widget.value = value
                sent.append((time.now, len(value)))

        monkeypatch.setattr(live_view, "_set", put)
        watch(events(chunks), screen(time), time, 0.01)
        seconds = {int(at) for at, _ in sent}
        return max(sum(int(at) == second for at, _ in sent) for second in seconds), sum(size for _, size in sent)

    often, small = traffic(60)
    often_long, large = traffic(600)
    assert max(often, often_long) <= 20
    assert large <= 13 * small


def test_hostile_text_is_inert_while_it_streams(display: Display) -> None:
    time = Time()
    on = screen(time)
    evil = "<img src=x onerror=alert(1)>"
    ours = router(*(model(name) for name in NAMES), replies=lambda _: Reply(chunks=(evil,)))
    states = watch(list(ours.compare_job(ours.plans("hello", models=NAMES))), on, time, 1.0)
    states["a"].ended, states["a"].result = evil, None
    on.update(states)
    assert "<img" not in said(on, "a") + said(on, "b") + on._live["a"].head.value
    assert run.body(evil) == said(on, "b")
