"""The ledger: one row per attempt, and the holds that keep `spent + held <= cap` true at every instant.

A row is written when its money is reserved and completed when it is settled. The hold of a process that dies stays
charged. Money is stored in whole pico-dollars (1e-12 USD), so the price of a token and every sum are exact.
"""

from __future__ import annotations

import dataclasses
import os
import time
import uuid
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llm_magic.budget import Cap
from llm_magic.errors import BudgetExceeded, LedgerError
from llm_magic.garbage import paused_gc
from llm_magic.home import home, secure_home
from llm_magic.ledger import dataframe
from llm_magic.ledger.leases import LeaseRenewal
from llm_magic.ledger.lengths import AnswerLength, answer_lengths
from llm_magic.ledger.notices import Notices
from llm_magic.ledger.paces import Paces
from llm_magic.ledger.report import Report, summarize
from llm_magic.ledger.reservations import Headroom, Hold, HoldRequest, LeasedHold, Reservation, exceeded
from llm_magic.ledger.transactions import Transactions
from llm_magic.types import Attempt, CostBasis, Outcome

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs] - it ships none
    import sqlalchemy as sa

    from llm_magic.ledger.attempts import Scope
    from llm_magic.ledger.transactions import Write


LEASE_S = 900.0


class Ledger:
    """The ledger of one session, in a database that sessions share. Any thread may call any method.

    location: a path, `:memory:`, a `sqlite:///` or a `postgresql://` address (extra `postgres`); default:
    `LLM_MAGIC_LEDGER`, else `ledger.db` in `LLM_MAGIC_HOME`.
    session_id: the session that `spent_usd` and the session's cap count; default: `LLM_MAGIC_SESSION`, else a new one.
    lease_s: a hold of a process that can't be looked up counts as in flight for this long after its lease was renewed
    last. Leases are renewed every third of it while holds are open.
    """

    def __init__(
        self,
        location: str | Path | None = None,
        *,
        session_id: str | None = None,
        clock: Callable[[], float] = time.time,
        lease_s: float = LEASE_S,
    ) -> None:
        self.session_id = session_id or os.environ.get("LLM_MAGIC_SESSION") or uuid.uuid4().hex[:12]
        self.clock = clock
        path = str(location or os.environ.get("LLM_MAGIC_LEDGER") or home() / "ledger.db").strip()
        secure_home()
        self.transactions = Transactions(path)
        weakref.finalize(self, self.transactions.close)
        self.location = self.transactions.database.location
        self._attempts = self.transactions.attempts
        self._lease_s = lease_s
        self._leases = LeaseRenewal(self, lease_s)
        self.paces = Paces(self.transactions, clock)

    @property
    def spent_usd(self) -> Decimal:
        """The cost of this session's settled attempts."""
        return self._session_totals()[0]

    @property
    def held_usd(self) -> Decimal:
        """The money reserved for this session's attempts in flight."""
        return self._session_totals()[1]

    @property
    def saved_usd(self) -> Decimal:
        """Baseline minus cost of this session's attempts; negative if they cost more."""
        spent, _, baseline = self._session_totals()
        return baseline - spent

    def headroom(self, caps: Sequence[Cap], run_id: str = "", *, now: datetime | None = None) -> list[Headroom]:
        """Return what is left under each cap. now: decides which day and month are counted; default: the clock's."""
        if not caps:
            return []
        scope = self._scope(run_id, now or datetime.fromtimestamp(self.clock(), tz=UTC))
        self.transactions.check_continuity()
        with self.transactions.reading() as db:
            return [self._headroom(db, cap, scope) for cap in caps]

    def hold(self, attempt: Attempt, worst_usd: Decimal, caps: Sequence[Cap]) -> Hold:
        """Reserve `worst_usd` for an attempt that is about to be sent, or raise BudgetExceeded.

        Use it as `with ledger.hold(...) as hold: ... hold.settle(attempt)`. If it is not settled, all of it is charged.
        """
        with self._holding(attempt) as db:
            self._insert(db, attempt, worst_usd, caps)
        return Hold(attempt, worst_usd, self.settle)

    def reserve(self, attempt: Attempt, worst_usd: Decimal, caps: Sequence[Cap]) -> Reservation:
        """Set `worst_usd` aside for an attempt that a run may send later, or raise BudgetExceeded.

        It counts as held, in a row with the attempt number 0 that is deleted with the reservation.
        """
        return self.reserve_all([(attempt, worst_usd, caps)])[0]

    def reserve_all(self, requests: Sequence[HoldRequest]) -> list[Reservation]:
        """Make the reservations of several runs in one transaction: all of them, or none with BudgetExceeded."""
        rows = [dataclasses.replace(attempt, attempt=0, outcome=Outcome.RESERVED) for attempt, _, _ in requests]
        with self._holding(*rows) as db:
            for row, (_, worst_usd, caps) in zip(rows, requests, strict=True):
                self._insert(db, row, worst_usd, caps)
        return [Reservation(row, replace=self._replace, release=self.release) for row in rows]

    def hold_all(self, requests: Sequence[HoldRequest], write: Write | None = None) -> list[Reservation]:
        """Reserve the worst cases of attempts that are about to be sent, in one transaction, as many as fit.

        write: writes other changes in the same transaction. Raises BudgetExceeded, and writes nothing, if the first one
        does not fit. Each becomes a hold without another transaction unless it costs more by then, and is settled in
        the next transaction of the ledger.
        """
        made: list[Reservation] = []
        with self._holding(*(attempt for attempt, _, _ in requests)) as db:
            if write is not None:
                write(db)
            for attempt, worst_usd, caps in requests:
                try:
                    self._insert(db, attempt, worst_usd, caps)
                except BudgetExceeded:
                    if made:
                        break
                    raise
                made.append(Reservation(attempt, replace=partial(self._take, worst_usd), release=self.release))
        return made

    def settle(self, attempt: Attempt) -> None:
        """Replace the hold of an attempt by its cost.

        Raises LedgerError if that can't be written now (a full disk, say). It stays charged until it is written, as
        soon as possible and before anything else.
        """
        self.transactions.write_settlement(attempt)

    def release(self, attempt: Attempt) -> None:
        """Delete a hold or a reservation if it exists. Raises LedgerError as `settle` does."""
        self.transactions.write_release(attempt)

    def record(self, attempt: Attempt) -> None:
        """Insert a row for which nothing is sent, such as an answer from the cache."""
        with self.transactions.writing() as db:
            self.transactions.continuity.check(db)
            self.transactions.continuity.add(self._attempts.insert(db, attempt))

    def rate(self, run_id: str, rating: Literal[1, -1] | None) -> None:
        """Set the user's rating of a run's answer: 1 good, -1 bad, None removes it."""
        self.transactions.check_continuity()
        with self.transactions.writing() as db:
            if not self._attempts.rate(db, run_id, rating):
                raise LedgerError(f"run {run_id!r} has no answer to rate")
        self.transactions.continuity.rows.ratings[run_id] = rating

    def uncertain(self) -> list[tuple[Attempt, Decimal]]:
        """Return the attempts of all sessions whose process died before it settled them, and the USD each holds."""
        with self.transactions.reading() as db:
            return self._attempts.uncertain(db, self.clock())

    def reconcile(self, how: Literal["charge", "release"]) -> list[Attempt]:
        """Close the uncertain attempts and return them: `charge` what each holds as an estimate, or `release` it.

        Only the user can decide this: whether the provider billed them is not known. Reservations are released either
        way.
        """
        closed: list[Attempt] = []
        with self.transactions.writing() as db:
            continuity = self.transactions.continuity
            continuity.check(db)
            for attempt, held in self._attempts.uncertain(db, self.clock()):
                if attempt.attempt == 0:
                    self._attempts.delete(db, attempt)
                    continuity.remove((attempt.run_id, attempt.attempt))
                    continue
                cost = held if how == "charge" else Decimal(0)
                settled = dataclasses.replace(
                    attempt,
                    cost_usd=cost,
                    cost_estimated=True,
                    cost_basis=CostBasis.HELD,
                    cost_low_usd=Decimal(0),
                    cost_high_usd=held,
                )
                row, _ = self._attempts.write_settlement(db, settled)
                continuity.add(row)
                closed.append(settled)
        return closed

    def leased(self) -> list[LeasedHold]:
        """Return the holds that `reconcile` leaves alone because their leases last."""
        with self.transactions.reading() as db:
            return self._attempts.leased(db, self.clock())

    @property
    def has_open_holds(self) -> bool:
        """True if this object has made holds or reservations that are not settled yet."""
        return bool(self.transactions.continuity.rows.open)

    def renew_leases(self) -> None:
        """Renew the leases of all holds of this process, which a background thread does while holds are open."""
        with self.transactions.writing() as db:
            self._attempts.renew(db, self.clock() + self._lease_s)

    def latest_lengths(self, outcomes: Sequence[Outcome], *, after_id: int = 0) -> list[AnswerLength]:
        """Return the latest answers with one of the outcomes and a reported usage, the newest last.

        after_id: only rows with a higher number. Reads at most a few thousand rows.
        """
        from llm_magic.ledger import queries

        parameters = {"outcomes": [outcome.value for outcome in outcomes], "after": after_id}
        with self.transactions.reading() as db:
            return list(answer_lengths(db.execute(queries.LENGTHS, parameters)))

    @property
    def is_shared(self) -> bool:
        """True if other processes may write rows too."""
        return not self.transactions.database.in_memory

    def rows(self, *, run_id: str | None = None) -> list[Attempt]:
        """Return every attempt in the ledger, or those of one run, in the order in which they were sent."""
        self.transactions.check_continuity()
        if run_id is not None:
            with self.transactions.reading() as db:
                return self._attempts.of_run(db, run_id)
        with self.transactions.snapshot() as db:
            return self._attempts.all(db)

    def to_frame(self, *, tags: Sequence[str] = (), session_id: str | None = None) -> pd.DataFrame:
        """Return the ledger as a DataFrame, one row per attempt, with the columns and types of FRAME_DTYPES.

        tags: only the rows that have all of these. session_id: only the rows of this session.
        Money is float64, for plotting; `rows()` has it exact. An attempt in flight has the outcome `in_flight`, one
        that its process never settled `uncertain`. Both cost 0 so far and show what they hold.
        """
        self.transactions.check_continuity()
        with self.transactions.snapshot() as db, paused_gc():  # it would scan millions of tuples
            table: Any = dataframe.to_frame(self._attempts.chunks(db))
        if dead := {(attempt.run_id, attempt.attempt) for attempt, _ in self.uncertain()}:
            keys = zip(table["run_id"], table["attempt"], table["outcome"], strict=True)
            uncertain = [outcome == Outcome.IN_FLIGHT and (run_id, number) in dead for run_id, number, outcome in keys]
            table["outcome"] = table["outcome"].mask(uncertain, Outcome.UNCERTAIN.value)
        return dataframe.select(table, tags, session_id)

    def report(self, *, tags: Sequence[str] = (), session_id: str | None = None) -> Report:
        """Summarize spending, savings, fallbacks and latencies of the rows that `to_frame` returns."""
        return summarize(self.to_frame(tags=tags, session_id=session_id))

    def to_csv(self, path: str | Path, *, tags: Sequence[str] = (), session_id: str | None = None) -> None:
        """Write the rows of `to_frame` to a CSV file.

        A text from a provider (`error`, `served_model`) that a spreadsheet would take for a formula gets an apostrophe
        in front.
        """
        dataframe.write_csv(self.to_frame(tags=tags, session_id=session_id), path)

    def to_parquet(self, path: str | Path, *, tags: Sequence[str] = (), session_id: str | None = None) -> None:
        """Write the rows of `to_frame` to a Parquet file, with their types. Needs the extra `parquet`."""
        dataframe.write_parquet(self.to_frame(tags=tags, session_id=session_id), path)

    @property
    def notices(self) -> Notices:
        """Messages for runs: rows that were gone, and restorations of the ledger."""
        return self.transactions.continuity.notices

    @property
    def warnings(self) -> tuple[str, ...]:
        """The restorations of the ledger to an earlier state that this process has noticed."""
        return tuple(self.transactions.continuity.warnings)

    def close(self) -> None:
        """Close the database. Later use opens it again, unless it is in memory."""
        self._leases.stop()
        self.transactions.close()

    def _replace(self, reserved: Attempt, attempt: Attempt, worst_usd: Decimal, caps: Sequence[Cap]) -> Hold:
        with self._holding(attempt) as db:
            self._attempts.delete(db, reserved)
            self.transactions.continuity.remove((reserved.run_id, reserved.attempt))
            self._insert(db, attempt, worst_usd, caps)
        return Hold(attempt, worst_usd, self.settle)

    def _take(
        self, held_usd: Decimal, reserved: Attempt, attempt: Attempt, worst_usd: Decimal, caps: Sequence[Cap]
    ) -> Hold:
        if worst_usd > held_usd or (attempt.run_id, attempt.attempt) != (reserved.run_id, reserved.attempt):
            return self._replace(reserved, attempt, worst_usd, caps)
        return Hold(attempt, held_usd, self.transactions.pending.settle_later)

    @contextmanager
    def _holding(self, *attempts: Attempt) -> Generator[sa.Connection]:
        """Begin a transaction for holds. If its commit fails, the holds may have been written: they are released."""
        committing = False
        try:
            with self.transactions.writing() as db:
                self.transactions.continuity.advance(db)
                yield db
                committing = True
        except BaseException as error:
            if isinstance(error, BudgetExceeded):  # rows that were written again are rolled back with the hold
                self.transactions.check_continuity()
            for attempt in attempts if committing else ():
                with suppress(LedgerError):
                    self.release(attempt)
            raise
        if not self.transactions.database.in_memory:
            self._leases.start()

    def _insert(self, db: sa.Connection, attempt: Attempt, worst_usd: Decimal, caps: Sequence[Cap]) -> None:
        scope = self._scope(attempt.run_id, attempt.started_at)
        for cap in caps if worst_usd > 0 else ():
            spent, held = self._attempts.used_usd(db, cap, scope)
            if worst_usd > cap.limit_usd - spent - held:
                raise exceeded(attempt, worst_usd, self._headroom(db, cap, scope))
        row = self._attempts.insert(db, attempt, held_usd=worst_usd, lease_until=self.clock() + self._lease_s)
        self.transactions.continuity.add(row)

    def _headroom(self, db: sa.Connection, cap: Cap, scope: Scope) -> Headroom:
        spent, held = self._attempts.used_usd(db, cap, scope)
        in_flight = self._attempts.in_flight_usd(db, cap, scope, self.clock()) if held else Decimal(0)
        return Headroom(cap=cap, left_usd=cap.limit_usd - spent - held, in_flight_usd=in_flight, now=scope.now)

    def _scope(self, run_id: str, now: datetime) -> Scope:
        from llm_magic.ledger.attempts import Scope

        return Scope(session_id=self.session_id, run_id=run_id, now=now)

    def _session_totals(self) -> tuple[Decimal, Decimal, Decimal]:
        self.transactions.check_continuity()
        with self.transactions.reading() as db:
            return self._attempts.session_totals(db, self.session_id)
