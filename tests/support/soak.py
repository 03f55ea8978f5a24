"""The soak: many runs at once over real sockets, with every fault, stops and closes, on SQLite and on PostgreSQL."""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from llm_magic import Ledger, LLMMagicError, Registry, Router
from llm_magic.bridge import bridge
from llm_magic.execute import RetryPolicy
from llm_magic.types import Price, ProviderSpec
from tests.support import builders, loopback, postgres
from tests.support.loopback import Answer, Broken, Fault, Step

WORKERS = 20
_PRICE = Price(input=Decimal(1), output=Decimal(5), cached_input=Decimal("0.1"), cache_write=Decimal("1.25"))
_APIS = {"anthropic": "anthropic", "openai": "openai/v1", "deepseek": "deepseek"}
_LONG = tuple(f"word{number} " for number in range(60))
_LAG_INTERVAL_S = 0.01
_REPORTS = 12


def steps(pause_s: float) -> tuple[Step, ...]:
    """Return what the server does, one at random for each request. `pause_s`: the time from one token to the next."""
    good = (
        Answer(pause_s=pause_s),
        Answer(chunks=_LONG, pause_s=pause_s),
        Answer(reasoning=200, thoughts=3, pause_s=5 * pause_s),
    )
    lies = (Answer(junk=0), Answer(junk=10**9), Answer(whole=True))
    faults = tuple(Fault(status=status) for status in (401, 404, 429, 500, 529))
    broken = tuple(Broken(how=how) for how in ("cut", "truncated", "malformed", "error", "html", "silent"))
    return (*good * 4, *lies, *faults, *broken)


class RandomServer(loopback.Server):
    def __init__(self, pause_s: float) -> None:
        super().__init__()
        self._steps = steps(pause_s)

    def next_step(self, model: str) -> Step:
        return random.choice(self._steps)


def serve(pipe: Connection, pause_s: float) -> None:
    """Run the server in a process of its own. Sends its address, then its bill and number of requests when asked."""
    with loopback.running(RandomServer(pause_s)) as server:
        pipe.send(server.url)
        while pipe.recv():
            pipe.send((server.billed_usd, len(server.journal)))


@dataclass
class Figures:
    ends: Counter[str] = field(default_factory=Counter[str])
    lags_ms: list[float] = field(default_factory=list[float])


def new_router(url: str, location: str) -> Router:
    os.environ["SOAK_KEY"] = loopback.KEY
    specs = [
        builders.model(name, provider=name, fallback_id=following, max_output_tokens=1_000, price="1/5")
        for name, following in zip(_APIS, ("openai", "deepseek", "anthropic"), strict=True)
    ]
    endpoints = [
        ProviderSpec(
            name=name,
            api="anthropic" if name == "anthropic" else "openai",
            base_url=f"{url}/{path}",
            api_key_env="SOAK_KEY",
        )
        for name, path in _APIS.items()
    ]
    policy = RetryPolicy(first_token_s=1, between_tokens_s=1, backoff_s=0.02, backoff_cap_s=0.1, cool_down_s=0.1)
    models = [builders.replaced(spec, price=_PRICE) for spec in specs]
    return Router(registry=Registry(models=models, providers=endpoints), ledger=Ledger(location), policy=policy)


async def work(router: Router, until: float, figures: Figures) -> None:
    """Make one run after another. Some are closed after a few events, some are canceled after a while."""
    while time.monotonic() < until:
        kind = random.choice(["whole", "whole", "close", "cancel", "hedge"])
        events = router.stream(
            "why is the sky blue " * random.choice([1, 1, 20]),
            model=random.choice(tuple(_APIS)),
            hedge_s=0.02 if kind == "hedge" else None,
            cascade=False,
        )
        stop_after = random.randint(1, 30) if kind == "close" else 10**9
        try:
            async with asyncio.timeout(random.random() * 0.3 if kind == "cancel" else None), aclosing(events):
                async for _ in events:
                    stop_after -= 1
                    if not stop_after:
                        break
            figures.ends["closed" if kind == "close" else "answered"] += 1
        except TimeoutError:
            figures.ends["canceled"] += 1
        except LLMMagicError as error:
            figures.ends[type(error).__name__] += 1


async def warm_up(router: Router) -> None:
    """Import the SDKs and load the tokenizer, which is done once."""
    for model in _APIS:
        with suppress(LLMMagicError):
            await router.route("hello", model=model, cascade=False)


async def measure_lag(lags_ms: list[float]) -> None:
    while True:
        started = time.perf_counter()
        await asyncio.sleep(_LAG_INTERVAL_S)
        lags_ms.append(1_000 * (time.perf_counter() - started - _LAG_INTERVAL_S))


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


async def soak(router: Router, minutes: float, figures: Figures) -> None:
    await warm_up(router)
    started, process = time.monotonic(), psutil.Process()
    until = started + 60 * minutes
    lag = asyncio.run_coroutine_threadsafe(measure_lag(figures.lags_ms), bridge.loop())
    workers = asyncio.gather(*(work(router, until, figures) for _ in range(WORKERS)))
    next_report = started
    while not workers.done():
        await asyncio.wait([workers], timeout=max(0.0, next_report - time.monotonic()))
        next_report += max(1.0, 60 * minutes / _REPORTS)
        print(
            f"{time.monotonic() - started:7.0f} s   {process.memory_info().rss / 2**20:6.0f} MiB   "
            f"{process.num_fds():4} files   {len(psutil.Process().threads()):3} threads   "
            f"{figures.ends.total():6} runs   lag p99 {percentile(figures.lags_ms, 0.99):5.1f} ms",
            flush=True,
        )
    workers.result()
    lag.cancel()


def run(location: str, minutes: float, pause_s: float) -> bool:
    """Run the soak on one ledger and print its figures. True if the ledger is right."""
    pipe, other = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(other, pause_s), daemon=True)
    server.start()
    router = new_router(pipe.recv(), location)
    figures = Figures()
    asyncio.run(soak(router, minutes, figures))
    pipe.send(True)
    billed_usd, requests = pipe.recv()
    pipe.send(False)
    server.join(10)
    rows = router.ledger.rows()
    spent_usd, held_usd = router.ledger.spent_usd, router.ledger.held_usd
    estimated_usd = sum((row.cost_usd for row in rows if row.cost_estimated), Decimal(0))
    lags = figures.lags_ms
    print(f"runs: {dict(figures.ends)}; requests: {requests}; rows: {len(rows)}")
    print(f"ledger: ${spent_usd}, of which estimated {estimated_usd}; bill: ${billed_usd}; held: ${held_usd}")
    print(f"lag of the private loop: p50 {percentile(lags, 0.5):.1f} ms, p99 {percentile(lags, 0.99):.1f} ms, "
          f"maximum {max(lags, default=0.0):.1f} ms")  # fmt: skip
    router.ledger.close()
    return held_usd == 0 and billed_usd <= spent_usd <= billed_usd + estimated_usd


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="in all; half of them on each database")
    parser.add_argument("--tokens-per-s", type=float, default=80.0, help="pace of each answer; 500 saturates the loop")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    random.seed(options.seed)
    print(f"soak: seed {options.seed}")
    are_right: list[bool] = []
    with tempfile.TemporaryDirectory(prefix="llm_magic-soak-") as name:
        folder = Path(name)
        os.environ["LLM_MAGIC_HOME"] = str(folder)
        locations = {"SQLite": str(folder / "ledger.db")}
        if (reason := postgres.unusable()) is None:
            locations["PostgreSQL"] = postgres.new_database(postgres.start(folder))
        else:
            print(f"soak: without PostgreSQL: {reason}")
        try:
            for database, location in locations.items():
                print(f"{database}: {WORKERS} runs at once")
                are_right.append(run(location, options.minutes / len(locations), 1 / options.tokens_per_s))
        finally:
            if reason is None:
                postgres.stop(folder)
    sys.exit(0 if all(are_right) else "soak: the ledger and the bill differ, or money is held")


if __name__ == "__main__":
    main()
