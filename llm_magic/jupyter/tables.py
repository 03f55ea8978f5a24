"""The registry as a table for people."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd

from llm_magic import prices
from llm_magic.errors import UnknownPrice
from llm_magic.routing import Router
from llm_magic.types import ModelSpec, Usage


def models_frame(router: Router) -> pd.DataFrame:
    """One row a model. Prices in USD per million tokens, at this hour, for a short prompt."""
    return pd.DataFrame([_row(model, router) for model in router.registry]).set_index("model")


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
