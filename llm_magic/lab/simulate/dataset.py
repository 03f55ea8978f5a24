"""The recorded outcomes that ship with llm_magic: scores, costs and lengths of answers. OUTCOMES.md has the sources.

They contain no prompts and no answers.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from llm_magic.errors import EvaluationError

Array = NDArray[np.floating[Any]]

USD_PER_UNIT = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """One source with n prompts and m models. Prompts and models with gaps are left out.

    scores: n x m, 0..1.
    costs: n x m, in USD at the list prices of the time.
    output_tokens: n x m.
    probabilities: n x 4, by the tier head.
    difficulty: n, in logits, by a difficulty head that was not trained on this source.
    capability: m x 4, in logits, from other prompts of this source.
    typical_usd: m, mean cost of an answer on other prompts of this source.
    """

    source: str
    models: tuple[str, ...]
    tasks: tuple[str, ...]
    scores: Array
    costs: Array
    output_tokens: Array
    probabilities: Array
    difficulty: Array
    capability: Array
    typical_usd: Array

    def __len__(self) -> int:
        return len(self.tasks)

    def column(self, model: str) -> int:
        """Raises EvaluationError if the model has no outcomes."""
        if model not in self.models:
            raise EvaluationError(f"no outcomes of {model!r} in {self.source}: there are {', '.join(self.models)}")
        return self.models.index(model)

    def expected_quality(self) -> Array:
        chance = 1.0 / (1.0 + np.exp(self.difficulty[:, None, None] - self.capability[None, :, :]))
        return (chance * self.probabilities[:, None, :]).sum(axis=2)


def save_outcomes(file: IO[bytes], sources: Sequence[Outcomes]) -> None:
    """Write an .npz file. Equal outcomes give equal bytes."""
    arrays: dict[str, Any] = {"sources": np.array([outcomes.source for outcomes in sources])}
    for outcomes in sources:
        name, tasks = outcomes.source, sorted(set(outcomes.tasks))
        arrays |= {
            f"{name}/models": np.array(outcomes.models),
            f"{name}/kinds": np.array(tasks),
            f"{name}/tasks": np.array([tasks.index(task) for task in outcomes.tasks], np.uint8),
            f"{name}/scores": np.round(outcomes.scores * 255).astype(np.uint8),
            f"{name}/costs": np.round(outcomes.costs / USD_PER_UNIT).astype(np.uint32),
            f"{name}/output_tokens": np.minimum(outcomes.output_tokens, 65_535).astype(np.uint16),
            f"{name}/probabilities": np.round(outcomes.probabilities * 65_535).astype(np.uint16),
            f"{name}/difficulty": np.round(outcomes.difficulty * 1_000).astype(np.int16),
            f"{name}/capability": outcomes.capability.astype(np.float32),
            f"{name}/typical": outcomes.typical_usd.astype(np.float32),
        }
    np.savez_compressed(file, **arrays)


def load_outcomes(file: IO[bytes]) -> dict[str, Outcomes]:
    with np.load(file, allow_pickle=False) as arrays:

        def read_source(name: str) -> Outcomes:
            tasks = arrays[f"{name}/kinds"]
            shares = arrays[f"{name}/probabilities"].astype(np.float64)
            return Outcomes(
                source=name,
                models=tuple(map(str, arrays[f"{name}/models"])),
                tasks=tuple(str(tasks[index]) for index in arrays[f"{name}/tasks"]),
                scores=arrays[f"{name}/scores"].astype(np.float64) / 255,
                costs=arrays[f"{name}/costs"].astype(np.float64) * USD_PER_UNIT,
                output_tokens=arrays[f"{name}/output_tokens"].astype(np.float64),
                probabilities=shares / shares.sum(axis=1, keepdims=True),
                difficulty=arrays[f"{name}/difficulty"].astype(np.float64) / 1_000,
                capability=arrays[f"{name}/capability"].astype(np.float64),
                typical_usd=arrays[f"{name}/typical"].astype(np.float64),
            )

        return {str(name): read_source(str(name)) for name in arrays["sources"]}


@functools.cache
def shipped_outcomes() -> dict[str, Outcomes]:
    with resources.files("llm_magic.lab.simulate").joinpath("outcomes.npz").open("rb") as file:
        return load_outcomes(file)
