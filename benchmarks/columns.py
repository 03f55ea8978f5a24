"""A column of 10,000 rows against the raw openai SDK and other packages at the same concurrency, on one server."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks import peers
from benchmarks.calls import server
from benchmarks.table import Row, show

ROWS = int(os.environ.get("LLM_MAGIC_BENCH_ROWS", "10000"))
CONCURRENT = 64
TEXT = "Classify the sentiment of this review as positive or negative: "


def main() -> None:
    """Print CPU milliseconds per row, rows per second, and the growth of the memory."""
    rows: list[Row] = []
    with server() as environment, tempfile.TemporaryDirectory() as folder:
        os.environ.update(environment)
        reviews = [f"I loved minute {number} of it." for number in range(ROWS)]
        raw = measured("raw openai SDK", lambda: asyncio.run(raw_calls(reviews)))
        column = measured("column, ledger on disk, cap set", lambda: mapped(reviews, Path(folder) / "ledger.db"))
        others = [_measured_peer(name, run, reviews) for name, run in peers.installed().items()]
        for name, cpu_ms, per_s, grown_mb in (raw, column, *others):
            ratios = f"{cpu_ms / raw[1]:.2f}", f"{per_s / raw[2]:.2f}"
            rows.append((name, f"{cpu_ms:.2f}", ratios[0], f"{per_s:,.0f}", ratios[1], f"{grown_mb:.0f}"))
    head = ("case", "CPU ms per row", "ratio", "rows per s", "ratio", "MB more")
    show(f"A column of {ROWS:,} rows, {CONCURRENT} in flight", head, rows)


def _measured_peer(
    name: str, run: Callable[[list[str], int], object], reviews: list[str]
) -> tuple[str, float, float, float]:
    return measured(name, lambda: run([TEXT + review for review in reviews], CONCURRENT))


def measured(name: str, run: Callable[[], object]) -> tuple[str, float, float, float]:
    before_mb, cpu, started = peak_mb(), time.process_time(), time.monotonic()
    run()
    cpu_ms = (time.process_time() - cpu) / ROWS * 1_000
    return name, cpu_ms, ROWS / (time.monotonic() - started), peak_mb() - before_mb


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
