"""Lengths of answers as measured in the user's ledger, kept in memory and updated by each answer.

The estimate of a model, effort and tier is a mean over its latest answers, of which the newest count most, shrunk
toward the prior in proportion to their number. The prior is adjusted by what is known of others: answers are as long as
those of other models in the tier, and a model reasons by the same factor more than expected as at its other efforts.
"""

from __future__ import annotations

import math
import statistics
from array import array
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from llm_magic.ledger import Ledger
from llm_magic.plan.lengths import EXPECTED_ANSWER_TOKENS, Kind, prior_tokens
from llm_magic.registry import Registry
from llm_magic.types import Attempt, CostBasis, Effort, ModelSpec, TaskTier
from llm_magic.types.outcomes import ENDED_ANSWERS

WINDOW = 100
DECAY = 0.97
"""Weight of an answer relative to that of the next one."""
PRIOR_ANSWERS = 2.0
MAX_OF_MEDIAN = 10.0
"""A longer answer counts as this many times the median."""
MIN_LIMIT_ANSWERS = 20
MIN_LIMIT_TOKENS = 256
LIMIT_OF_P99 = 3
MIN_REASONING_ANSWERS = 5
_INPUTS = 50
REFRESH_S = 10.0
"""Rows that other processes write are read this often at most."""
_LOOKBACK_ROWS = 200
"""Rows before the latest one that are read again: they may have been in flight."""

_Key = tuple[str, Effort | None, TaskTier, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """Means of a window of answers, in tokens. count: effective number of answers."""

    count: float
    output: float
    reasoning: float

    @property
    def answer(self) -> float:
        return max(1.0, self.output - self.reasoning)


@dataclass(slots=True)
class Window:
    answers: deque[tuple[int, int]] = field(default_factory=lambda: deque[tuple[int, int]](maxlen=WINDOW))
    mean: Mean | None = None

    def add(self, output_tokens: int, reasoning_tokens: int) -> None:
        self.answers.append((output_tokens, reasoning_tokens))
        self.mean = None

    def average(self) -> Mean:
        if self.mean is None:
            highest = MAX_OF_MEDIAN * max(1.0, statistics.median(output for output, _ in self.answers))
            weights = [DECAY**age for age in range(len(self.answers))]
            count = sum(weights)
            newest_first = [(min(1.0, highest / max(1, output)), output, thought) for output, thought in self.answers]
            newest_first.reverse()
            weighted = list(zip(weights, newest_first, strict=True))
            self.mean = Mean(
                count=count,
                output=max(1.0, sum(weight * scale * output for weight, (scale, output, _) in weighted) / count),
                reasoning=sum(weight * scale * thought for weight, (scale, _, thought) in weighted) / count,
            )
        return self.mean


class LearnedLengths:
    """Lengths of the answers in a ledger, kept in memory.

    Reads the latest rows once, and later the new ones of other processes; `observe` adds those of this one.
    """

    def __init__(self, ledger: Ledger, registry: Registry) -> None:
        self._ledger = ledger
        self._registry = registry
        self._windows: dict[_Key, Window] = {}
        self._inputs: dict[str, deque[tuple[int, int]]] = {}
        self._is_loaded = False
        self._refresh_at = 0.0
        self._after_id = 0
        self._observed = array("q")
        """Hashes of the rows that were observed since the last reading. A set would take ten times the memory."""
        self._to_be_read_again: set[int] = set()
        self._answer_factors: Mapping[TaskTier, float] | None = None
        self._reasoning_factors: Mapping[str, float] = {}

    def observe(self, row: Attempt, *, estimated_input_tokens: int = 0, schema: str = "") -> None:
        """Add a settled attempt, unless its model did not end its answer or its usage is an estimate."""
        if row.outcome not in ENDED_ANSWERS or row.cost_basis is not CostBasis.REPORTED:
            return
        if estimated_input_tokens and row.usage.input_tokens:
            pairs = self._inputs.setdefault(row.model, deque(maxlen=_INPUTS))
            pairs.append((row.usage.input_tokens, estimated_input_tokens))
        if self._is_loaded and (key := hash((row.run_id, row.attempt))) not in self._to_be_read_again:
            if self._ledger.is_shared:
                self._observed.append(key)
            self._add(row.model, row.effort, row.tier, row.usage.output_tokens, row.usage.reasoning_tokens, schema)

    def expected_tokens(self, model: ModelSpec, effort: Effort | None, kind: Kind) -> float:
        answer_factors = self._factors()
        answer, reasoning = prior_tokens(model, effort, kind.shares, answer_factors)
        expected = answer + reasoning * self._reasoning_factors.get(model.id, 1.0)
        for schema in ("", kind.schema) if kind.schema else ("",):
            window = self._windows.get((model.id, effort, kind.tier, schema))
            if window is not None:
                expected = _shrunk(window.average(), expected)
        return expected

    def limit_tokens(self, model: ModelSpec, effort: Effort | None, kind: Kind) -> int | None:
        self._load()
        window = self._windows.get((model.id, effort, kind.tier, kind.schema))
        if window is None or len(window.answers) < MIN_LIMIT_ANSWERS:
            return None
        lengths = sorted(output for output, _ in window.answers)
        p99 = lengths[min(len(lengths) - 1, math.ceil(0.99 * len(lengths)) - 1)]
        return max(MIN_LIMIT_TOKENS, LIMIT_OF_P99 * p99)

    def reasoning_tokens(self, model: ModelSpec, effort: Effort | None, kind: Kind) -> float | None:
        self._load()
        window = self._windows.get((model.id, effort, kind.tier, ""))
        if window is None or len(window.answers) < MIN_REASONING_ANSWERS:
            return None
        return window.average().reasoning

    def input_ratio(self, model: ModelSpec) -> float:
        pairs = self._inputs.get(model.id)
        if not pairs:
            return 1.0
        ratio = sum(billed for billed, _ in pairs) / sum(estimated for _, estimated in pairs)
        return ratio ** (len(pairs) / (len(pairs) + PRIOR_ANSWERS))

    def _add(
        self,
        model_id: str,
        effort: Effort | None,
        tier: TaskTier,
        output_tokens: int,
        reasoning_tokens: int,
        schema: str = "",
    ) -> None:
        if model_id not in self._registry:
            return
        levels = self._registry[model_id].effort
        effort = levels.default if effort is None and levels is not None else effort
        for name in ("", schema) if schema else ("",):
            if (window := self._windows.get(key := (model_id, effort, tier, name))) is None:
                window = self._windows[key] = Window()
            window.add(output_tokens, reasoning_tokens)
        self._answer_factors = None

    def _load(self) -> None:
        """Read the rows of other processes, unless that was done lately."""
        if self._is_loaded and not self._ledger.is_shared:
            return
        now = self._ledger.clock()
        if self._is_loaded and self._refresh_at - REFRESH_S <= now < self._refresh_at:
            return
        observed, self._observed = self._observed, array("q")
        try:
            rows = self._ledger.latest_lengths(ENDED_ANSWERS, after_id=self._after_id)
        except BaseException:
            self._observed.extend(observed)
            raise
        known = self._to_be_read_again.union(observed)
        self._is_loaded, self._refresh_at = True, now + REFRESH_S
        keys = [hash((row.run_id, row.attempt)) for row in rows]
        for key, row in zip(keys, rows, strict=True):
            if key not in known:
                self._add(row.model, row.effort, row.tier, row.output_tokens, row.reasoning_tokens)
        if rows:
            self._after_id = max(self._after_id, rows[-1].row_id - _LOOKBACK_ROWS)
        self._to_be_read_again = {key for key, row in zip(keys, rows, strict=True) if row.row_id > self._after_id}

    def _factors(self) -> Mapping[TaskTier, float]:
        self._load()
        if self._answer_factors is None:
            answers: dict[TaskTier, list[tuple[float, float]]] = {}
            reasoning: dict[str, list[tuple[float, float]]] = {}
            for (model_id, effort, tier, schema), window in self._windows.items():
                if schema:
                    continue
                model, mean = self._registry[model_id], window.average()
                expected = model.token_ratio * EXPECTED_ANSWER_TOKENS[tier]
                answers.setdefault(tier, []).append((mean.count, mean.answer / expected))
                thought = prior_tokens(model, effort, {tier: 1.0})[1]
                if thought and mean.reasoning:
                    reasoning.setdefault(model_id, []).append((mean.count, mean.reasoning / thought))
            self._reasoning_factors = {model_id: _pooled(ratios) for model_id, ratios in reasoning.items()}
            self._answer_factors = {tier: _pooled(ratios) for tier, ratios in answers.items()}
        return self._answer_factors


def _shrunk(mean: Mean, prior: float) -> float:
    share = mean.count / (mean.count + PRIOR_ANSWERS)
    return math.exp(share * math.log(mean.output) + (1 - share) * math.log(max(1.0, prior)))


def _pooled(ratios: Iterable[tuple[float, float]]) -> float:
    counted = list(ratios)
    count = sum(weight for weight, _ in counted)
    return math.exp(sum(weight * math.log(ratio) for weight, ratio in counted) / (count + PRIOR_ANSWERS))
