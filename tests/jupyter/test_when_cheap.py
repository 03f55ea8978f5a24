"""Cells that wait for the off-peak hours of a model, in a shell of this process."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from llm_magic import Ledger, Router, use_router
from llm_magic.budget import show_usd
from llm_magic.columns.estimate import ColumnPlan
from llm_magic.jupyter.render import bundles
from llm_magic.jupyter.render.grid import words
from llm_magic.jupyter.run import background
from llm_magic.jupyter.run.background import BackgroundRun
from llm_magic.ledger import owners
from llm_magic.testing import FakeClock, ScriptedProvider
from llm_magic.waiting.off_peak import clock_time
from tests.support.builders import GOOD, registry
from tests.support.shell import Shell, loaded
from tests.waiting.test_waiting import OFF_PEAK, PEAK, PEAKED, sent

WAIT_S = 30
ANSWER = "".join(GOOD.chunks)


class SteppedClock(FakeClock):
    """A clock that only a test moves."""

    async def sleep(self, seconds: float) -> None:
        del seconds
        await asyncio.sleep(0.001)


def router_at(path: Path, clock: FakeClock) -> Router:
    return Router(
        registry=registry(PEAKED),
        providers={"deepseek": ScriptedProvider([GOOD])},
        ledger=Ledger(str(path), clock=lambda: clock.now().timestamp()),
        clock=clock.clock(),
    )


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(PEAK)


@pytest.fixture
def shell(tmp_path: Path, clock: SteppedClock) -> Iterator[Shell]:
    background.clear()
    session = router_at(tmp_path / "ledger.db", clock)
    with loaded(session, session.providers["deepseek"]) as shell:
        yield shell
        for run in background.select():
            run.cancel()
        until(lambda: all(run.done() for run in background.select()))
    background.clear()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def waiting(run: background.Job) -> None:
    until(lambda: run.wait_for_price.off_peak is not None and "waiting until" in run.row()["status"])


def test_the_cell_returns_at_once_waits_and_is_answered_off_peak(
    shell: Shell, clock: SteppedClock, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell.run("%%route --when cheap --out answer\nhello") == ""
    run = shell["answer"]
    assert isinstance(run, BackgroundRun)
    waiting(run)
    background.print_until(run)  # as `%route_jobs wait` does
    assert f"run {run.number} waits until {clock_time(OFF_PEAK)}. %route_jobs now" in capsys.readouterr().out
    status = run.status()
    assert "off-peak price of deepseek-flash: $" in status
    assert "stored in the ledger's database until then" in status
    assert sent(shell.router) == []
    clock.advance((OFF_PEAK - PEAK).total_seconds())
    assert run.result(WAIT_S).text == ANSWER
    assert shell["answer"] is run.result()
    assert sent(shell.router) == [OFF_PEAK]


def test_a_plan_states_until_when_it_would_wait_and_both_costs(shell: Shell, clock: SteppedClock) -> None:
    shell.run("plan = get_ipython().run_cell_magic('route', '--plan --when cheap', 'hello')")
    plan = shell["plan"]
    assert plan.off_peak.until == OFF_PEAK
    assert plan.off_peak.now_usd == plan.expected_usd == 2 * plan.off_peak.then_usd
    shown = bundles.plan(plan)
    line = (
        f"would wait until {clock_time(OFF_PEAK)} for the off-peak price of deepseek-flash: "
        f"{show_usd(plan.off_peak.then_usd)} expected then, {show_usd(plan.off_peak.now_usd)} now"
    )
    assert line in shown["text/plain"]
    assert words(line) in shown["text/html"]
    clock.advance((OFF_PEAK - PEAK).total_seconds())
    shell.run("plan = %route_plan --when cheap hello")
    assert "would be sent at once: no lower price is expected within a day" in bundles.plan(shell["plan"])["text/plain"]
    shell.run("plan = %route_plan hello")
    assert not re.search("would (wait|be sent)", bundles.plan(shell["plan"])["text/plain"])
    assert sent(shell.router) == []


def test_the_plan_of_a_column_states_the_costs_of_its_rows_then_and_now(shell: Shell) -> None:
    one, three = (
        shell.router.plan_map("Topic of {{value}}?", over=over, when="cheap") for over in (["a"], ["a", "b", "c"])
    )
    costs = [
        [Decimal(usd) for usd in re.findall(r"\$([\d.]+) (?:expected then|now)", line)]
        for line in map(waits_of, (one, three))
    ]
    assert costs[0][1] == pytest.approx(2 * costs[0][0], rel=Decimal("0.1"))
    assert costs[1][0] == pytest.approx(3 * costs[0][0], rel=Decimal("0.1"))
    stream = shell.router.plan_map("Topic of {{value}}?", over=iter(["a"]), when="cheap")
    assert waits_of(stream).endswith(" now, per row")


def waits_of(plan: ColumnPlan) -> str:
    (line,) = (line for line in str(plan).splitlines() if line.startswith("would wait until "))
    return line


def test_jobs_sends_now_and_cancels(shell: Shell) -> None:
    for name in ("one", "two"):
        shell.run(f"%%route --when cheap --out {name}\nhello {name}")
    one, two = shell["one"], shell["two"]
    for run in (one, two):
        waiting(run)
    shell.run(f"%route_jobs now {one.number}")
    assert one.result(WAIT_S).text == ANSWER
    _, error = shell.fail(f"%route_jobs now {one.number}")
    assert "no background run waits for lower prices" in str(error)
    shell.run(f"%route_jobs cancel {two.number}")
    with pytest.raises(CancelledError):
        two.result(WAIT_S)
    assert sent(shell.router) == [PEAK]


def test_a_column_waits_too(shell: Shell, clock: SteppedClock) -> None:
    shell.run("table = {'text': ['a', 'b']}")
    shell.run("%%route --over table --when cheap --out done\nTopic of {{text}}?")
    (job,) = background.select()
    waiting(job)
    clock.advance((OFF_PEAK - PEAK).total_seconds())
    until(job.done)
    assert list(shell["done"]["answer"]) == [ANSWER] * 2
    assert set(sent(shell.router)) == {OFF_PEAK}


def after_restart(shell: Shell, path: Path, clock: SteppedClock) -> Router:
    """Make the session's router one on a copy of the ledger, in which the process of the waiting jobs is dead."""
    ours = router_at(path, clock)
    with closing(sqlite3.connect(shell.router.ledger.location)) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)
        target.execute("UPDATE llm_magic_waiting SET owner = ?", (f"{owners.pid_space()} 999999999 1.00",))
        target.commit()
    background.clear()
    use_router(ours)
    return ours


def test_jobs_survive_a_restart_of_the_kernel(shell: Shell, clock: SteppedClock, tmp_path: Path) -> None:
    shell.run("texts = ['a', 'b', 'a']")
    shell.run("%%route --when cheap --out answer\nhello")
    shell.run("%%route --over texts --when cheap\nTopic of {{value}}?")
    before = background.select()
    for job in before:
        waiting(job)
    session = after_restart(shell, tmp_path / "restarted.db", clock)
    out = shell.run("jobs = %route_jobs")
    assert "continued: 2 jobs that waited in kernels that have ended" in out
    for job in background.select():
        waiting(job)
    shell.run("jobs = %route_jobs")
    assert sorted(shell["jobs"]["prompt"]) == ["Topic of {{value}}?", "hello"]
    assert sent(session) == []
    clock.advance((OFF_PEAK - PEAK).total_seconds())
    until(lambda: all(job.done() for job in background.select()))
    assert shell["answer"].text == ANSWER
    assert sent(session) == [OFF_PEAK] * 3
    shell.run("texts = ['a', 'b', 'a']")
    shell.run("%%route --over texts --out done\nTopic of {{value}}?")
    assert list(shell["done"]["answer"]) == [ANSWER] * 3
    assert len(sent(session)) == 3, "the answers of the column were kept for its cell"
    for job in before:
        job.cancel()


@pytest.mark.parametrize("restarts_off_peak", [False, True])
def test_a_cell_that_runs_again_after_a_restart_takes_over_the_run_that_was_continued(
    shell: Shell, clock: SteppedClock, tmp_path: Path, restarts_off_peak: bool
) -> None:
    cell = "%%route --when cheap --out answer\nhello"
    shell.run(cell)
    (before,) = background.select()
    waiting(before)
    session = after_restart(shell, tmp_path / "restarted.db", clock)
    if restarts_off_peak:
        clock.advance((OFF_PEAK - PEAK).total_seconds())
    assert "continued: 1 job that waited" in shell.run(cell)
    (run,) = background.select()
    if not restarts_off_peak:
        assert shell["answer"] is run
        waiting(run)
        clock.advance((OFF_PEAK - PEAK).total_seconds())
    until(run.done)
    assert shell["answer"].text == ANSWER
    assert sent(session) == [OFF_PEAK]
    shell.run(cell)
    assert len(background.select()) == 2, "a run is taken over once"
    before.cancel()


def test_a_continued_run_that_has_ended_is_the_result_of_its_cell(
    shell: Shell, clock: SteppedClock, tmp_path: Path
) -> None:
    shell.run("%%route --when cheap --out answer\nhello")
    (before,) = background.select()
    waiting(before)
    session = after_restart(shell, tmp_path / "restarted.db", clock)
    clock.advance((OFF_PEAK - PEAK).total_seconds())
    shell.run("jobs = %route_jobs")
    (run,) = background.select()
    until(run.done)
    shell.run("%%route --when cheap --out other\nhello")
    until(lambda: all(job.done() for job in background.select()))
    assert len(sent(session)) == 2, "another name is another cell"
    shell.run("%%route --when cheap --out answer\nhello")
    assert shell["answer"] is shell["_route"] is run.result()
    assert len(sent(session)) == 2
    before.cancel()
