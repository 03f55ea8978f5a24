"""Expected costs against billed ones, and the share of bills that was reasoning."""

from __future__ import annotations

from typing import Any

from llm_magic.types.outcomes import ENDED_ANSWERS

_ENDED = [outcome.value for outcome in ENDED_ANSWERS]


def by_effort(rows: Any) -> Any:
    """Sum up the ended attempts by model and effort, the most expensive first.

    billed_share: billed, as a share of what the plans expected. reasoning_share: of the bill.
    """
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    frames: Any = pd
    ended = rows.loc[rows["outcome"].isin(_ENDED)]
    expected = ended.loc[(ended["expected_usd"] > 0) & ~ended["cost_estimated"]]
    effort = ended["effort"].fillna("unknown").astype("object").rename("effort")
    sums = _sums(ended).groupby([ended["model"].astype("object"), effort]).sum()
    compared = (
        expected[["expected_usd", "cost_usd"]]
        .groupby([expected["model"].astype("object"), effort.loc[expected.index]])
        .sum()
    )
    sums["expected_usd"] = compared["expected_usd"].reindex(sums.index).fillna(0.0)
    billed = compared["cost_usd"].reindex(sums.index)
    sums["billed_share"] = billed / sums["expected_usd"].where(sums["expected_usd"] > 0)
    sums["reasoning_share"] = sums["reasoning_usd"] / sums["billed_usd"].where(sums["billed_usd"] > 0)
    columns = ["answers", "expected_usd", "billed_usd", "billed_share", "reasoning_usd", "reasoning_share"]
    table: Any = sums[columns].sort_values(["billed_usd", "answers"], ascending=False)
    table.index = frames.Index([f"{model}, {level}" for model, level in table.index], name="model, effort")
    return table


def totals(table: Any) -> dict[str, Any]:
    billed, reasoning = float(table["billed_usd"].sum()), float(table["reasoning_usd"].sum())
    expected = float(table["expected_usd"].sum())
    compared = float((table["billed_share"] * table["expected_usd"]).sum())
    return {
        "expected_usd": expected,
        "billed_of_expected_share": compared / expected if expected else float("nan"),
        "reasoning_usd": reasoning,
        "reasoning_of_billed_share": reasoning / billed if billed else float("nan"),
    }


def _sums(ended: Any) -> Any:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    frames: Any = pd
    reasoning_usd = ended["reasoning_tokens"].astype("float64") * ended["output_price"].fillna(0.0) / 1e6
    return frames.DataFrame({"answers": 1, "billed_usd": ended["cost_usd"], "reasoning_usd": reasoning_usd})
