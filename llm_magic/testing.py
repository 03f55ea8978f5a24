"""Write tests against scripted models: no key, no network, no waiting.

from llm_magic.testing import Reply, ScriptedProvider, scripted_router

provider = ScriptedProvider([Reply(chunks=("Bon", "jour"))])
router = scripted_router(providers={"cloud": provider})
assert router.route_sync("Translate to French: hello").text == "Bonjour"
assert provider.requests[0].model.id == "cheap"
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from llm_magic.budget import Amount, Budget, usd
from llm_magic.classify import Classifier
from llm_magic.execute import Clock, RetryPolicy
from llm_magic.ledger import Ledger
from llm_magic.plan import Planner
from llm_magic.providers.base import Provider, ProviderRequest
from llm_magic.providers.scripted import Failure, Reply, ScriptedProvider
from llm_magic.registry import Registry
from llm_magic.routing import Router
from llm_magic.types import DEFAULT_QUALITY, ModelSpec, OnRefusal, Price, ProviderSpec, Shadowing, TaskTier

__all__ = ["Failure", "FakeClock", "Reply", "ScriptedProvider", "scripted_model", "scripted_router"]


class FakeClock:
    """A clock that only moves when something sleeps, or when a test calls `advance`.

    jitter: the share of each backoff that is slept, 0..1.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, 12, tzinfo=UTC), *, jitter: float = 1.0) -> None:
        self.sleeps_s: list[float] = []
        self._start = start
        self._elapsed_s = 0.0
        self._jitter = jitter

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        return self._elapsed_s

    def advance(self, seconds: float) -> None:
        self._elapsed_s += seconds

    async def sleep(self, seconds: float) -> None:
        self.sleeps_s.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)

    def clock(self) -> Clock:
        return Clock(now=self.now, monotonic=self.monotonic, sleep=self.sleep, jitter=lambda: self._jitter)


def scripted_model(
    model_id: str,
    *,
    price: str = "1/5",
    tiers: Iterable[TaskTier] = tuple(TaskTier),
    provider: str = "cloud",
    fallback_id: str | None = None,
    context_window: int = 100_000,
    max_output_tokens: int = 1_000,
) -> ModelSpec:
    """Make a model for `scripted_router`.

    price: USD per million tokens, as `"input/output"`.
    tiers: the tiers that the model is a first choice for; all of them by default.
    """
    input_price, output_price = price.split("/")
    return ModelSpec(
        id=model_id,
        provider=provider,
        price=Price(input=Decimal(input_price), output=Decimal(output_price)),
        tiers=tuple(tiers),
        fallback_id=fallback_id,
        context_window=context_window,
        max_output_tokens=max_output_tokens,
    )


DEFAULT_MODELS = (
    scripted_model("strong", price="4/20", tiers=(TaskTier.COMPLEX, TaskTier.STANDARD), fallback_id="cheap"),
    scripted_model("cheap", price="0.1/0.5", tiers=(TaskTier.STRUCTURED, TaskTier.BULK), fallback_id="strong"),
)


def scripted_router(
    *models: ModelSpec,
    replies: Iterable[Reply | Failure | str] | Callable[[ProviderRequest], Reply | Failure] = (Reply(),),
    providers: Mapping[str, Provider] | None = None,
    clock: FakeClock | None = None,
    ledger: Ledger | None = None,
    budget: Budget | Amount | None = None,
    classifier: Classifier | None = None,
    planner: Planner | None = None,
    session_id: str | None = None,
    policy: RetryPolicy | None = None,
    quality: float = DEFAULT_QUALITY,
    on_refusal: OnRefusal = "fallback",
    concurrency: int = 64,
    shadow: float | Shadowing = 0.0,
) -> Router:
    """Make a router on scripted models, with its ledger in memory and a clock that does not wait.

    models: two by default: `strong` for complex and standard prompts, `cheap` for structured and bulk ones. The first
    one is the baseline of savings.
    replies: what the models answer, in turn; the last reply is repeated. A text stands for a Reply. Or a function of
    the request.
    budget: the caps, or the session's cap in USD.
    providers: by name, instead of one `ScriptedProvider` with these replies.
    concurrency: the number of requests in flight, per provider.
    """
    specs = models or DEFAULT_MODELS
    names: Sequence[str] = sorted({spec.provider for spec in specs})
    scripted = ScriptedProvider(replies)
    time = FakeClock() if clock is None else clock
    if ledger is None:
        ledger = Ledger(":memory:", session_id=session_id, clock=lambda: time.now().timestamp())
    return Router(
        registry=Registry(models=specs, providers=[ProviderSpec(name=name, concurrency=concurrency) for name in names]),
        providers=dict.fromkeys(names, scripted) if providers is None else providers,
        clock=time.clock(),
        ledger=ledger,
        budget=budget if budget is None or isinstance(budget, Budget) else Budget(session_usd=usd(budget)),
        classifier=classifier,
        planner=planner,
        policy=policy,
        quality=quality,
        on_refusal=on_refusal,
        shadow=shadow,
    )
