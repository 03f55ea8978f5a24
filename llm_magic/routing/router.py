"""The path of a prompt from its request to its result."""

from __future__ import annotations

import dataclasses
import functools
import threading
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from types import EllipsisType
from typing import Any, Unpack

from llm_magic import cache as caching
from llm_magic import conversations, tuning
from llm_magic.bridge import Job, bridge
from llm_magic.budget import Amount, Budget, Cap, usd
from llm_magic.cache.store import AnswerCache
from llm_magic.classify import Classifier, LinearClassifier
from llm_magic.columns import Column, ColumnPlan
from llm_magic.columns.keep import ColumnStore
from llm_magic.columns.preparation import ColumnContext
from llm_magic.conversations.store import Conversations
from llm_magic.errors import BudgetExceeded, NoCandidate, RequestError
from llm_magic.events import Note, Planned, Postponed, RunEnded, RunEvent, RunFailed, TextDelta, pieces_of
from llm_magic.execute import Clock, Executor, RetryPolicy, ledger_io
from llm_magic.health import Circuit
from llm_magic.ledger import Headroom, Ledger
from llm_magic.plan import Planner, make_plan
from llm_magic.plan.cascade import cascade_mode
from llm_magic.providers import connect
from llm_magic.providers.base import Provider
from llm_magic.registry import Registry
from llm_magic.routing import columns, comparison, counting, keeping, keywords, patience, planning, validation
from llm_magic.routing.classification import apply_rules, explain_rule
from llm_magic.routing.column_options import ColumnOptions
from llm_magic.routing.keywords import Caps
from llm_magic.routing.options import RequestOptions
from llm_magic.routing.services import new_services
from llm_magic.routing.warm_up import WarmUp
from llm_magic.shadow import Shadows
from llm_magic.tuning.lengths import LearnedLengths
from llm_magic.types import DEFAULT_QUALITY, Comparison, Effort, ModelSpec, OnRefusal, Plan, Request, RouteResult
from llm_magic.types.shadowing import Shadowing
from llm_magic.waiting.store import StoredJob, WaitingStore
from llm_magic.waiting.wait import Wait, Waiting


class Router:
    """Routes prompts to the cheapest capable model under a budget, and records every attempt in the ledger.

    Every part can be replaced. The defaults come from the packaged registry and the environment. All methods may be
    called from any thread and any event loop.
    """

    def __init__(
        self,
        *,
        registry: Registry | None = None,
        ledger: Ledger | None = None,
        budget: Budget | None = None,
        providers: Mapping[str, Provider] | None = None,
        classifier: Classifier | None = None,
        planner: Planner | None = None,
        session_id: str | None = None,
        policy: RetryPolicy | None = None,
        clock: Clock | None = None,
        quality: float = DEFAULT_QUALITY,
        effort: Effort | str | None = None,
        worth: Amount | None = None,
        on_refusal: OnRefusal = "fallback",
        shadow: float | Shadowing = 0.0,
    ) -> None:
        self.shadowing = validation.shadowing(shadow)
        self.quality = validation.quality(quality)
        self.worth_usd = None if worth is None else usd(worth)
        self.effort = None if effort is None else validation.effort(effort)
        self.on_refusal: OnRefusal = validation.on_refusal(on_refusal)
        self.base_registry = Registry.load() if registry is None else registry
        self.registry = tuning.apply_tuning(self.base_registry, tuning.load())
        self._clock = clock = Clock() if clock is None else clock
        self.ledger = ledger or Ledger(session_id=session_id, clock=lambda: clock.now().timestamp())
        self.cache = AnswerCache(self.ledger)
        self.conversations = Conversations(self.ledger)
        self.column_store = ColumnStore(self.ledger)
        self.budget = Budget() if budget is None else budget
        self.classifier: Classifier = LinearClassifier() if classifier is None else classifier
        self.planner = planner
        self._setting_budget = threading.Lock()
        self.providers: Mapping[str, Provider] = connect(self.registry.providers) if providers is None else providers
        self._warm_up = WarmUp()
        self._services = new_services(
            self.registry, self.providers, self.ledger, RetryPolicy() if policy is None else policy, self._clock
        )
        self.waiting = Waiting(WaitingStore(self.ledger), self._services)
        self.shadows = Shadows(lambda: self._services, lambda: self.budget, planning.plan_context)

    def request(self, prompt: str, **given: Unpack[RequestOptions]) -> Request:
        """Return a checked request. Raises RequestError, naming the option; `RequestOptions` describes each one."""
        keywords.check_names("request", given)
        fields = keywords.fields_of(given)
        fields["is_quality_stated"] = "quality" in fields
        fields.setdefault("quality", self.quality)
        fields.setdefault("effort", self.effort)
        fields.setdefault("worth_usd", None if fields["is_quality_stated"] else self.worth_usd)
        fields.setdefault("on_refusal", self.on_refusal)
        fields["shadowing"] = self.shadowing
        limit = fields.pop("thread_tokens", conversations.THREAD_TOKENS)
        if (name := fields.pop("thread", None)) is not None:
            if fields.get("history"):
                raise RequestError("a thread has its own history: give thread or history, not both")
            fields["history"], fields["thread"] = planning.conversation(self.conversations, name, limit, self._services)
        for option in ("model", "judge", "last_resort"):
            if (named := fields.get(option)) is not None:
                self.registry.check_known(option, named)
        check, judge, schema = (fields.get(name) for name in ("check", "judge", "schema"))
        fields["cascade"] = cascade_mode(fields.get("cascade"), check=check, judge=judge, schema=schema)
        return Request(prompt=validation.prompt(prompt), **fields)

    def plan(self, prompt: str | Request, **given: Unpack[RequestOptions]) -> Plan:
        """Return the candidates for a prompt in their order, with their costs. Sends nothing; needs no key."""
        keywords.check_call("plan", prompt, given)
        request = prompt if isinstance(prompt, Request) else self.request(prompt, **given)
        plan_at, now = functools.partial(self._plan_at, request), self._clock.now()
        return patience.with_off_peak(plan_at(now), plan_at, self.registry, now)

    def stream(self, prompt: str | Request, **given: Unpack[RequestOptions]) -> AsyncGenerator[RunEvent]:
        """Return the events of a run as they happen.

        Close it if you leave early: `async with contextlib.aclosing(router.stream(...)) as events: ...`.
        """
        keywords.check_call("stream", prompt, given)
        return bridge.aiterate(self._run(prompt, given), split=pieces_of)

    def stream_sync(self, prompt: str | Request, **given: Unpack[RequestOptions]) -> Iterator[RunEvent]:
        """Return the events of a run in this thread."""
        keywords.check_call("stream_sync", prompt, given)
        return (part for event in bridge.iterate(self._run(prompt, given)) for part in pieces_of(event))

    def job(self, prompt: str | Request, wait: Wait | None = None, **given: Unpack[RequestOptions]) -> Job[RunEvent]:
        """Start a run in the background. The job yields its events, and can be canceled or joined.

        wait: a handle on the time for which `when="cheap"` postpones it.
        """
        keywords.check_call("job", prompt, given)
        return bridge.start(self._run(prompt, given, wait))

    async def route(self, prompt: str | Request, **given: Unpack[RequestOptions]) -> RouteResult:
        """Run a prompt to its answer. Raises AllAttemptsFailed, BudgetExceeded, NoCandidate."""
        keywords.check_call("route", prompt, given)
        async with aclosing(bridge.aiterate(self._last_event(prompt, given))) as events:
            async for event in events:
                return event.result
        raise AssertionError("a run ends with a result or an error")

    def route_sync(self, prompt: str | Request, **given: Unpack[RequestOptions]) -> RouteResult:
        """Run a prompt to its answer without `await`, in a script or in a cell."""
        keywords.check_call("route_sync", prompt, given)
        for event in bridge.iterate(self._last_event(prompt, given)):
            return event.result
        raise AssertionError("a run ends with a result or an error")

    def plans(
        self, prompt: str | Request, *, models: Sequence[str], **given: Unpack[RequestOptions]
    ) -> dict[str, Plan]:
        """Return a plan without fallbacks for each of several models, by model id, for `compare_job`.

        `models=("tiers",)` compares the tiers instead. The plan of a model that can't be used has no candidates.
        """
        keywords.check_call("plans", prompt, given)
        request = prompt if isinstance(prompt, Request) else self.request(prompt, **given)
        return {
            label: comparison.single_candidate(self.plan(asked))
            for label, asked in comparison.requests_of(request, models).items()
        }

    def compare_job(self, plans: Mapping[str, Plan]) -> Job[tuple[str, RunEvent | RunFailed]]:
        """Run several plans, as `plans` makes them, at once. Their events come with their labels."""
        return bridge.start(self._compare(plans))

    def map(self, text: str, *, over: object, **given: Unpack[ColumnOptions]) -> Column:
        """Return a column, to await or to iterate over: a text with `{{name}}` for a row's cell, and the rows.

        over: a DataFrame, Series, list, dict of lists, Arrow or polars table, or iterable. max_cost caps all rows.
        """
        return self.column(text, over, given)

    def map_sync(self, text: str, *, over: object, **given: Unpack[ColumnOptions]) -> Column:
        """Run a column to its end without `await`, in a script or in a cell."""
        return self.column(text, over, given).wait()

    def plan_map(self, text: str, *, over: object, **given: Unpack[ColumnOptions]) -> ColumnPlan:
        """Return what a column would ask and what that costs. Sends nothing; needs no key."""
        return self.column(text, over, given).plan

    def column(self, text: str, over: object, given: ColumnOptions, **how: Unpack[columns.Variables]) -> Column:
        """Return a column as `map` does, whose text may mention variables too."""
        return columns.new_column(text, over, given, self._column_context(), **how)

    async def compare(
        self, prompt: str | Request, *, models: Sequence[str], **given: Unpack[RequestOptions]
    ) -> Comparison:
        """Run a prompt on several models at once. Raises BudgetExceeded, with nothing sent, if not all of them fit."""
        keywords.check_call("compare", prompt, given)
        plans = self.plans(prompt, models=models, **given)
        async with aclosing(bridge.aiterate(self._compare(plans))) as events:
            return await comparison.collected(plans, events)

    def with_registry(self, registry: Registry) -> Router:
        """Return a router over another registry, with the same ledger, budget and policies."""
        return Router(
            registry=registry,
            ledger=self.ledger,
            budget=self.budget,
            classifier=self.classifier,
            planner=self.planner,
            policy=self._services.policy,
            clock=self._clock,
            quality=self.quality,
            effort=self.effort,
            worth=self.worth_usd,
            on_refusal=self.on_refusal,
            shadow=self.shadowing,
        )

    def retune(self) -> None:
        """Apply the stored tuning again, after it changed."""
        self.registry = tuning.apply_tuning(self.base_registry, tuning.load())
        lengths = LearnedLengths(self.ledger, self.registry)
        self._services = dataclasses.replace(self._services, registry=self.registry, lengths=lengths)

    def set_budget(self, session_usd: Amount | EllipsisType | None = ..., **caps: Unpack[Caps]) -> Budget:
        """Cap the spending of this session, in USD; None removes the cap. Caps that are not given stay.

        The new caps also bind the runs in flight, for what they still have to send. Raises BudgetError for an invalid
        amount or an unknown model.
        """
        keywords.check_names("set_budget", caps, ("session_usd", *Caps.__annotations__))
        changes: dict[str, Any] = {**caps} if session_usd is ... else {**caps, "session_usd": session_usd}
        with self._setting_budget:
            # A model that has a cap may be of another profile.
            planning.check_known(self.registry, changes.get("models_usd", ()), capped=self.budget.models_usd)
            self.budget = dataclasses.replace(self.budget, **changes)
            return self.budget

    def headroom(self, caps: Sequence[Cap]) -> list[Headroom]:
        """Return what is left under each cap, on the day and in the month of the router's clock."""
        return self.ledger.headroom(caps, now=self._clock.now())

    def unavailable(self, model: ModelSpec) -> str | None:
        """Return the reason why a model can't be used now, or None if it can."""
        return planning.unavailable(model, self.providers)

    def circuit(self, model: ModelSpec) -> Circuit:
        return self._services.circuit(model.id)

    def restored_column(self, content: str) -> Column:
        """Return a column that waited in another process, with its texts as rows."""
        return columns.restored(content, self._column_context())

    def _column_context(self) -> ColumnContext:
        make = functools.partial(columns.context, self._services, self.column_store, lambda: self.budget)
        return make(self.plan, self._rejection, self.request, self._postponed)

    def _postponed(
        self, request: Request, wait: Wait | None, job: StoredJob | None
    ) -> AsyncGenerator[Postponed | Note]:
        return patience.postponed(functools.partial(self._plan_at, request), self.registry, wait, job, self.waiting)

    def _plan_at(self, request: Request, moment: datetime, counted: Mapping[str, int] | None = None) -> Plan:
        request, classification = apply_rules(request, self.registry.rules, self.classifier)
        context = planning.plan_context(request, self.budget, self._services, at=moment, counted=counted)
        return explain_rule(make_plan(request, classification, self.registry, context, planner=self.planner))

    async def _run(
        self, prompt: str | Request, given: RequestOptions, wait: Wait | None = None, *, is_displayed: bool = True
    ) -> AsyncGenerator[RunEvent]:
        await self._warm_up.done()
        plan = await self._with_ledger(lambda: self.plan(prompt, **given))
        run_id, key = uuid.uuid4().hex, ""
        if plan.request.cache and plan.request.check is None:  # two functions can't be compared
            key = caching.key(plan.request, (model for model in self.registry if self.unavailable(model) is None))
            recall = functools.partial(keeping.recalled, plan, key, self.cache, self._services, self.budget, run_id)
            cached = await self._with_ledger(recall)
            if cached is not None:
                cached = await keeping.keep_in_conversation(plan, cached, self.conversations, self._services)
                for event in (Planned(run_id=run_id, plan=plan), TextDelta(text=cached.text), RunEnded(result=cached)):
                    yield event
                return
        notes: list[str] = []
        if (request := plan.request).when == "cheap":
            async with aclosing(self._postponed(request, wait, patience.stored_run(request, wait))) as pauses:
                async for event in pauses:
                    notes += [event.message] if isinstance(event, Note) else []
                    yield event
            plan = await self._with_ledger(lambda: self.plan(request))
        plan = await counting.with_counts(plan, self._plan_at, self._with_ledger, self._services)
        if not plan.candidates:
            raise await self._with_ledger(lambda: self._rejection(plan))
        try:
            executor = Executor(self._services)
            run = executor.execute(plan, run_id=run_id, budget=lambda: self.budget, is_displayed=is_displayed)
            async with aclosing(run) as events:
                async for event in events:
                    if isinstance(event, RunEnded):
                        result = dataclasses.replace(event.result, notes=(*notes, *event.result.notes))
                        kept = keeping.keep(plan, result, key, self.cache, self.conversations, self._services)
                        self.shadows.consider(plan, result)
                        event = RunEnded(result=await kept)
                    yield event
        except BudgetExceeded as refused:
            # Other runs have spent the money since it was planned: report what is left now.
            now = await self._with_ledger(lambda: self.plan(plan.request))
            raise (refused if now.candidates else await self._with_ledger(lambda: self._rejection(now))) from None

    async def _last_event(self, prompt: str | Request, given: RequestOptions) -> AsyncGenerator[RunEnded]:
        """Yield the last event only, so that the others need not cross to the caller's thread."""
        async with aclosing(self._run(prompt, given, is_displayed=False)) as events:
            async for event in events:
                if isinstance(event, RunEnded):
                    yield event

    async def _compare(self, plans: Mapping[str, Plan]) -> AsyncGenerator[tuple[str, RunEvent | RunFailed]]:
        usable, run_ids, failed = await self._with_ledger(lambda: comparison.split_usable(plans, self._rejection))
        for label, failure in failed.items():
            yield label, failure
        if usable:
            runs = Executor(self._services).compare(usable, run_ids=run_ids, budget=lambda: self.budget)
            async with aclosing(runs) as events:
                async for event in events:
                    yield event

    def _rejection(self, plan: Plan) -> NoCandidate | BudgetExceeded:
        return planning.rejection_of(plan, self.budget, self._services)

    async def _with_ledger(self, call: Callable[[], ledger_io.Result]) -> ledger_io.Result:
        """Call a function that reads or writes the ledger, again while the database is locked."""
        return await ledger_io.when_unlocked(call, self._services)
