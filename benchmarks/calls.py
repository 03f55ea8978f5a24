"""CPU time of a routed call against the raw SDK, on one loopback server."""

from __future__ import annotations

import asyncio
import gc
import importlib
import multiprocessing
import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.table import Row, show
from tests.support import loopback

ANSWER_TOKENS = 100
CONCURRENT = (1, 32, 256)
ROUNDS = 3
CALLS = 64
MODELS = {"openai": "gpt-5.5", "anthropic": "claude-sonnet-4-6"}
PROMPT = "Classify the sentiment of this sentence as positive or negative: I loved every minute of it."

Call = Callable[[], Awaitable[object]]


def main() -> None:
    """Print CPU milliseconds per call, and the ratio to the raw SDK at the same concurrency."""
    rows: list[Row] = []
    with server() as environment:
        os.environ.update(environment)
        for api in MODELS:
            rows += asyncio.run(_measure(api))
    show("CPU of a call: llm_magic against the raw SDK", ("case", "raw SDK, ms", "llm_magic, ms", "ratio"), rows)


async def _measure(api: str) -> list[Row]:
    from llm_magic import Ledger, Router

    model = MODELS[api]
    router = Router(ledger=Ledger(":memory:"))
    router.set_budget(1_000_000)

    async def routed() -> object:
        return await router.route(PROMPT, model=model, max_output_tokens=500)

    async def streamed() -> object:
        return [event async for event in router.stream(PROMPT, model=model, max_output_tokens=500)]

    rows: list[Row] = []
    async with raw_call(api, streamed=False) as whole, raw_call(api, streamed=True) as stream:
        for concurrency in CONCURRENT:
            for name, sdk_call, routed_call in (("whole", whole, routed), ("streamed", stream, streamed)):
                sdk_ms: list[float] = []
                routed_ms: list[float] = []
                for _ in range(ROUNDS):  # alternating, so that noise affects both
                    sdk_ms.append(await _cpu_ms(sdk_call, concurrency))
                    routed_ms.append(await _cpu_ms(routed_call, concurrency))
                sdk, cost = statistics.median(sdk_ms), statistics.median(routed_ms)
                case = f"{api}, {name}, {concurrency} in flight"
                rows.append((case, f"{sdk:.2f}", f"{cost:.2f}", f"{cost / sdk:.2f}"))
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


@asynccontextmanager
async def raw_call(api: str, *, streamed: bool) -> AsyncIterator[Call]:
    """A call of the SDK itself, with a client of its own."""
    sdk = importlib.import_module(api)
    client = sdk.AsyncOpenAI(max_retries=0) if api == "openai" else sdk.AsyncAnthropic(max_retries=0)
    parameters: dict[str, Any] = {"model": MODELS[api], "messages": [{"role": "user", "content": PROMPT}]}
    if api == "openai":
        create, parameters["max_completion_tokens"] = client.chat.completions.create, 500
        options = {"stream": True, "stream_options": {"include_usage": True}}
    else:
        create, parameters["max_tokens"] = client.messages.create, 500
        options = {"stream": True}

    async def call() -> object:
        if not streamed:
            return await create(**parameters)
        return [event async for event in await create(**parameters, **options)]

    async with client:
        yield call


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
        for model in MODELS.values():
            server.script(model, answer)
        pipe.send(server.environment() | {"LLM_MAGIC_PROFILE": "article", "LLM_MAGIC_LOCAL": "0"})
        pipe.recv()
