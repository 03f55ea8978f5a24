"""Detection of a ledger that was restored to an earlier state, and recovery of the rows that this process wrote."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from llm_magic.budget import show_usd
from llm_magic.ledger.columns import to_pico
from llm_magic.ledger.notices import Notices
from llm_magic.ledger.own_rows import NO_KEY, OwnRows, RowKey
from llm_magic.ledger.state import State

if TYPE_CHECKING:
    import sqlalchemy as sa

    from llm_magic.ledger.attempts import AttemptTable
    from llm_magic.types import Attempt

_MAX_WARNINGS = 10


class Continuity:
    """Compares the ledger with what this process knows of it.

    A backup that was written over the file, a database that lost its latest commits, or a replica that lagged behind
    has counted fewer holds, or lacks the row that this process settled last. If other rows of this process were
    deleted, its session has spent less than this process. A transaction's changes are staged by
    `add`, `remove` and `advance`; the caller reports its end with `committed` or `discard`.
    """

    def __init__(self, table: AttemptTable, location: str) -> None:
        self._table = table
        self._location = location
        self.notices = Notices()
        self.warnings: deque[str] = deque(maxlen=_MAX_WARNINGS)
        """The restorations that were noticed."""
        self.reset()

    def reset(self) -> None:
        """Forget all rows: in a forked child, they are the parent's."""
        self.rows = OwnRows()
        self._known = State()
        self._staged: list[Mapping[str, Any] | RowKey] = []
        self._staged_state: State | None = None
        self._staged_spent_usd: Decimal | None = None
        self._staged_notices: list[tuple[str, str]] = []

    def add(self, row: Mapping[str, Any]) -> None:
        self._staged.append(row)

    def remove(self, key: RowKey) -> None:
        self._staged.append(key)

    def committed(self) -> None:
        if self._staged_spent_usd is not None:
            self.rows.limit_spent(to_pico(self._staged_spent_usd))
        for change in self._staged:
            if isinstance(change, tuple):
                self.rows.remove(change)
            else:
                self.rows.add(change)
        self._known = self._staged_state or self._known
        for text, run_id in self._staged_notices:
            self.notices.add(text, run_id=run_id)
            if not run_id:
                self.warnings.append(text)
        self.discard()

    def discard(self) -> None:
        self._staged.clear()
        self._staged_state = None
        self._staged_spent_usd = None
        self._staged_notices.clear()

    def is_broken(self, db: sa.Connection) -> bool:
        """Return True if the ledger was restored to an earlier state."""
        return self._read(db)[1]

    def advance(self, db: sa.Connection) -> None:
        """Count a hold. First write the missing rows again if the ledger was restored to an earlier state."""
        state = self._expected
        if not self._table.advance_if(db, state, self.rows):
            state = self.check(db)
            self._table.set_state(db, State(ledger_id=state.ledger_id, generation=state.generation + 1))
        self._staged_state = State(ledger_id=state.ledger_id, generation=state.generation + 1)

    def settle(self, db: sa.Connection, attempt: Attempt) -> bool:
        """Settle the row of an attempt; insert it if it is gone. Return True if it was gone.

        A restoration is noticed before this row replaces `rows.last`, by which it is noticed.
        """
        was_gone = False
        row = self._table.write_settlement_if(db, attempt, self._expected, self.rows)
        if row is None:
            self.check(db)
            row, was_gone = self._table.write_settlement(db, attempt)
        self.add(row)
        if was_gone:
            self._report_gone(row)
        return was_gone

    def check(self, db: sa.Connection) -> State:
        """Write the missing rows again if the ledger was restored to an earlier state, and return its state."""
        state, broken = self._read(db)
        if not broken:
            return state
        missing = self._table.restore(db, self.rows)
        is_earlier = state.generation < self._known.generation or state.ledger_id != self._known.ledger_id
        self._staged_spent_usd = self._table.session_totals(db, self.rows.last_session)[0]
        if not (missing or is_earlier):
            return state  # what is known of the session was wrong: a row was settled again with another cost
        cost_usd = self._table.cost_usd(missing)
        held = sum(row["lease_until"] is not None for row in missing)
        cause = (
            f"was restored to an earlier state (it counts {max(0, state.generation):,} holds, this process knows of "
            f"{self._known.generation:,})"
            if is_earlier
            else "was restored to an earlier state, or rows were deleted"
        )
        text = (
            f"the ledger {self._location} {cause}: {len(missing):,} rows of this process were "
            f"missing and are written again ({show_usd(cost_usd)} spent, {held:,} in flight). What other processes "
            "wrote may be missing"
        )
        self._staged_notices.append((text, ""))
        state = State(
            ledger_id=state.ledger_id or self._known.ledger_id,
            generation=max(state.generation, self._known.generation),
        )
        self._table.set_state(db, state)
        self._staged_state = state
        return state

    @property
    def _expected(self) -> State:
        return self._staged_state or self._known

    def _report_gone(self, row: Mapping[str, Any]) -> None:
        cost_usd = self._table.cost_usd([row])
        text = (
            f"the hold of attempt {row['attempt']} was gone from the ledger {self._location}: its row was written "
            f"again, so that its cost of {show_usd(cost_usd)} counts"
        )
        self._staged_notices.append((text, row["run_id"]))

    def _read(self, db: sa.Connection) -> tuple[State, bool]:
        state, has_rows = self._table.state(db, self.rows)
        expected = self._expected
        if not expected.ledger_id:
            self._known = expected = state
        broken = (
            state.generation < expected.generation
            or state.ledger_id != expected.ledger_id
            or not (has_rows or self.rows.last == NO_KEY)
        )
        if not broken and self._staged_state is None:
            self._known = state
        return state, broken
