"""The likelihood of the evidence in one tier, as a function of the models' levels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llm_magic.tuning.comparisons import CORRECTNESS_CORRELATION, FINDS, INVENTS, REVERSES, Pairing
from llm_magic.tuning.evidence import Evidence
from llm_magic.types import Verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]
else:
    Vector = Any

Pairs = Mapping[Pairing, Mapping[Verdict, float]]
_STEP = 1e-4
_MIN_INVENTS = 1e-3


class Observations:
    """Good and bad answers, and comparisons, of these models.

    effort_factor: true capability steps of effort, as a multiple of the assumed ones. An easy prompt at low effort
    counts like a harder one at default effort.
    """

    def __init__(
        self, models: Sequence[str], evidence: Mapping[str, Evidence], pairs: Pairs, effort_factor: float = 1.0
    ) -> None:
        import numpy as np

        index = {model: position for position, model in enumerate(models)}
        single = [
            (index[model], difficulty - effort_factor * step, good, bad)
            for model, part in evidence.items()
            for (difficulty, step), (good, bad) in part.weights.items()
        ]
        double = [
            (
                index[pairing.shown],
                index[pairing.shadow],
                pairing.difficulty - effort_factor * pairing.shown_step,
                pairing.difficulty - effort_factor * pairing.shadow_step,
                counts.get(Verdict.BETTER, 0.0),
                counts.get(Verdict.WORSE, 0.0),
                counts.get(Verdict.TIE, 0.0) + counts.get(Verdict.INCONSISTENT, 0.0),
                max(_MIN_INVENTS, pairing.invents),
            )
            for pairing, counts in pairs.items()
        ]
        self._count = len(models)
        self._single: Vector = np.array(single, dtype=np.float64).reshape(-1, 4)
        self._double: Vector = np.array(double, dtype=np.float64).reshape(-1, 8)
        self._model = self._single[:, 0].astype(np.int64)
        self._shown, self._shadow = (self._double[:, column].astype(np.int64) for column in (0, 1))

    def log_likelihood(self, levels: Vector) -> float:
        import numpy as np

        margins = levels[self._model] - self._single[:, 1]
        answers = -self._single[:, 2] * np.logaddexp(0, -margins) - self._single[:, 3] * np.logaddexp(0, margins)
        return float(answers.sum() + self._of_pairs(*self._margins(levels)).sum())

    def gradient(self, levels: Vector) -> Vector:
        import numpy as np

        slopes = np.zeros(self._count)
        chance = _sigmoid(levels[self._model] - self._single[:, 1])
        np.add.at(slopes, self._model, self._single[:, 2] - (self._single[:, 2] + self._single[:, 3]) * chance)
        shown, shadow = self._margins(levels)
        for moved, position in ((_STEP, self._shown), (0.0, self._shadow)):
            other = _STEP - moved
            up, down = self._of_pairs(shown + moved, shadow + other), self._of_pairs(shown - moved, shadow - other)
            np.add.at(slopes, position, (up - down) / (2 * _STEP))
        return slopes

    def information(self, levels: Vector) -> Vector:
        """Return the expected information about the levels."""
        import numpy as np

        matrix = np.zeros((self._count, self._count))
        chance = _sigmoid(levels[self._model] - self._single[:, 1])
        weight = (self._single[:, 2] + self._single[:, 3]) * chance * (1 - chance)
        np.add.at(matrix, (self._model, self._model), weight)
        shown, shadow = self._margins(levels)
        total = self._double[:, 4:7].sum(axis=1)
        at, by_shown, by_shadow = (
            np.array(verdict_chances(shown + one, shadow + other, self._double[:, 7]))
            for one, other in ((0, 0), (_STEP, 0), (0, _STEP))
        )
        slopes = ((self._shown, (by_shown - at) / _STEP), (self._shadow, (by_shadow - at) / _STEP))
        for row, one in slopes:
            for column, other in slopes:
                np.add.at(matrix, (row, column), total * (one * other / at).sum(axis=0))
        return matrix

    def _margins(self, levels: Vector) -> tuple[Vector, Vector]:
        return levels[self._shown] - self._double[:, 2], levels[self._shadow] - self._double[:, 3]

    def _of_pairs(self, shown: Vector, shadow: Vector) -> Vector:
        import numpy as np

        better, worse, tie = verdict_chances(shown, shadow, self._double[:, 7])
        counts = self._double
        return counts[:, 4] * np.log(better) + counts[:, 5] * np.log(worse) + counts[:, 6] * np.log(tie)


def verdict_chances(shown: Vector, shadow: Vector, invents: Vector | float = INVENTS) -> tuple[Vector, Vector, Vector]:
    """Return the chances that the shadow answer is found better, worse, or neither, from the margins in logits."""
    import numpy as np

    good, other = _sigmoid(shown), _sigmoid(shadow)
    both = good * other + CORRECTNESS_CORRELATION * np.sqrt(good * (1 - good) * other * (1 - other))
    both = np.minimum(both, np.minimum(good, other))
    shown_only, shadow_only = good - both, other - both
    invented = invents * (1.0 - shown_only - shadow_only)
    better = FINDS * shadow_only + REVERSES * shown_only + invented
    worse = FINDS * shown_only + REVERSES * shadow_only + invented
    return better, worse, 1.0 - better - worse


def _sigmoid(logits: Vector) -> Vector:
    import numpy as np

    return 1.0 / (1.0 + np.exp(-logits))


def information(shown_margin: float, shadow_margin: float) -> tuple[float, float]:
    """Return the Fisher information of one comparison about the level of either model. margins: in logits."""
    import numpy as np

    margins = [
        np.array([shown_margin, shown_margin + _STEP, shown_margin]),
        np.array([shadow_margin, shadow_margin, shadow_margin + _STEP]),
    ]
    found = [0.0, 0.0]
    for chance in verdict_chances(margins[0], margins[1]):
        for position in (0, 1):
            found[position] += ((float(chance[position + 1]) - float(chance[0])) / _STEP) ** 2 / float(chance[0])
    assert all(map(math.isfinite, found))
    return found[0], found[1]
