"""Conversations kept in the ledger's database: the text of prompts and answers, until the user purges it."""

from __future__ import annotations

from dataclasses import dataclass

from llm_magic.ledger import Ledger
from llm_magic.types import TaskTier

MAX_EXCHANGES = 500
"""Kept of one thread: older ones go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One exchange: what was said, what was answered, by whom."""

    run_id: str
    prompt: str
    answer: str
    model: str
    tier: TaskTier
    confidence: float
    input_tokens: int
    """Of the whole request, as the provider counted them; 0 where nothing was sent."""
    at: float
    """Seconds since 1970."""


class Conversations:
    """The threads of all sessions, by name. May be used from any thread of the process."""

    def __init__(self, ledger: Ledger) -> None:
        self._transactions = ledger.transactions

    def exchanges(self, name: str) -> list[Exchange]:
        """The exchanges of a thread in their order; none where there is no such thread."""
        import sqlalchemy as sa

        from llm_magic.ledger.schema import turns

        columns = [turns.c[part] for part in Exchange.__slots__]
        with self._transactions.reading() as db:
            found = db.execute(sa.select(*columns).where(turns.c.thread == name).order_by(turns.c.id)).mappings().all()
        return [Exchange(**{**row, "tier": TaskTier(row["tier"])}) for row in found]

    def append(self, name: str, exchange: Exchange) -> None:
        import sqlalchemy as sa

        from llm_magic.ledger.schema import turns

        row = {part: getattr(exchange, part) for part in Exchange.__slots__} | {
            "thread": name,
            "tier": str(exchange.tier),
        }
        with self._transactions.writing() as db:
            db.execute(turns.insert(), row)
            kept = sa.select(turns.c.id).where(turns.c.thread == name).order_by(turns.c.id.desc()).limit(MAX_EXCHANGES)
            db.execute(turns.delete().where(turns.c.thread == name, turns.c.id.not_in(kept)))

    def names(self) -> list[str]:
        """Every thread, the one that was used last first."""
        import sqlalchemy as sa

        from llm_magic.ledger.schema import turns

        with self._transactions.reading() as db:
            query = sa.select(turns.c.thread).group_by(turns.c.thread).order_by(sa.func.max(turns.c.id).desc())
            return list(db.execute(query).scalars())

    def purge(self, name: str | None = None) -> int:
        """Forget a thread, or all; returns how many exchanges there were. In SQLite their bytes are overwritten."""
        from llm_magic.ledger.schema import turns

        with self._transactions.writing() as db:
            gone = turns.delete() if name is None else turns.delete().where(turns.c.thread == name)
            count = db.execute(gone).rowcount
        self._transactions.sweep()
        return count
