"""Background runs in a shell of this process: their cells return at once, their answers arrive later."""

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
from llm_magic.jupyter.display.run_view import choose_view
from llm_magic.jupyter.render.run_state import RunState, RunStates, Verbosity
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
    """A provider that finishes its answers once `open` is set, and counts concurrent requests."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.current = self.max_concurrent = 0
        self.started = threading.Semaphore(0)

    def unavailable(self) -> None:
        return None

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        self.current += 1
        self.max_concurrent = max(self.max_concurrent, self.current)
        self.started.release()
        try:
            yield TextDelta(text="Half ")
            while not self.open.is_set():
                await asyncio.sleep(0.001)
            yield TextDelta(text="and whole.")
            yield UsageReport(usage=Usage(input_tokens=10, output_tokens=5))
            yield Finished(finish_reason="stop", served_model=request.model.id)
        finally:
            self.current -= 1


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def shell(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    session = Router(
        registry=registry(model("cheap", price="0.1/0.5"), concurrency=2),
        providers={"cloud": gate},
        ledger=Ledger(":memory:"),
        clock=FakeClock().clock(),
    )
    background.clear()
    with loaded(session, gate) as shell:
        yield shell
        gate.open.set()
        for run in background.select():
            run.cancel()
            run.wait(WAIT_S)
    background.clear()


def test_the_cell_returns_at_once_and_the_answer_is_bound_when_it_arrives(shell: Shell, gate: Gate) -> None:
    assert shell.run("%%route --background --out answer\nhello") == ""
    run = shell["answer"]
    assert isinstance(run, BackgroundRun)
    assert shell["_route"] is run
    assert not run.done()
    assert gate.started.acquire(timeout=WAIT_S)
    gate.open.set()
    assert run.result(WAIT_S).text == "Half and whole."
    assert shell["answer"] is shell["_route"] is run.result()
    assert history.last().state.result is run.result(), "listed in the panel"
    assert repr(run) == f"<background run {run.number}: answered>"


def test_a_name_that_was_reassigned_meanwhile_is_left_alone(shell: Shell, gate: Gate) -> None:
    shell.run("%%route --background --out answer\nhello")
    run = shell["answer"]
    shell.run("answer = 'mine'")
    gate.open.set()
    run.result(WAIT_S)
    assert shell["answer"] == "mine"
    assert shell["_route"] is run.result()


def test_runs_beyond_the_concurrency_limit_queue_and_jobs_lists_and_joins_them(shell: Shell, gate: Gate) -> None:
    for number in range(6):
        shell.run(f"%%route --background --out r{number}\nprompt   number {number}")
    for _ in range(2):
        assert gate.started.acquire(timeout=WAIT_S)
    shell.run("table = %route_jobs")
    table = shell["table"]
    assert list(table["names"])[:2] == ["_route, r0", "_route, r1"]
    assert list(table["prompt"])[5] == "prompt number 5"
    gate.open.set()
    out = shell.run("%route_jobs wait")
    assert out.count("Half and whole.") == 6
    assert gate.max_concurrent == 2
    assert shell.router.ledger.held_usd == 0
    assert len(shell.router.ledger.rows()) == 6
    shell.run("table = %route_jobs")
    assert set(shell["table"]["status"]) == {"answered"}
    assert shell.run("%route_jobs wait") == "", "displayed once"


@pytest.mark.parametrize("action", ["", " wait", " cancel"])
def test_without_background_runs_a_sentence_says_so(shell: Shell, action: str) -> None:
    assert "no background runs: %%route --background starts one" in shell.run(f"%route_jobs{action}")


def test_cancel_cancels_upstream_and_settles(shell: Shell, gate: Gate) -> None:
    shell.run("%%route --background --out one\nhello")
    shell.run("%%route --background --out two\nhello")
    one, two = shell["one"], shell["two"]
    for _ in range(2):
        assert gate.started.acquire(timeout=WAIT_S)
    shell.run(f"%route_jobs cancel {one.number}")
    with pytest.raises(CancelledError, match=rf"run {one.number} was canceled after \d tokens, about \$"):
        one.result(WAIT_S)
    assert shell["one"] is one
    gate.open.set()
    shell.run("%route_jobs wait")
    assert two.result().text == "Half and whole."
    assert sorted(row.outcome for row in shell.router.ledger.rows()) == ["cancelled", "ok"]
    assert shell.router.ledger.held_usd == 0


def test_a_failure_is_raised_once_for_the_cell_that_waits(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
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
    assert "bad key" in shell["table"]["status"].iloc[0]


def test_a_run_over_budget_reports_it_to_the_cell_that_waits(shell: Shell) -> None:
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

    def interrupted(run: background.Job) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(background, "print_until", interrupted)
        with pytest.raises(Stopped, match="the runs continue"):
            background.wait([run])
    assert not run.done()
    gate.open.set()
    assert run.result(WAIT_S).text == "Half and whole."


def test_result_raises_a_timeout_error(shell: Shell) -> None:
    shell.run("%%route --background --out answer\nhello")
    with pytest.raises(TimeoutError, match="is still running"):
        shell["answer"].result(0)


def test_unknown_runs_and_actions_are_reported_on_one_line(shell: Shell) -> None:
    for cell, message in (
        ("%route_jobs wait 9999", "RequestError: no background run 9999"),
        ("%route_jobs stop", "UsageError: invalid action stop: must be wait, cancel or now"),
        ("%route_jobs wait x", "UsageError: invalid N x: must be a number"),
    ):
        out, _ = shell.fail(cell)
        assert message in out
        assert "Traceback" not in out


def test_the_oldest_finished_runs_are_dropped_from_the_list(
    shell: Shell, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "MAX_LISTED", 2)
    gate.open.set()
    for _ in range(3):
        shell.run("run = %route --background hello")
        shell["run"].result(WAIT_S)
    assert [run.number for run in background.select()] == [shell["run"].number - 1, shell["run"].number]
    dropped = shell["run"].number - 2
    with pytest.raises(RequestError, match=f"no background run {dropped}:"):
        background.select([dropped])


def test_a_drawing_that_fails_does_not_lose_the_answer(shell: Shell, gate: Gate) -> None:
    class FailingView:
        verbosity: Verbosity = "normal"

        def update(self, states: RunStates) -> None:
            raise RuntimeError("no front end")

        finish = update

    gate.open.set()
    request = shell.router.request("hello")
    run = background.start(shell.router, request, FailingView(), {}, ())
    assert run.wait(WAIT_S)
    run.was_awaited = True
    assert run.result().text == "Half and whole."


def test_an_unattended_notebook_gets_a_placeholder_that_is_replaced_later(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []

    def display(bundle: dict[str, str], raw: bool, display_id: bool) -> Any:
        shown.append(bundle)
        return SimpleNamespace(update=lambda bundle, raw: shown.append(bundle))

    monkeypatch.setattr("IPython.display.display", display)
    shell = SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=False))
    view = choose_view(shell, freeze=True, stream=True, background=True)
    assert shown == [{"text/plain": "running in the background"}]
    state = RunState(shows_error=True)
    view.update({"": state})
    state.ending = "no answer: <b>over budget"
    view.finish({"": state})
    assert "no answer: &lt;b&gt;over budget" in shown[1]["text/html"]
    assert "no answer: <b>over budget" in shown[1]["text/plain"]
