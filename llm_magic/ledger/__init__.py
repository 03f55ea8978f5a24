"""The books: one row an attempt, and the holds that keep `spent + held <= cap` true at every instant.

A row is written when its money is reserved and completed when it is settled, so a process that dies leaves its hold
behind, charged. Money is kept in whole pico-dollars (1e-12 USD): a token's price is exact, and so is every sum.
"""

from __future__ import annotations

import dataclasses
import os
import threading
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from llm_magic.budget import Cap, show_usd
from llm_magic.errors import BudgetExceeded, LedgerError
from llm_magic.home import home
from llm_magic.types import Attempt

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs] - it ships none
    import sqlalchemy as sa

IN_FLIGHT = "in_flight"
UNCERTAIN = "uncertain"
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
        from llm_magic.ledger import engines

        self.session_id = session_id or os.environ.get("LLM_MAGIC_SESSION") or uuid.uuid4().hex[:12]
        self._clock = clock
        self._lock = threading.RLock()
        self._engine, self.location = engines.open_engine(_location(location))
        self._owner = engines.this_process()

    @property
    def spent_usd(self) -> Decimal:
        """What this session's settled attempts cost, in USD."""
        return self._session_sum("cost_pusd")

    @property
    def held_usd(self) -> Decimal:
        """What is reserved for this session's attempts under way, in USD."""
        return self._session_sum("held_pusd")

    def tightest(self, caps: Sequence[Cap], run_id: str = "") -> tuple[Decimal, Cap] | None:
        """What the tightest of `caps` leaves, in USD, never below zero, and which it is; None where there is no cap."""
        if not caps:
            return None
        now = datetime.fromtimestamp(self._clock(), tz=UTC)
        with self._reading() as db:
            left = [(max(self._left(db, cap, run_id, now), Decimal(0)), cap) for cap in caps]
        return min(left, key=lambda each: each[0])

    def hold(self, attempt: Attempt, worst_usd: Decimal, caps: Sequence[Cap]) -> Hold:
        """Reserve `worst_usd` for an attempt that is about to be sent, or raise BudgetExceeded.

        Use it as `with ledger.hold(...) as hold: ... hold.settle(attempt)`. Left unsettled, all of it is charged.
        """
        from llm_magic.ledger import rows, schema

        row = rows.to_row(attempt) | {
            "held_pusd": rows.to_pico(worst_usd),
            "lease_until": self._clock() + _LEASE_S,
            "owner": self._owner,
        }
        with self._writing() as db:
            for cap in caps if worst_usd > 0 else ():
                if worst_usd > (left := self._left(db, cap, attempt.run_id, attempt.started_at)):
                    raise _exceeded(attempt, worst_usd, cap, max(left, Decimal(0)))
            db.execute(schema.attempts.insert(), row)
        return Hold(self, attempt, worst_usd)

    def settle(self, attempt: Attempt) -> None:
        """Replace the hold of an attempt by what it cost."""
        from llm_magic.ledger import rows, schema

        table = schema.attempts
        row = rows.to_row(attempt) | {"held_pusd": 0, "lease_until": None}
        here = (table.c.run_id == attempt.run_id) & (table.c.attempt == attempt.attempt)
        with self._writing() as db:
            db.execute(table.update().where(here).values(row))

    def uncertain(self) -> list[tuple[Attempt, Decimal]]:
        """The attempts whose process died before it settled them, each with the USD that it holds. Of all sessions."""
        from llm_magic.ledger import engines, rows, schema

        table = schema.attempts
        with self._reading() as db:
            held = db.execute(table.select().where(table.c.lease_until.is_not(None)).order_by(table.c.id)).mappings()
            dead = engines.is_dead(self._clock())
            return [
                (dataclasses.replace(rows.from_row(row), outcome=UNCERTAIN), row["held_pusd"] * rows.PICO)
                for row in held
                if dead(row)
            ]

    def reconcile(self, how: Literal["charge", "release"]) -> list[Attempt]:
        """Close the uncertain attempts: `charge` each what it holds, as an estimate, or `release` it as never billed.

        Only on the user's word: whether the provider billed them is not known here. Returns them as they are now.
        """
        closed = [
            dataclasses.replace(attempt, cost_usd=held if how == "charge" else Decimal(0), cost_estimated=True)
            for attempt, held in self.uncertain()
        ]
        for attempt in closed:
            self.settle(attempt)
        return closed

    def rows(self, *, run_id: str | None = None) -> list[Attempt]:
        """Every attempt in the ledger, or of one run, in the order in which they were sent."""
        from llm_magic.ledger import rows, schema

        table = schema.attempts
        query = table.select() if run_id is None else table.select().where(table.c.run_id == run_id)
        with self._reading() as db:
            return [rows.from_row(row) for row in db.execute(query.order_by(table.c.id)).mappings()]

    def to_frame(self) -> pd.DataFrame:
        """The ledger as a DataFrame: one row an attempt, in order, with the columns and types of `rows.FRAME_DTYPES`.

        Money is float64 here, for plotting; `rows()` has it exact. An attempt under way has the outcome `in_flight`,
        one that its process never settled `uncertain`; both cost 0 so far and show what they hold.
        """
        from llm_magic.ledger import engines, rows, schema

        table = schema.attempts
        with self._reading() as db:
            result = db.execute(table.select().order_by(table.c.id))
            names, found = list(result.keys()), [tuple(row) for row in result]
        frame = rows.to_frame(names, found)
        dead = engines.is_dead(self._clock())
        lease = names.index("lease_until")
        for at, row in enumerate(found):
            if row[lease] is not None and dead(dict(zip(names, row, strict=True))):
                frame.loc[at, "outcome"] = UNCERTAIN
        return frame

    def close(self) -> None:
        """Close the database. Whatever is settled is in it already."""
        with self._lock:
            self._engine.dispose()

    @contextmanager
    def _writing(self) -> Generator[sa.Connection]:
        """A transaction in which no other thread, process or machine can hold or settle."""
        from llm_magic.ledger import engines

        with self._lock, self._errors(), self._engine.begin() as db:
            engines.alone(db)
            yield db

    @contextmanager
    def _reading(self) -> Generator[sa.Connection]:
        with self._lock, self._errors(), self._engine.connect() as db:
            yield db

    @contextmanager
    def _errors(self) -> Generator[None]:
        from sqlalchemy.exc import DBAPIError

        try:
            yield
        except DBAPIError as error:
            raise LedgerError(f"the ledger {self.location}: {error.orig}") from error

    def _left(self, db: sa.Connection, cap: Cap, run_id: str, now: datetime) -> Decimal:
        """What a cap leaves: its limit less what is spent and held within its scope."""
        import sqlalchemy as sa

        from llm_magic.ledger import rows, schema

        table = schema.attempts.c
        mine = table.session_id == self.session_id
        since = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        match cap.scope:
            case "run":
                within = table.run_id == run_id
            case "session":
                within = mine
            case "model":
                within = mine & (table.model == cap.key)
            case "tag":
                within = mine & (sa.literal(",") + table.tags + ",").contains(f",{cap.key},", autoescape=True)
            case "day":
                within = table.started_at_us >= rows.microseconds(since)
            case "month":
                within = table.started_at_us >= rows.microseconds(since.replace(day=1))
        used = db.execute(sa.select(sa.func.sum(table.cost_pusd + table.held_pusd)).where(within)).scalar_one()
        return cap.limit_usd - int(used or 0) * rows.PICO

    def _session_sum(self, column: str) -> Decimal:
        import sqlalchemy as sa

        from llm_magic.ledger import rows, schema

        table = schema.attempts.c
        query = sa.select(sa.func.sum(table[column])).where(table.session_id == self.session_id)
        with self._reading() as db:
            return int(db.execute(query).scalar_one() or 0) * rows.PICO


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
    return str(location or os.environ.get("LLM_MAGIC_LEDGER") or home() / "ledger.db").strip()


def _exceeded(attempt: Attempt, worst_usd: Decimal, cap: Cap, left: Decimal) -> BudgetExceeded:
    return BudgetExceeded(
        f"{attempt.model} could cost up to {show_usd(worst_usd)}, and {cap} has {show_usd(left)} left: "
        "raise the cap, or ask for fewer output tokens",
        scope=cap.scope,
        asked_usd=worst_usd,
        left_usd=left,
    )
