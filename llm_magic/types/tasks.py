from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class TaskTier(StrEnum):
    COMPLEX = "COMPLEX"
    STANDARD = "STANDARD"
    STRUCTURED = "STRUCTURED"
    BULK = "BULK"

    @classmethod
    def _missing_(cls, value: object) -> TaskTier | None:
        return cls.__members__.get(value.upper()) if isinstance(value, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """The tier of a prompt, the confidence in it (0..1), and the reasons in words.

    probabilities: chance of each tier; empty if `tier` is certain. difficulty: in logits; 0 is typical, and a higher
    value lowers the chance of a good answer. familiarity: share of words that occur in the training prompts, 0..1.
    """

    tier: TaskTier
    confidence: float
    reasons: tuple[str, ...] = ()
    probabilities: Mapping[TaskTier, float] = field(default_factory=dict[TaskTier, float])
    difficulty: float = 0.0
    familiarity: float = 1.0
