"""Small makers that many tests share."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from llm_magic import ModelSpec, Registry, Router, TaskTier
from llm_magic.testing import FakeClock, Reply, ScriptedProvider, scripted_model, scripted_router
from llm_magic.types import Attempt, Outcome, ProviderSpec, Usage

GOOD = Reply()
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def model(model_id: str, *, price: str = "1/5", **fields: Any) -> ModelSpec:
    """A model that serves every tier, at `input/output` USD per million tokens."""
    return dataclasses.replace(scripted_model(model_id, price=price), **fields)


def registry(*models: ModelSpec, concurrency: int = 64) -> Registry:
    """A registry of these models, the first one the baseline."""
    providers = [ProviderSpec(name=name, concurrency=concurrency) for name in {spec.provider for spec in models}]
    return Registry(models=models, providers=providers)


def router(*models: ModelSpec, **parts: Any) -> Router:
    """A router on scripted models; `strong` and `cheap` by default."""
    return scripted_router(*models, **{"clock": FakeClock(NOON), **parts})


def scripted(ours: Router) -> ScriptedProvider:
    """The provider of a router that `router()` made."""
    provider = ours.providers["cloud"]
    assert isinstance(provider, ScriptedProvider)
    return provider


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


def table_names(path: Path) -> set[str]:
    """Return the names of the tables in an SQLite file."""
    with closing(sqlite3.connect(path)) as db:
        return {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
