# pyright: reportMissingTypeStubs=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# pandas is installed without type stubs.
"""Reading of recorded outcomes and labeled prompts. evaluate/README.md lists the columns of the files.

A file is Parquet, CSV or JSON lines, by its name; CSV and JSON lines may be compressed (`.gz`).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llm_magic.errors import EvaluationError
from llm_magic.types import TaskTier

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

PROMPT_COLUMNS = ("prompt_id", "source", "task", "prompt")
OUTCOME_COLUMNS = ("prompt_id", "model", "score")
TIER_COLUMNS = ("prompt", "tier")
FILE_ENDINGS = (".parquet", ".jsonl", ".jsonl.gz", ".csv", ".csv.gz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The outcomes of one source, as arrays of prompts x models. NaN: not recorded.

    groups: equal for the same question in other words or in another source.
    """

    source: str
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    tasks: tuple[str, ...]
    prompts: tuple[str, ...]
    models: tuple[str, ...]
    scores: NDArray[np.float64]
    costs: NDArray[np.float64]
    output_tokens: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.prompts)

    def scores_of(self, model: str) -> NDArray[np.float64]:
        return self.scores[:, self.column(model)]

    def costs_of(self, model: str) -> NDArray[np.float64]:
        return self.costs[:, self.column(model)]

    def column(self, model: str) -> int:
        """Raises EvaluationError if the model has no outcomes."""
        try:
            return self.models.index(model)
        except ValueError:
            raise EvaluationError(
                f"no outcomes of {model!r} in {self.source}: there are {', '.join(self.models)}"
            ) from None

    def take(self, rows: NDArray[np.intp]) -> Recorded:
        return Recorded(
            source=self.source,
            ids=tuple(self.ids[row] for row in rows),
            groups=tuple(self.groups[row] for row in rows),
            tasks=tuple(self.tasks[row] for row in rows),
            prompts=tuple(self.prompts[row] for row in rows),
            models=self.models,
            scores=self.scores[rows],
            costs=self.costs[rows],
            output_tokens=self.output_tokens[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Labeled:
    prompts: tuple[str, ...]
    tiers: tuple[TaskTier, ...]
    sources: tuple[str, ...]

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[str, TaskTier, str]]) -> Labeled:
        return cls(
            prompts=tuple(prompt for prompt, _, _ in rows),
            tiers=tuple(tier for _, tier, _ in rows),
            sources=tuple(source for _, _, source in rows),
        )

    def take(self, rows: Sequence[int]) -> Labeled:
        return self.from_rows([(self.prompts[row], self.tiers[row], self.sources[row]) for row in rows])


def read_outcomes(prompts: Path, outcomes: Path, sources: tuple[str, ...] | None = None) -> dict[str, Recorded]:
    """Read the outcomes of each source, or of the given ones. Raises EvaluationError, naming file and column."""
    prompt_table = read_table(prompts, PROMPT_COLUMNS)
    if "group_id" not in prompt_table:
        prompt_table["group_id"] = prompt_table["prompt_id"]
    outcome_table = read_table(outcomes, OUTCOME_COLUMNS)
    for column in ("cost_usd", "output_tokens"):
        if column not in outcome_table:
            outcome_table[column] = float("nan")
    available = tuple(dict.fromkeys(_column(prompt_table, "source")))
    if missing := [source for source in sources or () if source not in available]:
        raise EvaluationError(f"{prompts}: no source {missing[0]!r}; there are {', '.join(map(str, available))}")
    return {
        source: _recorded(source, prompt_table.loc[prompt_table["source"] == source], outcome_table)
        for source in sources or available
    }


def read_tiers(path: Path) -> Labeled:
    """Read a tiers file, without the prompts whose tier is null. Without a column `source`, the file is one."""
    table = read_table(path, TIER_COLUMNS).dropna(subset=["tier"])
    if "source" not in table:
        table["source"] = path.name.split(".")[0]
    rows = zip(*(_column(table, name) for name in ("prompt", "tier", "source")), strict=True)
    try:
        return Labeled.from_rows([(str(prompt), TaskTier(tier), str(source)) for prompt, tier, source in rows])
    except ValueError as error:
        tiers = ", ".join(tier.lower() for tier in TaskTier)
        raise EvaluationError(f"{path}: unknown tier ({error}); use {tiers}, or null to leave a prompt out") from error


def find_file(folder: Path, name: str) -> Path:
    """Return the file of this name with any known ending. Raises EvaluationError if there is none."""
    for ending in FILE_ENDINGS:
        if (path := folder / f"{name}{ending}").exists():
            return path
    raise EvaluationError(f"{folder}: no file {name}.parquet, .jsonl or .csv")


def read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a file as a DataFrame. Raises EvaluationError if it cannot be read or lacks one of the columns."""
    import pandas as pd

    name = path.name.removesuffix(".gz")
    try:
        if name.endswith(".parquet"):
            table = pd.read_parquet(path)
        elif name.endswith((".jsonl", ".ndjson")):
            table = pd.DataFrame(map(json.loads, _lines(path)))
        elif name.endswith(".csv"):
            table = pd.read_csv(path)
        else:
            raise EvaluationError(f"{path}: not .parquet, .jsonl or .csv")
    except ImportError as error:
        raise EvaluationError(f"{path}: Parquet needs pyarrow: pip install 'llm-magic[parquet]'") from error
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path}: can't be read: {error}") from error
    if missing := [column for column in columns if column not in table]:
        raise EvaluationError(f"{path}: no column {missing[0]!r}; it has {', '.join(map(str, table.columns))}")
    return table


def _recorded(source: str, prompts: pd.DataFrame, outcomes: pd.DataFrame) -> Recorded:
    is_repeated = prompts["prompt_id"].duplicated()
    if is_repeated.any():
        repeated = _column(prompts.loc[is_repeated], "prompt_id")[0]
        raise EvaluationError(f"{source}: the prompt_id {repeated!r} occurs twice")
    own = outcomes[outcomes["prompt_id"].isin(prompts["prompt_id"])]
    if own.empty:
        raise EvaluationError(f"{source}: no outcome has a prompt_id of its prompts")
    values = ["score", "cost_usd", "output_tokens"]
    wide: Any = own.pivot_table(index="prompt_id", columns="model", values=values, dropna=False, sort=True)
    wide = wide.reindex(prompts["prompt_id"])
    return Recorded(
        source=source,
        ids=tuple(map(str, _column(prompts, "prompt_id"))),
        groups=tuple(map(str, _column(prompts, "group_id"))),
        tasks=tuple(map(str, _column(prompts, "task"))),
        prompts=tuple(map(str, _column(prompts, "prompt"))),
        models=tuple(map(str, wide["score"].columns)),
        scores=wide["score"].to_numpy("float64"),
        costs=wide["cost_usd"].to_numpy("float64", na_value=float("nan")),
        output_tokens=wide["output_tokens"].to_numpy("float64", na_value=float("nan")),
    )


def _column(table: pd.DataFrame, name: str) -> list[Any]:
    return cast("list[Any]", table[name].tolist())  # pyright: ignore[reportUnknownMemberType]


def _lines(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        yield from filter(str.strip, lines)
