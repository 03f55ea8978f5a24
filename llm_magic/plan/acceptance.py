"""Expected acceptance and quality of a cascade, from the models' chances and the error rates of the confirmation."""

from __future__ import annotations

import math
from collections.abc import Mapping

from llm_magic.answers.agreement import SAME_MISTAKE, SAME_RIGHT
from llm_magic.answers.looks import Look
from llm_magic.types import Accepted, Candidate, CascadeMode, Confirmation

CORRECTNESS_CORRELATION = 0.45
STRONG_RIGHT_IF_BOTH_RIGHT = 0.96
STRONG_RIGHT_IF_BOTH_WRONG = 0.42
"""Correlation between two models' answers being right, and shares in which the strong model is right if two cheap ones
are right or wrong. On ZeroEval, MMLU-Pro and RouterBench (training prompts) with 15 pairs of models of 2023 and 2024,
they are 0.36 to 0.58, 0.91 to 0.99, and 0.27 to 0.53."""
SELF_CORRELATION, SELF_SAME_MISTAKE = 0.8, 0.6
"""Assumed for one model that is asked twice: the correlation, and the share of equal mistakes."""
ASSUMED: Mapping[Confirmation, Accepted] = {
    Confirmation.AGREE: Accepted(SAME_RIGHT, SAME_MISTAKE),
    Confirmation.TWICE: Accepted(SAME_RIGHT, SELF_SAME_MISTAKE),
    Confirmation.CHECK: Accepted(1.0, 0.0),
    Confirmation.SCHEMA: Accepted(0.95, 0.95),
    Confirmation.JUDGE: Accepted(0.9, 0.4),
    Confirmation.CODE: Accepted(0.95, 0.88),
    Confirmation.DATA: Accepted(0.97, 0.8),
    Confirmation.LABEL: Accepted(0.98, 0.9),
    Confirmation.NUMBER: Accepted(0.95, 0.85),
}
"""Shares of answers, or of pairs that are both right or wrong. An answer that can't be examined is not accepted."""
PAIRED = (Confirmation.AGREE, Confirmation.TWICE)
NO_RATES: Mapping[Confirmation, Accepted] = {}


def confirmation_of(mode: CascadeMode, cheap: tuple[Candidate, ...], look: Look | None) -> Confirmation:
    if mode == "agree" and cheap[0] == cheap[1]:
        return Confirmation.TWICE
    return Confirmation(mode if look is None else look.kind)


def estimate_cascade(
    confirmation: Confirmation,
    cheap: tuple[Candidate, ...],
    strong: Candidate,
    learned: Mapping[Confirmation, Accepted] = NO_RATES,
) -> tuple[float, float]:
    """Return the expected share of runs that end without the strong model, and the chance of a good answer.

    Two models with the chances p and q are both right with p q + CORRECTNESS_CORRELATION sqrt(p (1-p) q (1-q)), and
    both wrong with 1 - p - q + that. learned: rates in place of assumed ones.
    """
    accepted = learned.get(confirmation, ASSUMED[confirmation])
    right, best = cheap[0].expected_quality, strong.expected_quality
    if confirmation in PAIRED:
        is_one_model = confirmation is Confirmation.TWICE
        return estimate_agreement(right, cheap[1].expected_quality, best, is_one_model=is_one_model, accepted=accepted)
    both = _both_right(right, best, CORRECTNESS_CORRELATION)
    quality = accepted.right * right + (1 - accepted.right) * both + (1 - accepted.wrong) * (best - both)
    return accepted.right * right + accepted.wrong * (1 - right), min(1.0, max(0.0, quality))


def estimate_agreement(
    one: float,
    other: float,
    best: float,
    *,
    is_one_model: bool = False,
    accepted: Accepted = ASSUMED[Confirmation.AGREE],
) -> tuple[float, float]:
    """Return the same for two cheap answers that must agree, from the chances of both and of the strong model."""
    right, wrong = pair_chances(one, other, is_one_model=is_one_model)
    accepted_right, accepted_wrong = accepted.right * right, accepted.wrong * wrong
    gained = (1 - STRONG_RIGHT_IF_BOTH_RIGHT) * accepted_right - STRONG_RIGHT_IF_BOTH_WRONG * accepted_wrong
    return accepted_right + accepted_wrong, min(1.0, max(0.0, best + gained))


def pair_chances(one: float, other: float, *, is_one_model: bool) -> tuple[float, float]:
    right = _both_right(one, other, SELF_CORRELATION if is_one_model else CORRECTNESS_CORRELATION)
    return right, 1 - one - other + right


def _both_right(one: float, other: float, correlation: float) -> float:
    joint = one * other + correlation * math.sqrt(one * (1 - one) * other * (1 - other))
    return min(one, other, joint)
