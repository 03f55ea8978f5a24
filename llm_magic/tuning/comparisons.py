"""Comparisons of shadow answers with shown answers, and the reliability of the judges that made them.

With p and q the chances that the shown and the shadow answer are good, exactly one of them is good with chance
p + q - 2 both, and a judge finds that with chance FINDS.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from llm_magic.registry import Registry
from llm_magic.tuning.evidence import binned, effort_step
from llm_magic.types import ZERO, Attempt, Outcome, TaskTier, Verdict

CORRECTNESS_CORRELATION = 0.45
"""Correlation between two models' answers being good; measured, see `llm_magic.plan.acceptance`."""
FINDS, REVERSES, INVENTS = 0.75, 0.03, 0.06
"""Assumed of a judge that sees both orders: of one good and one bad answer, how often it prefers the good one and the
bad one; of two equally good or bad answers, how often it prefers either one."""
MAX_INCONSISTENT_SHARE = 0.5
"""A judge that guesses contradicts itself in half of its comparisons, one that prefers a position in all of them."""
MIN_WEIGHT = 0.1
MIN_JUDGED = 8
MIN_DECIDED_SHARE = 0.02
_PRIOR_JUDGED, _PRIOR_INCONSISTENT = 6.0, 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """One shown and one shadow answer. steps: assumed capability of the effort of either, as in `Evidence`.

    invents: as INVENTS, of the whole comparison.
    """

    tier: TaskTier
    shown: str
    shown_step: float
    shadow: str
    shadow_step: float
    difficulty: float
    invents: float = INVENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """The comparisons of one judge. decided: those with a preference that did not depend on the order.

    without_verdict: pairs in addition, because a reply could not be read or the second one failed.
    """

    comparisons: int = 0
    without_verdict: int = 0
    decided: int = 0
    inconsistent: int = 0

    @property
    def never_decides(self) -> bool:
        return self.comparisons >= MIN_JUDGED and self.decided < MIN_DECIDED_SHARE * self.comparisons

    @property
    def weight(self) -> float:
        """The weight of its verdicts as evidence, 0 to 1; 0 if it contradicts itself about as often as a guess."""
        if self.never_decides:
            return 0.0
        share = (self.inconsistent + _PRIOR_INCONSISTENT) / (self.comparisons + _PRIOR_JUDGED)
        weight = 1.0 - share / MAX_INCONSISTENT_SHARE
        return weight if weight >= MIN_WEIGHT else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparisons:
    """The comparisons in a ledger.

    counts: by pairing, the weight of each verdict. judges: by model id. verdicts: of all tiers. mechanical: number of
    those that no judge decided. usd: the cost of shadow runs, also of those without a verdict.
    """

    counts: Mapping[Pairing, Mapping[Verdict, float]] = dataclasses.field(
        default_factory=dict[Pairing, Mapping[Verdict, float]]
    )
    judges: Mapping[str, Judging] = dataclasses.field(default_factory=dict[str, Judging])
    verdicts: Mapping[Verdict, int] = dataclasses.field(default_factory=dict[Verdict, int])
    mechanical: int = 0
    answers: int = 0
    usd: Decimal = ZERO

    def of_tier(self, tier: TaskTier) -> dict[Pairing, Mapping[Verdict, float]]:
        return {
            pairing: counts for pairing, counts in self.counts.items() if pairing.tier is tier and any(counts.values())
        }


_Answered = tuple[Attempt, Attempt, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The comparison of one answer with another. is_preferred: None if neither is. weight: of the judge's verdict."""

    other: Attempt
    is_preferred: bool | None
    is_judged: bool
    weight: float


def collect_comparisons(rows: Iterable[Attempt], registry: Registry) -> Comparisons:
    """Collect the verdicts on shadow answers."""
    attempts = list(rows)
    answered = _answered(attempts)
    judges = _judgings(answered)
    compared = [one for one in answered if one[1].verdict is not None]
    unjudged_weights = _unjudged_weights([(row.tier, judge) for _, row, judge in compared], judges)
    invents = _invents((row.tier, row.verdict, judge) for _, row, judge in compared)
    counts: dict[Pairing, Counter[Verdict]] = {}
    for answer, row, judge in compared:
        if answer.confirmation is not None:
            continue  # an answer that a cascade has accepted is better than its model's answers on average
        pairing = Pairing(
            tier=row.tier,
            shown=answer.model,
            shown_step=effort_step(answer, registry),
            shadow=row.model,
            shadow_step=effort_step(row, registry),
            difficulty=binned(answer.difficulty),
            invents=invents[row.tier],
        )
        assert row.verdict is not None
        weights: Counter[Verdict] = counts.setdefault(pairing, Counter())
        weight = unjudged_weights[row.tier] if judge is None else judges[judge].weight
        weights[row.verdict] += weight  # type: ignore[reportArgumentType]
    return Comparisons(
        counts=counts,
        judges=judges,
        verdicts=Counter(row.verdict for _, row, _ in compared if row.verdict is not None),
        mechanical=sum(judge is None for _, _, judge in compared),
        answers=sum(row.outcome == Outcome.SHADOW for row in attempts),
        usd=sum((row.cost_usd for row in attempts if row.is_shadow), ZERO),
    )


def _invents(compared: Iterable[tuple[TaskTier, Verdict | None, str | None]]) -> dict[TaskTier, float]:
    """Return INVENTS in each tier, less the share of ties that no judge could have decided otherwise."""
    ties: Counter[TaskTier] = Counter()
    unjudged: Counter[TaskTier] = Counter()
    for tier, verdict, judge in compared:
        if verdict in (Verdict.TIE, Verdict.INCONSISTENT):
            ties[tier] += 1
            unjudged[tier] += judge is None
    return {tier: INVENTS * (1.0 - unjudged[tier] / max(1, ties[tier])) for tier in TaskTier}


def _unjudged_weights(
    compared: Iterable[tuple[TaskTier, str | None]], judges: Mapping[str, Judging]
) -> dict[TaskTier, float]:
    """Return the mean weight of the judged comparisons in each tier, or 1 if there are none.

    Equal answers are never judged. With a higher weight than the judged pairs, they would make all models look alike.
    """
    judged: dict[TaskTier, list[float]] = {tier: [] for tier in TaskTier}
    for tier, judge in compared:
        if judge is not None:
            judged[tier].append(judges[judge].weight)
    return {tier: sum(weights) / len(weights) if weights else 1.0 for tier, weights in judged.items()}


def _answered(attempts: Sequence[Attempt]) -> list[_Answered]:
    """Return the shown answer, the shadow answer, and the judge of each comparison."""
    shown = {row.run_id: row for row in attempts if row.outcome == Outcome.OK}
    judge_of = {
        row.parent_run_id: row.model
        for row in attempts
        if row.is_shadow and row.outcome == Outcome.JUDGED and row.confirmation is None
    }
    return [
        (shown[row.parent_run_id], row, judge_of.get(row.run_id))
        for row in attempts
        if row.outcome == Outcome.SHADOW and row.parent_run_id in shown
    ]


def compared_answers(rows: Iterable[Attempt]) -> dict[str, list[Compared]]:
    """Return the comparisons of each answer, shown or shadow, by its run id."""
    answered = _answered(list(rows))
    judges = _judgings(answered)
    compared: dict[str, list[Compared]] = {}
    for answer, shadow, judge in answered:
        if shadow.verdict is None:
            continue
        weight = 1.0 if judge is None else judges[judge].weight
        for own, other, preferred in ((answer, shadow, Verdict.WORSE), (shadow, answer, Verdict.BETTER)):
            is_decided = shadow.verdict in (Verdict.BETTER, Verdict.WORSE)
            comparison = Compared(
                other=other,
                is_preferred=shadow.verdict is preferred if is_decided else None,
                is_judged=judge is not None,
                weight=weight,
            )
            compared.setdefault(own.run_id, []).append(comparison)
    return compared


def chance_by_verdict(own: float, other: float, compared: Compared) -> float:
    """Return the chance that an answer is good after its comparison, from the chances of both answers before."""
    finds, reverses, invents = (FINDS, REVERSES, INVENTS) if compared.is_judged else (1.0, 0.0, 0.0)
    both = both_good(own, other)
    own_only, other_only, neither = own - both, other - both, 1 - own - other + both
    if compared.is_preferred is None:
        equal, better, worse = 1 - 2 * invents, 1 - finds - reverses, 1 - finds - reverses
    else:
        equal, better, worse = invents, finds, reverses
        if not compared.is_preferred:
            better, worse = worse, better
    good, bad = equal * both + better * own_only, equal * neither + worse * other_only
    after = good / (good + bad) if good + bad > 0 else own
    return compared.weight * after + (1 - compared.weight) * own


def both_good(one: float, other: float) -> float:
    joint = one * other + CORRECTNESS_CORRELATION * math.sqrt(one * (1 - one) * other * (1 - other))
    return min(one, other, joint)


def _judgings(answered: Iterable[_Answered]) -> dict[str, Judging]:
    counts: dict[str, Counter[Verdict | None]] = {}
    for _, shadow, judge in answered:
        if judge is not None:
            counts.setdefault(judge, Counter())[shadow.verdict] += 1
    return {
        judge: Judging(
            comparisons=of_judge.total() - of_judge[None],
            without_verdict=of_judge[None],
            decided=of_judge[Verdict.BETTER] + of_judge[Verdict.WORSE],
            inconsistent=of_judge[Verdict.INCONSISTENT],
        )
        for judge, of_judge in counts.items()
    }
