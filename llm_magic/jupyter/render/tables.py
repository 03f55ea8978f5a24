"""The registry, the conversations and a report as DataFrames and as tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pandas as pd

from llm_magic import prices
from llm_magic.budget import short_usd
from llm_magic.conversations import first_sent, tokens_of
from llm_magic.conversations.store import Conversations
from llm_magic.errors import UnknownPrice
from llm_magic.jupyter.render.grid import grid, scrolling, words
from llm_magic.jupyter.render.markdown import fenced
from llm_magic.jupyter.render.style import styled
from llm_magic.ledger.plot import calibration_line, headline, subline
from llm_magic.ledger.report import Report
from llm_magic.routing import Router
from llm_magic.routing.model_check import ModelCheck
from llm_magic.types import ModelSpec, Usage

_THREAD_COLUMNS = ["thread", "exchanges", "tokens", "left_out", "sent_tokens", "model", "last"]
_MORE = "report = %route_report has all figures: report.totals, .by_model, .by_tier, .by_effort, .over_time, .rows"
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
    """Return what a person looks for first. The parts of the report have all figures."""
    if not len(report.rows):
        return {"text/plain": "nothing to report yet: run a %%route cell"}
    tables = {
        "by model": _spending(report.by_model, "model"),
        "by tier": _spending(report.by_tier, "tier"),
        "expected against billed, by model and effort": _calibration(report.by_effort),
    }
    facts = [*subline(report.totals).split("   ·   "), calibration_line(report.totals)]
    summary = headline(report.totals), *filter(None, facts)
    html = [f"<div><b>{words(summary[0])}</b></div><div>{words(' · '.join(summary[1:]))}</div>"]
    for name, table in tables.items():
        rows = table.to_numpy().tolist()
        html.append(f"<h4>{name}</h4>{grid(list(table), rows, figures=list(table)[1:])}")
    html.append(f'<div class="llmr-caption">{words(_MORE)}</div>')
    plain = "\n\n".join(
        ["\n".join(summary), *(f"{name}\n{table.to_string(index=False)}" for name, table in tables.items()), _MORE]
    )
    return {
        "text/html": styled(scrolling("".join(html), "Report")),
        "text/markdown": fenced(plain),
        "text/plain": plain,
    }


def _spending(table: pd.DataFrame, by: str) -> pd.DataFrame:
    columns = {
        "answers": "answers", "failed": "failed", "input_tokens": "tokens in", "output_tokens": "out",
        "cost_usd": "cost", "saved_usd": "saved", "latency_p50_s": "half within",
    }  # fmt: skip
    if any(table["not_comparable"].tolist()):
        columns["not_comparable"] = "not comparable"
    return _short(table, by, columns)


def _calibration(table: pd.DataFrame) -> pd.DataFrame:
    columns = {
        "answers": "requests", "expected_usd": "expected", "billed_usd": "billed", "billed_share": "billed share",
        "reasoning_share": "reasoning",
    }  # fmt: skip
    return _short(table, "model, effort", columns)


def _short(table: pd.DataFrame, by: str, columns: dict[str, str]) -> pd.DataFrame:
    shown = {title: [format_figure(name, value) for value in table[name]] for name, title in columns.items()}
    return pd.DataFrame({by: list(map(str, table.index)), **shown})


def format_figure(name: str, value: Any) -> str:
    """Format a figure by the unit at the end of its name."""
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return "–"
    if name.endswith("_usd"):
        return short_usd(Decimal(str(float(value))))
    if name.endswith(("_share", "_rate")):
        return f"{value:.0%}"
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
    if model.effort is None:
        return "unknown"
    return ", ".join(f"{level} (default)" if level is model.effort.default else str(level) for level in model.effort)
