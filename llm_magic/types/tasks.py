"""Kinds of tasks."""

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
    """The tier of a prompt, the confidence in it (0..1), and the reasons in words."""

    tier: TaskTier
    confidence: float
    reasons: tuple[str, ...] = ()
    probabilities: Mapping[TaskTier, float] = field(default_factory=dict[TaskTier, float])
    """Chance of each tier; empty: `tier` is certain."""
    difficulty: float = 0.0
    """In logits; 0 is typical. Higher means a lower chance of a good answer, so that a strong model helps more."""
    familiarity: float = 1.0
    """Share of the prompt's words that occur in the training prompts, 0..1."""
