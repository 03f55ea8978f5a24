"""The bridge: one private loop for all callers, and jobs that are always settled."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, closing
from pathlib import Path

import pytest

from llm_magic.bridge import Bridge, bridge

CALLER = contextvars.ContextVar("CALLER", default="unset")


async def count(upto: int) -> AsyncGenerator[object]:
    for number in range(upto):
        yield number


LIMIT_S = 5
"""A source that is not closed ends by itself after this time, so that a test fails instead of hanging."""


class Endless:
    """Counts until it is closed, and records that."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    async def run(self) -> AsyncGenerator[int]:
        until = time.monotonic() + LIMIT_S
        number = 0
        try:
            while time.monotonic() < until:
                yield number
                number += 1
                await asyncio.sleep(0)
        except (GeneratorExit, asyncio.CancelledError):
            self.closed.set()
            raise


def test_items_come_in_order_in_a_thread_and_on_a_loop() -> None:
    assert list(bridge.iterate(count(100))) == list(range(100))

    async def collect() -> list[object]:
        return [item async for item in bridge.aiterate(count(100))]

    assert asyncio.run(collect()) == list(range(100))
    assert asyncio.run(collect()) == list(range(100)), "and on the next loop"


def test_generators_run_on_one_loop_in_their_callers_context() -> None:
    async def where() -> AsyncGenerator[tuple[asyncio.AbstractEventLoop, str]]:
        yield asyncio.get_running_loop(), CALLER.get()

    CALLER.set("me")
    (first,) = bridge.iterate(where())

    async def ask() -> tuple[asyncio.AbstractEventLoop, str]:
        async with aclosing(bridge.aiterate(where())) as items:
            return await anext(items)

    assert first == asyncio.run(ask()) == (bridge.loop(), "me")


def test_an_error_of_the_generator_is_raised_in_the_caller() -> None:
    async def fails() -> AsyncGenerator[int]:
        yield 1
        raise ValueError("from the core")

    items = bridge.iterate(fails())
    assert next(items) == 1
    with pytest.raises(ValueError, match="from the core"):
        next(items)


def test_an_abandoned_iteration_is_closed_at_once() -> None:
    endless = Endless()
    with closing(bridge.iterate(endless.run())) as items:  # type: ignore[type-var]
        assert next(items) == 0
    assert endless.closed.is_set()


async def test_an_abandoned_async_iteration_is_closed_at_once() -> None:
    endless = Endless()
    async with aclosing(bridge.aiterate(endless.run())) as items:
        assert await anext(items) == 0
    assert endless.closed.is_set()


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_loop_that_ends_closes_an_open_iteration_without_an_error_in_the_log(
    is_wrapped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    endless = Endless()

    async def wrap(items: AsyncGenerator[int]) -> AsyncGenerator[int]:
        async with aclosing(items):
            async for item in items:
                yield item

    async def leave_open() -> AsyncGenerator[int]:
        items = bridge.aiterate(endless.run())
        left = wrap(items) if is_wrapped else items
        assert await anext(left) == 0
        return left

    left = asyncio.run(leave_open())
    assert endless.closed.is_set()
    assert "asynchronous generator" not in caplog.text
    del left


async def test_two_that_close_an_iteration_at_once_both_wait_for_its_end() -> None:
    endless = Endless()
    items = bridge.aiterate(endless.run())
    assert await anext(items) == 0
    await asyncio.gather(items.aclose(), items.aclose())
    assert endless.closed.is_set()
    assert [item async for item in items] == []


async def test_an_iteration_that_is_not_begun_starts_nothing() -> None:
    endless, jobs = Endless(), bridge.running_jobs
    await bridge.aiterate(endless.run()).aclose()
    assert bridge.running_jobs == jobs


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the loop of its clean-up is closed
def test_an_iteration_that_is_dropped_after_its_loop_was_closed_is_closed_at_once() -> None:
    endless, loop = Endless(), asyncio.new_event_loop()
    items = bridge.aiterate(endless.run())
    assert loop.run_until_complete(anext(items)) == 0
    loop.close()
    del items
    assert endless.closed.wait(5)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the destroyed task
def test_an_iteration_that_a_closed_loop_waits_in_is_closed_by_the_next_item() -> None:
    endless, loop = Endless(), asyncio.new_event_loop()
    reached = asyncio.Event()

    async def source() -> AsyncGenerator[int]:
        yield 0
        while not loop.is_closed():
            await asyncio.sleep(0)
        async with aclosing(endless.run()) as items:
            async for number in items:
                yield number

    async def consume() -> None:
        async for _ in bridge.aiterate(source()):
            reached.set()

    task = loop.create_task(consume())
    loop.run_until_complete(reached.wait())
    loop.close()
    del task
    assert endless.closed.wait(5)
    gc.collect()  # logs the destroyed task here, not in another test


async def test_closing_with_items_queued_leaves_the_callers_loop_running() -> None:
    released = threading.Event()
    in_time: list[bool] = []

    async def source() -> AsyncGenerator[int]:
        try:
            for number in range(1_000):
                yield number
            await asyncio.wait_for(asyncio.Event().wait(), LIMIT_S)
        finally:
            in_time.append(await asyncio.to_thread(released.wait, LIMIT_S))

    async with aclosing(bridge.aiterate(source())) as items:
        assert await anext(items) == 0
        asyncio.get_running_loop().call_soon(released.set)
    assert in_time == [True]


async def test_items_that_come_without_a_pause_leave_room_for_other_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_magic.turns.TURN_S", 0.0)
    turns = {"caller": 0, "private": 0}

    async def tick(loop: str) -> None:
        while True:
            turns[loop] += 1
            await asyncio.sleep(0)

    on_callers_loop = asyncio.create_task(tick("caller"))
    on_private_loop = asyncio.run_coroutine_threadsafe(tick("private"), bridge.loop())
    await asyncio.sleep(0)
    async with aclosing(bridge.aiterate(count(1_000))) as items:
        async for _ in items:
            pass
    on_callers_loop.cancel()
    on_private_loop.cancel()
    assert min(turns.values()) >= 1_000


def test_a_job_can_be_canceled_before_it_starts() -> None:
    endless = Endless()
    job = bridge.start(endless.run())
    job.cancel()
    assert job.join(5)
    with pytest.raises(asyncio.CancelledError):
        list(job)


def test_a_job_without_items_yields_ticks() -> None:
    async def silent() -> AsyncGenerator[int]:
        await asyncio.Event().wait()
        yield 1

    job = bridge.start(silent())
    assert next(job.items_with_ticks()) is None
    job.cancel()
    assert job.join(5)


def test_closing_settles_running_jobs() -> None:
    own = Bridge()
    endless = Endless()
    job = own.start(endless.run())
    assert next(iter(job)) == 0
    done: list[bool] = []

    async def closing_down() -> None:
        done.append(endless.closed.is_set())

    own.at_close(closing_down)
    own.close()
    assert done == [True]
    own.close()


def test_an_exiting_script_settles_its_runs() -> None:
    code = """
import asyncio
from llm_magic.bridge import bridge
async def run():
    try:
        yield 1
        await asyncio.Event().wait()
    finally:
        print("settled", flush=True)
job = bridge.start(run())
next(iter(job))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.stdout.strip(), done.stderr) == ("settled", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_has_a_loop_of_its_own() -> None:
    code = """
import os
from llm_magic.bridge import bridge
async def one():
    yield 1
assert list(bridge.iterate(one())) == [1]
child = os.fork()
if child == 0:
    ok = list(bridge.iterate(one())) == [1]
    os._exit(0 if ok else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "0", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_does_not_wait_for_jobs_of_its_parent(tmp_path: Path) -> None:
    code = f"""
import asyncio, os
from llm_magic import Ledger
from llm_magic.bridge import bridge
from llm_magic.events import TextDelta
from llm_magic.providers.base import Finished
from tests.support.builders import model, router
class Yielding:
    def unavailable(self):
        return None
    async def stream(self, request):
        if request.messages[-1].content == "never":
            await asyncio.Event().wait()
        for _ in range(5):
            await asyncio.sleep(0)
        yield TextDelta(text="x")
        yield Finished(finish_reason="stop", served_model="a")
session = router(
    model("a"), model("b", provider="other"), providers={{"cloud": Yielding(), "other": Yielding()}}, concurrency=1,
    ledger=Ledger({str(tmp_path / "ledger.db")!r}),
)
async def three():
    return [result.text for result in await asyncio.gather(*(session.route("hi", model="a") for _ in range(3)))]
assert asyncio.run(three()) == ["x"] * 3
job = session.job("never", model="a")
while not any(row.outcome == "in_flight" for row in session.ledger.rows()):
    pass
child = os.fork()
if child == 0:
    ok = asyncio.run(three()) == ["x"] * 3 and not bridge.running_jobs
    os._exit(0 if ok else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
job.cancel()
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "0", done.stderr
