"""The books: one row an attempt, in SQLite, and the holds that keep `spent + held <= cap` true at every instant.

A row is written when its money is reserved and completed when it is settled, so a process that dies leaves its hold
behind, charged. Money is kept in whole pico-dollars (1e-12 USD): a token's price is exact, and so is every sum.
"""

from __future__ import annotations

import dataclasses
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from llm_magic.budget import Cap, show_usd
from llm_magic.errors import BudgetExceeded, LedgerError
from llm_magic.home import home
from llm_magic.types import Attempt, TaskTier, Usage

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs] - it ships none

PICO = Decimal(10) ** -12
SCHEMA_VERSION = 1
_LEASE_S = 900.0
"""Seconds after which a hold that nobody settled belongs to a process that is gone."""

_SCHEMA = """
CREATE TABLE attempts (
    run_id TEXT NOT NULL, attempt INTEGER NOT NULL, started_at_us INTEGER NOT NULL,
    tier TEXT NOT NULL, confidence REAL NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, served_model TEXT,
    outcome TEXT NOT NULL, error TEXT, fallback_from TEXT,
    input_tokens INTEGER NOT NULL, cached_input_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL,
    cost_pusd INTEGER NOT NULL, cost_estimated INTEGER NOT NULL, baseline_pusd INTEGER NOT NULL,
    price_source TEXT NOT NULL, input_price TEXT, output_price TEXT,
    ttft_s REAL, latency_s REAL NOT NULL, session_id TEXT NOT NULL, tags TEXT NOT NULL,
    held_pusd INTEGER NOT NULL, lease_until REAL,
    PRIMARY KEY (run_id, attempt)
);
CREATE INDEX attempts_of_session ON attempts (session_id, cost_pusd, held_pusd);
"""

FRAME_DTYPES = {
    "run_id": "string", "attempt": "Int64", "started_at": "datetime64[us, UTC]", "tier": "string",
    "confidence": "float64", "provider": "string", "model": "string", "served_model": "string", "outcome": "string",
    "error": "string", "fallback_from": "string",
    "input_tokens": "Int64", "cached_input_tokens": "Int64", "cache_write_tokens": "Int64", "output_tokens": "Int64",
    "reasoning_tokens": "Int64", "cost_usd": "float64", "cost_estimated": "bool", "baseline_usd": "float64",
    "price_source": "string", "ttft_s": "float64", "latency_s": "float64", "session_id": "string", "tags": "string",
    "input_price": "float64", "output_price": "float64", "held_usd": "float64",
}  # fmt: skip
"""The columns of `to_frame()` in their order. `held_usd` is zero once an attempt is settled."""

_PLAIN = (
    "run_id", "attempt", "tier", "confidence", "provider", "model", "served_model", "outcome", "error", "fallback_from",
    "price_source", "ttft_s", "latency_s", "session_id",
)  # fmt: skip
_USAGE = tuple(part.name for part in dataclasses.fields(Usage))


class Ledger:
    """The ledger of one session, in a file that sessions share.

    location: a path, `:memory:`, or a `sqlite:///` address; else `LLM_MAGIC_LEDGER`; else `ledger.db` in
    `LLM_MAGIC_HOME`.
    session_id: whose spending `spent_usd` and the session's cap count; else `LLM_MAGIC_SESSION`; else a new one.
    Every method may be called from any thread.
    """

    def __init__(
        self,
        location: str | Path | None = None,
        *,
        session_id: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.location = _location(location)
        self.session_id = session_id or os.environ.get("LLM_MAGIC_SESSION") or uuid.uuid4().hex[:12]
        self._clock = clock
        self._lock = threading.RLock()
        self._db = self._open()

    @property
    def spent_usd(self) -> Decimal:
        """What this session's settled attempts cost, in USD."""
        return self._sum("cost_pusd", "session", "")

    @property
    def held_usd(self) -> Decimal:
        """What is reserved for this session's attempts under way, in USD."""
        return self._sum("held_pusd", "session", "")

    def left_usd(self, caps: Sequence[Cap], run_id: str = "") -> Decimal | None:
        """What the tightest of `caps` leaves, in USD, never below zero; None where there is no cap."""
        return min((max(self._left(cap, run_id), Decimal(0)) for cap in caps), default=None)

    def hold(self, attempt: Attempt, worst_usd: Decimal, caps: Sequence[Cap]) -> Hold:
        """Reserve `worst_usd` for an attempt that is about to be sent, or raise BudgetExceeded.

        Use it as `with ledger.hold(...) as hold: ... hold.settle(attempt)`. Left unsettled, all of it is charged.
        """
        row = _to_row(attempt) | {"held_pusd": _to_pico(worst_usd), "lease_until": self._clock() + _LEASE_S}
        with self._transaction():
            for cap in caps if worst_usd > 0 else ():
                if worst_usd > (left := self._left(cap, attempt.run_id)):
                    raise _exceeded(attempt, worst_usd, cap, max(left, Decimal(0)))
            names = ", ".join(row)
            marks = ", ".join(f":{name}" for name in row)
            self._db.execute(f"INSERT INTO attempts ({names}) VALUES ({marks})", row)  # noqa: S608 - own column names
        return Hold(self, attempt, worst_usd)

    def rows(self, *, run_id: str | None = None) -> list[Attempt]:
        """Every attempt in the ledger, or of one run, in the order in which they were sent."""
        return [_from_row(row) for row in self._select(run_id)]

    def to_frame(self) -> pd.DataFrame:
        """The ledger as a DataFrame: one row an attempt, in order, with the columns and dtypes of FRAME_DTYPES.

        Money is float64 here, for plotting; `rows()` has it exact. An attempt under way has the outcome `in_flight`,
        one that its process never settled `uncertain`; both cost 0 so far and show what they hold.
        """
        import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

        frame: Any = pd
        rows = self._select(None)
        now = self._clock()
        columns: dict[str, Any] = {name: [row[name] for row in rows] for name in (*_PLAIN, *_USAGE, "tags")}
        columns["outcome"] = [
            "uncertain" if row["lease_until"] is not None and row["lease_until"] < now else row["outcome"]
            for row in rows
        ]
        columns["started_at"] = frame.to_datetime([row["started_at_us"] for row in rows], unit="us", utc=True)
        columns["cost_estimated"] = [bool(row["cost_estimated"]) for row in rows]
        for name in ("cost", "baseline", "held"):
            columns[f"{name}_usd"] = [row[f"{name}_pusd"] / 1e12 for row in rows]
        for name in ("input_price", "output_price"):
            columns[name] = [None if row[name] is None else float(row[name]) for row in rows]
        return frame.DataFrame({name: frame.Series(columns[name]).astype(kind) for name, kind in FRAME_DTYPES.items()})

    def close(self) -> None:
        """Close the file. Whatever is settled is in it already."""
        with self._lock:
            self._db.close()

    def settle(self, attempt: Attempt) -> None:
        """Replace the hold of an attempt by what it cost."""
        row = _to_row(attempt) | {"held_pusd": 0, "lease_until": None}
        assign = ", ".join(f"{name} = :{name}" for name in row)
        with self._transaction():
            self._db.execute(
                f"UPDATE attempts SET {assign} WHERE run_id = :run_id AND attempt = :attempt",  # noqa: S608
                row,
            )

    def _open(self) -> sqlite3.Connection:
        try:
            if self.location != ":memory:":
                Path(self.location).parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self.location, timeout=10, isolation_level=None, check_same_thread=False)
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode = WAL")
            # NORMAL loses nothing when a process is killed; only a power cut can take the last commits.
            db.execute("PRAGMA synchronous = NORMAL")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                _create(db)
                version = db.execute("PRAGMA user_version").fetchone()[0]
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(
                f"the ledger {self.location} can't be opened: {error}. Move it away, or point LLM_MAGIC_LEDGER at "
                "another file, or at :memory: to keep none"
            ) from error
        if version != SCHEMA_VERSION:
            db.close()
            raise LedgerError(
                f"the ledger {self.location} has schema {version}, this version of llm_magic knows {SCHEMA_VERSION}: "
                "upgrade llm_magic, or point LLM_MAGIC_LEDGER at another file"
            )
        return db

    @contextmanager
    def _transaction(self) -> Generator[None]:
        """Alone with the books: no other thread and no other process can hold or settle meanwhile."""
        with self._lock, self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise LedgerError(f"the ledger {self.location}: {error}") from error

    def _select(self, run_id: str | None) -> list[sqlite3.Row]:
        where, values = ("", ()) if run_id is None else ("WHERE run_id = ?", (run_id,))
        with self._lock, self._errors():
            return self._db.execute(f"SELECT * FROM attempts {where} ORDER BY rowid", values).fetchall()  # noqa: S608

    def _left(self, cap: Cap, run_id: str) -> Decimal:
        return cap.limit_usd - self._sum("cost_pusd + held_pusd", cap.scope, run_id)

    def _sum(self, what: str, scope: str, run_id: str) -> Decimal:
        key, value = ("session_id", self.session_id) if scope == "session" else ("run_id", run_id)
        with self._lock, self._errors():
            found = self._db.execute(f"SELECT COALESCE(SUM({what}), 0) FROM attempts WHERE {key} = ?", (value,))  # noqa: S608
            return found.fetchone()[0] * PICO


class Hold:
    """Money reserved for one attempt. `settle` it with what the attempt came to; unsettled it is charged whole."""

    def __init__(self, ledger: Ledger, attempt: Attempt, worst_usd: Decimal) -> None:
        self.worst_usd = worst_usd
        self._ledger = ledger
        self._attempt = attempt
        self._settled = False

    def settle(self, attempt: Attempt) -> None:
        self._settled = True
        self._ledger.settle(attempt)

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self._settled:
            outcome = "error" if kind is None else kind.__name__
            self.settle(
                dataclasses.replace(self._attempt, outcome=outcome, cost_usd=self.worst_usd, cost_estimated=True)
            )


def _location(location: str | Path | None) -> str:
    chosen = str(location or os.environ.get("LLM_MAGIC_LEDGER") or home() / "ledger.db").strip()
    if chosen.startswith("sqlite:///"):
        chosen = chosen.removeprefix("sqlite:///")
    if "://" in chosen:
        raise LedgerError(f"the ledger {chosen.partition('://')[0]}://... is of no known kind: give a file's path")
    return chosen if chosen == ":memory:" else str(Path(chosen).expanduser())


def _create(db: sqlite3.Connection) -> None:
    """Make the table, unless another process did so in this very moment."""
    db.execute("BEGIN IMMEDIATE")
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in _SCHEMA.split(";\n"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _exceeded(attempt: Attempt, worst_usd: Decimal, cap: Cap, left: Decimal) -> BudgetExceeded:
    what = "session's cap" if cap.scope == "session" else "cap of this run"
    return BudgetExceeded(
        f"{attempt.model} could cost up to {show_usd(worst_usd)}, and the {what} of {show_usd(cap.limit_usd)} "
        f"has {show_usd(left)} left: raise the cap, or ask for fewer output tokens",
        scope=cap.scope,
        asked_usd=worst_usd,
        left_usd=left,
    )


def _to_pico(amount: Decimal) -> int:
    return int((amount / PICO).to_integral_value(rounding=ROUND_CEILING))


def _to_row(attempt: Attempt) -> dict[str, Any]:
    row = {name: getattr(attempt, name) for name in _PLAIN}
    row |= {name: getattr(attempt.usage, name) for name in _USAGE}
    return row | {
        "tier": str(attempt.tier),
        "started_at_us": int(attempt.started_at.timestamp() * 1_000_000),
        "cost_pusd": _to_pico(attempt.cost_usd),
        "baseline_pusd": _to_pico(attempt.baseline_usd),
        "cost_estimated": int(attempt.cost_estimated),
        "input_price": None if attempt.input_price is None else str(attempt.input_price),
        "output_price": None if attempt.output_price is None else str(attempt.output_price),
        "tags": ",".join(attempt.tags),
    }


def _from_row(row: sqlite3.Row) -> Attempt:
    plain: dict[str, Any] = {name: row[name] for name in _PLAIN if name != "tier"}
    return Attempt(
        **plain,
        tier=TaskTier(row["tier"]),
        started_at=datetime.fromtimestamp(row["started_at_us"] / 1_000_000, tz=UTC),
        usage=Usage(**{name: row[name] for name in _USAGE}),
        cost_usd=row["cost_pusd"] * PICO,
        baseline_usd=row["baseline_pusd"] * PICO,
        cost_estimated=bool(row["cost_estimated"]),
        input_price=None if row["input_price"] is None else Decimal(row["input_price"]),
        output_price=None if row["output_price"] is None else Decimal(row["output_price"]),
        tags=tuple(tag for tag in row["tags"].split(",") if tag),
    )
