"""Reports on the ledger: spending over time, by model and by tier, against the baseline."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from llm_magic.budget import short_usd
from llm_magic.ledger import calibration
from llm_magic.types import SHADOW_TAG, Outcome

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs] - it ships none
    from matplotlib.figure import Figure

_ANSWERS = [outcome.value for outcome in Outcome if outcome.is_answer]
_FAILURES = [outcome.value for outcome in Outcome if outcome.is_failure]
_SENT = [outcome.value for outcome in Outcome if outcome.was_sent]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The sums of a part of the ledger. Money in USD, times in seconds. Savings are signed and include failed attempts.

    rows: the rows that were summed up, one for each attempt. over_time: one row for each minute, hour or day (UTC),
    depending on the span. by_model, by_tier, by_effort: the most expensive first.
    """

    rows: pd.DataFrame
    totals: pd.Series
    over_time: pd.DataFrame
    by_model: pd.DataFrame
    by_tier: pd.DataFrame
    by_effort: pd.DataFrame

    def plot(self) -> Figure:
        """Draw the report in the format of a slide; `report.plot().savefig("report.png")` saves it.

        Raises LedgerError if matplotlib is not installed.
        """
        from llm_magic.ledger.plot import draw

        return draw(
            rows=self.rows,
            totals=self.totals,
            over_time=self.over_time,
            by_model=self.by_model,
            by_tier=self.by_tier,
            by_effort=self.by_effort,
        )


def summarize(rows: Any) -> Report:
    """Make the report on rows of `Ledger.to_frame()`."""
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    frames: Any = pd
    rows = rows.loc[rows["outcome"] != Outcome.RESERVED.value]
    answers = rows.loc[rows["outcome"].isin(_ANSWERS)]
    shadows = rows["tags"].str.contains(SHADOW_TAG, regex=False).fillna(False).astype(bool)
    own = rows.loc[~shadows]
    spent, baseline = float(rows["cost_usd"].sum()), float(rows["baseline_usd"].sum())
    latencies = answers.loc[answers["outcome"] == Outcome.OK.value, "latency_s"]
    ttfts = answers["ttft_s"].dropna()
    by_effort = calibration.by_effort(rows)
    totals: dict[str, Any] = {
        "runs": own["run_id"].nunique(),
        "answered": len(answers),
        "from_cache": int((rows["outcome"] == Outcome.CACHED.value).sum()),
        "attempts": int(own["outcome"].isin(_SENT).sum()),
        "failed_attempts": int(own["outcome"].isin(_FAILURES).sum()),
        "fallback_rate": _count_fallbacks(own, answers) / len(answers) if len(answers) else float("nan"),
        "spent_usd": spent,
        "baseline_usd": baseline,
        "saved_usd": baseline - spent,
        "shadow_usd": float(rows.loc[shadows, "cost_usd"].sum()),
        "shadow_answers": int((rows["outcome"] == Outcome.SHADOW.value).sum()),
        "saved_share": (baseline - spent) / baseline if baseline else float("nan"),
        "not_comparable": int((~answers["comparable"]).sum()),
        **_by_basis(rows),
        **calibration.totals(by_effort),
        "cache_saved_usd": float(rows["cache_saved_usd"].sum()),
        "held_usd": float(rows["held_usd"].sum()),
        "input_tokens": int(rows["input_tokens"].sum()),
        "output_tokens": int(rows["output_tokens"].sum()),
        "latency_p50_s": latencies.quantile(0.5),
        "latency_p95_s": latencies.quantile(0.95),
        "ttft_p50_s": ttfts.quantile(0.5),
    }
    return Report(
        rows=rows,
        totals=frames.Series(totals, name="report", dtype=object),
        over_time=_over_time(rows),
        by_model=_grouped(rows, "model"),
        by_tier=_grouped(rows, "tier"),
        by_effort=by_effort,
    )


def _by_basis(rows: Any) -> dict[str, Any]:
    """Return the costs that providers reported, and those that are estimated, with their bounds."""
    estimated = rows.loc[rows["cost_estimated"]]
    reported_usd = float(rows.loc[~rows["cost_estimated"], "cost_usd"].sum())
    sums = {
        f"estimated{suffix}": float(estimated[f"cost{suffix}"].sum()) for suffix in ("_usd", "_low_usd", "_high_usd")
    }
    spending = f"{_show(reported_usd)} reported"
    if len(estimated):
        cost, low, high = (_show(amount) for amount in sums.values())
        spending += f", {cost} estimated ({low} to {high})"
    return {"reported_usd": reported_usd, **sums, "spending": spending}


def _show(amount: float) -> str:
    return short_usd(Decimal(str(round(amount, 12))))


def _count_fallbacks(rows: Any, answers: Any) -> int:
    """Count the answers from another model than one that failed before in the same run."""
    failed = rows.loc[rows["outcome"].isin(_FAILURES), ["run_id", "model"]].drop_duplicates()
    pairs = answers[["run_id", "model"]].merge(failed, on="run_id", suffixes=("", "_failed"))
    return int(pairs.loc[pairs["model"] != pairs["model_failed"], "run_id"].nunique())


def _over_time(rows: Any) -> Any:
    """Return cost, baseline and savings of each period that has attempts, and their running sums."""
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
    """Sum up by model or tier. The baseline is on the row that answered, so savings go to the model that answered."""
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    frames: Any = pd
    groups = rows.groupby(by, observed=True)
    answered = rows.loc[rows["outcome"] == Outcome.OK.value].groupby(by, observed=True)["latency_s"]
    table = frames.DataFrame(
        {
            "answers": _count(groups, _ANSWERS),
            "attempts": _count(groups, _SENT),
            "failed": _count(groups, _FAILURES),
            "input_tokens": groups["input_tokens"].sum(),
            "output_tokens": groups["output_tokens"].sum(),
            "cost_usd": groups["cost_usd"].sum(),
            "baseline_usd": groups["baseline_usd"].sum(),
            "not_comparable": (~rows["comparable"]).groupby(rows[by], observed=True).sum(),
            "latency_p50_s": answered.quantile(0.5),
            "latency_p95_s": answered.quantile(0.95),
        }
    )
    table.insert(7, "saved_usd", table["baseline_usd"] - table["cost_usd"])
    return table.rename_axis(by).sort_values(["cost_usd", "answers"], ascending=False)


def _count(groups: Any, outcomes: list[str]) -> Any:

    def count(values: Any) -> int:
        return int(values.isin(outcomes).sum())

    return groups["outcome"].agg(count)
