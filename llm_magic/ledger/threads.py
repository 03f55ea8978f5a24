"""Conversations kept in the ledger's database: the text of prompts and answers, until the user purges it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_magic.types import TaskTier

if TYPE_CHECKING:
    from llm_magic.ledger.access import Access

MAX_TURNS = 500
"""Kept of one thread: older ones go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
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


class Threads:
    """The threads of all sessions, by name. May be used from any thread of the process."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def turns(self, name: str) -> list[Turn]:
        """The exchanges of a thread in their order; none where there is no such thread."""
        import sqlalchemy as sa

        from llm_magic.ledger.schema import turns

        columns = [turns.c[part] for part in Turn.__slots__]
        with self._access.reading() as db:
            found = db.execute(sa.select(*columns).where(turns.c.thread == name).order_by(turns.c.id)).mappings().all()
        return [Turn(**{**row, "tier": TaskTier(row["tier"])}) for row in found]

    def append(self, name: str, turn: Turn) -> None:
        import sqlalchemy as sa

        from llm_magic.ledger.schema import turns

        row = {part: getattr(turn, part) for part in Turn.__slots__} | {"thread": name, "tier": str(turn.tier)}
        with self._access.writing() as db:
            db.execute(turns.insert(), row)
            kept = sa.select(turns.c.id).where(turns.c.thread == name).order_by(turns.c.id.desc()).limit(MAX_TURNS)
            db.execute(turns.delete().where(turns.c.thread == name, turns.c.id.not_in(kept)))

    def names(self) -> list[str]:
        """Every thread, the one that was used last first."""
        import sqlalchemy as sa

        from llm_magic.ledger.schema import turns

        with self._access.reading() as db:
            query = sa.select(turns.c.thread).group_by(turns.c.thread).order_by(sa.func.max(turns.c.id).desc())
            return list(db.execute(query).scalars())

    def purge(self, name: str | None = None) -> int:
        """Forget a thread, or all; returns how many exchanges there were. In SQLite their bytes are overwritten."""
        from llm_magic.ledger.schema import turns

        with self._access.writing() as db:
            gone = turns.delete() if name is None else turns.delete().where(turns.c.thread == name)
            count = db.execute(gone).rowcount
        self._access.sweep()
        return count
