"""The two learned linear heads: the tier of a prompt, and its difficulty.

Scoring needs no numpy, whose import takes longer than a hundred decisions: weights are 16-bit integers times a scale,
and a score is a sum over a few hundred features.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import math
import sys
import zipfile
from array import array
from dataclasses import dataclass
from importlib import resources
from operator import itemgetter
from typing import IO, TYPE_CHECKING, Any

from llm_magic.classify.features import FAMILIES, Features, Scales, family_scales
from llm_magic.types import TaskTier

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = 4
TIER_SCALES = family_scales(
    words=0.8, pairs=0.5, kinds=1.5, signals=1.0, shape=1.0, context=0.4, all_words=0.4
)  # fmt: skip
# Chosen by leaving out each training source in turn: pairs of words carry over between sources, single words (the
# topic) hardly do, and details of one kind of task do not.
DIFFICULTY_SCALES = family_scales(all_pairs=0.4, structure=1.0)
HEAD_FAMILIES = frozenset(
    family for family, *scales in zip(FAMILIES, TIER_SCALES, DIFFICULTY_SCALES, strict=True) if any(scales)
)
_MAX_WEIGHT = 32_767


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """score = features · weights × scale + bias, per class."""

    weights: tuple[array[int], ...]
    scale: float
    bias: tuple[float, ...]

    @classmethod
    def quantize(cls, weights: NDArray[np.float64], bias: NDArray[np.float64] | float) -> Linear:
        """Round float weights (BUCKETS, or BUCKETS x classes) to 16 bits."""
        import numpy as np

        scale = float(np.abs(weights).max()) / _MAX_WEIGHT or 1.0
        rounded = np.rint(weights.T.reshape(-1, len(weights)) / scale).astype(np.int16)
        return cls(
            weights=tuple(array("h", row.tobytes()) for row in rounded),
            scale=scale,
            bias=tuple(map(float, np.atleast_1d(bias))),
        )

    def times(self, factor: float) -> Linear:
        return dataclasses.replace(self, scale=self.scale * factor, bias=tuple(bias * factor for bias in self.bias))

    def scores(self, features: Features, scales: Scales) -> list[float]:
        sums = [0.0] * len(self.bias)
        for value, buckets in features.scaled(scales):
            select = itemgetter(*buckets, 0)  # the extra bucket makes it return a tuple for a single bucket too
            for index, row in enumerate(self.weights):
                sums[index] += value * (sum(select(row)) - row[0])
        return [self.scale * total + bias for total, bias in zip(sums, self.bias, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """The trained heads.

    tier: one class per tier, in the order of `TaskTier`; the temperature is already applied.
    difficulty: `""` is trained on every source; a source's name, on all other sources, to evaluate on that one.
    temperature: the divisor of the tier scores that calibrates their probabilities on held-out prompts.
    known: one byte per bucket, 1 if a word of a training prompt fell into it, else 0.
    """

    tier: Linear
    difficulty: dict[str, Linear]
    temperature: float
    known: bytes

    def tier_probabilities(self, features: Features) -> dict[TaskTier, float]:
        scores = self.tier.scores(features, TIER_SCALES)
        odds = [math.exp(score - max(scores)) for score in scores]
        return {tier: share / sum(odds) for tier, share in zip(TaskTier, odds, strict=True)}

    def difficulty_of(self, features: Features, *, without: str = "") -> float:
        """Return the difficulty in logits: 0 is typical, and higher values mean fewer correct answers.

        without: use the head that was not trained on this source, if there is one.
        """
        head = self.difficulty.get(without) or self.difficulty[""]
        return head.scores(features, DIFFICULTY_SCALES)[0]

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
            arrays |= {f"{name}/{tier}": np.array(row, "<i2") for tier, row in enumerate(head.weights)}
            arrays |= {f"{name}/scale": np.array([head.scale], "<f8"), f"{name}/bias": np.array(head.bias, "<f8")}
        np.savez(file, **dict(sorted(arrays.items())))

    @classmethod
    def load(cls, file: IO[bytes]) -> Heads:
        """Read a file that `save` wrote. Raises ValueError if its version differs."""
        with zipfile.ZipFile(file) as arrays:

            def read(name: str) -> array[Any]:
                return _parse_npy(arrays.read(f"{name}.npy"))

            def head(name: str) -> Linear:
                bias = tuple(read(f"{name}/bias"))
                rows = tuple(read(f"{name}/{index}") for index in range(len(bias)))
                return Linear(weights=rows, scale=read(f"{name}/scale")[0], bias=bias)

            if (version := int(read("version")[0])) != VERSION:
                raise ValueError(f"the weights have version {version}, but {VERSION} is needed: train them again")
            sources = {name.split("/")[1] for name in arrays.namelist() if name.startswith("difficulty/")}
            return cls(
                tier=head("tier"),
                difficulty={source: head(f"difficulty/{source}") for source in sorted(sources)},
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


@functools.cache
def shipped_heads() -> Heads:
    with resources.files("llm_magic.classify").joinpath("weights.npz").open("rb") as file:
        return Heads.load(file)
