"""The two learned heads, as plain arrays in the wheel: a prompt's tier, and how hard it is."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources
from typing import IO, TYPE_CHECKING, Any

from llm_magic.classify.features import Features, Scales
from llm_magic.types import TaskTier

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = 1
"""Of the arrays' layout and of the featurisation that they belong to."""
TIER_SCALES: Scales = (1.0, 1.0, 1.0, 1.0, 1.0)
DIFFICULTY_SCALES: Scales = (0.0, 0.4, 1.0, 0.0, 0.0)
"""Chosen by leaving each source out of the training data in turn: pairs of words carry over from one source to
another, single words (the topic) hardly, the details of one kind of task not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """score = x . weights + bias."""

    weights: NDArray[np.floating[Any]]
    bias: NDArray[np.floating[Any]]

    def scores(self, features: Features, scales: Scales) -> NDArray[np.floating[Any]]:
        index, value = features.vector(scales)
        return value @ self.weights[index].astype(value.dtype) + self.bias


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """The weights of one training run."""

    tier: Linear
    """BUCKETS x 4, in the order of `TaskTier`; divided by the temperature already."""
    difficulty: dict[str, Linear]
    """`""`: trained on every source; by name: on every source but that one, for judging on it."""
    temperature: float
    """What the tier head's scores were divided by, so that held-out probabilities are right."""
    known: NDArray[np.bool_]
    """Which buckets words of the training prompts fell into."""

    def tier_probabilities(self, features: Features) -> dict[TaskTier, float]:
        import numpy as np

        scores = self.tier.scores(features, TIER_SCALES)
        odds = np.exp(scores - scores.max())
        return dict(zip(TaskTier, (odds / odds.sum()).tolist(), strict=True))

    def difficulty_of(self, features: Features, *, without: str = "") -> float:
        """How hard a prompt is, in logits: 0 is typical, and a model's chance of being right falls as it rises.

        without: by a head that has not seen this source's outcomes; the whole one where there is none.
        """
        head = self.difficulty.get(without) or self.difficulty[""]
        return float(head.scores(features, DIFFICULTY_SCALES))

    def familiarity(self, features: Features) -> float:
        """The share of the prompt's different words that the training prompts had, 0..1."""
        return float(self.known[features.words].mean()) if len(features.words) else 0.0

    def save(self, file: IO[bytes]) -> None:
        """Write the arrays, uncompressed, the same bytes for the same weights."""
        import numpy as np

        names = sorted(self.difficulty)
        np.savez(
            file,
            version=np.array([VERSION]),
            tier_weights=self.tier.weights.astype(np.float16),
            tier_bias=self.tier.bias.astype(np.float32),
            temperature=np.array([self.temperature]),
            sources=np.array(names),
            difficulty_weights=np.stack([self.difficulty[name].weights for name in names]).astype(np.float16),
            difficulty_bias=np.array([float(self.difficulty[name].bias) for name in names], np.float32),
            known=np.packbits(self.known),
        )

    @classmethod
    def load(cls, file: IO[bytes]) -> Heads:
        import numpy as np

        with np.load(file, allow_pickle=False) as arrays:
            if (version := int(arrays["version"][0])) != VERSION:
                raise ValueError(f"weights of version {version}, but this is version {VERSION}: train them anew")
            weights, bias = arrays["difficulty_weights"], arrays["difficulty_bias"]
            return cls(
                tier=Linear(weights=arrays["tier_weights"], bias=arrays["tier_bias"]),
                difficulty={
                    str(name): Linear(weights=weights[row], bias=bias[row])
                    for row, name in enumerate(arrays["sources"])
                },
                temperature=float(arrays["temperature"][0]),
                known=np.unpackbits(arrays["known"]).astype(bool),
            )


@functools.cache
def shipped() -> Heads:
    """The heads in the wheel, read at first use."""
    with resources.files("llm_magic.classify").joinpath("weights.npz").open("rb") as file:
        return Heads.load(file)
