"""Time of the ledger: a hold and its settlement against two bare commits, and a DataFrame of a million rows."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from benchmarks.table import Row, show
from llm_magic import Ledger, TaskTier, Usage
from llm_magic.budget import Cap
from llm_magic.ledger import rows
from llm_magic.types import Attempt, Outcome

HOLDS = 2_000
EXISTING_ROWS = (0, 1_000, 100_000)
FRAME_ROWS = 1_000_000
MODELS = tuple(f"model-{number}" for number in range(7))


def main() -> None:
    """Print microseconds per hold with its settlement, and seconds for a million rows."""
    with tempfile.TemporaryDirectory(prefix="llm_magic-bench-") as folder:
        # The same two transactions without llm_magic: the time of SQLite itself on this disk.
        floor_us = _time_us(_bare(Path(folder) / "floor.db"))
        rates: list[Row] = []
        for before in EXISTING_ROWS:
            path = Path(folder) / f"{before}.db"
            ledger = Ledger(path, session_id="bench")
            fill(path, before)
            hold_us = _time_us(_holding(ledger))
            label = f"hold + settle, one cap, after {before:,} rows"
            rates.append(
                (label, f"{hold_us:.0f}", f"{floor_us:.0f}", f"{hold_us / floor_us:.1f}", f"{1e6 / hold_us:,.0f}")
            )
        header = ("ledger in SQLite (WAL)", "us", "bare commits, us", "ratio", "rows/s")
        show("Holding and settling", header, rates)
        path = Path(folder) / "ledger.db"
        Ledger(path).close()
        fill(path, FRAME_ROWS)
        ledger = Ledger(path, session_id="bench")
        start = time.perf_counter()
        frame = ledger.to_frame()
        frame_s = time.perf_counter() - start
        start = time.perf_counter()
        with sqlite3.connect(path) as db:
            db.execute("SELECT * FROM llm_magic_attempts ORDER BY id").fetchall()
        fetch_s = time.perf_counter() - start
        shown: list[Row] = [(f"{len(frame):,} rows", f"{frame_s:.2f}", f"{fetch_s:.2f}", f"{frame_s / fetch_s:.2f}")]
        show("to_frame()", ("rows", "s", "fetchall() alone, s", "ratio"), shown)


def _time_us(call: Callable[[int], None]) -> float:
    """Return the microseconds of one call, the best of five rounds, because other programs use the machine too."""
    best = float("inf")
    for round_number in range(5):
        start = time.perf_counter()
        for number in range(HOLDS // 5):
            call(round_number * HOLDS + number)
        best = min(best, (time.perf_counter() - start) / (HOLDS // 5))
    return best * 1e6


def _attempt(number: int) -> Attempt:
    return Attempt(
        run_id=f"run{number}", attempt=1, started_at=datetime.now(UTC), tier=TaskTier.BULK, confidence=0.9,
        provider="openai", model="gpt-6-luna", served_model="gpt-6-luna", outcome=Outcome.OK, error=None,
        fallback_from=None, usage=Usage(input_tokens=100, output_tokens=50), cost_usd=Decimal("0.000035"),
        cost_estimated=False, baseline_usd=Decimal("0.002"), price_source="genai-prices", ttft_s=0.2, latency_s=1.0,
        session_id="bench", tags=(),
    )  # fmt: skip


def _holding(ledger: Ledger) -> Callable[[int], None]:
    caps = (Cap(scope="session", limit_usd=Decimal(1_000)),)

    def once(number: int) -> None:
        attempt = _attempt(number)
        with ledger.hold(attempt, Decimal("0.001"), caps) as hold:
            hold.settle(attempt)

    return once


def _bare(path: Path) -> Callable[[int], None]:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, cost INTEGER, held INTEGER)")

    def once(number: int) -> None:
        for statement in ("INSERT INTO t VALUES (?, 0, 1)", "UPDATE t SET cost = 1, held = 0 WHERE id = ?"):
            db.execute("BEGIN IMMEDIATE")
            db.execute(statement, (number,))
            db.execute("COMMIT")

    return once


def fill(path: Path, count: int, models: Sequence[str] = MODELS) -> None:
    """Insert `count` rows, a multiple of 1,000, of these models."""
    thousand_rows = [
        rows.to_row(_attempt(10_000_000 + number))
        | {"held_pusd": 0, "owner": "bench", "model": models[number % len(models)]}
        for number in range(1_000)
    ]
    names = ", ".join(thousand_rows[0])
    marks = ", ".join("?" * len(thousand_rows[0]))
    with sqlite3.connect(path) as db:
        for thousand in range(count // 1_000):
            for number, row in enumerate(thousand_rows):
                row["run_id"] = f"run{thousand}-{number}"
                row["input_tokens"] = thousand
            db.executemany(
                f"INSERT INTO llm_magic_attempts ({names}) VALUES ({marks})",  # noqa: S608 - the names are constants
                [tuple(row.values()) for row in thousand_rows],
            )
