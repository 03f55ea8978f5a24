"""Storage of cached answers in the ledger's database.

The cache stores the text of answers, so it is empty unless the user turns it on. Prompts are stored as a keyed hash
only. The least recently used answers are evicted.
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
"""Limit on the size of all answers. An answer longer than a tenth of it is not stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedAnswer:
    text: str
    model: str
    provider: str
    served_model: str
    tier: TaskTier
    confidence: float
    reasons: tuple[str, ...]
    baseline_usd: Decimal
    baseline_model: str
    comparable: bool = True


class AnswerCache:
    """The cached answers of all sessions, by request key. Any thread may use it."""

    def __init__(self, ledger: Ledger) -> None:
        from llm_magic.cache.table import answers
        from llm_magic.ledger.side_table import SideTable

        self._clock = ledger.clock
        self._answers = answers
        self._table = SideTable(ledger.transactions, answers)

    def get(self, key: str) -> CachedAnswer | None:
        answers = self._answers
        with self._table.writing() as db:
            row = db.execute(answers.select().where(answers.c.key == key)).mappings().first()
            if row is None:
                return None
            db.execute(answers.update().where(answers.c.key == key).values(used_at=self._clock()))
        about = json.loads(row["about"])
        converted = {"tier": TaskTier(about["tier"]), "reasons": tuple(about["reasons"])}
        return CachedAnswer(**about | converted | {"text": row["text"], "baseline_usd": Decimal(about["baseline_usd"])})

    def put(self, key: str, answer: CachedAnswer) -> None:
        """Store an answer, replacing the one under the same key, and evict the least recently used ones."""
        size = len(answer.text.encode("utf-8", "surrogatepass"))
        if size > MAX_BYTES // 10:
            return
        about: dict[str, Any] = {
            "model": answer.model,
            "provider": answer.provider,
            "served_model": answer.served_model,
            "tier": str(answer.tier),
            "confidence": answer.confidence,
            "reasons": answer.reasons,
            "baseline_usd": str(answer.baseline_usd),
            "baseline_model": answer.baseline_model,
            "comparable": answer.comparable,
        }
        row = {"key": key, "text": answer.text, "about": json.dumps(about), "size": size, "used_at": self._clock()}
        with self._table.writing() as db:
            db.execute(self._answers.delete().where(self._answers.c.key == key))
            db.execute(self._answers.insert(), row)
            db.execute(self._delete_excess())

    def count_and_bytes(self) -> tuple[int, int]:
        import sqlalchemy as sa

        with self._table.reading() as db:
            if db is None:
                return 0, 0
            columns = sa.func.count(), sa.func.sum(self._answers.c.size)
            count, total = db.execute(sa.select(*columns).select_from(self._answers)).one()
        return int(count), int(total or 0)

    def purge(self) -> int:
        """Delete every answer, and return how many there were. In SQLite their bytes are overwritten."""
        return self._table.clear()

    def _delete_excess(self) -> Any:
        import sqlalchemy as sa

        columns = self._answers.c
        by_use = (columns.used_at.desc(), columns.key)
        ranked = sa.select(
            columns.key,
            sa.func.sum(columns.size).over(order_by=by_use).label("bytes"),
            sa.func.row_number().over(order_by=by_use).label("rank"),
        ).subquery()
        evicted = sa.select(ranked.c.key).where((ranked.c.bytes > MAX_BYTES) | (ranked.c.rank > MAX_ANSWERS))
        return self._answers.delete().where(columns.key.in_(evicted))
