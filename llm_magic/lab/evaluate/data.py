"""Reading recorded outcomes: which model answered which prompt how well, at what cost.

Prompts have the columns `prompt_id, group_id, source, task, prompt`; outcomes `prompt_id, model, score` (0..1) and
`input_tokens, output_tokens, cost_usd`, which may be missing; tiers `id, source, prompt, tier` (complex, standard,
structured, bulk, or null). A file is Parquet, CSV or JSON lines, by its name, `.gz` allowed for the latter two.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llm_magic.errors import EvaluationError
from llm_magic.types import TaskTier

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

PROMPT_COLUMNS = ("prompt_id", "source", "task", "prompt")
OUTCOME_COLUMNS = ("prompt_id", "model", "score")
TIER_COLUMNS = ("source", "prompt", "tier")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The outcomes of one source: `scores[i, m]` of prompt i by model m, NaN where there is none; so for the costs."""

    source: str
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    """The same question asked in other words, or in another source, has the same group."""
    tasks: tuple[str, ...]
    prompts: tuple[str, ...]
    models: tuple[str, ...]
    scores: NDArray[np.float64]
    costs: NDArray[np.float64]
    output_tokens: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.prompts)

    def of(self, model: str) -> NDArray[np.float64]:
        """The scores of a model."""
        return self.scores[:, self.column(model)]

    def column(self, model: str) -> int:
        try:
            return self.models.index(model)
        except ValueError:
            raise EvaluationError(
                f"no outcomes of {model!r} in {self.source}: there are {', '.join(self.models)}"
            ) from None

    def take(self, rows: NDArray[np.intp]) -> Recorded:
        """These prompts only."""
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
class Labelled:
    """Prompts with their tiers."""

    prompts: tuple[str, ...]
    tiers: tuple[TaskTier, ...]
    sources: tuple[str, ...]

    def take(self, rows: Sequence[int]) -> Labelled:
        """These prompts only."""
        return Labelled(
            prompts=tuple(self.prompts[row] for row in rows),
            tiers=tuple(self.tiers[row] for row in rows),
            sources=tuple(self.sources[row] for row in rows),
        )


def read_outcomes(prompts: Path, outcomes: Path, sources: tuple[str, ...] | None = None) -> dict[str, Recorded]:
    """The recorded outcomes of each source, or of these. Raises EvaluationError, naming file and column."""
    asked = table(prompts, PROMPT_COLUMNS)
    if "group_id" not in asked:
        asked["group_id"] = asked["prompt_id"]
    answered = table(outcomes, OUTCOME_COLUMNS)
    for column in ("cost_usd", "output_tokens"):
        if column not in answered:
            answered[column] = float("nan")
    there = tuple(dict.fromkeys(asked["source"]))
    if missing := [source for source in sources or () if source not in there]:
        raise EvaluationError(f"{prompts}: no source {missing[0]!r}; there are {', '.join(map(str, there))}")
    return {source: _recorded(source, asked.loc[asked["source"] == source], answered) for source in sources or there}


def _recorded(source: str, asked: pd.DataFrame, answered: pd.DataFrame) -> Recorded:
    if asked["prompt_id"].duplicated().any():
        twice = asked.loc[asked["prompt_id"].duplicated(), "prompt_id"].iloc[0]
        raise EvaluationError(f"{source}: the prompt_id {twice!r} is there twice")
    own = answered[answered["prompt_id"].isin(asked["prompt_id"])]
    if own.empty:
        raise EvaluationError(f"{source}: no outcome has a prompt_id of its prompts")
    wide = own.pivot_table(
        index="prompt_id", columns="model", values=["score", "cost_usd", "output_tokens"], dropna=False, sort=True
    ).reindex(asked["prompt_id"])
    return Recorded(
        source=source,
        ids=tuple(map(str, asked["prompt_id"])),
        groups=tuple(map(str, asked["group_id"])),
        tasks=tuple(map(str, asked["task"])),
        prompts=tuple(map(str, asked["prompt"])),
        models=tuple(map(str, wide["score"].columns)),
        scores=wide["score"].to_numpy("float64"),
        costs=wide["cost_usd"].to_numpy("float64", na_value=float("nan")),
        output_tokens=wide["output_tokens"].to_numpy("float64", na_value=float("nan")),
    )


def _lines(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        yield from filter(str.strip, lines)


def table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """A file as a DataFrame that has these columns. Raises EvaluationError."""
    import pandas as pd

    name = path.name.removesuffix(".gz")
    try:
        if name.endswith(".parquet"):
            frame = pd.read_parquet(path)
        elif name.endswith((".jsonl", ".ndjson")):
            frame = pd.DataFrame(map(json.loads, _lines(path)))
        elif name.endswith(".csv"):
            frame = pd.read_csv(path)
        else:
            raise EvaluationError(f"{path}: not .parquet, .jsonl or .csv")
    except ImportError as error:
        raise EvaluationError(f"{path}: Parquet needs pyarrow: pip install 'llm-magic[parquet]'") from error
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path}: can't be read: {error}") from error
    if missing := [column for column in columns if column not in frame]:
        raise EvaluationError(f"{path}: no column {missing[0]!r}; it has {', '.join(map(str, frame.columns))}")
    return frame
