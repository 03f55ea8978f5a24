"""Choice of the shadow answer's model and effort, and of the judge, by what is learned per USD."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from llm_magic.plan.cascade import JUDGE_MAX_OUTPUT_TOKENS
from llm_magic.plan.levels import quality_at, usable_levels
from llm_magic.plan.rating import CandidateBuilder
from llm_magic.registry import Registry
from llm_magic.tuning.comparisons import information
from llm_magic.types import Candidate, ModelSpec, Plan, RouteResult

Width = Callable[[str], float]
"""Returns the standard deviation of a model's capability in the tier of the prompt, in logits."""

_MIN_CHANCE = 1e-6
_MAX_SHARE_OF_LEFT = Decimal("0.25")
"""A shadow run may hold this share of what is left for the user's own runs, so that these need not wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A shadow answer, its judge, and the expected cost of both."""

    shadow: Candidate
    judge: Candidate
    expected_usd: Decimal
    worst_usd: Decimal


def choose(
    plan: Plan,
    result: RouteResult,
    registry: Registry,
    builder: CandidateBuilder,
    judging: CandidateBuilder,
    width: Width,
    left_usd: Callable[[ModelSpec], Decimal | None],
) -> Choice | None:
    """Return the choice with the highest value of learning per USD; None if nothing usable teaches anything.

    The value is the chance that the comparison's models change places, once their capabilities are known, times the
    difference of their costs, times the share of that uncertainty that one comparison removes. builder: of the shadow
    answer. judging: of the judge, with a prompt of about the judge's length. left_usd: headroom of the user's own runs.
    """
    if result.model not in registry:
        return None
    shown = builder.at_effort(result.effort).build(registry[result.model])
    if not isinstance(shown, Candidate):
        return None
    best: tuple[float, Choice] | None = None
    for candidate in _alternatives(shown, registry, builder):
        judge = judge_of(plan, shown, candidate, registry, judging)
        if judge is None:
            continue
        choice = Choice(
            shadow=candidate,
            judge=judge,
            expected_usd=candidate.typical_usd + 2 * judge.typical_usd,
            worst_usd=candidate.worst_usd + 2 * judge.worst_usd,
        )
        if not _fits(choice, builder.context.left_usd, left_usd):
            continue
        gain = value_usd(shown, candidate, plan.minimum_quality, width) / max(1e-9, float(choice.expected_usd))
        if gain > 0 and (best is None or gain > best[0]):
            best = gain, choice
    return None if best is None else best[1]


def _fits(
    choice: Choice, under_all: Callable[[ModelSpec], Decimal | None], of_user: Callable[[ModelSpec], Decimal | None]
) -> bool:
    """True if all of it fits under the caps, and enough is left for the user's own runs."""
    left, user_left = under_all(choice.shadow.model), of_user(choice.shadow.model)
    if left is not None and choice.worst_usd > left:
        return False
    return user_left is None or choice.worst_usd <= _MAX_SHARE_OF_LEFT * user_left


def _alternatives(shown: Candidate, registry: Registry, builder: CandidateBuilder) -> Iterator[Candidate]:
    for model in registry:
        if model.id == shown.model.id or registry.is_local(model):
            continue
        for effort in usable_levels(model, None):
            candidate = builder.at_effort(effort).build(model)
            if isinstance(candidate, Candidate) and not candidate.is_limited:
                yield candidate


def value_usd(shown: Candidate, other: Candidate, minimum_quality: float, width: Width) -> float:
    """Return the value of one comparison. A cheaper model may turn out good enough, or the shown one not to be."""
    cheaper = other.typical_usd < shown.typical_usd
    uncertain = other if cheaper else shown
    distance = abs(_logit(uncertain.expected_quality) - _logit(minimum_quality))
    sd = width(uncertain.model.id)
    chance = 0.5 * math.erfc(distance / max(1e-6, sd) / math.sqrt(2))
    of_shown, of_other, _ = information(_logit(shown.expected_quality), _logit(other.expected_quality))
    known = sd**2 * (of_other if cheaper else of_shown)
    return chance * abs(float(other.typical_usd - shown.typical_usd)) * known / (1 + known)


def judge_of(
    plan: Plan, shown: Candidate, other: Candidate, registry: Registry, judging: CandidateBuilder
) -> Candidate | None:
    """Return the stated judge, or the cheapest usable third model that is at least as good as the weaker one."""
    if (named := plan.request.shadowing.judge) is not None:
        return _at_lowest_effort(registry[named], judging) if named in registry else None
    weaker = min(shown.expected_quality, other.expected_quality)
    able = [
        model
        for model in registry
        if model.id not in (shown.model.id, other.model.id)
        and not registry.is_local(model)
        and quality_at(plan.classification, model, None) >= weaker
    ]
    judges = [judge for model in able if (judge := _at_lowest_effort(model, judging)) is not None]
    return min(judges, key=lambda judge: judge.typical_usd, default=None)


def judge_at(judge: Candidate, builder: CandidateBuilder) -> Candidate | None:
    """Return the judge for another prompt; None if it can't be used for it."""
    return _at_lowest_effort(judge.model, builder)


def _at_lowest_effort(model: ModelSpec, judging: CandidateBuilder) -> Candidate | None:
    lowest = usable_levels(model, None)[0]
    candidate = judging.limited_to(JUDGE_MAX_OUTPUT_TOKENS).at_effort(lowest).build(model)
    return candidate if isinstance(candidate, Candidate) else None


def _logit(chance: float) -> float:
    bounded = min(1 - _MIN_CHANCE, max(_MIN_CHANCE, chance))
    return math.log(bounded / (1 - bounded))
