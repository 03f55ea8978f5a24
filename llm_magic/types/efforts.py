from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, cast

from llm_magic.types.tasks import TaskTier


class Effort(StrEnum):
    """Amount of reasoning that a model is asked for."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    MAX = "max"

    @classmethod
    def _missing_(cls, value: object) -> Effort | None:
        return cls.__members__.get(value.upper()) if isinstance(value, str) else None

    @property
    def rank(self) -> int:
        return _RANKS[self]


_RANKS = {effort: rank for rank, effort in enumerate(Effort)}

TierTable = Mapping[Effort, Mapping[TaskTier, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EffortLevels:
    """The levels of effort that a model has.

    default: what the model does if nothing is sent. params: sent at each level; levels that the model refuses are
    absent. capability_steps: by level and tier, in logits, added to the capability, which is that of the default level.
    reasoning_tokens: expected, by level and tier, in o200k_base tokens.
    """

    default: Effort
    params: Mapping[Effort, Mapping[str, Any]]
    capability_steps: TierTable = field(default_factory=dict[Effort, Mapping[TaskTier, float]])
    reasoning_tokens: TierTable = field(default_factory=dict[Effort, Mapping[TaskTier, float]])
    source: str = ""

    def __iter__(self) -> Iterator[Effort]:
        return iter(sorted(self.params, key=lambda effort: effort.rank))


def name_at(model_id: str, effort: Effort | None) -> str:
    return model_id if effort is None else f"{model_id} (effort {effort})"


def merged_params(sent: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Merge parameters, tables key by key; those of `own` win."""
    merged = {**sent, **own}
    for name in sent.keys() & own.keys():
        if isinstance(sent[name], Mapping) and isinstance(own[name], Mapping):
            merged[name] = merged_params(cast("Mapping[str, Any]", sent[name]), cast("Mapping[str, Any]", own[name]))
    return merged
