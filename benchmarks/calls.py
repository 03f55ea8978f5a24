"""CPU time of a routed call against the raw SDK's, on one loopback server, in one run."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.table import Row, show
from tests.support import loopback

WORDS = 100
"""Tokens of an answer."""
CONCURRENT = (1, 32, 256)
ROUNDS = 3
CALLS = 64
PROMPT = "Classify the sentiment of this sentence as positive or negative: I loved every minute of it."

Call = Callable[[], Awaitable[object]]


def main() -> None:
    """Print CPU milliseconds a call, and the ratio to the raw SDK at the same concurrency."""
    rows: list[Row] = []
    with _server() as environment:
        os.environ.update(environment)
        for api in ("openai", "anthropic"):
            rows += asyncio.run(_measure(api))
    show("CPU of a call: ours against the raw SDK", ("case", "raw SDK, ms", "llm_magic, ms", "ratio"), rows)


async def _measure(api: str) -> list[Row]:
    raw = _raw_openai() if api == "openai" else _raw_anthropic()
    from llm_magic import Ledger, Router

    model = "gpt-5.5" if api == "openai" else "claude-sonnet-4-6"
    router = Router(ledger=Ledger(":memory:"))
    router.set_budget(1_000_000)

    async def routed() -> object:
        return await router.route(PROMPT, model=model, max_output_tokens=500)

    async def drawn() -> object:
        return [event async for event in router.stream(PROMPT, model=model, max_output_tokens=500)]

    rows: list[Row] = []
    for fail_fast in CONCURRENT:
        for name, floor, ours in (("whole", raw["whole"], routed), ("streamed", raw["streamed"], drawn)):
            floors: list[float] = []
            costs: list[float] = []
            for _ in range(ROUNDS):  # in turns, so that a noisy moment meets both
                floors.append(await _cpu_ms(floor, fail_fast))
                costs.append(await _cpu_ms(ours, fail_fast))
            base, cost = statistics.median(floors), statistics.median(costs)
            rows.append((f"{api}, {name}, {fail_fast} at once", f"{base:.2f}", f"{cost:.2f}", f"{cost / base:.2f}"))
    for close in raw["close"]:
        await close()
    return rows


async def _cpu_ms(call: Call, fail_fast: int) -> float:
    """CPU milliseconds of this process for a call, all of its threads counted."""
    gate = asyncio.Semaphore(fail_fast)

    async def one() -> None:
        async with gate:
            await call()

    count = max(CALLS, fail_fast)
    await call()
    gc.collect()
    before = time.process_time()
    await asyncio.gather(*[one() for _ in range(count)])
    return (time.process_time() - before) / count * 1_000


def _raw_openai() -> dict[str, Any]:
    import openai

    client = openai.AsyncOpenAI(max_retries=0)
    asked: dict[str, Any] = {
        "model": "gpt-5.5",
        "messages": [{"role": "user", "content": PROMPT}],
        "max_completion_tokens": 500,
    }

    async def whole() -> object:
        return await client.chat.completions.create(**asked)

    async def streamed() -> object:
        stream = await client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        return [chunk async for chunk in stream]

    return {"whole": whole, "streamed": streamed, "close": [client.close]}


def _raw_anthropic() -> dict[str, Any]:
    import anthropic

    client = anthropic.AsyncAnthropic(max_retries=0)
    asked: dict[str, Any] = {
        "model": "claude-sonnet-4-6",
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": 500,
    }

    async def whole() -> object:
        return await client.messages.create(**asked)

    async def streamed() -> object:
        return [event async for event in await client.messages.create(**asked, stream=True)]

    return {"whole": whole, "streamed": streamed, "close": [client.close]}


@contextmanager
def _server() -> Iterator[dict[str, str]]:
    """The loopback server in a process of its own, so that its CPU is not counted."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        process.join(10)


def _serve(pipe: Connection) -> None:
    with loopback.running() as server:
        answer = loopback.Answer(chunks=tuple(f"word{number} " for number in range(WORDS)))
        for model in ("gpt-5.5", "claude-sonnet-4-6"):
            server.script(model, answer)
        pipe.send(server.environment() | {"LLM_MAGIC_PROFILE": "article", "LLM_MAGIC_LOCAL": "0"})
        pipe.recv()
