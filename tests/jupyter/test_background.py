"""Runs in the background: cells that return at once, answers that arrive later, in a shell of this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import CancelledError
from types import SimpleNamespace
from typing import Any

import pytest

from llm_magic import AllAttemptsFailed, AuthFailed, Ledger, RequestError, Router
from llm_magic.events import TextDelta
from llm_magic.jupyter.display import run_view
from llm_magic.jupyter.render.run_state import RunState
from llm_magic.jupyter.run import background, history
from llm_magic.jupyter.run.background import BackgroundRun
from llm_magic.jupyter.run.foreground import Stopped
from llm_magic.providers.base import Finished, ProviderEvent, ProviderRequest, UsageReport
from llm_magic.testing import FakeClock
from llm_magic.types import Usage
from tests.support.builders import model, registry
from tests.support.shell import Shell, loaded

WAIT_S = 30


class Gate:
    """A provider that answers when told to; knows how many it serves at once."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.now = self.most = 0
        self.begun = threading.Semaphore(0)

    def unavailable(self) -> None:
        return None

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        self.now += 1
        self.most = max(self.most, self.now)
        self.begun.release()
        try:
            yield TextDelta(text="Half ")
            while not self.open.is_set():
                await asyncio.sleep(0.001)
            yield TextDelta(text="and whole.")
            yield UsageReport(usage=Usage(input_tokens=10, output_tokens=5))
            yield Finished(finish_reason="stop", served_model=request.model.id)
        finally:
            self.now -= 1


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def shell(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    ours = Router(
        registry=registry(model("cheap", price="0.1/0.5"), concurrency=2),
        providers={"cloud": gate},
        ledger=Ledger(":memory:"),
        clock=FakeClock().clock(),
    )
    monkeypatch.setattr(background, "_runs", {})
    with loaded(ours, gate) as shell:
        yield shell
        gate.open.set()
        for run in background.chosen([]):
            run.cancel()
            run._over.wait(WAIT_S)


def test_the_cell_returns_at_once_and_the_answer_is_bound_when_it_is_there(shell: Shell, gate: Gate) -> None:
    assert shell.run("%%route --background --out answer\nhello") == ""
    run = shell["answer"]
    assert isinstance(run, BackgroundRun)
    assert shell["_route"] is run
    assert not run.done()
    assert gate.begun.acquire(timeout=WAIT_S)
    gate.open.set()
    assert run.result(WAIT_S).text == "Half and whole."
    assert shell["answer"] is shell["_route"] is run.result()
    assert history.last().state.result is run.result(), "the panel knows it"
    assert repr(run) == f"<background run {run.number}: answered>"


def test_a_name_that_was_used_for_something_else_meanwhile_is_left_alone(shell: Shell, gate: Gate) -> None:
    shell.run("%%route --background --out answer\nhello")
    run = shell["answer"]
    shell.run("answer = 'mine'")
    gate.open.set()
    run.result(WAIT_S)
    assert shell["answer"] == "mine"
    assert shell["_route"] is run.result()


def test_many_wait_their_turn_and_jobs_lists_and_joins_them(shell: Shell, gate: Gate) -> None:
    for number in range(6):
        shell.run(f"%%route --background --out r{number}\nprompt   number {number}")
    for _ in range(2):
        assert gate.begun.acquire(timeout=WAIT_S)
    shell.run("table = %route_jobs")
    table = shell["table"]
    assert list(table["names"])[:2] == ["_route, r0", "_route, r1"]
    assert list(table["prompt"])[5] == "prompt number 5"
    gate.open.set()
    out = shell.run("%route_jobs wait")
    assert out.count("Half and whole.") == 6
    assert gate.most == 2
    assert shell.router.ledger.held_usd == 0
    assert len(shell.router.ledger.rows()) == 6
    shell.run("table = %route_jobs")
    assert set(shell["table"]["standing"]) == {"answered"}
    assert shell.run("%route_jobs wait") == "", "shown once"


def test_cancel_cancels_upstream_and_settles(shell: Shell, gate: Gate) -> None:
    shell.run("%%route --background --out one\nhello")
    shell.run("%%route --background --out two\nhello")
    one, two = shell["one"], shell["two"]
    for _ in range(2):
        assert gate.begun.acquire(timeout=WAIT_S)
    shell.run(f"%route_jobs cancel {one.number}")
    with pytest.raises(CancelledError, match=rf"run {one.number} was cancelled after \d tokens, about USD"):
        one.result(WAIT_S)
    assert shell["one"] is one
    gate.open.set()
    shell.run("%route_jobs wait")
    assert two.result().text == "Half and whole."
    assert sorted(row.outcome for row in shell.router.ledger.rows()) == ["cancelled", "ok"]
    assert shell.router.ledger.held_usd == 0


def test_a_failure_stops_whoever_waits_once(shell: Shell, monkeypatch: pytest.MonkeyPatch, gate: Gate) -> None:
    async def refuse(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        raise AuthFailed("bad key")
        yield

    monkeypatch.setattr(gate, "stream", refuse)
    shell.run("%%route --background --out answer\nhello")
    run = shell["answer"]
    out, error = shell.fail("%route_jobs wait")
    assert isinstance(error, AllAttemptsFailed)
    assert "Traceback" not in out
    assert "no answer after 1 attempt: cheap: auth failed (bad key)" in out
    shell.run("%route_jobs wait")
    with pytest.raises(AllAttemptsFailed):
        run.result()
    shell.run("table = %route_jobs")
    assert "bad key" in shell["table"]["standing"].iloc[0]


def test_a_run_that_may_not_start_says_so(shell: Shell) -> None:
    shell.run("%route_budget 0\n")
    shell.run("%%route --background\nhello")
    out, error = shell.fail("%route_jobs wait")
    assert "BudgetExceeded: over budget" in out
    assert type(error).__name__ == "BudgetExceeded"


def test_an_interrupt_ends_the_waiting_and_not_the_runs(
    shell: Shell, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.run("%%route --background --out answer\nhello")
    run = shell["answer"]

    def interrupted(timeout_s: float | None = None) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(run, "result", interrupted)
        with pytest.raises(Stopped, match="the runs go on"):
            background.wait([run])
    assert not run.done()
    gate.open.set()
    assert run.result(WAIT_S).text == "Half and whole."


def test_result_has_a_limit(shell: Shell) -> None:
    shell.run("%%route --background --out answer\nhello")
    with pytest.raises(TimeoutError, match="is still under way"):
        shell["answer"].result(0)


def test_what_there_is_not_is_said(shell: Shell) -> None:
    for cell, says in (
        ("%route_jobs wait 9999", "RequestError: no run 9999 in the background"),
        ("%route_jobs stop", "UsageError: argument action: invalid choice: 'stop'"),
        ("%route_jobs wait x", "invalid int value: 'x'"),
    ):
        out, _ = shell.fail(cell)
        assert says in out
        assert "Traceback" not in out


def test_those_that_are_over_are_forgotten_in_the_end(
    shell: Shell, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "KEPT", 2)
    gate.open.set()
    for _ in range(3):
        shell.run("run = %route --background hello")
        shell["run"].result(WAIT_S)
    assert [run.number for run in background.chosen([])] == [shell["run"].number - 1, shell["run"].number]
    with pytest.raises(RequestError, match="no run"):
        background.chosen([shell["run"].number - 2])


def test_a_drawing_that_fails_does_not_lose_the_answer(shell: Shell, gate: Gate) -> None:
    class Torn:
        def update(self, state: RunState) -> None:
            raise RuntimeError("no front end")

        finish = update

    gate.open.set()
    request = shell.router.request("hello")
    run = background.start(shell.router, request, Torn(), {}, ())
    assert run._over.wait(WAIT_S)
    run.joined = True
    assert run.result().text == "Half and whole."


def test_where_nobody_watches_the_place_is_taken_at_once_and_filled_later(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []

    def display(bundle: dict[str, str], raw: bool, display_id: bool) -> Any:
        shown.append(bundle)
        return SimpleNamespace(update=lambda bundle, raw: shown.append(bundle))

    monkeypatch.setattr("IPython.display.display", display)
    shell = SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=False))
    screen = run_view.in_background(shell, freeze=True, stream=True)
    assert shown == [{"text/plain": "running in the background"}]
    state = RunState(unwatched=True)
    screen.update(state)
    state.ended = "no answer: <b>over budget"
    screen.finish(state)
    assert "no answer: &lt;b&gt;over budget" in shown[1]["text/html"]
    assert "no answer: <b>over budget" in shown[1]["text/plain"]
