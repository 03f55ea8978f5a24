"""Estimation of the capability steps of effort, as one multiple of the assumed ones.

One factor for all models, levels, and tiers is the simplest model that ratings can support: a step is 0.37 logits or
less, and a rating tells little about it. Its logarithm has a normal prior around zero. The likelihood of each factor is
that of the capabilities which fit best to it, corrected for their widths (Laplace's approximation).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

PRIOR_WIDTH = math.log(2.0)
"""Standard deviation of the logarithm. The published steps of one model, cited in `models.toml`, are 0.5 to 1.4 times
their mean. Other models and prompts are assumed to differ more."""
MAX_FACTOR = 8.0
"""And its inverse is the minimum."""
MIN_NARROWING = 0.85
"""Posterior width, as a share of the prior's, above which the assumed steps are kept."""
_POINTS_PER_SIDE = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class EffortSteps:
    """The true capability steps as a multiple of the assumed ones. width: standard deviation of its logarithm."""

    factor: float = 1.0
    width: float = PRIOR_WIDTH

    def __bool__(self) -> bool:
        return self != EffortSteps()

    def interval(self, sds: float) -> tuple[float, float]:
        return self.factor * math.exp(-sds * self.width), self.factor * math.exp(sds * self.width)


def estimate(log_likelihood: Callable[[float], float]) -> EffortSteps:
    """Return the posterior of the factor. log_likelihood: of a factor."""
    spacing = math.log(MAX_FACTOR) / _POINTS_PER_SIDE
    logs = [spacing * place for place in range(-_POINTS_PER_SIDE, _POINTS_PER_SIDE + 1)]
    densities = [log_likelihood(math.exp(log)) - (log / PRIOR_WIDTH) ** 2 / 2 for log in logs]
    highest = max(densities)
    weights = [math.exp(density - highest) for density in densities]
    total = math.fsum(weights)
    mean = math.fsum(weight * log for weight, log in zip(weights, logs, strict=True)) / total
    variance = math.fsum(weight * (log - mean) ** 2 for weight, log in zip(weights, logs, strict=True)) / total
    width = math.sqrt(variance + spacing**2 / 12)
    if width > MIN_NARROWING * PRIOR_WIDTH:
        return EffortSteps()
    return EffortSteps(factor=round(math.exp(mean), 3), width=round(width, 3))
