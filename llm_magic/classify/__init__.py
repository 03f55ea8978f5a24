"""Concern 1: what kind of task a prompt is, and how hard. Deterministic, no model, no numpy, under a millisecond.

`classify` is the door. A prompt is featurised once (`features`); one learned head gives the chances of the four
tiers, another its difficulty (`heads`); `quality` turns difficulty and a model's capability into the chance of a good
answer. The rules in `signals` say in words what was seen, and are features too. MODEL_CARD.md has the figures.
"""

from __future__ import annotations

from llm_magic.classify.features import Features, featurise, window
from llm_magic.classify.heads import Heads, shipped
from llm_magic.classify.pleasantries import request_in
from llm_magic.classify.quality import expected_quality
from llm_magic.classify.signals import Signal, found_in
from llm_magic.types import Classification, TaskTier

__all__ = ["COMPLEX_MISS_COST", "OUT_OF_DISTRIBUTION", "classify", "expected_quality", "features_of"]

OUT_OF_DISTRIBUTION = 0.5
"""Share of known words below which a prompt is far from all that was trained on."""
COMPLEX_MISS_COST = 2.0
"""What it costs to miss a COMPLEX prompt, where to miss another costs 1: an answer is lost, not only the price of a
dearer model. Chosen on folds and on sources left out: it finds .86 of Arena-Hard's hard prompts in place of .77."""


def features_of(text: str) -> Features:
    """The features that the heads were trained on: hashed words, structure, and the signals that are found."""
    return _seen(text)[0]


def _seen(text: str) -> tuple[Features, tuple[Signal, ...]]:
    text = request_in(text)
    seen = tuple(found_in(window(text), len(text)))
    return featurise(text, [signal.name for signal in seen]), seen


def classify(text: str, *, heads: Heads | None = None) -> Classification:
    """The tier of a prompt with the chances of all four, its difficulty, and the reasons in words.

    The tier is the one that is the dearest to miss: the likeliest, or COMPLEX where that is at least as likely times
    `MISSED_COMPLEX`. Far from all that was trained on, it is no easier than the harder of the two likeliest. When it
    goes up, it says so. Looks at no more than the first 2,000 and the last 1,000 characters, so that its time is
    bounded.
    """
    heads = heads or shipped()
    features, seen = _seen(text)
    shares, familiarity = heads.tier_probabilities(features), heads.familiarity(features)
    first, second, *_ = sorted(TaskTier, key=lambda tier: -shares[tier])
    if far := familiarity < OUT_OF_DISTRIBUTION:
        known = (1 + familiarity / OUT_OF_DISTRIBUTION) / 2
        shares = {tier: known * share + (1 - known) / len(shares) for tier, share in shares.items()}
    tier = TaskTier.COMPLEX if shares[TaskTier.COMPLEX] * COMPLEX_MISS_COST >= shares[first] else first
    if far:
        tier = min(tier, second, key=list(TaskTier).index)
    reasons = _reasons(seen, tier)
    if tier is not first:
        reasons += _reasons(seen, first)
    if far:
        reasons.append(f"only {familiarity:.0%} of its words were seen in training")
    if tier is not first:
        reasons.append(f"unsure between {first} and {tier}: took the harder, {tier}")
    return Classification(
        tier=tier,
        confidence=round(shares[tier], 3),
        reasons=tuple(reasons) or (f"reads like what is {tier}",),
        probabilities=shares,
        difficulty=round(heads.difficulty_of(features), 3),
        familiarity=round(familiarity, 3),
    )


def _reasons(seen: tuple[Signal, ...], tier: TaskTier) -> list[str]:
    return [signal.reason for signal in sorted(seen, key=lambda signal: -signal.weight) if signal.tier is tier]
