"""Runs of simulated models with shadow runs: the rows of the ledger that these would leave."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import numpy as np

from llm_magic import tuning
from llm_magic.lab.simulate.judges import SimulatedJudge
from llm_magic.lab.simulate.thinkers import Played, Prompt, Thinkers, attempt_of, plans, simulated_context
from llm_magic.plan import make_plan
from llm_magic.plan.rating import CandidateBuilder
from llm_magic.registry import Registry
from llm_magic.shadow.choice import Choice, Chooser
from llm_magic.shadow.runs import MAX_COMPARED
from llm_magic.shadow.verdicts import judge_request, shadow_request
from llm_magic.tuning.evidence import ModelTier
from llm_magic.tuning.lengths import LearnedLengths
from llm_magic.types import SHADOW_TAG, Attempt, Candidate, Confirmation, Doubt, Outcome, Plan, Request

_PER_UPDATE = 30
_ANSWER = "word " * 250

_Answer = tuple[Attempt, Played]


class Shadowed:
    """The runs of one user, each with a shadow run. The tuning is applied after every _PER_UPDATE of them."""

    def __init__(
        self,
        thinkers: Thinkers,
        assumed: Registry,
        lengths: LearnedLengths,
        judge: SimulatedJudge,
        rng: np.random.Generator,
    ) -> None:
        self.rows: list[Attempt] = []
        self.shadow_usd = self.shown_usd = 0.0
        self._thinkers, self._lengths, self._judge, self._rng = thinkers, lengths, judge, rng
        self._assumed = self._registry = assumed
        self._widths = dict[ModelTier, float]()
        self._count = 0

    def run(self, prompt: Prompt) -> None:
        if self._count % _PER_UPDATE == 0:
            learned = tuning.tune(self.rows, self._assumed)
            self._registry, self._widths = tuning.apply_tuning(self._assumed, learned), dict(learned.widths)
        self._count += 1
        deceives = self._rng.random() < self._judge.deceived
        shown = self._show(prompt, plans(self._registry, self._lengths)(prompt), deceives=deceives)
        row, played = shown
        chooser, compared = self._chooser(prompt), list[str]()
        is_confirmed, most_usd, left_usd = row.confirmation is not None, None, Decimal(played.usd)
        while len(compared) < MAX_COMPARED:
            choice = chooser.choose(
                row.model, row.effort, compared=compared, most_usd=most_usd, is_confirmed=is_confirmed
            )
            if choice is None:
                return
            shadow = self._compare(prompt, choice, shown, deceives=deceives)
            if choice.confirming is not None:
                answer = shadow if choice.is_shadow_cheaper else shown
                self._confirm(choice.confirming, answer, deceives=deceives)
                is_confirmed |= not choice.is_shadow_cheaper
            compared.append(choice.shadow.model.id)
            left_usd -= choice.expected_usd
            most_usd = left_usd

    def _show(self, prompt: Prompt, plan: Plan, *, deceives: bool) -> _Answer:
        if (cascade := plan.cascade) is not None and cascade.judge is not None:
            cheap = cascade.cheap[0]
            played = self._thinkers.play(prompt, cheap)
            self.shown_usd += played.usd + float(cascade.judge.typical_usd)
            is_accepted = self._judge.accepts(float(played.success), self._rng, deceives=deceives)
            row = dataclasses.replace(
                attempt_of(self._count, prompt, cheap, played),
                outcome=Outcome.OK if is_accepted else Outcome.SUPERSEDED,
                reason=None if is_accepted else Doubt.JUDGED_BAD,
                confirmation=cascade.confirmation,
            )
            self._record(row)
            if is_accepted:
                return row, played
        leader = plan.candidates[0]
        played = self._thinkers.play(prompt, leader)
        self.shown_usd += played.usd
        row = attempt_of(self._count, prompt, leader, played)
        self._record(row)
        return row, played

    def _compare(self, prompt: Prompt, choice: Choice, shown: _Answer, *, deceives: bool) -> _Answer:
        answer, answered = shown
        other = self._thinkers.play(prompt, choice.shadow)
        verdict, _ = self._judge.verdict(float(answered.success), float(other.success), self._rng, deceives=deceives)
        self.shadow_usd += other.usd + 2 * float(choice.judge.typical_usd)
        shadow = dataclasses.replace(
            attempt_of(self._count, prompt, choice.shadow, other),
            run_id=f"{answer.run_id} {choice.shadow.model.id}",
            parent_run_id=answer.run_id,
            outcome=Outcome.SHADOW,
            tags=(SHADOW_TAG,),
            verdict=verdict,
            cost_usd=Decimal(0),
        )
        self._record(shadow)
        self._record(_judged(shadow, choice.judge, shadow))
        return shadow, other

    def _confirm(self, judge: Candidate, answer: _Answer, *, deceives: bool) -> None:
        row, played = answer
        self.shadow_usd += float(judge.typical_usd)
        is_accepted = self._judge.accepts(float(played.success), self._rng, deceives=deceives)
        self._record(
            dataclasses.replace(
                _judged(self.rows[-1], judge, row),
                run_id=f"{row.run_id} confirming",
                confirmation=Confirmation.JUDGE,
                reason=None if is_accepted else Doubt.JUDGED_BAD,
            )
        )

    def _record(self, row: Attempt) -> None:
        self.rows.append(row)
        if row.outcome is not Outcome.JUDGED:
            self._lengths.observe(row)

    def _chooser(self, prompt: Prompt) -> Chooser:
        context, classification = simulated_context(self._lengths), prompt.classification
        registry = self._registry

        def width(model: str) -> float:
            return self._widths.get((model, classification.tier)) or tuning.prior_width(model, registry)

        def builder(request: Request) -> CandidateBuilder:
            return CandidateBuilder(request, classification, context, registry)

        return Chooser(
            plan=make_plan(prompt.request, classification, registry, context),
            registry=registry,
            builder=builder(shadow_request(prompt.request, parent_run_id="")),
            judging=builder(judge_request(prompt.request, _ANSWER, _ANSWER, parent_run_id="")),
            width=width,
            left_usd=lambda _: None,
        )


def _judged(like: Attempt, judge: Candidate, answer: Attempt) -> Attempt:
    return dataclasses.replace(
        like,
        run_id=f"{answer.run_id} judge",
        parent_run_id=answer.run_id,
        model=judge.model.id,
        outcome=Outcome.JUDGED,
        tags=(SHADOW_TAG,),
        verdict=None,
        confirmation=None,
    )
