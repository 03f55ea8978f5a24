"""The books: one row an attempt, and the holds that keep `spent + held <= cap` true at every instant.

A row is written when its money is reserved and completed when it is settled, so a process that dies leaves its hold
behind, charged. Money is kept in whole pico-dollars (1e-12 USD): a token's price is exact, and so is every sum.
"""

from __future__ import annotations

import dataclasses
import os
import time
import uuid
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llm_magic.budget import Cap
from llm_magic.errors import LedgerError
from llm_magic.home import home
from llm_magic.ledger import dataframe, owners
from llm_magic.ledger.columns import to_pico, to_usd
from llm_magic.ledger.report import Report, summarize
from llm_magic.ledger.rows import from_row, to_row
from llm_magic.ledger.transactions import Transactions
from llm_magic.types import Attempt, Outcome

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs] - it ships none
    import sqlalchemy as sa
from llm_magic.ledger.reservations import Headroom, Hold, Reservation, exceeded

_LEASE_S = 900.0
"""Seconds after which a hold of a process on another machine is taken for one of a dead process."""


class Ledger:
    """The ledger of one session, in a database that sessions share.

    location: a path, `:memory:`, a `sqlite:///` or a `postgresql://` address (extra `postgres`); else
    `LLM_MAGIC_LEDGER`; else `ledger.db` in `LLM_MAGIC_HOME`.
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
        self.session_id = session_id or os.environ.get("LLM_MAGIC_SESSION") or uuid.uuid4().hex[:12]
        self.clock = clock
        self.transactions = Transactions(_location(location))
        weakref.finalize(self, self.transactions.close)
        self.location = self.transactions.database.shown

    def fail_fast(self) -> AbstractContextManager[None]:
        """Within it, this thread does not stand still: what another process has locked raises LedgerLocked at once."""
        return self.transactions.fail_fast()

    @property
    def has_pending_writes(self) -> bool:
        """Whether something is settled or given up that could not be written yet. It is being tried."""
        return self.transactions.has_pending_writes

    @property
    def last_write_error(self) -> LedgerError | None:
        """Why it could not be, the last time."""
        return self.transactions.last_write_error

    @property
    def spent_usd(self) -> Decimal:
        """What this session's settled attempts cost, in USD."""
        return self._stands()[0]

    @property
    def held_usd(self) -> Decimal:
        """What is reserved for this session's attempts under way, in USD."""
        return self._stands()[1]

    @property
    def saved_usd(self) -> Decimal:
        """Baseline minus cost of this session's attempts, in USD: negative where they cost more."""
        spent, _, baseline = self._stands()
        return baseline - spent

    def headroom(self, caps: Sequence[Cap], run_id: str = "") -> list[Headroom]:
        """What each cap leaves."""
        if not caps:
            return []
        now = datetime.fromtimestamp(self.clock(), tz=UTC)
        with self.transactions.reading() as db:
            return [self._room(db, cap, run_id, now) for cap in caps]

    def hold(self, attempt: Attempt, worst_usd: Decimal, caps: Sequence[Cap]) -> Hold:
        """Reserve `worst_usd` for an attempt that is about to be sent, or raise BudgetExceeded.

        Use it as `with ledger.hold(...) as hold: ... hold.settle(attempt)`. Left unsettled, all of it is charged.
        """
        self._hold(attempt, worst_usd, caps, None)
        return Hold(self, attempt, worst_usd)

    def reserve(self, attempt: Attempt, worst_usd: Decimal, caps: Sequence[Cap]) -> Reservation:
        """Keep `worst_usd` back for an attempt that a run may have to send later, or raise BudgetExceeded.

        It counts as held, in a row of its own with the number 0, which goes away with it: nothing is sent for it.
        """
        return self.reserve_all([(attempt, worst_usd, caps)])[0]

    def reserve_all(self, asks: Sequence[tuple[Attempt, Decimal, Sequence[Cap]]]) -> list[Reservation]:
        """The reserves of several runs, all of them at one moment or, with BudgetExceeded, none. Each as `reserve`."""
        blanks = [dataclasses.replace(attempt, attempt=0, outcome=Outcome.RESERVED) for attempt, _, _ in asks]
        with self._holding(*blanks) as db:
            for blank, (_, worst_usd, caps) in zip(blanks, asks, strict=True):
                self._insert(db, blank, worst_usd, caps)
        return [Reservation(self, blank) for blank in blanks]

    def _hold(self, attempt: Attempt, worst_usd: Decimal, caps: Sequence[Cap], instead_of: Reservation | None) -> None:
        from llm_magic.ledger import queries

        with self._holding(attempt) as db:
            if instead_of is not None:
                self.transactions.database.run(db, queries.DROP, queries.key(instead_of.attempt))
            self._insert(db, attempt, worst_usd, caps)

    @contextmanager
    def _holding(self, *attempts: Attempt) -> Generator[sa.Connection]:
        """A transaction for holds. Where it fails as it ends, the database may have them: then they are given up."""
        within = True
        try:
            with self.transactions.writing() as db:
                yield db
                within = False
        except BaseException:
            for attempt in () if within else attempts:
                with suppress(LedgerError):
                    self.release(attempt)
            raise

    def _insert(self, db: sa.Connection, attempt: Attempt, worst_usd: Decimal, caps: Sequence[Cap]) -> None:
        """The row of money that is held, where it fits under the caps."""
        from llm_magic.ledger import queries

        for cap in caps if worst_usd > 0 else ():
            used = self._used(db, cap, attempt.run_id, attempt.started_at)
            if worst_usd > cap.limit_usd - sum(used):
                raise exceeded(attempt, worst_usd, self._room(db, cap, attempt.run_id, attempt.started_at))
        row = to_row(attempt) | {
            "held_pusd": to_pico(worst_usd),
            "lease_until": self.clock() + _LEASE_S,
            "owner": owners.process_name(os.getpid()),
        }
        self.transactions.database.run(db, queries.INSERT, row)

    def release(self, attempt: Attempt) -> None:
        """Take a hold back, or what was kept back, if it is still there. Raises LedgerError as `settle` does."""
        self.transactions.give_up(attempt)

    def settle(self, attempt: Attempt) -> None:
        """Replace the hold of an attempt by what it cost.

        Raises LedgerError where that can't be written now (the disk is full, say). It is not lost: it goes in as soon
        as it can, before anything else is written, and until then its hold is charged.
        """
        self.transactions.settle(attempt)

    def record(self, attempt: Attempt) -> None:
        """Keep a row for which nothing is sent, and so nothing held: an answer from the cache."""
        from llm_magic.ledger import queries

        with self.transactions.writing() as db:
            self.transactions.database.run(db, queries.INSERT, to_row(attempt) | {"held_pusd": 0, "lease_until": None})

    def rate(self, run_id: str, rating: Literal[1, -1] | None) -> None:
        """Keep what the user thinks of a run's answer, 1 good or -1 bad, or take it back."""
        from llm_magic.ledger import queries

        with self.transactions.writing() as db:
            if db.execute(queries.RATE, {"of_run": run_id, "rating": rating}).rowcount == 0:
                raise LedgerError(f"the ledger has no answer of a run {run_id!r} to rate")

    def uncertain(self) -> list[tuple[Attempt, Decimal]]:
        """The attempts whose process died before it settled them, each with the USD that it holds. Of all sessions."""
        from llm_magic.ledger import queries

        with self.transactions.reading() as db:
            held = sorted(db.execute(queries.UNSETTLED).mappings(), key=lambda row: row["id"])
            dead = owners.is_dead(self.clock())
            return [
                (dataclasses.replace(from_row(row), outcome=Outcome.UNCERTAIN), to_usd(row["held_pusd"]))
                for row in held
                if dead(row["owner"], row["lease_until"])
            ]

    def reconcile(self, how: Literal["charge", "release"]) -> list[Attempt]:
        """Close the uncertain attempts: `charge` each what it holds, as an estimate, or `release` it as never billed.

        Only on the user's word: whether the provider billed them is not known here. Returns them as they are now.
        What was only kept back is freed either way.
        """
        closed: list[Attempt] = []
        for attempt, held in self.uncertain():
            if attempt.attempt == 0:
                self.release(attempt)
            else:
                cost = held if how == "charge" else Decimal(0)
                closed.append(dataclasses.replace(attempt, cost_usd=cost, cost_estimated=True))
        for attempt in closed:
            self.settle(attempt)
        return closed

    def rows(self, *, run_id: str | None = None) -> list[Attempt]:
        """Every attempt in the ledger, or of one run, in the order in which they were sent."""
        from llm_magic.ledger import queries

        query, parameters = (queries.ALL, {}) if run_id is None else (queries.OF_RUN, {"of_run": run_id})
        read = self.transactions.browsing if run_id is None else self.transactions.reading
        with read() as db:
            return [from_row(row) for row in db.execute(query, parameters).mappings()]

    def to_frame(self, *, tags: Sequence[str] = (), session_id: str | None = None) -> pd.DataFrame:
        """The ledger as a DataFrame: one row an attempt, in order, with the columns and types of FRAME_DTYPES.

        tags: only the rows that have all of these. session_id: only the rows of this session.
        Money is float64 here, for plotting; `rows()` has it exact. An attempt under way has the outcome `in_flight`,
        one that its process never settled `uncertain`; both cost 0 so far and show what they hold.
        """
        from llm_magic.ledger import queries

        with self.transactions.browsing() as db, dataframe.paused_gc():
            # The driver's own cursor: SQLAlchemy's rows would take as long again.
            cursor: Any = db.execute(queries.columnar(self.transactions.database.dialect)).cursor
            table: Any = dataframe.to_frame(iter(lambda: cursor.fetchmany(4_000), []))
        if dead := {(attempt.run_id, attempt.attempt) for attempt, _ in self.uncertain()}:
            keys = zip(table["run_id"], table["attempt"], table["outcome"], strict=True)
            uncertain = [outcome == Outcome.IN_FLIGHT and (run_id, number) in dead for run_id, number, outcome in keys]
            table["outcome"] = table["outcome"].mask(uncertain, Outcome.UNCERTAIN.value)
        return dataframe.select(table, tags, session_id)

    def report(self, *, tags: Sequence[str] = (), session_id: str | None = None) -> Report:
        """Spend over time, by model and by tier, savings, fallbacks and latencies. Chooses rows as `to_frame`."""
        return summarize(self.to_frame(tags=tags, session_id=session_id))

    def to_csv(self, path: str | Path, *, tags: Sequence[str] = (), session_id: str | None = None) -> None:
        """Write the rows that `to_frame` gives into a CSV file.

        A text from a provider (`error`, `served_model`) that a spreadsheet would take for a formula gets an apostrophe
        in front; every other column comes back as it was.
        """
        dataframe.write_csv(self.to_frame(tags=tags, session_id=session_id), path)

    def to_parquet(self, path: str | Path, *, tags: Sequence[str] = (), session_id: str | None = None) -> None:
        """Write the rows that `to_frame` gives into a Parquet file, with their types. Needs the extra `parquet`."""
        dataframe.write_parquet(self.to_frame(tags=tags, session_id=session_id), path)

    def close(self) -> None:
        """Close the database. Whatever is settled is in it already."""
        self.transactions.close()

    def _used(self, db: sa.Connection, cap: Cap, run_id: str, now: datetime) -> tuple[Decimal, Decimal]:
        """What is spent and what is held within a cap's scope."""
        from llm_magic.ledger import queries

        scope = queries.scope(cap, session_id=self.session_id, run_id=run_id, now=now)
        spent, held = self.transactions.database.run(db, queries.used(cap), scope).fetchone() or (0, 0)
        return to_usd(int(spent or 0)), to_usd(int(held or 0))

    def _room(self, db: sa.Connection, cap: Cap, run_id: str, now: datetime) -> Headroom:
        from llm_magic.ledger import queries

        spent, held = self._used(db, cap, run_id, now)
        live = 0
        if held:
            dead = owners.is_dead(self.clock())
            scope = queries.scope(cap, session_id=self.session_id, run_id=run_id, now=now)
            holds = self.transactions.database.run(db, queries.held(cap), scope).fetchall()
            live = sum(held for owner, lease_until, held in holds if not dead(owner, lease_until))
        return Headroom(cap=cap, left_usd=cap.limit_usd - spent - held, in_flight_usd=to_usd(live))

    def _stands(self) -> tuple[Decimal, Decimal, Decimal]:
        """What the session has spent, what it holds, and its baseline."""
        from llm_magic.ledger import queries

        with self.transactions.reading() as db:
            found = self.transactions.database.run(db, queries.STANDS, {"of_session": self.session_id}).fetchone()
        spent, held, baseline = (to_usd(amount) for amount in found or (0, 0, 0))
        return spent, held, baseline


def _location(location: str | Path | None) -> str:
    return str(location or os.environ.get("LLM_MAGIC_LEDGER") or home() / "ledger.db").strip()
