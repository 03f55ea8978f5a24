"""CPU time of a routed call against the raw SDK, on one loopback server."""

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

ANSWER_TOKENS = 100
CONCURRENT = (1, 32, 256)
ROUNDS = 3
CALLS = 64
PROMPT = "Classify the sentiment of this sentence as positive or negative: I loved every minute of it."

Call = Callable[[], Awaitable[object]]


def main() -> None:
    """Print CPU milliseconds per call, and the ratio to the raw SDK at the same concurrency."""
    rows: list[Row] = []
    with server() as environment:
        os.environ.update(environment)
        for api in ("openai", "anthropic"):
            rows += asyncio.run(_measure(api))
    show("CPU of a call: llm_magic against the raw SDK", ("case", "raw SDK, ms", "llm_magic, ms", "ratio"), rows)


async def _measure(api: str) -> list[Row]:
    raw = _raw_openai() if api == "openai" else _raw_anthropic()
    from llm_magic import Ledger, Router

    model = "gpt-5.5" if api == "openai" else "claude-sonnet-4-6"
    router = Router(ledger=Ledger(":memory:"))
    router.set_budget(1_000_000)

    async def routed() -> object:
        return await router.route(PROMPT, model=model, max_output_tokens=500)

    async def streamed() -> object:
        return [event async for event in router.stream(PROMPT, model=model, max_output_tokens=500)]

    rows: list[Row] = []
    for concurrency in CONCURRENT:
        for name, sdk_call, routed_call in (("whole", raw["whole"], routed), ("streamed", raw["streamed"], streamed)):
            sdk_ms: list[float] = []
            routed_ms: list[float] = []
            for _ in range(ROUNDS):  # alternating, so that noise affects both
                sdk_ms.append(await _cpu_ms(sdk_call, concurrency))
                routed_ms.append(await _cpu_ms(routed_call, concurrency))
            sdk, cost = statistics.median(sdk_ms), statistics.median(routed_ms)
            rows.append((f"{api}, {name}, {concurrency} in flight", f"{sdk:.2f}", f"{cost:.2f}", f"{cost / sdk:.2f}"))
    for close in raw["close"]:
        await close()
    return rows


async def _cpu_ms(call: Call, concurrency: int) -> float:
    """Return the CPU milliseconds of this process per call, including all threads."""
    semaphore = asyncio.Semaphore(concurrency)

    async def one() -> None:
        async with semaphore:
            await call()

    count = max(CALLS, concurrency)
    await call()
    gc.collect()
    before = time.process_time()
    await asyncio.gather(*[one() for _ in range(count)])
    return (time.process_time() - before) / count * 1_000


def _raw_openai() -> dict[str, Any]:
    import openai

    client = openai.AsyncOpenAI(max_retries=0)
    parameters: dict[str, Any] = {
        "model": "gpt-5.5",
        "messages": [{"role": "user", "content": PROMPT}],
        "max_completion_tokens": 500,
    }

    async def whole() -> object:
        return await client.chat.completions.create(**parameters)

    async def streamed() -> object:
        stream = await client.chat.completions.create(**parameters, stream=True, stream_options={"include_usage": True})
        return [chunk async for chunk in stream]

    return {"whole": whole, "streamed": streamed, "close": [client.close]}


def _raw_anthropic() -> dict[str, Any]:
    import anthropic

    client = anthropic.AsyncAnthropic(max_retries=0)
    parameters: dict[str, Any] = {
        "model": "claude-sonnet-4-6",
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": 500,
    }

    async def whole() -> object:
        return await client.messages.create(**parameters)

    async def streamed() -> object:
        return [event async for event in await client.messages.create(**parameters, stream=True)]

    return {"whole": whole, "streamed": streamed, "close": [client.close]}


@contextmanager
def server() -> Iterator[dict[str, str]]:
    """Run the loopback server in a process of its own, so that its CPU time isn't counted."""
    pipe, child_pipe = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(child_pipe,), daemon=True)
    process.start()
    try:
        yield pipe.recv()
    finally:
        pipe.send(None)
        process.join(10)


def _serve(pipe: Connection) -> None:
    with loopback.running() as server:
        answer = loopback.Answer(chunks=tuple(f"word{number} " for number in range(ANSWER_TOKENS)))
        for model in ("gpt-5.5", "claude-sonnet-4-6"):
            server.script(model, answer)
        pipe.send(server.environment() | {"LLM_MAGIC_PROFILE": "article", "LLM_MAGIC_LOCAL": "0"})
        pipe.recv()
