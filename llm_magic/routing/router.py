"""The whole path of a prompt, on one page."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import threading
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from decimal import Decimal
from types import EllipsisType
from typing import Any, TypeVar

from llm_magic import answers, conversations, tuning
from llm_magic import cache as caching
from llm_magic.attachments import attach as attachments_of
from llm_magic.bridge import Job, bridge
from llm_magic.budget import Amount, Budget, Cap, usd
from llm_magic.cache.store import AnswerCache
from llm_magic.classify import classify
from llm_magic.conversations.store import Conversations
from llm_magic.errors import BudgetError, BudgetExceeded, NoCandidate, RequestError
from llm_magic.events import Planned, RunEnded, RunEvent, RunFailed, TextDelta
from llm_magic.execute import Clock, PerEventLoop, RetryPolicy, Services, compare, execute, ledger_io
from llm_magic.health import Circuit, Health
from llm_magic.ledger import Headroom, Ledger
from llm_magic.plan import PlanContext, make_plan
from llm_magic.plan.cascade import cascade_mode
from llm_magic.plan.rejection import rejection
from llm_magic.providers import connect
from llm_magic.providers.base import Provider
from llm_magic.registry import Registry
from llm_magic.routing import comparison, validation
from llm_magic.types import (
    DEFAULT_QUALITY,
    Classification,
    Compared,
    Comparison,
    Message,
    ModelSpec,
    Plan,
    Request,
    RouteResult,
    TaskTier,
)

Result = TypeVar("Result")


class Router:
    """Routes prompts to the cheapest capable model, under a budget, and keeps the ledger.

    Every part can be replaced; what is left out comes from the packaged registry and the environment. All of its
    methods may be used from any thread and any event loop.
    """

    def __init__(
        self,
        *,
        registry: Registry | None = None,
        ledger: Ledger | None = None,
        budget: Budget | None = None,
        providers: Mapping[str, Provider] | None = None,
        session_id: str | None = None,
        policy: RetryPolicy | None = None,
        clock: Clock | None = None,
        quality: float = DEFAULT_QUALITY,
    ) -> None:
        self.quality = validation.quality(quality)
        self.base_registry = Registry.load() if registry is None else registry
        """The registry without what `%route_tune` has taught."""
        self.registry = tuning.tuned(self.base_registry, tuning.load())
        self.ledger = Ledger(session_id=session_id) if ledger is None else ledger
        self.cache = AnswerCache(self.ledger)
        self.conversations = Conversations(self.ledger)
        self.budget = Budget() if budget is None else budget
        self._setting_budget = threading.Lock()
        specs = self.registry.providers
        self.providers: Mapping[str, Provider] = connect(specs) if providers is None else providers
        self._clock = Clock() if clock is None else clock
        policy = RetryPolicy() if policy is None else policy
        self._services = Services(
            registry=self.registry,
            providers=self.providers,
            ledger=self.ledger,
            health=Health(monotonic=self._clock.monotonic, cool_down_s=policy.cool_down_s),
            policy=policy,
            clock=self._clock,
            slots={
                name: PerEventLoop(
                    functools.partial(asyncio.Semaphore, specs[name].concurrency if name in specs else 64)
                )
                for name in {model.provider for model in self.registry}
            },
        )

    # The path of a prompt: request -> classification -> plan -> events -> result.

    def request(
        self,
        prompt: str,
        *,
        tier: TaskTier | str | None = None,
        model: str | None = None,
        system: str | None = None,
        max_output_tokens: int | None = None,
        max_cost: Amount | None = None,
        schema: Any = None,
        tags: Sequence[str] = (),
        routing_text: str | None = None,
        hedge_s: float | None = None,
        quality: float | None = None,
        parent_run_id: str | None = None,
        attach: Iterable[Any] = (),
        thread: str | None = None,
        thread_tokens: int = conversations.THREAD_TOKENS,
        history: Sequence[Message] = (),
        cache: bool = False,
        cascade: bool | str | None = None,
        check: Callable[[str], bool] | None = None,
        judge: str | None = None,
    ) -> Request:
        """A checked request. Raises RequestError, naming what is wrong with it.

        quality: the least share of the best model's expected quality that will do, 0..1; else the router's own.
        hedge_s: ask the next candidate too when the first token takes longer than this, in seconds. Both are billed.
        parent_run_id: the run that this one repeats or escalates, for the ledger.
        attach: paths of text files and images, DataFrames, or `Attachment`s. They do not decide the tier.
        thread: the name of a conversation: what was said in it is sent along, up to `thread_tokens` tokens, and this
        exchange is added to it. Its text is kept in the ledger's database.
        history: what was said before, where you keep it yourself.
        cache: where the very same was asked before, take that answer; else keep this one, with its text.
        cascade: ask cheap models first, and the plan's leader only where their answer is not confirmed: True, or
        `agree` (by a second cheap model), `twice` (by the same one), `schema`, `check`, `judge`.
        check: a test of the answer's text, run off the event loop; what it raises is a no.
        judge: the id of a model that is asked whether a cheap answer will do.
        """
        attachments = attachments_of(attach)
        for attached in attachments:
            validation.text(attached.text, attached.name)
            validation.text(attached.name, "the name of an attachment")
        kept = None
        if thread is not None:
            if history:
                raise RequestError("a thread has its own history: give one of the two")
            # Where only a small window can be used, as much again is left for the prompt and the answer.
            windows = [model.context_window for model in self.registry if self.unavailable(model) is None]
            limit = min(thread_tokens, max(windows, default=thread_tokens) // 2)
            history, kept = conversations.load(self.conversations, thread, limit, self._clock.now())
        for message in history:
            validation.text(message.content, "the history")
        return Request(
            prompt=validation.prompt(prompt),
            tier=None if tier is None else validation.tier(tier),
            model=model,
            system=None if system is None else validation.text(system, "the system prompt"),
            max_output_tokens=None if max_output_tokens is None else validation.output_tokens(max_output_tokens),
            max_cost_usd=None if max_cost is None else usd(max_cost),
            schema=None if schema is None else answers.schema_of(schema),
            tags=validation.tags(tags),
            routing_text=routing_text,
            hedge_s=None if hedge_s is None else validation.hedge_s(hedge_s),
            quality=self.quality if quality is None else validation.quality(quality),
            parent_run_id=parent_run_id,
            attachments=attachments,
            history=tuple(history),
            thread=kept,
            cache=cache,
            cascade=cascade_mode(cascade, check=check, judge=judge, schema=schema),
            check=check,
            judge=None if judge is None else self._known(judge),
        )

    def plan(self, prompt: str | Request, **options: Any) -> Plan:
        """Who would be asked, in which order, at what cost. Sends nothing; needs no key. Options as `request`."""
        if isinstance(prompt, Request) and options:
            raise RequestError(f"{min(options)} beside a Request: give it to router.request(...)")
        request = prompt if isinstance(prompt, Request) else self.request(prompt, **options)
        return make_plan(request, _classified(request), self.registry, self._standing(request))

    async def stream(self, prompt: str | Request, **options: Any) -> AsyncGenerator[RunEvent]:
        """The events of a run as they happen. Options as `request`.

        Close it when you leave early: `async with contextlib.aclosing(router.stream(...)) as events: ...`.
        """
        async with aclosing(bridge.aiterate(self._run(prompt, options))) as events:
            async for event in events:
                yield event

    def stream_sync(self, prompt: str | Request, **options: Any) -> Iterator[RunEvent]:
        """The same, in this thread."""
        return bridge.iterate(self._run(prompt, options))

    def job(self, prompt: str | Request, **options: Any) -> Job[RunEvent]:
        """The run started in the background: for whoever watches it, cancels it or joins it."""
        return bridge.start(self._run(prompt, options))

    async def route(self, prompt: str | Request, **options: Any) -> RouteResult:
        """Run a prompt to its answer. Options as `request`. Raises AllAttemptsFailed, BudgetExceeded, NoCandidate."""
        async with aclosing(bridge.aiterate(self._end(prompt, options))) as ends:
            async for end in ends:
                return end.result
        raise AssertionError("a run ends with a result or an error")

    def route_sync(self, prompt: str | Request, **options: Any) -> RouteResult:
        """The same without `await`: in a script, or in a cell."""
        for end in bridge.iterate(self._end(prompt, options)):
            return end.result
        raise AssertionError("a run ends with a result or an error")

    def plans(self, prompt: str | Request, *, models: Sequence[str], **options: Any) -> dict[str, Plan]:
        """For `compare`: a plan for each of several models, or for each tier (`models=("tiers",)`), with no fallbacks.

        By model id, or by tier. A model that can't be used has a plan without candidates. Options as `request`.
        """
        request = prompt if isinstance(prompt, Request) else self.request(prompt, **options)
        return {
            label: comparison.single_candidate(self.plan(each))
            for label, each in comparison.asked_of(request, models).items()
        }

    def compare_job(self, plans: Mapping[str, Plan]) -> Job[tuple[str, RunEvent | RunFailed]]:
        """Run several plans, as `plans` makes them, at once. Their events come with their labels."""
        return bridge.start(self._compare(plans))

    async def compare(self, prompt: str | Request, *, models: Sequence[str], **options: Any) -> Comparison:
        """Ask several models at once. Options as `request`. Raises BudgetExceeded, with nothing sent, where the money
        for all of them does not fit."""
        plans = self.plans(prompt, models=models, **options)
        ends: dict[str, Compared] = {}
        async with aclosing(bridge.aiterate(self._compare(plans))) as events:
            async for label, event in events:
                if isinstance(event, RunEnded):
                    ends[label] = Compared(label=label, result=event.result)
                elif isinstance(event, RunFailed):
                    ends[label] = Compared(label=label, result=None, error=str(event.error))
        return Comparison(columns=tuple(ends[label] for label in plans))

    def retune(self) -> None:
        """Take note that what was learnt from the ledger has changed."""
        self.registry = tuning.tuned(self.base_registry, tuning.load())
        self._services = dataclasses.replace(self._services, registry=self.registry)

    def set_budget(self, session_usd: Amount | EllipsisType | None = ..., **caps: Any) -> Budget:
        """Cap what this session may spend, in USD; None takes the cap away.

        It binds runs that are under way too, in whatever they have yet to send.
        caps: the other fields of `Budget`, e.g. `day_usd=20` or `models_usd={"gpt-5.5": 1}`; what is not named stays.
        Raises BudgetError for what is no amount or no model of the registry.
        """
        given = caps if session_usd is ... else caps | {"session_usd": session_usd}
        with self._setting_budget:
            for model in given.get("models_usd", ()):
                if model not in self.registry and model not in self.budget.models_usd:  # it may be another profile's
                    raise BudgetError(self.registry.unknown_model(model))
            self.budget = dataclasses.replace(self.budget, **given)
            return self.budget

    def unavailable(self, model: ModelSpec) -> str | None:
        """Why a model can't be used now; None where it can."""
        provider = self.providers.get(model.provider)
        return f"no provider {model.provider!r}" if provider is None else provider.unavailable()

    def circuit(self, model: ModelSpec) -> Circuit:
        """How a model has been doing: its circuit is closed while it is well."""
        return self._services.health.circuit(model.id)

    async def _run(self, prompt: str | Request, options: dict[str, Any]) -> AsyncGenerator[RunEvent]:
        """The core, on the private loop."""
        plan = await self._turn(lambda: self.plan(prompt, **options))
        run_id, key = uuid.uuid4().hex, ""
        if plan.request.cache and plan.request.check is None:  # two functions can't be told apart
            key = caching.key(plan.request, (model for model in self.registry if self.unavailable(model) is None))
            at = self._clock.now()
            known = await self._turn(
                lambda: caching.recall(plan, key, self.cache, self.ledger, self.budget, run_id=run_id, at=at)
            )
            if known is not None:
                known = await self._in_thread(plan.request, known)
                for event in (Planned(run_id=run_id, plan=plan), TextDelta(text=known.text), RunEnded(result=known)):
                    yield event
                return
        if not plan.candidates:
            raise await self._turn(lambda: self._refusal(plan))
        try:
            async with aclosing(execute(plan, self._services, run_id=run_id, budget=lambda: self.budget)) as events:
                async for event in events:
                    if isinstance(event, RunEnded):
                        result = event.result
                        if key:
                            keep = functools.partial(caching.keep, result, key, self.cache)
                            result = await ledger_io.kept(result, "cache", keep, self._services)
                        event = RunEnded(result=await self._in_thread(plan.request, result))
                    yield event
        except BudgetExceeded as refused:
            # There was money when it was planned, which other runs have spent since: say what there is now.
            now = await self._turn(lambda: self.plan(plan.request))
            raise (refused if now.candidates else await self._turn(lambda: self._refusal(now))) from None

    async def _turn(self, call: Callable[[], Result]) -> Result:
        """What asks the ledger, on the private loop."""
        return await ledger_io.turn(
            call, self._services, until=self._clock.monotonic() + self._services.policy.deadline_s
        )

    async def _in_thread(self, request: Request, result: RouteResult) -> RouteResult:
        if request.thread is None:
            return result
        keep = functools.partial(conversations.keep, self.conversations, request, result, self._clock.now())
        return await ledger_io.kept(result, "thread", keep, self._services)

    async def _compare(self, plans: Mapping[str, Plan]) -> AsyncGenerator[tuple[str, RunEvent | RunFailed]]:
        """The core of a comparison, on the private loop."""
        usable, run_ids, failed = await self._turn(lambda: comparison.runs_of(plans, self._refusal))
        for label, failure in failed.items():
            yield label, failure
        if usable:
            async with aclosing(compare(usable, self._services, run_ids=run_ids, budget=lambda: self.budget)) as events:
                async for event in events:
                    yield event

    async def _end(self, prompt: str | Request, options: dict[str, Any]) -> AsyncGenerator[RunEnded]:
        """The core's last event only: what nobody watches need not cross over from its loop."""
        async with aclosing(self._run(prompt, options)) as events:
            async for event in events:
                if isinstance(event, RunEnded):
                    yield event

    def _standing(self, request: Request) -> PlanContext:
        rooms = functools.lru_cache(self.ledger.headroom)

        def left_usd(model: ModelSpec) -> Decimal | None:
            return min((room.reachable_usd for room in rooms(self._caps(request, model.id))), default=None)

        return PlanContext(
            now=self._clock.now(),
            left_usd=left_usd,
            unavailable=self.unavailable,
            circuit=self._services.health.circuit,
        )

    def _known(self, model: str) -> str:
        if model not in self.registry:
            raise RequestError(self.registry.unknown_model(model))
        return model

    def _caps(self, request: Request, model: str) -> tuple[Cap, ...]:
        return self.budget.caps(model=model, tags=request.tags, max_cost_usd=request.max_cost_usd)

    def _refusal(self, plan: Plan) -> NoCandidate | BudgetExceeded:
        def headroom(model: str) -> list[Headroom]:
            return self.ledger.headroom(self._caps(plan.request, model))

        return rejection(plan, self.registry, self._standing(plan.request), headroom)


def _classified(request: Request) -> Classification:
    if request.tier is not None:
        return Classification(tier=request.tier, confidence=1.0, reasons=("you asked for this tier",))
    thread, text = request.thread, request.prompt if request.routing_text is None else request.routing_text
    if thread is not None and thread.tier is not None and conversations.follows_on(text):
        reasons = ("a short follow-up keeps the tier of what it follows",)
        return Classification(tier=thread.tier, confidence=thread.confidence, reasons=reasons)
    return classify(text)
