"""Answers kept in the ledger's database, so that the same prompt is not paid for twice.

It keeps the text of answers, which the ledger otherwise never does: nothing is in it unless the user asks for it. The
prompt is there as a keyed hash only. Bounded: what was used least recently makes room.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from llm_magic.ledger import Ledger
from llm_magic.types import TaskTier

MAX_ANSWERS = 2_000
MAX_BYTES = 64_000_000
"""Of all answers together; one that is longer than a tenth of it is not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedAnswer:
    """An answer as the cache keeps it: enough to show it again, and what it would cost on the baseline model."""

    text: str
    model: str
    provider: str
    served_model: str
    tier: TaskTier
    confidence: float
    reasons: tuple[str, ...]
    baseline_usd: Decimal
    baseline_model: str


class AnswerCache:
    """The answers of all sessions, by a key that says what was asked of whom. May be used from any thread."""

    def __init__(self, ledger: Ledger) -> None:
        self._transactions, self._clock = ledger.transactions, ledger.clock

    def get(self, key: str) -> CachedAnswer | None:
        """The answer that is kept under a key."""
        from llm_magic.ledger.schema import cache

        with self._transactions.writing() as db:
            row = db.execute(cache.select().where(cache.c.key == key)).mappings().first()
            if row is None:
                return None
            db.execute(cache.update().where(cache.c.key == key).values(used_at=self._clock()))
        about = json.loads(row["about"])
        known = {"tier": TaskTier(about["tier"]), "reasons": tuple(about["reasons"])}
        return CachedAnswer(**about | known | {"text": row["text"], "baseline_usd": Decimal(about["baseline_usd"])})

    def put(self, key: str, kept: CachedAnswer) -> None:
        """Keep an answer, in the place of an older one; those used least recently make room for it."""
        import sqlalchemy as sa

        from llm_magic.ledger.schema import cache

        size = len(kept.text.encode("utf-8", "surrogatepass"))
        if size > MAX_BYTES // 10:
            return
        about: dict[str, Any] = {
            "model": kept.model,
            "provider": kept.provider,
            "served_model": kept.served_model,
            "tier": str(kept.tier),
            "confidence": kept.confidence,
            "reasons": kept.reasons,
            "baseline_usd": str(kept.baseline_usd),
            "baseline_model": kept.baseline_model,
        }
        row = {"key": key, "text": kept.text, "about": json.dumps(about), "size": size, "used_at": self._clock()}
        with self._transactions.writing() as db:
            db.execute(cache.delete().where(cache.c.key == key))
            db.execute(cache.insert(), row)
            # Room after so many of the most recently used: what lies beyond goes.
            upto = sa.func.sum(cache.c.size).over(order_by=(cache.c.used_at.desc(), cache.c.key))
            nth = sa.func.row_number().over(order_by=(cache.c.used_at.desc(), cache.c.key))
            ranked = sa.select(cache.c.key, upto.label("upto"), nth.label("nth")).subquery()
            beyond = sa.select(ranked.c.key).where((ranked.c.upto > MAX_BYTES) | (ranked.c.nth > MAX_ANSWERS))
            db.execute(cache.delete().where(cache.c.key.in_(beyond)))

    def size(self) -> tuple[int, int]:
        """How many answers are kept, and their bytes."""
        import sqlalchemy as sa

        from llm_magic.ledger.schema import cache

        with self._transactions.reading() as db:
            count, total = db.execute(sa.select(sa.func.count(), sa.func.sum(cache.c.size)).select_from(cache)).one()
        return int(count), int(total or 0)

    def purge(self) -> int:
        """Forget every answer; returns how many there were. In SQLite their bytes are overwritten."""
        from llm_magic.ledger.schema import cache

        with self._transactions.writing() as db:
            count = db.execute(cache.delete()).rowcount
        self._transactions.sweep()
        return count
