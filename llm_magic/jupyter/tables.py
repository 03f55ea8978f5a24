"""The registry and the conversations as tables for people."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd

from llm_magic import prices
from llm_magic.errors import UnknownPrice
from llm_magic.ledger.threads import Threads
from llm_magic.routing import Router
from llm_magic.tokens import count_o200k
from llm_magic.types import ModelSpec, Usage


def models_frame(router: Router) -> pd.DataFrame:
    """One row a model. Prices in USD per million tokens, at this hour, for a short prompt."""
    return pd.DataFrame([_row(model, router) for model in router.registry]).set_index("model")


def threads_frame(threads: Threads) -> pd.DataFrame:
    """One row a thread, the one used last first."""
    rows = [(name, threads.turns(name)) for name in threads.names()]
    table = {
        "thread": [name for name, _ in rows],
        "exchanges": [len(turns) for _, turns in rows],
        "tokens": [sum(count_o200k(turn.prompt) + count_o200k(turn.answer) for turn in turns) for _, turns in rows],
        "model": [turns[-1].model for _, turns in rows],
        "last": [datetime.fromtimestamp(turns[-1].at, UTC) for _, turns in rows],
    }
    return pd.DataFrame(table).set_index("thread")


def thread_frame(threads: Threads, name: str) -> pd.DataFrame:
    """One row an exchange of a thread."""
    columns = ["prompt", "answer", "model", "tier", "input_tokens", "run_id", "at"]
    table = pd.DataFrame(
        [[getattr(turn, column) for column in columns] for turn in threads.turns(name)], columns=columns
    )
    table["at"] = pd.to_datetime(table["at"], unit="s", utc=True)
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
