"""Small makers that many tests share."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from llm_magic import Ledger, ModelSpec, Price, Registry, Router, TaskTier
from llm_magic.execute import Clock, RetryPolicy
from llm_magic.providers.base import ProviderRequest
from llm_magic.providers.scripted import Failure, Reply, ScriptedProvider
from llm_magic.types import Attempt, Outcome, ProviderSpec, Usage

GOOD = Reply()
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def model(model_id: str, *, provider: str = "cloud", price: str = "1/5", **fields: Any) -> ModelSpec:
    """A model that serves every tier, at `input/output` USD per million tokens."""
    given, wanted = price.split("/")
    defaults: dict[str, Any] = {"tiers": tuple(TaskTier), "context_window": 100_000, "max_output_tokens": 1_000}
    stated = Price(input=Decimal(given), output=Decimal(wanted))
    return ModelSpec(id=model_id, provider=provider, price=stated, **{**defaults, **fields})


def registry(*models: ModelSpec, concurrency: int = 64) -> Registry:
    """A registry of these models, the first one the baseline."""
    providers = [ProviderSpec(name=name, concurrency=concurrency) for name in {spec.provider for spec in models}]
    return Registry(models=models, providers=providers)


class FakeClock:
    """Time that passes only by sleeping, and notes how long it slept."""

    def __init__(self) -> None:
        self.time = 1_000.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)

    def clock(self, *, jitter: float = 1.0) -> Clock:
        return Clock(now=lambda: NOON, monotonic=lambda: self.time, sleep=self.sleep, jitter=lambda: jitter)


def router(
    *models: ModelSpec,
    replies: Iterable[Reply | Failure] | Callable[[ProviderRequest], Reply | Failure] = (GOOD,),
    time: FakeClock | None = None,
    policy: RetryPolicy | None = None,
    providers: dict[str, Any] | None = None,
    concurrency: int = 64,
    **parts: Any,
) -> Router:
    """A router over these models (by default a dear one and a cheap one), all behind one scripted provider."""
    specs = models or (
        model("dear", price="4/20", tiers=(TaskTier.COMPLEX, TaskTier.STANDARD), fallback_id="cheap"),
        model("cheap", price="0.1/0.5", tiers=(TaskTier.STRUCTURED, TaskTier.BULK), fallback_id="dear"),
    )
    scripted = ScriptedProvider(replies)
    return Router(
        registry=registry(*specs, concurrency=concurrency),
        providers=providers or {spec.provider: scripted for spec in specs},
        clock=(time or FakeClock()).clock(),
        policy=policy,
        **{"ledger": Ledger(":memory:"), **parts},
    )


class Gate:
    """Shut until somebody opens it, on whichever loop. (An asyncio.Event that is set from another loop wakes nobody.)"""

    def __init__(self) -> None:
        self._open = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def set(self) -> None:
        self._open = True
        for loop, event in self._waiting:
            loop.call_soon_threadsafe(event.set)

    async def wait(self) -> None:
        event = asyncio.Event()
        self._waiting.append((asyncio.get_running_loop(), event))
        if not self._open:
            await event.wait()


def attempt(**fields: Any) -> Attempt:
    """A settled attempt that cost nothing."""
    blank: dict[str, Any] = {
        "run_id": "run", "attempt": 1, "started_at": NOON, "tier": TaskTier.BULK, "confidence": 1.0,
        "provider": "cloud", "model": "cheap", "served_model": None, "outcome": Outcome.OK, "error": None,
        "fallback_from": None, "usage": Usage(), "cost_usd": Decimal(0), "cost_estimated": False,
        "baseline_usd": Decimal(0), "price_source": "", "ttft_s": None, "latency_s": 0.0, "session_id": "session",
        "tags": (),
    }  # fmt: skip
    return Attempt(**{**blank, **fields})


def replaced(record: Any, **fields: Any) -> Any:
    return dataclasses.replace(record, **fields)
