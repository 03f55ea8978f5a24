"""The two learned linear heads: the tier of a prompt, and its difficulty.

Scoring needs no numpy, whose import takes longer than a hundred decisions: weights are integers times a scale, and a
score is a sum over a few hundred features.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import math
import sys
import zipfile
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from operator import itemgetter
from typing import IO, TYPE_CHECKING, Any

from llm_magic.classify.features import FAMILIES, Features, Scales, family_scales
from llm_magic.types import TaskTier

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = 10
TIER_SCALES = family_scales(
    words=0.8, pairs=1.0, kinds=1.5, signals=1.0, shape=1.0, context=0.4,
    all_words=0.4, all_pairs=0.5, structure=0.3, ends=0.4,
)  # fmt: skip
# Chosen by leaving out each training source in turn: pairs of words carry over between sources, single words (the
# topic) hardly do, and details of one kind of task do not.
DIFFICULTY_SCALES = family_scales(all_pairs=0.25, structure=1.0)
HEAD_FAMILIES = frozenset(
    family for family, *scales in zip(FAMILIES, TIER_SCALES, DIFFICULTY_SCALES, strict=True) if any(scales)
)
_TIERS = tuple(TaskTier)
_MAX_WEIGHT = 32_767

# The weights of a bucket for three tiers are fields of one integer, so that one pass over the buckets sums all of them.
# A field holds the sum of so many weights, positive or negative.
_FIELD_BITS = 21
_FIELD_HALF, _FIELD_MASK = 1 << _FIELD_BITS - 1, (1 << _FIELD_BITS) - 1
_MAX_FIELD_WEIGHT, _MAX_SUMMED = 1_023, 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class DifficultyHead:
    """score = features · weights × scale + bias."""

    weights: array[int]
    scale: float
    bias: float

    @classmethod
    def quantize(cls, weights: NDArray[np.float64], bias: float) -> DifficultyHead:
        """Round float weights, one per bucket, to 16 bits."""
        import numpy as np

        scale = float(np.abs(weights).max()) / _MAX_WEIGHT or 1.0
        rounded = np.rint(weights / scale).astype(np.int16)
        return cls(weights=array("h", rounded.tobytes()), scale=scale, bias=bias)

    def times(self, factor: float) -> DifficultyHead:
        return dataclasses.replace(self, scale=_rounded(self.scale * factor), bias=_rounded(self.bias * factor))

    def score(self, features: Features, scales: Scales) -> float:
        total, row = 0.0, self.weights
        for value, buckets in features.scaled(scales):
            # The extra bucket makes itemgetter return a tuple for a single bucket too.
            total += value * (sum(itemgetter(*buckets, 0)(row)) - row[0])
        return self.scale * total + self.bias


@dataclass(frozen=True, slots=True, kw_only=True)
class TierHead:
    """One score per tier, in the order of `TaskTier`, whose sum is zero: score = features · weights × scale + bias.

    weights: per bucket, those of the first three tiers, packed; the weight of the last tier is minus their sum.
    """

    weights: array[int]
    scale: float
    bias: tuple[float, ...]

    @classmethod
    def quantize(cls, weights: NDArray[np.float64], bias: NDArray[np.float64]) -> TierHead:
        """Round float weights (BUCKETS x tiers) to fields. Their mean over the tiers does not matter."""
        import numpy as np

        centered = weights - weights.mean(axis=1, keepdims=True)
        scale = float(np.abs(centered).max()) / _MAX_FIELD_WEIGHT or 1.0
        first, second, third, _ = np.rint(centered / scale).astype(np.int64).T
        packed = (first << 2 * _FIELD_BITS) + (second << _FIELD_BITS) + third
        return cls(
            weights=array("q", packed.tobytes()), scale=scale, bias=tuple(map(float, bias - float(np.mean(bias))))
        )

    def times(self, factor: float) -> TierHead:
        return dataclasses.replace(
            self, scale=_rounded(self.scale * factor), bias=tuple(_rounded(bias * factor) for bias in self.bias)
        )

    def plus(self, offsets: Sequence[float]) -> TierHead:
        """Add an offset to the score of each tier."""
        added = [bias + offset for bias, offset in zip(self.bias, offsets, strict=True)]
        return dataclasses.replace(self, bias=tuple(_rounded(bias - sum(added) / len(added)) for bias in added))

    def scores(self, features: Features, scales: Scales) -> list[float]:
        first = second = third = 0.0
        row = self.weights
        for value, buckets in features.scaled(scales):
            for start in range(0, len(buckets), _MAX_SUMMED):
                packed = sum(itemgetter(*buckets[start : start + _MAX_SUMMED], 0)(row)) - row[0]
                low = (packed + _FIELD_HALF & _FIELD_MASK) - _FIELD_HALF
                packed = packed - low >> _FIELD_BITS
                middle = (packed + _FIELD_HALF & _FIELD_MASK) - _FIELD_HALF
                first += value * (packed - middle >> _FIELD_BITS)
                second += value * middle
                third += value * low
        sums = (first, second, third, -(first + second + third))
        return [self.scale * total + bias for total, bias in zip(sums, self.bias, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """The trained heads.

    tier: the temperature is already applied.
    difficulty: `""` is trained on every source; a source's name, on all other sources, to evaluate on that one.
    temperature: the divisor of the tier scores that calibrates their probabilities on held-out prompts.
    known: one byte per bucket, 1 if words of several training prompts fell into it, else 0.
    """

    tier: TierHead
    difficulty: dict[str, DifficultyHead]
    temperature: float
    known: bytes

    def tier_probabilities(self, features: Features) -> dict[TaskTier, float]:
        scores = self.tier.scores(features, TIER_SCALES)
        highest = max(scores)
        odds = [math.exp(score - highest) for score in scores]
        total = sum(odds)
        return {tier: share / total for tier, share in zip(_TIERS, odds, strict=True)}

    def difficulty_of(self, features: Features, *, without: str = "") -> float:
        """Return the difficulty in logits: 0 is typical, and higher values mean fewer correct answers.

        without: use the head that was not trained on this source, if there is one.
        """
        head = self.difficulty.get(without) or self.difficulty[""]
        return head.score(features, DIFFICULTY_SCALES)

    def familiarity(self, features: Features) -> float:
        """Return the share of the prompt's distinct words that occur in the training prompts, 0..1."""
        words = features.word_buckets
        return sum(map(self.known.__getitem__, words)) / len(words) if words else 0.0

    def save(self, file: IO[bytes]) -> None:
        import numpy as np

        arrays: dict[str, Any] = {
            "version": np.array([VERSION], "<i2"),
            "temperature": np.array([self.temperature], "<f8"),
            "known": np.frombuffer(self.known, "|u1"),
        }
        heads = {"tier": self.tier, **{f"difficulty/{name}": head for name, head in self.difficulty.items()}}
        for name, head in heads.items():
            kind = "<i8" if isinstance(head, TierHead) else "<i2"
            arrays |= {f"{name}/weights": np.array(head.weights, kind), f"{name}/scale": np.array([head.scale], "<f8")}
            arrays[f"{name}/bias"] = np.atleast_1d(np.array(head.bias, "<f8"))
        np.savez(file, **dict(sorted(arrays.items())))

    @classmethod
    def load(cls, file: IO[bytes]) -> Heads:
        """Read a file that `save` wrote. Raises ValueError if its version differs."""
        with zipfile.ZipFile(file) as arrays:

            def read(name: str) -> array[Any]:
                return _parse_npy(arrays.read(f"{name}.npy"))

            if (version := int(read("version")[0])) != VERSION:
                raise ValueError(f"the weights have version {version}, but {VERSION} is needed: train them again")
            sources = {name.split("/")[1] for name in arrays.namelist() if name.startswith("difficulty/")}
            difficulty = {
                source: DifficultyHead(
                    weights=read(f"difficulty/{source}/weights"),
                    scale=read(f"difficulty/{source}/scale")[0],
                    bias=read(f"difficulty/{source}/bias")[0],
                )
                for source in sorted(sources)
            }
            return cls(
                tier=TierHead(weights=read("tier/weights"), scale=read("tier/scale")[0], bias=tuple(read("tier/bias"))),
                difficulty=difficulty,
                temperature=read("temperature")[0],
                known=read("known").tobytes(),
            )


_ARRAY_CODES = {"<i2": "h", "<i8": "q", "<f8": "d", "|u1": "B"}


def _parse_npy(content: bytes) -> array[Any]:
    """Parse a one-dimensional array in numpy's .npy format, version 1: a magic string and version in 8 bytes, the
    length of the header in 2, the header, the numbers."""
    start = 10 + int.from_bytes(content[8:10], "little")
    header = ast.literal_eval(content[10:start].decode("latin-1"))
    numbers: array[Any] = array(_ARRAY_CODES[header["descr"]])
    numbers.frombytes(content[start:])
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


# Beyond 9 digits, training differs between processors.
def _rounded(number: float) -> float:
    return float(f"{number:.9g}")


@functools.cache
def shipped_heads() -> Heads:
    with resources.files("llm_magic.classify").joinpath("weights.npz").open("rb") as file:
        return Heads.load(file)
