"""Storage of waiting runs and columns in the ledger's database, so that they outlive their kernel.

Their prompts are stored as text until they are sent or canceled.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from llm_magic.home import hash_key
from llm_magic.ledger import Ledger

LEASE_S = 900.0
MAX_CONTENT_CHARS = 64_000_000

Kind = Literal["run", "column"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJob:
    """A run or a column to store. content: JSON. names: of the variables that its result is bound to."""

    kind: Kind
    content: str = field(repr=False)
    names: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        text = json.dumps([self.kind, self.content, self.names])
        return hmac.new(hash_key(), text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


class WaitingStore:
    """The stored jobs of all kernels that use this ledger. Any thread may use it."""

    def __init__(self, ledger: Ledger) -> None:
        from llm_magic.ledger.side_table import SideTable
        from llm_magic.waiting.table import waiting

        self._clock = ledger.clock
        self._rows = waiting
        self._table = SideTable(ledger.transactions, waiting)

    def put(self, job: StoredJob) -> str:
        """Store a job and return its id. An equal one of this process, or of a dead one, is replaced."""
        from llm_magic.ledger import owners

        rows, now, owner = self._rows.c, self._clock(), owners.process_name(os.getpid())
        is_dead = owners.is_dead(now)
        with self._table.writing() as db:
            equal = db.execute(self._rows.select().where(rows.digest == job.digest)).all()
            for row in equal:
                if row.owner == owner or is_dead(row.owner, row.lease_until):
                    self._take(db, row.id)
                    return row.id
            job_id = uuid.uuid4().hex
            values: dict[str, Any] = {
                "id": job_id,
                "digest": job.digest,
                "kind": job.kind,
                "content": job.content,
                "names": json.dumps(job.names),
                "at": now,
                "owner": owner,
                "lease_until": now + LEASE_S,
            }
            db.execute(self._rows.insert(), values)
        return job_id

    def adopt(self) -> list[StoredJob]:
        """Take over the jobs whose processes are dead, and return them."""
        from llm_magic.ledger import owners

        with self._table.reading() as db:
            if db is None:
                return []
        is_dead, adopted = owners.is_dead(self._clock()), list[StoredJob]()
        with self._table.writing() as db:
            for row in db.execute(self._rows.select().order_by(self._rows.c.at)).all():
                if is_dead(row.owner, row.lease_until):
                    self._take(db, row.id)
                    adopted.append(StoredJob(kind=row.kind, content=row.content, names=tuple(json.loads(row.names))))
        return adopted

    def renew(self, job_id: str) -> None:
        with self._table.writing() as db:
            self._take(db, job_id)

    def delete(self, ids: Sequence[str]) -> None:
        """Delete jobs. In SQLite their bytes are overwritten."""
        self._table.clear(self._rows.c.id.in_(ids))

    def _take(self, db: Any, job_id: str) -> None:
        from llm_magic.ledger import owners

        values = {"owner": owners.process_name(os.getpid()), "lease_until": self._clock() + LEASE_S}
        db.execute(self._rows.update().where(self._rows.c.id == job_id).values(**values))
