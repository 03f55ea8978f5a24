"""Many runs at once: in one kernel, in several that share a ledger, and in one that is killed among them."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncGenerator
from decimal import Decimal
from pathlib import Path

import pytest

from llm_magic import BudgetExceeded, Ledger, Router, RouteResult
from llm_magic.events import Waiting
from llm_magic.providers.base import ProviderEvent, ProviderRequest
from llm_magic.testing import FakeClock, ScriptedProvider
from tests.support import builders
from tests.support.journal import Entry, Journal

ROOT = Path(__file__).parent.parent.parent
PROMPT = "why is the sky blue"
RUN_USD = Decimal("0.00500500")
"""What a run costs that uses all of its 1,000 output tokens: 5 words at 1, 1,000 tokens at 5 USD a million."""
ADMITS_50 = 50 * RUN_USD


def spending(location: str | Path, journal: Journal, **parts: object) -> Router:
    """A router whose only model spends all that it may, under a cap for fifty such runs."""
    ledger = Ledger(location, session_id="shared")
    ours = builders.router(builders.model("only"), ledger=ledger, providers={"cloud": journal}, **parts)
    ours.set_budget(ADMITS_50)
    return ours


async def ask_at_once(ours: Router, count: int) -> list[RouteResult]:
    """The results of the runs that were admitted; every other one must have been refused for the cap."""
    asked = [ours.route(PROMPT, max_output_tokens=1_000) for _ in range(count)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    refused = [error for error in found if isinstance(error, BaseException)]
    assert all(isinstance(error, BudgetExceeded) for error in refused), refused
    return [result for result in found if isinstance(result, RouteResult)]


async def test_200_runs_against_a_cap_for_50(location: str) -> None:
    journal = Journal(("all", "end"))
    ours = spending(location, journal)
    admitted = await ask_at_once(ours, 200)
    assert 45 <= len(admitted) <= 50
    assert ours.ledger.spent_usd == sum(entry.billed_usd for entry in journal.entries) <= ADMITS_50
    assert ours.ledger.held_usd == 0
    assert len(ours.ledger.rows()) == len(journal.entries) == len(admitted)


KERNEL = """
import asyncio, sys
from tests.support.journal import Entry, Journal
from tests.ledger.test_concurrency import ask_at_once, spending
journal = Journal(("all", "end"))
ours = spending(sys.argv[1], journal)
sys.stdin.readline()
admitted = asyncio.run(ask_at_once(ours, 50))
print(len(admitted), len(journal.entries), sum(entry.billed_usd for entry in journal.entries))
"""


def kernel(code: str, location: str) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code, location], cwd=ROOT, env=environ, text=True, **pipes)  # type: ignore[call-overload]


@pytest.mark.slow
def test_four_kernels_on_one_ledger_share_a_cap_for_50(location: str) -> None:
    if location == ":memory:":
        pytest.skip("kernels share no memory")
    kernels = [kernel(KERNEL, location) for _ in range(4)]
    told = [each.communicate("go\n")[0].split() for each in kernels]
    assert 45 <= sum(int(admitted) for admitted, _, _ in told) <= 50
    ledger = Ledger(location, session_id="shared")
    assert ledger.spent_usd == sum(Decimal(billed) for _, _, billed in told) <= ADMITS_50
    assert ledger.held_usd == 0
    assert len(ledger.rows()) == sum(int(sent) for _, sent, _ in told)


KILLED = """
import asyncio, sys
from tests.support.journal import Entry, Journal
from tests.ledger.test_concurrency import PROMPT, spending
journal = Journal(("chunk",))
ours = spending(sys.argv[1], journal, concurrency=100)
ours.set_budget(2)
async def ask():
    result = await ours.route(PROMPT, max_output_tokens=1_000)
    print(result.run_id, flush=True)
async def main():
    asking = [asyncio.create_task(ask()) for _ in range(100)]
    while len(journal.waiting) < 100:
        await asyncio.sleep(0.01)
    loop = journal.waiting[0].next.get_loop()
    for entry in journal.waiting[:40]:
        loop.call_soon_threadsafe(entry.next.set_result, "end")
    await asyncio.gather(*asking)
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_kill_9_in_the_middle_of_100_runs(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    killed = kernel(KILLED, str(path))
    assert killed.stdout is not None
    settled = {killed.stdout.readline().strip() for _ in range(40)}
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    killed.communicate()
    ledger = Ledger(path, session_id="shared")
    rows = ledger.rows()
    assert {row.run_id for row in rows if row.outcome == "ok"} == settled
    assert all(row.cost_usd == Decimal("0.00001") for row in rows if row.outcome == "ok")
    uncertain = ledger.uncertain()
    assert len(uncertain) == 60
    held = sum((held for _, held in uncertain), Decimal(0))
    assert ledger.held_usd == held > 60 * RUN_USD
    assert list(ledger.to_frame()["outcome"].value_counts().sort_index().items()) == [("ok", 40), ("uncertain", 60)]
    again = spending(path, Journal(("all", "end")))
    again.set_budget(ledger.spent_usd + held)
    with pytest.raises(BudgetExceeded):
        again.route_sync(PROMPT)
    ledger.reconcile("release")
    assert again.route_sync(PROMPT, max_output_tokens=1_000).cost_usd == RUN_USD


class Busy(ScriptedProvider):
    """Notes how many requests are under way at once, and who was served in which order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.served: list[str] = []

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        self.now += 1
        self.most = max(self.most, self.now)
        self.served.append(request.messages[0].content)
        self.requests.clear()
        await asyncio.sleep(0)
        try:
            async for event in super().stream(request):
                yield event
        finally:
            self.now -= 1


async def test_a_thousand_runs_at_once_queue_fairly_and_keep_no_memory(tmp_path: Path) -> None:
    busy = Busy()
    clock = FakeClock(builders.NOON)
    ours = builders.router(
        builders.model("only"),
        ledger=Ledger(tmp_path / "ledger.db"),
        providers={"cloud": busy},
        concurrency=32,
        clock=clock,
    )
    ours.set_budget(1_000)

    async def wave(size: int) -> None:
        busy.served.clear()
        asked = [f"question {number}" for number in range(size)]
        results = await asyncio.gather(*[ours.route(prompt, max_output_tokens=20) for prompt in asked])
        assert [result.text for result in results] == ["A scripted answer."] * size
        assert busy.served == asked, "first come, first served"
        assert busy.most == 32

    await wave(1_000)
    kept: list[int] = []
    tracemalloc.start()
    try:
        for _ in range(3):
            clock.advance(60)  # the pace keeps the requests of the last minute
            await wave(100)
            gc.collect()
            kept.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    # The last wave's results are still there, whichever wave it is.
    assert kept[2] - kept[0] < 0.25 * kept[0], kept
    assert len(ours.ledger.rows()) == 1_300


async def test_a_queued_run_reports_that_it_waits() -> None:
    journal = Journal(("chunk",))
    ours = builders.router(builders.model("only"), providers={"cloud": journal}, concurrency=1)
    waits: dict[str, list[str]] = {"first": [], "second": [], "third": []}

    async def ask(name: str) -> None:
        async for event in ours.stream(name):
            if isinstance(event, Waiting):
                waits[name].append(event.reason)

    asking = [asyncio.create_task(ask("first"))]
    while not journal.waiting:
        await asyncio.sleep(0)
    asking += [asyncio.create_task(ask(name)) for name in ("second", "third")]
    while not (waits["second"] and waits["third"]):
        await asyncio.sleep(0)

    def end(entry: Entry) -> None:
        if not entry.next.done():
            entry.next.set_result("end")

    while not all(task.done() for task in asking):
        for entry in journal.waiting:
            entry.next.get_loop().call_soon_threadsafe(end, entry)
        await asyncio.sleep(0)
    await asyncio.gather(*asking)
    told = "queued: cloud is at its concurrency limit"
    assert waits == {"first": [], "second": [told], "third": [told]}
