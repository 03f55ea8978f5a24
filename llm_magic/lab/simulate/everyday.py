"""Shadow runs on simulated models: the bill and the success of the everyday mix, cold and after comparisons.

Each simulated user has models whose true capabilities differ from the assumed ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from llm_magic import tuning
from llm_magic.lab.simulate.judges import SimulatedJudge
from llm_magic.lab.simulate.shadowed import Shadowed
from llm_magic.lab.simulate.thinkers import (
    Played,
    Policy,
    Prompt,
    Thinkers,
    World,
    draw_prompts,
    normal_by_model,
    plans,
    simulated_context,
)
from llm_magic.ledger import Ledger
from llm_magic.plan import make_plan
from llm_magic.plan.acceptance import ASSUMED
from llm_magic.plan.lengths import Unmeasured
from llm_magic.registry import Registry
from llm_magic.tuning.acceptance import ASSUMED_ANSWERS
from llm_magic.tuning.lengths import LearnedLengths
from llm_magic.types import (
    Accepted,
    Candidate,
    Confirmation,
    Plan,
    TaskTier,
)

COMPARISONS = 300
SHARE = 0.05
WORTH_USD = Decimal("0.75")
MODEL_SPREAD, PROMPTS_SPREAD = 0.4, 0.4
"""Standard deviations, in logits, of the true capability of a model and of all models, around the assumed ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Cost and success relative to always asking the top model at its default effort."""

    cost: float
    quality: float
    cascaded: float = 0.0
    """Share of the prompts for which cheap models were asked first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    cold: Figures
    learned_alone: Figures
    learned: Figures
    learned_worth: Figures
    lengths_only: Figures
    oracle: Figures
    shadow_share: float
    """Cost of the shadow runs, as a share of what the runs cost of which they are SHARE."""
    accepted: Accepted
    learned_accepted: Accepted
    """Shares of good and of bad answers that the judge of cascades accepts, true and learned."""


def simulate_user(world: World, seed: Sequence[int], judge: SimulatedJudge) -> User:
    """Play one user. The judge of this user's cascades accepts other shares than assumed."""
    rng = np.random.default_rng(list(seed))
    judge = dataclasses.replace(judge, accepted=_true_shares(rng))
    assumed = Registry.load("current")
    true = true_registry(assumed, rng)
    thinkers = Thinkers(world, true, rng)
    prompts = draw_prompts(world, world.prompts, rng)
    lengths = LearnedLengths(Ledger(":memory:", session_id="simulated"), assumed)
    ledger = Shadowed(thinkers, assumed, lengths, judge, rng)
    for prompt in draw_prompts(world, COMPARISONS, rng):
        ledger.run(prompt)
    tuned = tuning.tune(ledger.rows, assumed)
    learned = tuning.apply_tuning(assumed, tuned)
    table = _Table(thinkers, judge.accepted, prompts)
    return User(
        cold=table.figures(plans(assumed)),
        learned_alone=table.figures(plans(learned.with_models(learned, proven={}), lengths)),
        learned=table.figures(plans(learned, lengths)),
        learned_worth=table.figures(plans(learned, lengths, worth_usd=WORTH_USD)),
        lengths_only=table.figures(plans(assumed, lengths)),
        oracle=table.figures(plans(true, lengths)),
        shadow_share=SHARE * ledger.shadow_usd / ledger.shown_usd,
        accepted=judge.accepted,
        learned_accepted=tuned.acceptance[Confirmation.JUDGE].shares,
    )


def _true_shares(rng: np.random.Generator) -> Accepted:
    """Draw the true shares of a judge around the assumed ones, as widely as the prior of tuning."""
    means = ASSUMED[Confirmation.JUDGE]
    return Accepted(*(rng.beta(ASSUMED_ANSWERS * mean, ASSUMED_ANSWERS * (1 - mean)) for mean in means))


def true_registry(assumed: Registry, rng: np.random.Generator) -> Registry:
    common = dict(zip(TaskTier, rng.normal(0.0, PROMPTS_SPREAD, len(TaskTier)), strict=True))
    of_model = normal_by_model(assumed, len(TaskTier), rng)
    return assumed.with_models(
        dataclasses.replace(
            model,
            capability={
                tier: model.capability[tier] + common[tier] + MODEL_SPREAD * draw
                for tier, draw in zip(TaskTier, of_model[model.id], strict=True)
            },
        )
        for model in assumed
    )


def always_top(registry: Registry) -> Policy:
    """Return the policy that asks the top model at its default effort."""
    context, top = simulated_context(Unmeasured()), registry.baseline

    def choose(prompt: Prompt) -> Candidate:
        effort = None if top.effort is None else top.effort.default
        request = dataclasses.replace(prompt.request, model=top.id, effort=effort)
        return make_plan(request, prompt.classification, registry, context).candidates[0]

    return choose


class _Table:
    """The prompts of one user, answered by any plans: expected cost and success, without draws."""

    def __init__(self, thinkers: Thinkers, accepted: Accepted, prompts: Sequence[Prompt]) -> None:
        self._thinkers, self._accepted, self._prompts = thinkers, accepted, prompts
        top = always_top(thinkers.registry)
        always = [thinkers.play(prompt, top(prompt)) for prompt in prompts]
        self._top_usd = sum(played.usd for played in always)
        self._top_good = sum(played.chance for played in always)

    def figures(self, plan: Callable[[Prompt], Plan]) -> Figures:
        usd = good = cascaded = 0.0
        for prompt in self._prompts:
            own = plan(prompt)
            played = self._thinkers.play(prompt, own.candidates[0])
            if own.cascade is None or own.cascade.judge is None:
                usd, good = usd + played.usd, good + played.chance
                continue
            cheap = self._thinkers.play(prompt, own.cascade.cheap[0])
            cascaded += 1
            usd += cheap.usd + float(own.cascade.judge.typical_usd) + self._rejected(cheap) * played.usd
            good += self._good(cheap, played)
        count = len(self._prompts)
        return Figures(cost=usd / self._top_usd, quality=good / self._top_good, cascaded=cascaded / count)

    def _rejected(self, cheap: Played) -> float:
        return 1 - self._accepted.right * cheap.chance - self._accepted.wrong * (1 - cheap.chance)

    def _good(self, cheap: Played, strong: Played) -> float:
        """Return the chance of a good answer. Prompts that the better model fails are failed by the other one too."""
        right, wrong = self._accepted
        both = min(cheap.chance, strong.chance)
        return right * cheap.chance + (1 - right) * both + (1 - wrong) * (strong.chance - both)
