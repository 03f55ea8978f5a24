"""Storage of conversations in the ledger's database: the text of prompts and answers, until the user purges it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llm_magic.ledger import Ledger
from llm_magic.types import TaskTier

MAX_EXCHANGES_PER_THREAD = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A prompt and its answer.

    input_tokens: of the whole request, as counted by the provider; 0 if it came from the cache. at: seconds since 1970.
    """

    run_id: str
    prompt: str
    answer: str
    model: str
    tier: TaskTier
    confidence: float
    input_tokens: int
    at: float


class Conversations:
    """The threads of all sessions, by name. Any thread of the process may use it."""

    def __init__(self, ledger: Ledger) -> None:
        from llm_magic.conversations.table import exchanges
        from llm_magic.ledger.side_table import SideTable

        self._exchanges = exchanges
        self._table = SideTable(ledger.transactions, exchanges)

    def exchanges(self, name: str) -> list[Exchange]:
        import sqlalchemy as sa

        table = self._exchanges.c
        columns = [table[field] for field in Exchange.__slots__]
        with self._table.reading() as db:
            if db is None:
                return []
            rows = db.execute(sa.select(*columns).where(table.thread == name).order_by(table.id)).mappings().all()
        stored: list[dict[str, Any]] = [{**row, "tier": TaskTier(row["tier"])} for row in rows]
        return [Exchange(**fields) for fields in stored]

    def append(self, name: str, exchange: Exchange) -> None:
        import sqlalchemy as sa

        columns = self._exchanges.c
        row = {field: getattr(exchange, field) for field in Exchange.__slots__}
        row |= {"thread": name, "tier": str(exchange.tier)}
        with self._table.writing() as db:
            db.execute(self._exchanges.insert(), row)
            latest = (
                sa.select(columns.id)
                .where(columns.thread == name)
                .order_by(columns.id.desc())
                .limit(MAX_EXCHANGES_PER_THREAD)
            )
            db.execute(self._exchanges.delete().where(columns.thread == name, columns.id.not_in(latest)))

    def names(self) -> list[str]:
        """Return the names of all threads, the most recently used first."""
        import sqlalchemy as sa

        columns = self._exchanges.c
        with self._table.reading() as db:
            if db is None:
                return []
            query = sa.select(columns.thread).group_by(columns.thread).order_by(sa.func.max(columns.id).desc())
            return list(db.execute(query).scalars())

    def purge(self, name: str | None = None) -> int:
        """Delete a thread, or all; returns the number of exchanges. In SQLite their bytes are overwritten."""
        return self._table.clear(*([] if name is None else [self._exchanges.c.thread == name]))
