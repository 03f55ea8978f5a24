"""Estimation of the shares of right and of wrong answers that each confirmation of a cascade accepts.

An answer is accepted with the chance s r + f (1 - r): r is the model's expected quality for the prompt, s and f are the
shares to estimate, on a grid. Ratings of accepted answers tell both cases apart. The prior is that of ASSUMED_ANSWERS
answers with the assumed shares. For two answers that must agree, r and 1 - r become the chances that both are right or
both are wrong. Models differ by r only.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from llm_magic.plan.acceptance import ASSUMED, PAIRED, pair_chances
from llm_magic.tuning.comparisons import Compared, chance_by_verdict, compared_answers
from llm_magic.types import Accepted, Attempt, Confirmation, Outcome

ASSUMED_ANSWERS = 20
MIN_ANSWERS = 10
"""With fewer answers, the assumed shares are kept."""
CAUTION = 1.0
"""In widths. A plan uses a measured confirmation on its own as if its shares were worse by this."""
MAX_MEASURED_WIDTH = 0.8  # relative to the width of what is assumed
_POINTS = 50
_MIN_SHARE = 0.01
_MIN_CHANCE = 0.02
_CHANCE_STEPS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """The shares of right and of wrong answers that a confirmation accepts, with their standard deviations."""

    shares: Accepted
    widths: Accepted

    def interval(self, sds: float) -> tuple[tuple[float, float], tuple[float, float]]:
        low, high = (
            [
                min(1.0, max(0.0, share + sign * sds * width))
                for share, width in zip(self.shares, self.widths, strict=True)
            ]
            for sign in (-1, 1)
        )
        return (low[0], high[0]), (low[1], high[1])

    @property
    def cautious(self) -> Accepted:
        (right, _), (_, wrong) = self.interval(CAUTION)
        return Accepted(right, wrong)

    def is_measured(self, kind: Confirmation) -> bool:
        """True if there is enough evidence to use the confirmation without a request for it."""
        return self.widths.wrong <= MAX_MEASURED_WIDTH * assumed(kind).widths.wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class _Observation:
    """right, wrong: chances of the answer, or of both answers. rating: of an accepted answer."""

    right: float
    wrong: float
    is_accepted: bool
    rating: int | None


def confirmed_runs(rows: Iterable[Attempt]) -> dict[Confirmation, list[list[Attempt]]]:
    """Return the cheap answers of each run that a confirmation decided about.

    A schema is left out: answers that do not fit it are failed attempts.
    """
    runs: dict[tuple[Confirmation, str], list[Attempt]] = {}
    for row in _confirmed(list(rows)):
        if row.confirmation is not None and row.confirmation is not Confirmation.SCHEMA:
            runs.setdefault((row.confirmation, row.run_id), []).append(row)
    by_kind: dict[Confirmation, list[list[Attempt]]] = {}
    for (kind, _), answers in runs.items():
        by_kind.setdefault(kind, []).append(answers)
    return by_kind


def _confirmed(rows: Sequence[Attempt]) -> Iterator[Attempt]:
    """Yield the rows, with the answer in place of a judge that was asked about it in a shadow run."""
    answers = {row.run_id: row for row in rows if row.outcome in (Outcome.OK, Outcome.SHADOW)}
    for row in rows:
        if row.outcome is not Outcome.JUDGED:
            yield row
        elif row.confirmation is not None and row.parent_run_id in answers:
            outcome = Outcome.OK if row.reason is None else Outcome.SUPERSEDED
            yield dataclasses.replace(answers[row.parent_run_id], confirmation=row.confirmation, outcome=outcome)


def is_accepted(answers: Iterable[Attempt]) -> bool:
    return any(row.outcome is Outcome.OK for row in answers)


def estimate(rows: Iterable[Attempt], chance: Callable[[Attempt], float]) -> dict[Confirmation, Acceptance]:
    """Return the posterior of each confirmation with enough answers. chance: of a good answer, of an attempt."""
    attempts = list(rows)
    compared = compared_answers(attempts)
    return {
        kind: posterior(kind, Counter(_observation(kind, answers, chance, compared) for answers in runs))
        for kind, runs in sorted(confirmed_runs(attempts).items())
        if len(runs) >= MIN_ANSWERS
    }


def assumed(kind: Confirmation) -> Acceptance:
    return Acceptance(shares=ASSUMED[kind], widths=posterior(kind, {}).widths)


def _observation(
    kind: Confirmation,
    answers: list[Attempt],
    chance: Callable[[Attempt], float],
    compared: Mapping[str, list[Compared]],
) -> _Observation:
    chances = [chance(row) for row in answers]
    right = chances[0]
    for comparison in compared.get(answers[0].run_id, ()):
        right = chance_by_verdict(right, chance(comparison.other), comparison)
    wrong = 1 - right
    if kind in PAIRED:
        right, wrong = pair_chances(chances[0], chances[-1], is_one_model=kind is Confirmation.TWICE)
    return _Observation(
        right=_rounded(right),
        wrong=_rounded(wrong),
        is_accepted=is_accepted(answers),
        rating=next((row.rating for row in answers if row.rating is not None), None),
    )


def _rounded(chance: float) -> float:
    return max(_MIN_CHANCE, round(chance * _CHANCE_STEPS) / _CHANCE_STEPS)


def posterior(kind: Confirmation, counts: Mapping[_Observation, int]) -> Acceptance:
    """Return the means and widths over a grid of both shares. A right answer is never accepted less often."""
    import numpy as np

    shares = (np.arange(_POINTS) + 0.5) / _POINTS
    right, wrong = np.meshgrid(shares, shares, indexing="ij")
    density = np.where(right >= wrong, 0.0, -math.inf)
    for share, mean in zip((right, wrong), ASSUMED[kind], strict=True):
        mean = min(1 - _MIN_SHARE, max(_MIN_SHARE, mean))
        density += (ASSUMED_ANSWERS * mean - 1) * np.log(share) + (ASSUMED_ANSWERS * (1 - mean) - 1) * np.log1p(-share)
    for seen, count in counts.items():
        kept_right, kept_wrong = seen.right * right, seen.wrong * wrong
        if not seen.is_accepted:
            likelihood = np.maximum(1e-9, 1 - kept_right - kept_wrong)
        elif seen.rating is None:
            likelihood = kept_right + kept_wrong
        else:
            likelihood = kept_right if seen.rating > 0 else kept_wrong
        density += count * np.log(likelihood)
    weights = np.exp(density - density.max())
    weights /= weights.sum()
    means = [float((weights * share).sum()) for share in (right, wrong)]
    spreads = [
        math.sqrt(float((weights * (share - mean) ** 2).sum()))
        for share, mean in zip((right, wrong), means, strict=True)
    ]
    return Acceptance(
        shares=Accepted(*(round(mean, 3) for mean in means)), widths=Accepted(*(round(width, 3) for width in spreads))
    )
