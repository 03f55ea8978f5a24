"""The interface of a classifier, and the shipped implementation: two learned linear heads over one feature vector."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Protocol

from llm_magic.classify.features import FAMILIES, Features, featurize, window
from llm_magic.classify.heads import HEAD_FAMILIES, Heads, shipped_heads
from llm_magic.classify.noise import drop_floods, drop_talk
from llm_magic.classify.pleasantries import strip_pleasantries
from llm_magic.classify.request import Request, find_request
from llm_magic.classify.signals import Signal, detect_signals
from llm_magic.classify.spelling import correct_spelling
from llm_magic.classify.text import canonical
from llm_magic.types import Classification, TaskTier

MIN_FAMILIARITY = 0.5
COMPLEX_MISS_COST = 3.0
"""Cost of missing a COMPLEX prompt, relative to missing any other tier: a miss loses an answer, not only money."""

# For a prompt without any word or sign of its own: interpolated values and attachments only.
_NOTHING_ASKED = Classification(
    tier=TaskTier.STANDARD,
    confidence=0.55,
    reasons=("nothing but interpolated values or attachments",),
    probabilities={tier: 0.55 if tier is TaskTier.STANDARD else 0.15 for tier in TaskTier},
    familiarity=0.0,
)


_ARITHMETIC = re.compile(
    r"(?:(?:what is|what's|whats|how much is|calculate|compute)\s{1,9})?"
    r"(?!\d{4}-\d\d?-\d)(?=[^\n]{0,40}\d\s{0,9}[-+*/x×÷^%])[-+*/x×÷^%().,\d \t]{1,40}[=?.\s]{0,9}"
)
_ONE_EXPRESSION = Classification(
    tier=TaskTier.BULK,
    confidence=0.99,
    reasons=("one arithmetic expression",),
    probabilities={tier: 0.99 if tier is TaskTier.BULK else 0.01 / 3 for tier in TaskTier},
    difficulty=-1.0,
)
"""The classification of a prompt that is one arithmetic expression: words say too little about it."""


class Classifier(Protocol):
    """Anything that classifies prompts. `Router(classifier=...)` accepts any implementation."""

    def classify(self, text: str) -> Classification: ...


class LinearClassifier:
    """The shipped classifier. It is deterministic, takes less than a millisecond, and needs no numpy."""

    def __init__(self, heads: Heads | None = None) -> None:
        self._heads = heads

    def classify(self, text: str) -> Classification:
        """Return the tier of a prompt with the probabilities of all four, its difficulty, and the reasons.

        The tier is the most likely one, or COMPLEX if that is at least 1 / `COMPLEX_MISS_COST` times as likely. For an
        unfamiliar prompt, it is at least the harder of the two most likely. Only the first 2,000 and the last 1,000
        characters are read, which bounds the time.
        """
        heads = self._heads or shipped_heads()
        request, text_length = _read(text)
        if _ARITHMETIC.fullmatch(request.whole):
            return _ONE_EXPRESSION
        features, signals = _featurize(request, text_length, HEAD_FAMILIES)
        if not features.word_buckets:
            return _NOTHING_ASKED
        probabilities, familiarity = heads.tier_probabilities(features), heads.familiarity(features)
        likeliest, second, *_ = sorted(probabilities, key=probabilities.__getitem__, reverse=True)
        is_unfamiliar = familiarity < MIN_FAMILIARITY
        if is_unfamiliar:
            trust = (1 + familiarity / MIN_FAMILIARITY) / 2
            uniform = (1 - trust) / len(probabilities)
            probabilities = {tier: trust * share + uniform for tier, share in probabilities.items()}
        takes_complex = probabilities[TaskTier.COMPLEX] * COMPLEX_MISS_COST >= probabilities[likeliest]
        tier = TaskTier.COMPLEX if takes_complex else likeliest
        if is_unfamiliar:
            tier = min(tier, second, key=list(TaskTier).index)
        reasons = _reasons(signals, tier)
        if tier is not likeliest:
            reasons += _reasons(signals, likeliest)
        if is_unfamiliar:
            reasons.append(f"only {familiarity:.0%} of its words were seen in training")
        if tier is not likeliest:
            reasons.append(f"unsure between {likeliest} and {tier}: chose the harder tier, {tier}")
        return Classification(
            tier=tier,
            confidence=round(probabilities[tier], 3),
            reasons=tuple(reasons) or (f"reads like a {tier} prompt",),
            probabilities=probabilities,
            difficulty=round(heads.difficulty_of(features), 3),
            familiarity=round(familiarity, 3),
        )


def features_of(text: str) -> Features:
    """Compute all families of features; `classify` computes the ones that its heads use."""
    return _featurize(*_read(text), FAMILIES)[0]


def _read(text: str) -> tuple[Request, int]:
    """Return the request of a prompt, and the length of the prompt without what is dropped around the request."""
    canonical_text, text_length = canonical(text)
    read = window(canonical_text)
    request = find_request(drop_talk(drop_floods(strip_pleasantries(correct_spelling(read)))))
    return request, text_length - len(read) + len(request.whole)


def _featurize(request: Request, text_length: int, families: Collection[str]) -> tuple[Features, tuple[Signal, ...]]:
    signals = tuple(detect_signals(request, text_length))
    names = [signal.feature_name for signal in signals if signal.feature_name]
    return featurize(request, text_length, names, families=families), signals


def _reasons(signals: tuple[Signal, ...], tier: TaskTier) -> list[str]:
    return [signal.reason for signal in sorted(signals, key=lambda signal: -signal.weight) if signal.tier is tier]
