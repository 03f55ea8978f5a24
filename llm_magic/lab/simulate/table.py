"""The recorded outcomes that ship: scores, costs and lengths of many models' answers, and what the router made of each
prompt. No prompt and no answer is in it; OUTCOMES.md says where it comes from."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from llm_magic.errors import EvaluationError
from llm_magic.types import TaskTier

Array = NDArray[np.floating[Any]]

NANO = 1e-9
"""USD in the unit of the file's costs."""
_TIERS = len(TaskTier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """One source: n prompts, m models. Every cell is known: prompts and models with gaps are left out."""

    source: str
    models: tuple[str, ...]
    tasks: tuple[str, ...]
    """Of each prompt."""
    scores: Array
    """n x m, 0..1"""
    costs: Array
    """n x m, USD, at the list prices of the day."""
    output_tokens: Array
    """n x m"""
    probabilities: Array
    """n x 4, of each tier, by the tier head."""
    difficulty: Array
    """n, in logits, by a difficulty head that has never seen this source."""
    capability: Array
    """m x 4, in logits by tier, from other prompts of this source."""
    typical_usd: Array
    """m, the mean cost of an answer, on other prompts of this source."""

    def __len__(self) -> int:
        return len(self.tasks)

    def column(self, model: str) -> int:
        if model not in self.models:
            raise EvaluationError(f"no outcomes of {model!r} in {self.source}: there are {', '.join(self.models)}")
        return self.models.index(model)

    def expected_quality(self) -> Array:
        """n x m: the chance that a model answers a prompt well, as the plan would put it before asking anybody."""
        chance = 1.0 / (1.0 + np.exp(self.difficulty[:, None, None] - self.capability[None, :, :]))
        return (chance * self.probabilities[:, None, :]).sum(axis=2)


def save(file: IO[bytes], many: Sequence[Outcomes]) -> None:
    """Write them as plain arrays, the same bytes for the same outcomes."""
    arrays: dict[str, Any] = {"sources": np.array([each.source for each in many])}
    for each in many:
        kinds = sorted(set(each.tasks))
        arrays |= {
            f"{each.source}/models": np.array(each.models),
            f"{each.source}/kinds": np.array(kinds),
            f"{each.source}/tasks": np.array([kinds.index(task) for task in each.tasks], np.uint8),
            f"{each.source}/scores": np.round(each.scores * 255).astype(np.uint8),
            f"{each.source}/costs": np.round(each.costs / NANO).astype(np.uint32),
            f"{each.source}/output_tokens": np.minimum(each.output_tokens, 65_535).astype(np.uint16),
            f"{each.source}/probabilities": np.round(each.probabilities * 65_535).astype(np.uint16),
            f"{each.source}/difficulty": np.round(each.difficulty * 1_000).astype(np.int16),
            f"{each.source}/capability": each.capability.astype(np.float32),
            f"{each.source}/typical": each.typical_usd.astype(np.float32),
        }
    np.savez_compressed(file, **arrays)


def load(file: IO[bytes]) -> dict[str, Outcomes]:
    """The outcomes of each source in a file."""
    with np.load(file, allow_pickle=False) as arrays:

        def source(name: str) -> Outcomes:
            kinds = arrays[f"{name}/kinds"]
            shares = arrays[f"{name}/probabilities"].astype(np.float64)
            return Outcomes(
                source=name,
                models=tuple(map(str, arrays[f"{name}/models"])),
                tasks=tuple(str(kinds[kind]) for kind in arrays[f"{name}/tasks"]),
                scores=arrays[f"{name}/scores"].astype(np.float64) / 255,
                costs=arrays[f"{name}/costs"].astype(np.float64) * NANO,
                output_tokens=arrays[f"{name}/output_tokens"].astype(np.float64),
                probabilities=shares / shares.sum(axis=1, keepdims=True),
                difficulty=arrays[f"{name}/difficulty"].astype(np.float64) / 1_000,
                capability=arrays[f"{name}/capability"].astype(np.float64),
                typical_usd=arrays[f"{name}/typical"].astype(np.float64),
            )

        return {str(name): source(str(name)) for name in arrays["sources"]}


@functools.cache
def shipped() -> dict[str, Outcomes]:
    """The outcomes in the wheel."""
    with resources.files("llm_magic.lab.simulate").joinpath("outcomes.npz").open("rb") as file:
        return load(file)
