"""Connections and latency of routed calls against the raw SDK, on one loopback server in the same run."""

from __future__ import annotations

import asyncio
import os
import statistics
import time

from benchmarks.calls import MODELS, PROMPT, Call, raw_call, server
from benchmarks.table import Row, show
from tests.support.forwarding import Forwarder, forwarding

CALLS = 200
CONCURRENT = (1, 8)


def main() -> None:
    """Print the connections of 200 streamed calls, and the median of their latencies."""
    rows: list[Row] = []
    with server() as environment:
        target = environment["OPENAI_BASE_URL"].removesuffix("/openai/v1")
        with forwarding(target) as forwarder:
            os.environ.update({name: value.replace(target, forwarder.url) for name, value in environment.items()})
            for api in MODELS:
                rows += asyncio.run(_measure(api, forwarder))
    header = ("case", "raw SDK: connections", "p50, ms", "llm_magic: connections", "p50, ms")
    show(f"{CALLS} streamed calls", header, rows)


async def _measure(api: str, forwarder: Forwarder) -> list[Row]:
    from llm_magic import Ledger, Router

    router = Router(ledger=Ledger(":memory:"))
    router.set_budget(1_000_000)

    async def routed() -> object:
        return [event async for event in router.stream(PROMPT, model=MODELS[api], max_output_tokens=500)]

    await routed()  # without the imports
    rows: list[Row] = []
    for concurrency in CONCURRENT:
        cells: list[str] = []
        async with raw_call(api, streamed=True) as raw:
            for call in (raw, routed):
                before = forwarder.connections
                p50_ms = await _p50_ms(call, concurrency)
                cells += [str(forwarder.connections - before), f"{p50_ms:.1f}"]
        rows.append((f"{api}, {concurrency} in flight", *cells))
    return rows


async def _p50_ms(call: Call, concurrency: int) -> float:
    semaphore = asyncio.Semaphore(concurrency)

    async def one() -> float:
        async with semaphore:
            began = time.perf_counter()
            await call()
            return 1e3 * (time.perf_counter() - began)

    return statistics.median(await asyncio.gather(*(one() for _ in range(CALLS))))
