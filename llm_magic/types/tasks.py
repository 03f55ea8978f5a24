"""What kind of task a prompt is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class TaskTier(StrEnum):
    """What kind of task a prompt is, hardest first."""

    COMPLEX = "COMPLEX"
    STANDARD = "STANDARD"
    STRUCTURED = "STRUCTURED"
    BULK = "BULK"

    @classmethod
    def _missing_(cls, value: object) -> TaskTier | None:
        return cls.__members__.get(value.upper()) if isinstance(value, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """A tier, how sure we are of it (0..1), and why, in words."""

    tier: TaskTier
    confidence: float
    reasons: tuple[str, ...] = ()
    probabilities: Mapping[TaskTier, float] = field(default_factory=dict[TaskTier, float])
    """The chance of each tier; empty: `tier` for certain."""
    difficulty: float = 0.0
    """In logits: 0 is typical. The higher, the smaller the chance of a good answer: a strong model helps more."""
    familiarity: float = 1.0
    """The share of its words that the training prompts had, 0..1: low is far from all that was learned from."""
