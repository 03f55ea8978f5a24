"""A simulated judge, which errs by stated shares and may prefer the first answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from llm_magic.plan.acceptance import ASSUMED
from llm_magic.shadow.verdicts import combined
from llm_magic.types import Accepted, Confirmation, Verdict

MIN_GOOD_SCORE = 0.5


@dataclass(slots=True, kw_only=True)
class SimulatedJudge:
    """A judge that is asked in both orders.

    right, tie: of a good and a bad answer, the shares of replies that prefer the good one, and that are a tie.
    tie_if_equal: of two equally good answers; otherwise one of them is preferred, for reasons that the order does not
    change. first: share of replies that name the first answer, whatever it is. same_right, same_mistake: shares of two
    good and of two bad answers that compare as equal without a judge.
    """

    right: float = 0.85
    tie: float = 0.08
    tie_if_equal: float = 0.6
    first: float = 0.1
    accepted: Accepted = ASSUMED[Confirmation.JUDGE]
    """Shares of good and of bad answers that it accepts if it sees one answer only."""
    deceived: float = 0.0
    """Share of bad answers that every judge takes for good ones."""
    same_right: float = 0.0
    same_mistake: float = 0.0
    counts: Counter[str] = field(default_factory=Counter[str])
    """Judged pairs: `differ` and `equal` by the truth, `right`, `wrong` and `invented` by the verdict."""

    @property
    def agreement(self) -> str:
        """The agreement of its verdicts with the truth, in words."""
        differ, equal = max(1, self.counts["differ"]), max(1, self.counts["equal"])
        return (
            f"of {differ:,} judged pairs with one good answer, it preferred the good one in "
            f"{self.counts['right'] / differ:.0%} and the bad one in {self.counts['wrong'] / differ:.0%}; of {equal:,} "
            f"pairs of equal quality, it preferred one in {self.counts['invented'] / equal:.0%}"
        )

    def accepts(self, score: float, rng: np.random.Generator, *, deceives: bool = False) -> bool:
        right, wrong = self.accepted
        if score < MIN_GOOD_SCORE and not deceives:
            right = max(0.0, (wrong - self.deceived * right) / (1 - self.deceived))
        return bool(rng.random() < right)

    def verdict(
        self, shown_score: float, shadow_score: float, rng: np.random.Generator, *, deceives: bool = False
    ) -> tuple[Verdict, bool]:
        """Return the verdict, and True if the judge was asked: equal answers are a tie without it."""
        shown_good, shadow_good = shown_score >= MIN_GOOD_SCORE, shadow_score >= MIN_GOOD_SCORE
        same = self.same_right if shown_good else self.same_mistake
        if shown_good == shadow_good and rng.random() < same:
            return Verdict.TIE, False
        style = rng.random() < 0.5
        seen = [good or deceives for good in (shown_good, shadow_good)]
        preferences = [self._reply(seen[0], seen[1], style, shown_first, rng) for shown_first in (True, False)]
        verdict = combined(preferences)
        assert verdict is not None
        self._count(verdict, shown_good, shadow_good)
        return verdict, True

    def _count(self, verdict: Verdict, shown_good: bool, shadow_good: bool) -> None:
        decided = verdict in (Verdict.BETTER, Verdict.WORSE)
        self.counts["equal" if shown_good == shadow_good else "differ"] += 1
        if decided and shown_good == shadow_good:
            self.counts["invented"] += 1
        elif decided:
            self.counts["right" if (verdict is Verdict.BETTER) == shadow_good else "wrong"] += 1

    def _reply(
        self, shown_good: bool, shadow_good: bool, style: bool, shown_first: bool, rng: np.random.Generator
    ) -> int:
        if rng.random() < self.first:
            return 1
        draw = rng.random()
        if shown_good == shadow_good:
            prefers_shown, is_tie = style, draw < self.tie_if_equal
        else:
            prefers_shown = shown_good if draw < self.right else not shown_good
            is_tie = self.right <= draw < self.right + self.tie
        if is_tie:
            return 0
        return 1 if prefers_shown == shown_first else 2
