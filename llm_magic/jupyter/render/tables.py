"""The registry, the conversations and a report as tables for people, and the report's plot."""

from __future__ import annotations

import base64
import io
import warnings
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pandas as pd

from llm_magic import prices
from llm_magic.budget import show_usd
from llm_magic.conversations import first_sent, sizes_of
from llm_magic.conversations.store import Conversations
from llm_magic.errors import LedgerError, UnknownPrice
from llm_magic.jupyter.render.markdown import fenced
from llm_magic.jupyter.render.style import styled
from llm_magic.ledger.report import Report
from llm_magic.routing import Router
from llm_magic.types import ModelSpec, Usage


def models_frame(router: Router) -> pd.DataFrame:
    """One row a model. Prices in USD per million tokens, at this hour, for a short prompt."""
    return pd.DataFrame([_row(model, router) for model in router.registry]).set_index("model")


def threads_frame(threads: Conversations, limit: int) -> pd.DataFrame:
    """One row a thread, the one used last first. `left_out` exchanges are too old for `limit` tokens of history."""
    rows: list[dict[str, object]] = []
    for name in threads.names():
        turns = threads.exchanges(name)
        sizes = sizes_of(turns)
        start = first_sent(sizes, limit)
        rows.append(
            {
                "thread": name,
                "exchanges": len(turns),
                "tokens": sum(sizes),
                "left_out": start,
                "sent_tokens": sum(sizes[start:]),
                "model": turns[-1].model,
                "last": datetime.fromtimestamp(turns[-1].at, UTC),
            }
        )
    columns = ["thread", "exchanges", "tokens", "left_out", "sent_tokens", "model", "last"]
    return pd.DataFrame(rows, columns=columns).set_index("thread")


def thread_frame(threads: Conversations, name: str, limit: int) -> pd.DataFrame:
    """One row an exchange of a thread, and whether it is sent along with the next prompt."""
    columns = ["prompt", "answer", "model", "tier", "input_tokens", "run_id", "at"]
    turns = threads.exchanges(name)
    table = pd.DataFrame([[getattr(turn, column) for column in columns] for turn in turns], columns=columns)
    table["at"] = pd.to_datetime(table["at"], unit="s", utc=True)
    sizes = sizes_of(turns)
    start = first_sent(sizes, limit)
    table.insert(4, "tokens", sizes)
    table.insert(5, "sent", [number >= start for number in range(len(turns))])
    return table


def _row(model: ModelSpec, router: Router) -> dict[str, object]:
    why_not = router.unavailable(model)
    circuit = router.circuit(model)
    why_not = why_not or circuit.blocked
    try:
        cost = prices.cost(model, Usage(), datetime.now(UTC))
        listed = {"input": float(cost.input_price), "output": float(cost.output_price), "prices": cost.price_source}
    except UnknownPrice as unknown:
        why_not = why_not or str(unknown)
        listed = {"input": float("nan"), "output": float("nan"), "prices": "unknown"}
    return {
        "model": model.id,
        "provider": model.provider,
        "tiers": ", ".join(model.tiers) or "fallback only",
        "usable": why_not is None,
        "why_not": why_not or "",
        "circuit": str(circuit),
        **listed,
        "context": model.context_window,
        "falls_back_to": model.fallback_id or "",
        "source": model.source,
    }


def show_plot(shell: Any, report: Report) -> None:
    """The report's plot as a picture, where there is a place for one; where it can't be drawn, why."""
    if getattr(shell, "kernel", None) is None:
        return
    from IPython.display import display

    from llm_magic.ledger.plot import headline, subline

    words = f"{headline(report.totals)}\n{subline(report.totals)}"
    try:
        figure = report.plot()
    except LedgerError as error:
        display({"text/plain": f"{words}\n{error}"}, raw=True)
        return
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", r"(?s)Glyph .* missing from (current )?font", UserWarning
        )  # of a model's name: a box is drawn
        figure.savefig(file, format="png", dpi=120)
    picture = base64.b64encode(file.getvalue()).decode("ascii")
    size = {"image/png": {"width": 960, "height": 540}}
    display({"image/png": picture, "text/plain": words}, raw=True, metadata=size)


def report_bundle(report: Report) -> dict[str, str]:
    """A report's numbers: totals, by model, by tier."""
    totals = pd.DataFrame({"": {name: _figure(str(name), value) for name, value in report.totals.items()}})
    parts = {"by model": _figures(report.by_model), "by tier": _figures(report.by_tier)}
    plain = [totals.to_string(header=False), *(f"{name}\n{table.to_string()}" for name, table in parts.items())]
    html = [totals.to_html(header=False, border=0)]
    html += [f"<h4>{name}</h4>{table.to_html(border=0)}" for name, table in parts.items()]
    shown = "\n\n".join(plain)
    scrolls = 'class="jp-RenderedHTMLCommon llmr-plan" tabindex="0" role="region" aria-label="Figures"'
    return {
        "text/html": styled(f"<div {scrolls}>{''.join(html)}</div>"),
        "text/markdown": fenced(shown),
        "text/plain": shown,
    }


def _figures(table: pd.DataFrame) -> pd.DataFrame:
    """A table as people read it, its index named in the one row of heads."""
    said = {name: [_figure(str(name), value) for value in table[name]] for name in table.columns}
    return pd.DataFrame(said, index=table.index).rename_axis(index=None, columns=table.index.name)


def _figure(name: str, value: Any) -> str:
    """A figure as people read it, by the unit that its name ends in."""
    if pd.isna(value):
        return "–"
    if name.endswith("_usd"):
        return show_usd(Decimal(str(float(value))))
    if name.endswith(("_share", "_rate")):
        return f"{value:.1%}"
    return f"{value:.2f} s" if name.endswith("_s") else f"{value:,}"
