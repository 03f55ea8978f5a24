"""Shadow runs in the background: another answer, and a verdict, which is all that is kept."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import random
import uuid
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import aclosing
from decimal import Decimal

from llm_magic.bridge import Job, bridge
from llm_magic.budget import Budget
from llm_magic.errors import LLMMagicError
from llm_magic.events import RunEnded
from llm_magic.execute import Executor, Services, ledger_io
from llm_magic.execute.confirm import accepts
from llm_magic.plan import PlanContext
from llm_magic.plan.rating import CandidateBuilder
from llm_magic.shadow import verdicts
from llm_magic.shadow.choice import Choice, Chooser, judge_at
from llm_magic.shadow.permission import may_shadow
from llm_magic.shadow.widths import Widths
from llm_magic.types import Candidate, Confirmation, Doubt, Outcome, Plan, Request, RouteResult, Verdict

MAX_RUNNING = 64
MAX_COMPARED = 3
_ATTEMPTS = 2
"""The second one is for a request that an endpoint wants in another form."""


class Shadows:
    """The shadow runs of one router.

    services, budget: return the current ones. context: returns the state that the plan of a request depends on.
    """

    def __init__(
        self,
        services: Callable[[], Services],
        budget: Callable[[], Budget],
        context: Callable[[Request, Budget, Services], PlanContext],
        *,
        seed: int | None = None,
    ) -> None:
        self._services, self._budget, self._context_of = services, budget, context
        self._random = random.Random(seed)  # noqa: S311 - a sample, not a secret
        self._widths = Widths()
        self._jobs: set[Job[None]] = set()
        self.last_problem = ""
        """The reason why the last sampled run was not compared; empty if it was."""

    def consider(self, plan: Plan, result: RouteResult) -> None:
        """Start a shadow run for a share of the answered runs. Returns at once."""
        self._jobs = {job for job in self._jobs if not job.done()}
        share = plan.request.shadowing.share
        if share <= 0 or self._random.random() >= share or len(self._jobs) >= MAX_RUNNING:
            return
        self._jobs.add(bridge.start(self._run(plan, result)))

    def join(self, timeout_s: float) -> bool:
        """Wait for the shadow runs in progress, and return True if all have ended."""
        return all(job.join(timeout_s) for job in tuple(self._jobs))

    async def _run(self, plan: Plan, result: RouteResult) -> AsyncGenerator[None]:
        try:
            self.last_problem = await self._compare(plan, result)
        except LLMMagicError as error:
            self.last_problem = str(error)
        return
        yield

    async def _compare(self, plan: Plan, result: RouteResult) -> str:
        """Compare the answer with one other, and with more while all of it costs no more than the answer itself.

        Returns the reason if there is no verdict, else an empty text.
        """
        if not await asyncio.to_thread(may_shadow, plan, result):
            return "its text may not be sent to another model"
        is_confirmed = any(row.confirmation is not None and row.outcome is Outcome.OK for row in result.attempts)
        compared: list[str] = []
        most_usd, left_usd = None, result.cost_usd
        while len(compared) < MAX_COMPARED:
            choose = functools.partial(self._choose, compared=compared, most_usd=most_usd, is_confirmed=is_confirmed)
            choice = await asyncio.to_thread(choose, plan, result)
            if choice is None:
                break
            if problem := await self._compare_with(choice, plan, result):
                return problem
            compared.append(choice.shadow.model.id)
            is_confirmed |= choice.confirming is not None and not choice.is_shadow_cheaper
            left_usd -= choice.expected_usd
            most_usd = left_usd
        if not compared:
            return "no other model with a judge can be used under the caps, or nothing would be learned"
        return ""

    async def _compare_with(self, choice: Choice, plan: Plan, result: RouteResult) -> str:
        request = verdicts.shadow_request(plan.request, parent_run_id=result.run_id)
        shadow = await self._ask(plan, request, choice.shadow, Outcome.SHADOW)
        if shadow.finish_reason != "stop":
            return f"{choice.shadow.name} was cut off"
        verdict = await asyncio.to_thread(verdicts.mechanical, plan.request, result.text, shadow.text)
        if verdict is None:
            verdict = await self._judged(plan, result.text, shadow, choice)
        if verdict is None:
            return f"{choice.judge.model.id} gave no verdict"
        self._record(shadow, Outcome.SHADOW, verdict=verdict)
        if choice.confirming is not None:
            await self._confirm(plan, shadow if choice.is_shadow_cheaper else result, choice.confirming)
        return ""

    async def _confirm(self, plan: Plan, answer: RouteResult, judge: Candidate) -> None:
        """Ask the judge of a cascade if it would have accepted the answer."""
        request = verdicts.confirming_request(plan.request, answer.text, parent_run_id=answer.run_id)
        candidate = judge_at(judge, self._builder(plan, request))
        if candidate is None:
            return
        reply = await self._ask(plan, request, candidate, Outcome.JUDGED)
        is_accepted = accepts(reply.text)
        if is_accepted is not None:
            reason = None if is_accepted else Doubt.JUDGED_BAD
            self._record(reply, Outcome.JUDGED, confirmation=Confirmation.JUDGE, reason=reason)

    def _record(
        self,
        result: RouteResult,
        outcome: Outcome,
        *,
        verdict: Verdict | None = None,
        confirmation: Confirmation | None = None,
        reason: Doubt | None = None,
    ) -> None:
        row = next(attempt for attempt in result.attempts if attempt.outcome is outcome)
        with ledger_io.settling(self._services()):
            self._services().ledger.settle(
                dataclasses.replace(row, verdict=verdict, confirmation=confirmation, reason=reason)
            )

    def _choose(
        self,
        plan: Plan,
        result: RouteResult,
        *,
        compared: Collection[str],
        most_usd: Decimal | None,
        is_confirmed: bool,
    ) -> Choice | None:
        services = self._services()
        request = verdicts.shadow_request(plan.request, parent_run_id=result.run_id)
        judged = verdicts.judge_request(plan.request, result.text, result.text, parent_run_id=result.run_id)
        builder, judging = (self._builder(plan, asked) for asked in (request, judged))
        chooser = Chooser(
            plan=plan,
            registry=services.registry,
            builder=builder,
            judging=judging,
            width=self._widths.of_tier(plan.tier, services.ledger, services.registry),
            left_usd=self._context(plan.request).left_usd,
        )
        return chooser.choose(
            result.model, result.effort, compared=compared, most_usd=most_usd, is_confirmed=is_confirmed
        )

    def _context(self, request: Request) -> PlanContext:
        return self._context_of(request, self._budget(), self._services())

    def _builder(self, plan: Plan, request: Request) -> CandidateBuilder:
        return CandidateBuilder(request, plan.classification, self._context(request), self._services().registry)

    async def _judged(self, plan: Plan, shown: str, shadow: RouteResult, choice: Choice) -> Verdict | None:
        """Ask the judge in both orders, in a random sequence, unless the first reply is a tie."""
        preferences: dict[bool, int | None] = {}
        for shown_first in self._random.sample((True, False), 2):
            texts = (shown, shadow.text) if shown_first else (shadow.text, shown)
            request = verdicts.judge_request(plan.request, *texts, parent_run_id=shadow.run_id)
            candidate = judge_at(choice.judge, self._builder(plan, request))
            if candidate is None:
                return None
            reply = await self._ask(plan, request, candidate, Outcome.JUDGED)
            preferences[shown_first] = preference = verdicts.parse_reply(reply.text)
            if preference is None:
                return None
            if preference == 0:
                return Verdict.TIE
        return verdicts.combined((preferences[True], preferences[False]))

    async def _ask(self, plan: Plan, request: Request, candidate: Candidate, outcome: Outcome) -> RouteResult:
        """Run a request on one model, once. Raises AllAttemptsFailed or BudgetExceeded."""
        services = self._services()
        policy = dataclasses.replace(services.policy, tries=1, attempts=_ATTEMPTS)
        alone = dataclasses.replace(plan, request=request, ranked=(candidate,), cascade=None, no_cascade="", extras=())
        running = Executor(dataclasses.replace(services, policy=policy)).execute(
            alone, run_id=uuid.uuid4().hex, budget=self._budget, answer_outcome=outcome
        )
        async with aclosing(running) as events:
            async for event in events:
                if isinstance(event, RunEnded):
                    return event.result
        raise AssertionError("a run ends with a result or an error")
