"""Reading and writing of the table of attempts, within transactions that the caller has begun."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from llm_magic.budget import Cap
from llm_magic.ledger import owners, queries
from llm_magic.ledger.columns import to_pico, to_usd
from llm_magic.ledger.database import Database
from llm_magic.ledger.migrations import VERSION
from llm_magic.ledger.own_rows import OwnRows, Rating
from llm_magic.ledger.reservations import LeasedHold
from llm_magic.ledger.rows import from_row, to_row
from llm_magic.ledger.schema import about
from llm_magic.ledger.state import State
from llm_magic.types import Attempt, Outcome

_FETCHED_ROWS = 4_000
_RESTORED_ROWS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose rows a cap counts: the session and the run that ask, and the time."""

    session_id: str
    run_id: str
    now: datetime

    def parameters(self, cap: Cap) -> dict[str, Any]:
        return queries.scope(cap, session_id=self.session_id, run_id=self.run_id, now=self.now)


class AttemptTable:
    """The table of attempts of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(
        self, db: sa.Connection, attempt: Attempt, *, held_usd: Decimal = Decimal(0), lease_until: float | None = None
    ) -> Mapping[str, Any]:
        """Insert a row and return it.

        A hold has a lease, until which it counts as in flight if its process can't be looked up.
        """
        hold: dict[str, Any] = {"held_pusd": to_pico(held_usd), "lease_until": lease_until}
        if lease_until is not None:
            hold["owner"] = owners.process_name(os.getpid())
        row = to_row(attempt) | hold
        self._database.run(db, queries.INSERT, row)
        return row

    def write_settlement(self, db: sa.Connection, attempt: Attempt) -> tuple[Mapping[str, Any], bool]:
        """Settle the row of an attempt; insert it if it is gone. Return it, and True if it was gone."""
        row = _settled(attempt)
        if self._database.run(db, queries.SETTLE, queries.settlement(row)).rowcount > 0:
            return row, False
        self._database.run(db, queries.INSERT, row)
        return row, True

    def write_settlement_if(
        self, db: sa.Connection, attempt: Attempt, state: State, rows: OwnRows
    ) -> Mapping[str, Any] | None:
        """Settle the row of an attempt and return it.

        Returns None, without a change, if the row is gone, or if the ledger is in an earlier state than `state` or
        lacks some of the settled `rows`.
        """
        row = _settled(attempt)
        result = self._database.run(db, queries.SETTLE_IF, queries.settlement(row) | queries.expected(state, rows))
        return row if result.rowcount > 0 else None

    def advance_if(self, db: sa.Connection, state: State, rows: OwnRows) -> bool:
        """Count a hold; False, without a change, if the ledger is not in `state` or lacks some settled `rows`."""
        return self._database.run(db, queries.ADVANCE_IF, queries.expected(state, rows)).rowcount > 0

    def delete(self, db: sa.Connection, attempt: Attempt) -> None:
        self._database.run(db, queries.DELETE, queries.key(attempt))

    def rate(self, db: sa.Connection, run_id: str, rating: Rating | None) -> bool:
        """Set the rating of a run's answer; False if the ledger has none."""
        return db.execute(queries.RATE, {"run": run_id, "rating": rating}).rowcount > 0

    def state(self, db: sa.Connection, rows: OwnRows) -> tuple[State, bool]:
        """Return the ledger's state, and True if it has the settled `rows`, by the last one and by what they cost."""
        ledger_id, generation, has_rows = self._database.run(db, queries.STATE, queries.own(rows)).fetchone() or (
            "",
            -1,
            False,
        )
        return State(ledger_id=ledger_id, generation=generation), bool(has_rows)

    def set_state(self, db: sa.Connection, state: State) -> None:
        """Set the number of holds. If the ledger has lost its only row about itself, insert it."""
        updated = self._database.run(db, queries.SET_GENERATION, {"number": state.generation})
        if updated.rowcount == 0:
            row = about.insert().values(version=VERSION, ledger_id=state.ledger_id, generation=state.generation)
            db.execute(row)

    def restore(self, db: sa.Connection, rows: OwnRows) -> list[Mapping[str, Any]]:
        """Write the rows that are missing, or that are settled here and not in the ledger. Return them."""
        restored: list[Mapping[str, Any]] = []
        for chunk in _chunks(rows):
            stored = db.execute(queries.LEASES, {"runs": list({row["run_id"] for row in chunk})}).all()
            leases = {(run_id, number): lease_until for run_id, number, lease_until in stored}
            for row in chunk:
                key = row["run_id"], row["attempt"]
                if key not in leases:
                    self._database.run(db, queries.INSERT, row)
                elif leases[key] is not None and row["lease_until"] is None:
                    self._database.run(db, queries.SETTLE, queries.settlement(row))
                else:
                    continue
                restored.append(row)
        for run_id, rating in rows.ratings.items():
            self.rate(db, run_id, rating)
        return restored

    @staticmethod
    def cost_usd(rows: Iterable[Mapping[str, Any]]) -> Decimal:
        return to_usd(sum(row["cost_pusd"] for row in rows))

    def all(self, db: sa.Connection) -> list[Attempt]:
        return [from_row(row) for row in db.execute(queries.ALL).mappings()]

    def of_run(self, db: sa.Connection, run_id: str) -> list[Attempt]:
        return [from_row(row) for row in db.execute(queries.ONE_RUN, {"run": run_id}).mappings()]

    def uncertain(self, db: sa.Connection, now: float) -> list[tuple[Attempt, Decimal]]:
        """Return the holds whose process is gone, each with the USD that it holds."""
        is_dead = owners.is_dead(now)
        return [
            (dataclasses.replace(from_row(row), outcome=Outcome.UNCERTAIN), to_usd(row["held_pusd"]))
            for row in self._unsettled(db)
            if is_dead(row["owner"], row["lease_until"])
        ]

    def leased(self, db: sa.Connection, now: float) -> list[LeasedHold]:
        """Return the holds of processes that can't be looked up from here and whose leases last."""
        return [
            LeasedHold(
                attempt=from_row(row),
                held_usd=to_usd(row["held_pusd"]),
                until=datetime.fromtimestamp(row["lease_until"], tz=UTC),
            )
            for row in self._unsettled(db)
            if not owners.is_in_this_space(row["owner"]) and row["lease_until"] >= now
        ]

    def renew(self, db: sa.Connection, lease_until: float) -> None:
        """Renew the leases of all holds of this process."""
        holder = owners.process_name(os.getpid())
        self._database.run(db, queries.RENEW, {"holder": holder, "until": lease_until})

    @staticmethod
    def _unsettled(db: sa.Connection) -> list[sa.RowMapping]:
        return sorted(db.execute(queries.UNSETTLED).mappings(), key=lambda row: row["id"])

    def chunks(self, db: sa.Connection) -> Iterable[Sequence[tuple[Any, ...]]]:
        """Return all rows as `queries.columnar` selects them.

        They come from the driver's own cursor: SQLAlchemy's rows take twice as long.
        """
        cursor: Any = db.execute(queries.columnar(self._database.dialect)).cursor
        return iter(lambda: cursor.fetchmany(_FETCHED_ROWS), [])

    def session_totals(self, db: sa.Connection, session_id: str) -> tuple[Decimal, Decimal, Decimal]:
        """Return what a session has spent, what it holds, and its baseline, in USD."""
        row = self._database.run(db, queries.SESSION_TOTALS, {"session": session_id}).fetchone()
        spent, held, baseline = (to_usd(amount) for amount in row or (0, 0, 0))
        return spent, held, baseline

    def used_usd(self, db: sa.Connection, cap: Cap, scope: Scope) -> tuple[Decimal, Decimal]:
        """Return what is spent and what is held within a cap's scope."""
        row = self._database.run(db, queries.used(cap), scope.parameters(cap)).fetchone()
        spent, held = row or (0, 0)
        return to_usd(int(spent or 0)), to_usd(int(held or 0))

    def in_flight_usd(self, db: sa.Connection, cap: Cap, scope: Scope, now: float) -> Decimal:
        """Return what is held within a cap's scope by processes that still run."""
        holds = self._database.run(db, queries.held(cap), scope.parameters(cap)).fetchall()
        is_dead = owners.is_dead(now)
        return to_usd(sum(held for owner, lease_until, held in holds if not is_dead(owner, lease_until)))


def _settled(attempt: Attempt) -> dict[str, Any]:
    return to_row(attempt) | {"held_pusd": 0, "lease_until": None}


def _chunks(rows: Iterable[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
    remaining = iter(rows)
    while chunk := list(itertools.islice(remaining, _RESTORED_ROWS)):
        yield chunk
