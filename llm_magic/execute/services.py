"""The services that runs share: policy, time, providers, ledger and locks."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import time
import weakref
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from llm_magic.budget import CapWarnings
from llm_magic.execute.pace import Paces
from llm_magic.health import Circuit, Health, Outages
from llm_magic.ledger import Ledger
from llm_magic.plan.prefixes import Prefixes
from llm_magic.providers.base import AccountProvider, Provider
from llm_magic.providers.loading import Loading
from llm_magic.registry import Registry
from llm_magic.tuning.lengths import LearnedLengths

Primitive = TypeVar("Primitive", asyncio.Lock, asyncio.Semaphore)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Limits on a run: `tries` per candidate, `attempts` in all, and `deadline_s` without loading the local model.

    Before try n + 1, it waits between 0 and backoff_s * 2 ** (n - 1), at most backoff_cap_s (full jitter). With a
    Retry-After above retry_after_cap_s, it asks the next candidate instead. A model may reason for first_token_s before
    it sends anything. cool_down_s: first open period of a circuit; doubled each time a probe fails.
    """

    tries: int = 3
    attempts: int = 8
    deadline_s: float = 600.0
    first_token_s: float = 300.0
    between_tokens_s: float = 60.0
    backoff_s: float = 0.5
    backoff_cap_s: float = 8.0
    retry_after_cap_s: float = 20.0
    cool_down_s: float = 30.0
    budget_poll_s: float = 0.02
    flex_deadline_s: float = 1_800.0
    flex_first_token_s: float = 900.0
    flex_wait_s: float = 30.0
    """Before a second try of the flex tier. After that, the standard tier is asked."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random


class PerEventLoop(Generic[Primitive]):
    """A lock or a semaphore per event loop. A forked child gets its own."""

    def __init__(self, make: Callable[[], Primitive]) -> None:
        self._make = make
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Primitive] = weakref.WeakKeyDictionary()

    def __call__(self) -> Primitive:
        loop = asyncio.get_running_loop()
        if (primitive := self._by_loop.get(loop)) is None:
            primitive = self._by_loop[loop] = self._make()
        return primitive


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Services that runs share.

    slots: limits on the requests in flight, by provider. budget_lock: held by the next run to get budget that other
    runs hold. output_limits: by model id, those that endpoints have named in errors.
    """

    registry: Registry
    providers: Mapping[str, Provider]
    ledger: Ledger
    health: Health
    outages: Outages
    policy: RetryPolicy
    clock: Clock
    slots: Mapping[str, PerEventLoop[asyncio.Semaphore]]
    lengths: LearnedLengths
    loading: Loading = dataclasses.field(default_factory=Loading)
    prefixes: Prefixes = dataclasses.field(default_factory=Prefixes)
    cap_warnings: CapWarnings = dataclasses.field(default_factory=CapWarnings)
    output_limits: dict[str, int] = dataclasses.field(default_factory=dict[str, int])
    paces: Paces = dataclasses.field(default_factory=Paces)
    pace_lock: PerEventLoop[asyncio.Lock] = dataclasses.field(default_factory=lambda: PerEventLoop(asyncio.Lock))
    budget_lock: PerEventLoop[asyncio.Lock] = dataclasses.field(default_factory=lambda: PerEventLoop(asyncio.Lock))

    def circuit(self, model_id: str) -> Circuit:
        provider = self.registry[model_id].provider
        outage = self.outages.circuit(provider, account=lambda: self.account(provider))
        return self.health.circuit(model_id) if outage is None else outage

    def account(self, provider: str) -> object:
        source = self.providers.get(provider)
        return source.account() if isinstance(source, AccountProvider) else None
