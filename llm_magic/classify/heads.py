"""The two learned heads, as plain arrays in the wheel: a prompt's tier, and how hard it is.

To decide takes no numpy, whose import costs more than a hundred decisions: a weight is a whole number of 16 bits times
its head's scale, and what a prompt scores is a sum over its few hundred features.
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

from llm_magic.classify.features import Features, Scales
from llm_magic.types import TaskTier

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = 3
"""Of the arrays' layout and of the featurization that they belong to."""
TIER_SCALES: Scales = (0.6, 0.4, 0.6, 1.0, 0.6, 2.0)
DIFFICULTY_SCALES: Scales = (0.0, 0.4, 1.0, 0.0, 0.0, 0.0)
"""Chosen by leaving each source out of the training data in turn: pairs of words carry over from one source to
another, single words (the topic) hardly, the details of one kind of task not at all."""
_LARGEST = 32_767


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """score = x . weights * scale + bias, of each class."""

    weights: tuple[array[int], ...]
    """For each class, of each bucket, -32,767..32,767."""
    scale: float
    bias: tuple[float, ...]

    @classmethod
    def of(cls, weights: NDArray[np.float64], bias: NDArray[np.float64] | float) -> Linear:
        """From weights (BUCKETS, or BUCKETS x classes), to the nearest of the whole numbers."""
        import numpy as np

        scale = float(np.abs(weights).max()) / _LARGEST or 1.0
        whole = np.rint(weights.T.reshape(-1, len(weights)) / scale).astype(np.int16)
        return cls(
            weights=tuple(array("h", row.tobytes()) for row in whole),
            scale=scale,
            bias=tuple(float(each) for each in np.atleast_1d(bias)),
        )

    def times(self, factor: float) -> Linear:
        """The head whose scores are so many times as large."""
        return dataclasses.replace(self, scale=self.scale * factor, bias=tuple(each * factor for each in self.bias))

    def scores(self, features: Features, scales: Scales) -> list[float]:
        found = [0.0] * len(self.bias)
        for amount, buckets in features.groups(scales):
            of_buckets = itemgetter(*buckets, 0)  # one more, so that it gives a tuple of a single one too
            for place, row in enumerate(self.weights):
                found[place] += amount * (sum(of_buckets(row)) - row[0])
        return [self.scale * each + bias for each, bias in zip(found, self.bias, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """The weights of one training run."""

    tier: Linear
    """A class a tier, in the order of `TaskTier`; divided by the temperature already."""
    difficulty: dict[str, Linear]
    """`""`: trained on every source; by name: on every source but that one, for judging on it."""
    temperature: float
    """What the tier head's scores were divided by, so that held-out probabilities are right."""
    known: bytes
    """Of each bucket, 1 where words of the training prompts fell into it, else 0."""

    def tier_probabilities(self, features: Features) -> dict[TaskTier, float]:
        scores = self.tier.scores(features, TIER_SCALES)
        odds = [math.exp(score - max(scores)) for score in scores]
        return {tier: each / sum(odds) for tier, each in zip(TaskTier, odds, strict=True)}

    def difficulty_of(self, features: Features, *, without: str = "") -> float:
        """How hard a prompt is, in logits: 0 is typical, and a model's chance of being right falls as it rises.

        without: by a head that has not seen this source's outcomes; the whole one where there is none.
        """
        head = self.difficulty.get(without) or self.difficulty[""]
        return head.scores(features, DIFFICULTY_SCALES)[0]

    def familiarity(self, features: Features) -> float:
        """The share of the prompt's different words that the training prompts had, 0..1."""
        words = features.words
        return sum(map(self.known.__getitem__, words)) / len(words) if words else 0.0

    def save(self, file: IO[bytes]) -> None:
        """Write the arrays as numpy's `load` reads them, uncompressed, the same bytes for the same weights."""
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
        """Raises ValueError for weights of another version."""
        with zipfile.ZipFile(file) as arrays:

            def read(name: str) -> array[Any]:
                return _plain(arrays.read(f"{name}.npy"))

            def head(name: str) -> Linear:
                bias = tuple(read(f"{name}/bias"))
                rows = tuple(read(f"{name}/{place}") for place in range(len(bias)))
                return Linear(weights=rows, scale=read(f"{name}/scale")[0], bias=bias)

            if (version := int(read("version")[0])) != VERSION:
                raise ValueError(f"weights of version {version}, but this is version {VERSION}: train them anew")
            sources = {name.split("/")[1] for name in arrays.namelist() if name.startswith("difficulty/")}
            return cls(
                tier=head("tier"),
                difficulty={source: head(f"difficulty/{source}") for source in sorted(sources)},
                temperature=read("temperature")[0],
                known=read("known").tobytes(),
            )


_CODES = {"<i2": "h", "<i8": "q", "<f8": "d", "|u1": "B"}


def _plain(content: bytes) -> array[Any]:
    """The numbers of an array of one dimension in numpy's file format, version 1: ten bytes, of which the last two
    say how long the header behind them is, the header, the numbers."""
    start = 10 + int.from_bytes(content[8:10], "little")
    found: array[Any] = array(_CODES[ast.literal_eval(content[10:start].decode("latin-1"))["descr"]])
    found.frombytes(content[start:])
    if sys.byteorder == "big":
        found.byteswap()
    return found


@functools.cache
def shipped_heads() -> Heads:
    """The heads in the wheel, read at first use."""
    with resources.files("llm_magic.classify").joinpath("weights.npz").open("rb") as file:
        return Heads.load(file)
