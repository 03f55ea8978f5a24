"""Expected acceptance and quality of a cascade, from the models' chances and the error rates of the confirmation."""

from __future__ import annotations

import math

from llm_magic.answers.agreement import SAME_MISTAKE, SAME_RIGHT
from llm_magic.answers.looks import Look
from llm_magic.types import Candidate, CascadeMode

CORRECTNESS_CORRELATION = 0.45
STRONG_RIGHT_IF_BOTH_RIGHT = 0.96
STRONG_RIGHT_IF_BOTH_WRONG = 0.42
"""Correlation between two models' answers being right, and shares in which the strong model is right if two cheap ones
are right or wrong. On ZeroEval, MMLU-Pro and RouterBench (training prompts) with 15 pairs of models of 2023 and 2024,
they are 0.36 to 0.58, 0.91 to 0.99, and 0.27 to 0.53."""
SELF_CORRELATION, SELF_SAME_MISTAKE = 0.8, 0.6
CONFIRMS = {"check": (1.0, 0.0), "schema": (0.95, 0.95), "judge": (0.9, 0.4)}
LOOK_CONFIRMS = {"code": (0.95, 0.88), "data": (0.97, 0.8), "label": (0.98, 0.9), "number": (0.95, 0.85)}
"""Assumed: of one model asked twice, the correlation and the share of equal mistakes; of every other confirmation, the
shares of right and of wrong answers that it accepts. An answer that can't be examined is not accepted."""


def estimate_cascade(
    mode: CascadeMode, cheap: tuple[Candidate, ...], strong: Candidate, look: Look | None = None
) -> tuple[float, float]:
    """Return the expected share of runs that end without the strong model, and the chance of a good answer.

    Two models with the chances p and q are both right with p q + CORRECTNESS_CORRELATION sqrt(p (1-p) q (1-q)), and
    both wrong with 1 - p - q + that. look: of the mode `look`.
    """
    right, best = cheap[0].expected_quality, strong.expected_quality
    if mode in ("agree", "twice"):
        return estimate_agreement(right, cheap[1].expected_quality, best, is_one_model=cheap[0] == cheap[1])
    accepts_right, accepts_wrong = CONFIRMS[mode] if look is None else LOOK_CONFIRMS[look.kind]
    both = _both_right(right, best, CORRECTNESS_CORRELATION)
    quality = accepts_right * right + (1 - accepts_right) * both + (1 - accepts_wrong) * (best - both)
    return accepts_right * right + accepts_wrong * (1 - right), min(1.0, max(0.0, quality))


def estimate_agreement(one: float, other: float, best: float, *, is_one_model: bool) -> tuple[float, float]:
    """Return the same for two cheap answers that must agree, from the chances of both and of the strong model."""
    correlation, same_mistake = (
        (SELF_CORRELATION, SELF_SAME_MISTAKE) if is_one_model else (CORRECTNESS_CORRELATION, SAME_MISTAKE)
    )
    both = _both_right(one, other, correlation)
    accepted_right, accepted_wrong = SAME_RIGHT * both, same_mistake * (1 - one - other + both)
    gained = (1 - STRONG_RIGHT_IF_BOTH_RIGHT) * accepted_right - STRONG_RIGHT_IF_BOTH_WRONG * accepted_wrong
    return accepted_right + accepted_wrong, min(1.0, max(0.0, best + gained))


def _both_right(one: float, other: float, correlation: float) -> float:
    joint = one * other + correlation * math.sqrt(one * (1 - one) * other * (1 - other))
    return min(one, other, joint)
