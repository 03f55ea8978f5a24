"""Choice of the shadow answer's model and effort, and of the judge, by what is learned per USD."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from decimal import Decimal

from llm_magic.plan.judges import JUDGE_MAX_OUTPUT_TOKENS, Judges
from llm_magic.plan.levels import leading, quality_at, usable_levels
from llm_magic.plan.rating import CandidateBuilder
from llm_magic.registry import Registry
from llm_magic.tuning.observations import information
from llm_magic.types import Candidate, Effort, ModelSpec, Plan

Width = Callable[[str], float]
"""Returns the standard deviation of a model's capability in the tier of the prompt, in logits."""

_MIN_CHANCE = 1e-6
_MAX_SHARE_OF_LEFT = Decimal("0.25")
"""A shadow run may hold this share of what is left for the user's own runs, so that these need not wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A shadow answer, its judge, and the expected cost of everything.

    confirming: the judge of cascades that is asked about the cheaper one of both answers, if any.
    """

    shadow: Candidate
    judge: Candidate
    confirming: Candidate | None
    is_shadow_cheaper: bool
    expected_usd: Decimal
    worst_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Rated:
    """The expected quality and cost of a model's answer to one prompt."""

    model: str
    quality: float
    usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Chooser:
    """Everything that the choice for one answered prompt depends on.

    builder: of the shadow answer. judging: of the judge, with a prompt of about the judge's length. left_usd: headroom
    of the user's own runs.
    """

    plan: Plan
    registry: Registry
    builder: CandidateBuilder
    judging: CandidateBuilder
    width: Width
    left_usd: Callable[[ModelSpec], Decimal | None]

    def choose(
        self,
        model: str,
        effort: Effort | None,
        *,
        compared: Collection[str] = (),
        most_usd: Decimal | None = None,
        is_confirmed: bool = False,
    ) -> Choice | None:
        """Return the choice with the highest value of learning per USD; None if nothing usable teaches anything.

        model, effort: those of the shown answer. compared: models that it was compared with already. most_usd: limit
        of the expected cost. is_confirmed: a judge of cascades has seen it.
        """
        shown = self.builder.at_effort(effort).build(self.registry[model]) if model in self.registry else None
        if not isinstance(shown, Candidate):
            return None
        best: tuple[float, Choice] | None = None
        judges = self._judges()
        for candidate in self._alternatives(shown):
            judge = self._judge_of(shown, candidate, judges)
            if judge is None:
                continue
            choice = Choice(
                shadow=candidate,
                judge=judge,
                confirming=None,
                is_shadow_cheaper=candidate.typical_usd < shown.typical_usd,
                expected_usd=candidate.typical_usd + 2 * judge.typical_usd,
                worst_usd=candidate.worst_usd + 2 * judge.worst_usd,
            )
            is_affordable = most_usd is None or choice.expected_usd <= most_usd
            if candidate.model.id in compared or not is_affordable or not self._fits(choice):
                continue
            value = value_usd(_rated(shown), _rated(candidate), self.plan.minimum_quality, self.width)
            gain = value / max(1e-9, float(choice.expected_usd))
            if gain > 0 and (best is None or gain > best[0]):
                best = gain, choice
        if best is None or (is_confirmed and not best[1].is_shadow_cheaper):
            return None if best is None else best[1]
        return self._with_confirming(best[1], shown)

    def _with_confirming(self, choice: Choice, shown: Candidate) -> Choice:
        """Add the judge that a cascade would ask about the cheaper answer, unless it costs more than the comparison.

        If the options name a judge, no other one is asked.
        """
        if self.plan.request.schema is not None:
            return choice
        named = self.plan.request.shadowing.judge
        usable = (self.builder.build(model) for model in self.registry if named in (None, model.id))
        judges = Judges([one for one in usable if isinstance(one, Candidate)], self.registry, self.builder)
        confirming = judges.of(choice.shadow if choice.is_shadow_cheaper else shown)
        if confirming is None or confirming.typical_usd > choice.expected_usd:
            return choice
        more = dataclasses.replace(
            choice,
            confirming=confirming,
            expected_usd=choice.expected_usd + confirming.typical_usd,
            worst_usd=choice.worst_usd + confirming.worst_usd,
        )
        return more if self._fits(more) else choice

    def _alternatives(self, shown: Candidate) -> Iterator[Candidate]:
        """Yield the other models that may lead plans, at each level up to their provider's default."""
        for model in leading(self.registry):
            if model.id == shown.model.id or self.registry.is_local(model):
                continue
            for effort in usable_levels(model, None):
                candidate = self.builder.at_effort(effort).build(model)
                if isinstance(candidate, Candidate) and not candidate.is_limited:
                    yield candidate

    def _judges(self) -> list[Candidate]:
        named = self.plan.request.shadowing.judge
        models = [
            model
            for model in self.registry
            if (not self.registry.is_local(model) if named is None else model.id == named)
        ]
        judges = [judge for model in models if (judge := _at_lowest_effort(model, self.judging)) is not None]
        return sorted(judges, key=lambda judge: judge.typical_usd)

    def _judge_of(self, shown: Candidate, other: Candidate, judges: list[Candidate]) -> Candidate | None:
        """Return the stated judge, or the cheapest third model that is at least as good as the weaker one."""
        if self.plan.request.shadowing.judge is not None:
            return judges[0] if judges else None
        weaker = min(shown.expected_quality, other.expected_quality)
        compared = (shown.model.id, other.model.id)
        return next(
            (
                judge
                for judge in judges
                if judge.model.id not in compared and quality_at(self.plan.classification, judge.model, None) >= weaker
            ),
            None,
        )

    def _fits(self, choice: Choice) -> bool:
        """True if all of it fits under the caps, and enough is left for the user's own runs."""
        left, user_left = self.builder.context.left_usd(choice.shadow.model), self.left_usd(choice.shadow.model)
        if left is not None and choice.worst_usd > left:
            return False
        return user_left is None or choice.worst_usd <= _MAX_SHARE_OF_LEFT * user_left


def _rated(candidate: Candidate) -> Rated:
    return Rated(model=candidate.model.id, quality=candidate.expected_quality, usd=float(candidate.typical_usd))


def value_usd(shown: Rated, other: Rated, minimum_quality: float, width: Width) -> float:
    """Return the value of one comparison. A cheaper model may turn out good enough, or the shown one not to be.

    The value is the chance that the two change places, once their capabilities are known, times the share of that
    uncertainty that one comparison removes, times what depends on it: the difference of the costs if the cheaper model
    may take the place of the shown one, or else the cost of an answer that is not good enough. The price of a more
    expensive model does not raise the value.
    """
    is_cheaper = other.usd < shown.usd
    uncertain = other if is_cheaper else shown
    distance = abs(_logit(uncertain.quality) - _logit(minimum_quality))
    sd = width(uncertain.model)
    chance = 0.5 * math.erfc(distance / max(1e-6, sd) / math.sqrt(2))
    of_shown, of_other = information(_logit(shown.quality), _logit(other.quality))
    known = sd**2 * (of_other if is_cheaper else of_shown)
    at_stake_usd = shown.usd - other.usd if is_cheaper else shown.usd or other.usd
    return chance * at_stake_usd * known / (1 + known)


def judge_at(judge: Candidate, builder: CandidateBuilder) -> Candidate | None:
    """Return the judge for another prompt; None if it can't be used for it."""
    return _at_lowest_effort(judge.model, builder)


def _at_lowest_effort(model: ModelSpec, judging: CandidateBuilder) -> Candidate | None:
    candidate = judging.for_verdicts(JUDGE_MAX_OUTPUT_TOKENS).at_lowest_effort(model)
    return candidate if isinstance(candidate, Candidate) else None


def _logit(chance: float) -> float:
    bounded = min(1 - _MIN_CHANCE, max(_MIN_CHANCE, chance))
    return math.log(bounded / (1 - bounded))
