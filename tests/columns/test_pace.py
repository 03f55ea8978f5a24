"""The shared pace of a model: within the limits of a server that states them, and of one that does not."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import pytest

from llm_magic import RateLimited, Router
from llm_magic.events import TextDelta
from llm_magic.execute import Clock
from llm_magic.ledger import Ledger
from llm_magic.providers.base import Finished, ProviderRequest, UsageReport
from llm_magic.providers.rate_limits import Limit, RateLimits, rate_limits
from llm_magic.types import Usage
from tests.support.builders import NOON, model, registry

REQUESTS, TOKENS = 100, 100_000


class SimulatedTime:
    """A clock for concurrent tasks: it moves to the next wake-up once every task waits."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._driver: asyncio.Task[None] | None = None

    async def sleep(self, seconds: float) -> None:
        if self._driver is None or self._driver.done():
            self._driver = asyncio.create_task(self._drive())
        wake = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now_s + seconds, next(self._numbers), wake))
        await wake

    async def _drive(self) -> None:
        while self._sleepers:
            for _ in range(30):  # let everything run that can run now
                await asyncio.sleep(0)
            due, _, wake = heapq.heappop(self._sleepers)
            if not wake.done():
                self.now_s = max(self.now_s, due)
                wake.set_result(None)

    def clock(self) -> Clock:
        return Clock(
            now=lambda: NOON + timedelta(seconds=self.now_s),
            monotonic=lambda: self.now_s,
            sleep=self.sleep,
            jitter=lambda: 0.5,
        )


class LimitedServer:
    """A provider with limits per minute. how: `window`, which starts again each minute, or `bucket`, refilled steadily."""

    def __init__(
        self,
        time: SimulatedTime,
        *,
        how: str,
        states: bool,
        tokens: int,
        latency_s: float = 0.4,
        burst: float = REQUESTS,
    ) -> None:
        self.time, self.how, self.states, self.tokens, self.latency_s = time, how, states, tokens, latency_s
        self.burst = burst
        self.accepted = self.rejected = 0
        self._left = {"requests": float(REQUESTS), "tokens": float(TOKENS)}
        self._at = 0.0
        self.log: deque[float] = deque()

    def unavailable(self) -> None:
        return None

    def use_up(self) -> None:
        self._left = dict.fromkeys(self._left, 0.0)

    def _refill(self) -> None:
        now, limits = self.time.now_s, {"requests": REQUESTS, "tokens": TOKENS}
        for name, limit in limits.items():
            if self.how == "window":
                if now // 60 > self._at // 60:
                    self._left[name] = limit
            else:
                most = limit * self.burst / REQUESTS
                self._left[name] = min(most, self._left[name] + limit * (now - self._at) / 60)
        self._at = now

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[Any]:
        self._refill()
        if self._left["requests"] < 1 or self._left["tokens"] < self.tokens:
            self.rejected += 1
            raise RateLimited("HTTP 429: slow down")
        self._left["requests"] -= 1
        self._left["tokens"] -= self.tokens
        self.accepted += 1
        if self.states:
            yield RateLimits(
                requests=Limit(amount=REQUESTS, left=self._left["requests"]),
                tokens=Limit(amount=TOKENS, left=self._left["tokens"]),
            )
        await self.time.sleep(self.latency_s)
        yield TextDelta(text="fine")
        yield UsageReport(usage=Usage(input_tokens=self.tokens - 20, output_tokens=20))
        yield Finished(finish_reason="stop", served_model="only")


@pytest.mark.parametrize("how", ["window", "bucket"])
@pytest.mark.parametrize("states", [True, False], ids=["stated", "unstated"])
@pytest.mark.parametrize(("tokens", "possible"), [(100, REQUESTS), (1_000, TOKENS / 1_000)], ids=["requests", "tokens"])
def test_a_column_uses_the_limits_of_a_server_and_is_rarely_rejected(
    how: str, states: bool, tokens: int, possible: float
) -> None:
    time = SimulatedTime()
    server = LimitedServer(time, how=how, states=states, tokens=tokens)
    router = Router(
        registry=registry(model("only", context_window=1_000_000)),
        providers={"cloud": server},
        clock=time.clock(),
        ledger=Ledger(":memory:", clock=lambda: NOON.timestamp() + time.now_s),
    )
    rows = round(6 * possible)
    over = [f"review {number}" for number in range(rows)]
    done = router.map_sync("Topic? {{value}}", over=over, pilot=0)
    assert done.report().answered == rows
    if states:
        minutes = router.plan_map("Another? {{value}}", over=over).minutes
        assert minutes == pytest.approx(6, rel=0.2)
    used = server.accepted / (possible * time.now_s / 60)
    assert used >= 0.9
    assert server.rejected <= 0.01 * (server.accepted + server.rejected)


@pytest.mark.parametrize("burst", [1, 3, 10])
@pytest.mark.parametrize("used_up", [False, True])
def test_an_early_rejection_does_not_stop_a_column_for_minutes(burst: int, used_up: bool) -> None:
    """The limit may be one per second, or another process has just used it up."""
    time = SimulatedTime()
    server = LimitedServer(time, how="bucket", states=False, tokens=100, burst=burst)
    if used_up:
        server.use_up()
    router = Router(
        registry=registry(model("only", context_window=1_000_000)),
        providers={"cloud": server},
        clock=time.clock(),
        ledger=Ledger(":memory:", clock=lambda: NOON.timestamp() + time.now_s),
    )
    done = router.map_sync("Topic? {{value}}", over=[f"review {number}" for number in range(3 * REQUESTS)], pilot=0)
    assert done.report().answered == 3 * REQUESTS
    assert time.now_s <= 2 * 180
    assert server.rejected <= 0.03 * server.accepted


@pytest.mark.parametrize(
    ("headers", "requests", "tokens"),
    [
        (
            {
                "x-ratelimit-limit-requests": "500", "x-ratelimit-remaining-requests": "499",
                "x-ratelimit-reset-requests": "120ms", "x-ratelimit-limit-tokens": "200000",
                "x-ratelimit-remaining-tokens": "199000", "x-ratelimit-reset-tokens": "0s",
            },
            Limit(amount=500, left=499),
            Limit(amount=200_000, left=199_000),
        ),
        (
            {"x-ratelimit-limit-requests": "200", "x-ratelimit-remaining-requests": "199", "x-ratelimit-reset-requests": "7m12s"},
            Limit(amount=200, left=199, window_s=86_400),
            None,
        ),
        (
            {
                "anthropic-ratelimit-requests-limit": "50", "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-input-tokens-limit": "40000", "anthropic-ratelimit-input-tokens-remaining": "30000",
                "anthropic-ratelimit-output-tokens-limit": "8000", "anthropic-ratelimit-output-tokens-remaining": "8000",
            },
            Limit(amount=50, left=0),
            Limit(amount=48_000, left=38_000),
        ),
    ],
)  # fmt: skip
def test_stated_limits_are_read_from_headers(headers: dict[str, str], requests: Limit, tokens: Limit | None) -> None:
    assert rate_limits(headers) == RateLimits(requests=requests, tokens=tokens)


@pytest.mark.parametrize("value", ["", "many", "-1", "1e9", "NaN"])
def test_headers_without_a_number_state_no_limit(value: str) -> None:
    assert rate_limits({"x-ratelimit-limit-requests": value, "x-ratelimit-remaining-requests": "1"}) is None
