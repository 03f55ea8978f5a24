"""Other packages that run one prompt over many rows, on the same loopback server: only those that are installed."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Callable
from typing import Any

MODEL = "gpt-5.5"
MAX_OUTPUT_TOKENS = 500


def installed() -> dict[str, Callable[[list[str], int], object]]:
    """Return the runs by name. Each takes the prompts and the number of requests in flight."""
    # LiteLLM would fetch its price list.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    runs = {
        "LiteLLM batch_completion": ("litellm", _litellm_batch),
        "LiteLLM Router": ("litellm", _litellm_router),
        "async-batch-llm": ("async_batch_llm", _async_batch_llm),
        "infermesh": ("infermesh", _infermesh),
    }
    return {name: run for name, (module, run) in runs.items() if importlib.util.find_spec(module) is not None}


def _litellm_batch(prompts: list[str], concurrency: int) -> object:
    import litellm  # pyright: ignore[reportMissingImports]

    library: Any = litellm
    return library.batch_completion(
        model=f"openai/{MODEL}",
        messages=[[{"role": "user", "content": prompt}] for prompt in prompts],
        max_tokens=MAX_OUTPUT_TOKENS,
        max_workers=concurrency,
    )


def _litellm_router(prompts: list[str], concurrency: int) -> object:
    import litellm  # pyright: ignore[reportMissingImports]

    library: Any = litellm
    router = library.Router(model_list=[{"model_name": "m", "litellm_params": {"model": f"openai/{MODEL}"}}])

    async def ask(prompt: str) -> object:
        messages = [{"role": "user", "content": prompt}]
        return await router.acompletion(model="m", messages=messages, max_tokens=MAX_OUTPUT_TOKENS)

    return asyncio.run(_gathered(prompts, concurrency, ask))


def _async_batch_llm(prompts: list[str], concurrency: int) -> object:
    import async_batch_llm  # pyright: ignore[reportMissingImports]
    import openai

    library: Any = async_batch_llm

    async def run() -> object:
        async with openai.AsyncOpenAI(max_retries=0) as client:
            model = library.OpenAIModel(MODEL, client, api_surface="chat_completions")
            strategy = library.OpenAIStrategy(model, generation_config={"max_completion_tokens": MAX_OUTPUT_TOKENS})
            return await library.process_prompts(strategy, prompts, concurrency=concurrency)

    return asyncio.run(run())


def _infermesh(prompts: list[str], concurrency: int) -> object:
    import infermesh  # pyright: ignore[reportMissingImports]

    library: Any = infermesh
    with library.LMClient(model=f"openai/{MODEL}", max_parallel_requests=concurrency) as client:
        return client.generate_batch(prompts)


async def _gathered(prompts: list[str], concurrency: int, ask: Callable[[str], Any]) -> list[object]:
    semaphore = asyncio.Semaphore(concurrency)

    async def one(prompt: str) -> object:
        async with semaphore:
            return await ask(prompt)

    return await asyncio.gather(*[one(prompt) for prompt in prompts])
