"""The ledger summed up: spend over time, by model and by tier, against the baseline; as DataFrames and as a plot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs] - it ships none
    from matplotlib.figure import Figure

ANSWERED = ("ok", "cached")
"""Outcomes of the row that a run's answer is of."""
NOT_FAILED = (*ANSWERED, "agreed", "superseded", "judged", "unconfirmed", "cancelled", "in_flight", "uncertain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a part of the ledger comes to. Money in USD, times in seconds; savings are signed, failed attempts included.

    `rows`: what was summed up, one row an attempt. `totals`: a Series. `over_time`: one row a minute, hour or day, in
    UTC, whichever suits the span. `by_model`, `by_tier`: one row each, the dearest first.
    """

    rows: pd.DataFrame
    totals: pd.Series
    over_time: pd.DataFrame
    by_model: pd.DataFrame
    by_tier: pd.DataFrame

    def plot(self) -> Figure:
        """The report as a figure in the format of a slide; `report.plot().savefig("report.png")` keeps it.

        Raises LedgerError where matplotlib is missing.
        """
        from llm_magic.ledger.plot import draw

        return draw(self)


def of_rows(rows: Any) -> Report:
    """The report on rows of `Ledger.to_frame()`."""
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    frames: Any = pd
    rows = rows.loc[rows["outcome"] != "reserved"]
    answers = rows.loc[rows["outcome"].isin(ANSWERED)]
    sent = rows.loc[rows["outcome"] != "cached"]
    spent, baseline = float(rows["cost_usd"].sum()), float(rows["baseline_usd"].sum())
    fell_back = _fell_back(rows, answers)
    times = answers.loc[answers["outcome"] == "ok", "latency_s"]
    first = answers["ttft_s"].dropna()
    totals: dict[str, Any] = {
        "runs": rows["run_id"].nunique(),
        "answered": len(answers),
        "from_cache": int((rows["outcome"] == "cached").sum()),
        "attempts": len(sent),
        "failed_attempts": int((~rows["outcome"].isin(NOT_FAILED)).sum()),
        "fallback_rate": fell_back / len(answers) if len(answers) else float("nan"),
        "spent_usd": spent,
        "baseline_usd": baseline,
        "saved_usd": baseline - spent,
        "saved_share": (baseline - spent) / baseline if baseline else float("nan"),
        "estimated_usd": float(rows.loc[rows["cost_estimated"], "cost_usd"].sum()),
        "held_usd": float(rows["held_usd"].sum()),
        "input_tokens": int(rows["input_tokens"].sum()),
        "output_tokens": int(rows["output_tokens"].sum()),
        "latency_p50_s": times.quantile(0.5),
        "latency_p95_s": times.quantile(0.95),
        "ttft_p50_s": first.quantile(0.5),
    }
    return Report(
        rows=rows,
        totals=frames.Series(totals, name="report", dtype=object),
        over_time=_over_time(rows),
        by_model=_grouped(rows, "model"),
        by_tier=_grouped(rows, "tier"),
    )


def _fell_back(rows: Any, answers: Any) -> int:
    """How many answers came from another model than one that had failed before in the same run."""
    failed = rows.loc[~rows["outcome"].isin(NOT_FAILED), ["run_id", "model"]].drop_duplicates()
    pairs = answers[["run_id", "model"]].merge(failed, on="run_id", suffixes=("", "_failed"))
    return int(pairs.loc[pairs["model"] != pairs["model_failed"], "run_id"].nunique())


def _over_time(rows: Any) -> Any:
    """Cost, baseline and savings of each period that something happened in, and their running sums."""
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    frames: Any = pd
    moments = rows["started_at"]
    span = (moments.max() - moments.min()).total_seconds() if len(rows) else 0.0
    period = "min" if span < 3 * 3_600 else "h" if span < 3 * 86_400 else "D"
    money = rows[["cost_usd", "baseline_usd"]].groupby(moments.dt.floor(period)).sum()
    counts = rows.groupby(moments.dt.floor(period))["run_id"].nunique().rename("runs")
    table = frames.concat([counts, money], axis=1).sort_index()
    table["saved_usd"] = table["baseline_usd"] - table["cost_usd"]
    for name in ("cost", "baseline", "saved"):
        table[f"cumulative_{name}_usd"] = table[f"{name}_usd"].cumsum()
    return table.rename_axis("period")


def _grouped(rows: Any, by: str) -> Any:
    """One row a model or a tier. The baseline stands on the row that answered, so each saves what its answers saved."""
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    frames: Any = pd
    groups = rows.groupby(by, observed=True)
    answered = rows.loc[rows["outcome"] == "ok"].groupby(by, observed=True)["latency_s"]
    table = frames.DataFrame(
        {
            "answers": groups["outcome"].agg(lambda outcomes: int(outcomes.isin(ANSWERED).sum())),
            "attempts": groups["outcome"].agg(lambda outcomes: int((outcomes != "cached").sum())),
            "failed": groups["outcome"].agg(lambda outcomes: int((~outcomes.isin(NOT_FAILED)).sum())),
            "input_tokens": groups["input_tokens"].sum(),
            "output_tokens": groups["output_tokens"].sum(),
            "cost_usd": groups["cost_usd"].sum(),
            "baseline_usd": groups["baseline_usd"].sum(),
            "latency_p50_s": answered.quantile(0.5),
            "latency_p95_s": answered.quantile(0.95),
        }
    )
    table.insert(7, "saved_usd", table["baseline_usd"] - table["cost_usd"])
    return table.rename_axis(by).sort_values(["cost_usd", "answers"], ascending=False)
