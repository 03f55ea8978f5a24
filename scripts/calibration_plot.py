"""Draw docs/images/expected-and-billed.png: `python -m scripts.calibration_plot`.

The models are simulated: each reasons and answers at a length that differs from the assumed one. Plans, prices, and
bills are computed as for real models, in a ledger in memory.
"""

from __future__ import annotations

import asyncio
from typing import Any

from matplotlib.figure import Figure

from llm_magic import Ledger
from llm_magic.ledger.plot import FAINT, INK, draw_calibration
from llm_magic.ledger.report import summarize
from tests.browser.lab import ROOT
from tests.tuning.test_lengths import Thinker, routing, run_many

FILE = ROOT / "docs" / "images" / "expected-and-billed.png"
FIRST, LATER = 5, 60
KINDS = {
    "claude-opus-5-5": (Thinker(mean_reasoning=5_200, answer=1_500, seed=1), "COMPLEX", "medium"),
    "gpt-6.1-sol": (Thinker(mean_reasoning=900, answer=700, seed=2), "COMPLEX", "medium"),
    "claude-sonnet-5-5": (Thinker(mean_reasoning=1_100, answer=600, seed=3), "STANDARD", "high"),
    "gpt-6.1-terra": (Thinker(mean_reasoning=160, answer=800, seed=4), "STANDARD", "low"),
}


async def ledger_rows() -> Any:
    """Return the rows of every kind of prompt, FIRST and then LATER of each."""
    ledger = Ledger(":memory:")
    for model, (thinker, tier, effort) in KINDS.items():
        await run_many(routing(thinker, ledger), FIRST + LATER, model=model, tier=tier, effort=effort)
    return ledger.to_frame()


def draw(rows: Any) -> Figure:
    figure: Any = Figure(figsize=(13, 6.2), dpi=100, facecolor="white")
    figure.text(0.02, 0.93, "Expected and billed, by model and effort", fontsize=20, fontweight="bold", color=INK)
    legend = "Bar: billed, its gray part is reasoning. Line: expected. Models that reason more or less than assumed."
    figure.text(0.02, 0.885, legend, fontsize=12, color=FAINT)
    place = rows.groupby("model").cumcount()
    parts = {
        f"The first {FIRST} answers of each": rows.loc[place < FIRST],
        f"The next {LATER}, when the ledger has answers": rows.loc[place >= FIRST],
    }
    margins = {"left": 0.22, "right": 0.98, "top": 0.79, "bottom": 0.0, "hspace": 0.25}
    for axes, (title, part) in zip(figure.subplots(2, 1, gridspec_kw=margins), parts.items(), strict=True):
        draw_calibration(axes, summarize(part).by_effort, title)
    return figure


def main() -> None:
    figure: Any = draw(asyncio.run(ledger_rows()))
    figure.savefig(FILE)


if __name__ == "__main__":
    main()
