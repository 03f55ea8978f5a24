"""The services that the runs of one router share."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping

from llm_magic.execute import Clock, PerEventLoop, RetryPolicy, Services
from llm_magic.health import Health, Outages
from llm_magic.ledger import Ledger
from llm_magic.providers.base import Provider
from llm_magic.registry import Registry
from llm_magic.tuning.lengths import LearnedLengths
from llm_magic.types import ProviderSpec


def new_services(
    registry: Registry, providers: Mapping[str, Provider], ledger: Ledger, policy: RetryPolicy, clock: Clock
) -> Services:
    def slots(name: str) -> PerEventLoop[asyncio.Semaphore]:
        concurrency = registry.providers.get(name, ProviderSpec(name=name)).concurrency
        return PerEventLoop(functools.partial(asyncio.Semaphore, concurrency))

    return Services(
        registry=registry,
        providers=providers,
        ledger=ledger,
        health=Health(monotonic=clock.monotonic, cool_down_s=policy.cool_down_s),
        outages=Outages(monotonic=clock.monotonic),
        policy=policy,
        clock=clock,
        lengths=LearnedLengths(ledger, registry),
        slots={name: slots(name) for name in {model.provider for model in registry}},
    )
