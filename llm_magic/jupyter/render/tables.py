"""The registry, the conversations and a report as DataFrames and as tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pandas as pd

from llm_magic import prices
from llm_magic.budget import show_usd
from llm_magic.conversations import first_sent, tokens_of
from llm_magic.conversations.store import Conversations
from llm_magic.errors import UnknownPrice
from llm_magic.jupyter.render.markdown import fenced
from llm_magic.jupyter.render.style import styled
from llm_magic.ledger.report import Report
from llm_magic.routing import Router
from llm_magic.routing.model_check import ModelCheck
from llm_magic.types import ModelSpec, Usage

_THREAD_COLUMNS = ["thread", "exchanges", "tokens", "left_out", "sent_tokens", "model", "last"]
_EXCHANGE_COLUMNS = ["prompt", "answer", "model", "tier", "input_tokens", "run_id", "at"]


def models_frame(router: Router) -> pd.DataFrame:
    """Return one row per model. Prices are in USD per million tokens, for a short prompt at this hour."""
    return pd.DataFrame([_model_row(model, router) for model in router.registry]).set_index("model")


def threads_frame(threads: Conversations, max_tokens: int) -> pd.DataFrame:
    """Return one row per thread, the last used first. `left_out` exchanges exceed `max_tokens` of history."""
    rows: list[dict[str, object]] = []
    for name in threads.names():
        exchanges = threads.exchanges(name)
        sizes = tokens_of(exchanges)
        start = first_sent(sizes, max_tokens)
        rows.append(
            {
                "thread": name,
                "exchanges": len(exchanges),
                "tokens": sum(sizes),
                "left_out": start,
                "sent_tokens": sum(sizes[start:]),
                "model": exchanges[-1].model,
                "last": datetime.fromtimestamp(exchanges[-1].at, UTC),
            }
        )
    return pd.DataFrame(rows, columns=_THREAD_COLUMNS).set_index("thread")


def thread_frame(threads: Conversations, name: str, max_tokens: int) -> pd.DataFrame:
    """Return one row per exchange of a thread. `sent` exchanges go along with the next prompt."""
    exchanges = threads.exchanges(name)
    rows = [[getattr(exchange, column) for column in _EXCHANGE_COLUMNS] for exchange in exchanges]
    table = pd.DataFrame(rows, columns=_EXCHANGE_COLUMNS)
    table["at"] = pd.to_datetime(table["at"], unit="s", utc=True)
    sizes = tokens_of(exchanges)
    start = first_sent(sizes, max_tokens)
    table.insert(4, "tokens", sizes)
    table.insert(5, "sent", [number >= start for number in range(len(exchanges))])
    return table


def report_bundle(report: Report) -> dict[str, str]:
    totals = pd.DataFrame({"": {name: format_figure(str(name), value) for name, value in report.totals.items()}})
    parts = {
        "by model": _formatted(report.by_model),
        "by tier": _formatted(report.by_tier),
        "expected against billed, by model and effort": _formatted(report.by_effort),
    }
    sections = [totals.to_string(header=False), *(f"{name}\n{table.to_string()}" for name, table in parts.items())]
    html = [totals.to_html(header=False, border=0)]
    html += [f"<h4>{name}</h4>{table.to_html(border=0)}" for name, table in parts.items()]
    plain = "\n\n".join(sections)
    scrolling = 'class="jp-RenderedHTMLCommon llmr-plan" tabindex="0" role="region" aria-label="Figures"'
    return {
        "text/html": styled(f"<div {scrolling}>{''.join(html)}</div>"),
        "text/markdown": fenced(plain),
        "text/plain": plain,
    }


def format_figure(name: str, value: Any) -> str:
    """Format a figure by the unit at the end of its name."""
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return "–"
    if name.endswith("_usd"):
        return show_usd(Decimal(str(float(value))))
    if name.endswith(("_share", "_rate")):
        return f"{value:.1%}"
    return f"{value:.2f} s" if name.endswith("_s") else f"{value:,}"


def checks_frame(checks: Sequence[ModelCheck]) -> pd.DataFrame:
    rows = [
        {
            "model": check.model,
            "provider": check.provider,
            "status": str(check.status),
            "detail": check.detail,
            "differs": "; ".join(check.differences),
        }
        for check in checks
    ]
    return pd.DataFrame(rows, columns=["model", "provider", "status", "detail", "differs"]).set_index("model")


def _model_row(model: ModelSpec, router: Router) -> dict[str, object]:
    circuit = router.circuit(model)
    why_not = router.unavailable(model) or circuit.blocked_reason
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
        "effort": _levels(model),
        "usable": why_not is None,
        "why_not": why_not or "",
        "circuit": str(circuit),
        **listed,
        "context": model.context_window,
        "falls_back_to": model.fallback_id or "",
        "source": model.source,
        "capability": model.capability_source,
    }


def _levels(model: ModelSpec) -> str:
    """List the levels of effort, the provider's default marked."""
    if model.effort is None:
        return "unknown"
    return ", ".join(f"{level} (default)" if level is model.effort.default else str(level) for level in model.effort)


def _formatted(table: pd.DataFrame) -> pd.DataFrame:
    columns = {name: [format_figure(str(name), value) for value in table[name]] for name in table.columns}
    return pd.DataFrame(columns, index=table.index).rename_axis(index=None, columns=table.index.name)
