"""Time of a decision (classification and plan) by the size of the ledger, and with and without levels of effort."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.ledger import fill
from benchmarks.table import Row, show
from llm_magic import Ledger, Registry, Router
from llm_magic.testing import ScriptedProvider

ROWS = (1_000, 1_000_000)
DECISIONS = 300
PROVIDERS = ("anthropic", "openai", "deepseek", "local")


def main() -> None:
    """Print milliseconds for opening a ledger and for decisions, and their ratio to those without effort."""
    _router(Ledger(":memory:")).plan("What is loaded at first use takes no part.")
    shown: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="llm_magic-bench-") as folder:
        for rows in ROWS:
            path = Path(folder) / f"{rows}.db"
            Ledger(path).close()
            fill(path, rows, ("gpt-6-luna", "deepseek-flash", "claude-haiku-5-5"))
            start = time.process_time()
            ledger = Ledger(path)
            spent = ledger.spent_usd
            opened_ms = 1e3 * (time.process_time() - start)
            assert spent == 0
            router = _router(ledger)
            first_ms, *others_ms = (_decision_ms(router, number) for number in range(DECISIONS))
            shown.append(
                (f"{rows:,} rows", *(f"{ms:.2f}" for ms in (opened_ms, first_ms, statistics.median(others_ms))))
            )
    show("A decision", ("ledger", "opening, ms", "first, ms", "others, ms"), shown)
    _show_efforts()


def _show_efforts() -> None:
    registry = Registry.load("current")
    plain = registry.with_models(dataclasses.replace(model, effort=None) for model in registry)
    routers = [_router(Ledger(":memory:"), models) for models in (plain, registry)]
    pairs = [tuple(_decision_ms(router, number) for router in routers) for number in range(DECISIONS)]
    without, with_levels = (statistics.median(times) for times in zip(*pairs[1:], strict=True))
    rows: list[Row] = [
        ("without levels of effort", f"{without:.2f}", "1.00"),
        ("over models and efforts", f"{with_levels:.2f}", f"{with_levels / without:.2f}"),
    ]
    show("A decision by levels of effort", ("models", "median, ms", "ratio"), rows)


def _router(ledger: Ledger, registry: Registry | None = None) -> Router:
    return Router(registry=registry, ledger=ledger, providers=dict.fromkeys(PROVIDERS, ScriptedProvider()))


def _decision_ms(router: Router, number: int) -> float:
    start = time.process_time()
    plan = router.plan(f"Translate to French: good morning, number {number}")
    assert plan.candidates
    return 1e3 * (time.process_time() - start)
