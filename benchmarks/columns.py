"""A column of 10,000 rows against the raw openai SDK and other packages at the same concurrency, on one server."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import peers
from benchmarks.calls import server
from benchmarks.table import Row, show

ROWS = int(os.environ.get("LLM_MAGIC_BENCH_ROWS", "10000"))
CONCURRENT = 64
TURNS = 4
Case = Callable[[list[str]], object]
TEXT = "Classify the sentiment of this review as positive or negative: "


def main() -> None:
    """Print CPU milliseconds per row, rows per second, and the growth of the memory. The cases take turns."""
    reviews = [f"I loved minute {number} of it." for number in range(ROWS)]
    with server() as environment, tempfile.TemporaryDirectory() as folder:
        os.environ.update(environment)
        ledger = Path(folder) / "ledger.db"
        cases: dict[str, Case] = {
            "raw openai SDK": lambda part: asyncio.run(raw_calls(part)),
            "column, ledger on disk, cap set": lambda part: mapped(part, ledger),
            **{name: _peer(run) for name, run in peers.installed().items()},
        }
        costs = {name: Cost() for name in cases}
        for turn in range(TURNS):
            for name, run in cases.items():
                costs[name].measure(run, reviews[turn::TURNS])
    raw, rows = next(iter(costs.values())), list[Row]()
    for name, cost in costs.items():
        cpu, pace = f"{cost.cpu_ms / raw.cpu_ms:.2f}", f"{cost.rows_per_s / raw.rows_per_s:.2f}"
        rows.append((name, f"{cost.cpu_ms:.2f}", cpu, f"{cost.rows_per_s:,.0f}", pace, f"{cost.grown_mb:.0f}"))
    head = ("case", "CPU ms per row", "ratio", "rows per s", "ratio", "MB more")
    show(f"A column of {ROWS:,} rows, {CONCURRENT} in flight", head, rows)


@dataclass(slots=True)
class Cost:
    cpu_s: float = 0.0
    elapsed_s: float = 0.0
    grown_mb: float = 0.0

    def measure(self, run: Case, reviews: list[str]) -> None:
        before_mb, cpu, started = peak_mb(), time.process_time(), time.monotonic()
        run(reviews)
        self.cpu_s += time.process_time() - cpu
        self.elapsed_s += time.monotonic() - started
        self.grown_mb += peak_mb() - before_mb

    @property
    def cpu_ms(self) -> float:
        return self.cpu_s / ROWS * 1_000

    @property
    def rows_per_s(self) -> float:
        return ROWS / self.elapsed_s


def _peer(run: Callable[[list[str], int], object]) -> Case:
    return lambda part: run([TEXT + review for review in part], CONCURRENT)


async def raw_calls(reviews: list[str]) -> None:
    import openai

    client = openai.AsyncOpenAI(max_retries=0)
    semaphore = asyncio.Semaphore(CONCURRENT)

    async def one(review: str) -> object:
        async with semaphore:
            messages = [{"role": "user", "content": TEXT + review}]
            call: Awaitable[object] = client.chat.completions.create(
                model="gpt-5.5",
                messages=messages,  # type: ignore[arg-type]
                max_completion_tokens=500,
            )
            return await call

    await asyncio.gather(*[one(review) for review in reviews])
    await client.close()


def mapped(reviews: list[str], ledger: Path) -> None:
    from llm_magic import Ledger, Router

    router = Router(ledger=Ledger(ledger))
    done = router.map_sync(TEXT + "{{value}}", over=reviews, model="gpt-5.5", max_output_tokens=500, max_cost=1_000)
    assert done.report().is_whole, done.report()


def peak_mb() -> float:
    """Return the largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1_024) / 1_024
