"""The summary of a column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from llm_magic.budget import show_usd
from llm_magic.columns.estimate import ColumnPlan
from llm_magic.columns.progress import Progress
from llm_magic.types import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnReport:
    """A column in numbers.

    rows: of the input. resumed: distinct rows whose answers earlier columns had paid for. outcomes: rows by outcome.
    models: answered rows by model. errors: number of distinct rows and an example, by outcome. expected_usd: the
    estimate before the column started; None without a number of rows. stopped: why it ended early, or empty.
    """

    rows: int
    resumed: int
    outcomes: Mapping[str, int]
    models: Mapping[str, int]
    errors: Mapping[str, tuple[int, str]]
    cost_usd: Decimal
    expected_usd: Decimal | None
    stopped: str

    @property
    def answered(self) -> int:
        return self.outcomes.get(Outcome.OK, 0)

    @property
    def is_whole(self) -> bool:
        """True if each row that has a value has an answer."""
        return self.answered + self.outcomes.get("missing", 0) == self.rows

    def __str__(self) -> str:
        others = {name: count for name, count in self.outcomes.items() if name != Outcome.OK}
        detail = "".join(f", {count:,} {name.replace('_', ' ')}" for name, count in sorted(others.items()))
        lines = [f"{self.answered:,} of {self.rows:,} rows answered{detail}"]
        if self.resumed:
            lines.append(f"{self.resumed:,} answers were kept from before")
        expected = "" if self.expected_usd is None else f", expected {show_usd(self.expected_usd)}"
        lines.append(f"cost: {show_usd(self.cost_usd)}{expected}")
        if self.models:
            lines.append("models: " + ", ".join(f"{name} ({count:,})" for name, count in self.models.items()))
        lines += [f"{name.replace('_', ' ')} ({count:,}): {text}" for name, (count, text) in self.errors.items()]
        if self.stopped:
            lines.append(self.stopped)
        return "\n".join(lines)


def report_of(rows: Iterable[tuple[str, str]], progress: Progress, plan: ColumnPlan | None) -> ColumnReport:
    outcomes: Counter[str] = Counter()
    models: Counter[str] = Counter()
    for outcome, model in rows:
        outcomes[outcome] += 1
        if outcome == Outcome.OK:
            models[model] += 1
    return ColumnReport(
        rows=outcomes.total(),
        resumed=progress.resumed,
        outcomes=dict(outcomes),
        models=dict(models.most_common()),
        errors=dict(progress.errors),
        cost_usd=progress.cost_usd,
        expected_usd=None if plan is None else plan.expected_usd,
        stopped=progress.stopped,
    )
