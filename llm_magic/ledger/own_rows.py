"""The rows that this process wrote, in a few bytes each."""

from __future__ import annotations

import marshal
import zlib
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any, Literal

MAX_ROWS = 20_000
_CHUNK_ROWS = 50
_RESETTLED_ROWS = 128

RowKey = tuple[str, int]
"""Run and number of an attempt."""
Rating = Literal[1, -1]
NO_KEY: RowKey = ("", 0)


class OwnRows:
    """The open holds of this process, and the latest rows that it settled."""

    def __init__(self, *, max_rows: int = MAX_ROWS, chunk_rows: int = _CHUNK_ROWS) -> None:
        self.open: dict[RowKey, Mapping[str, Any]] = {}
        self.last = NO_KEY
        """The row that was settled last; NO_KEY if there is none."""
        self.last_session = ""
        self.spent_pusd: Counter[str] = Counter()
        """By session. Its totals in the ledger, which other processes add to, are never less."""
        self._costs: dict[RowKey, tuple[str, int]] = {}
        """Session and cost of the rows that may be settled again."""
        self.ratings: dict[str, Rating | None] = {}
        """The ratings that this process gave, by run."""
        self._latest: list[tuple[Any, ...]] = []
        self._compressed: deque[bytes] = deque(maxlen=max_rows // chunk_rows)
        self._chunk_rows = chunk_rows
        self._names: tuple[str, ...] = ()

    def add(self, row: Mapping[str, Any]) -> None:
        key = row["run_id"], row["attempt"]
        if row["lease_until"] is not None:
            self.open[key] = row
            return
        self.open.pop(key, None)
        self.last, self.last_session = key, row["session_id"]
        self._forget_cost(key)
        self._costs[key] = row["session_id"], row["cost_pusd"]
        self.spent_pusd[row["session_id"]] += row["cost_pusd"]
        if len(self._costs) > _RESETTLED_ROWS:
            del self._costs[next(iter(self._costs))]
        self._names = self._names or tuple(row)
        self._append(tuple(row.values()))

    def remove(self, key: RowKey) -> None:
        if self.open.pop(key, None) is None:
            self._append(key)
            self._forget_cost(key)
        if self.last == key:
            self.last = NO_KEY

    def limit_spent(self, spent_pusd: int) -> None:
        """Lower the known spending of the session to the ledger's: some rows were too old to be written again."""
        self.spent_pusd[self.last_session] = min(self.spent_pusd[self.last_session], spent_pusd)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        rows: dict[RowKey, Mapping[str, Any]] = {}
        for chunk in self._compressed:
            self._replay(marshal.loads(zlib.decompress(chunk)), rows)  # noqa: S302 - made by `_append`
        self._replay(self._latest, rows)
        yield from rows.values()
        yield from tuple(self.open.values())

    def _forget_cost(self, key: RowKey) -> None:
        session_id, cost_pusd = self._costs.pop(key, ("", 0))
        self.spent_pusd[session_id] -= cost_pusd

    def _append(self, entry: tuple[Any, ...]) -> None:
        """Append a row, or the key of a row that was removed."""
        self._latest.append(entry)
        if len(self._latest) >= self._chunk_rows:
            self._compressed.append(zlib.compress(marshal.dumps(self._latest), 1))
            self._latest.clear()

    def _replay(self, entries: list[tuple[Any, ...]], rows: dict[RowKey, Mapping[str, Any]]) -> None:
        for entry in entries:
            if len(entry) == len(NO_KEY):
                rows.pop(entry, None)
            else:
                row = dict(zip(self._names, entry, strict=True))
                rows[row["run_id"], row["attempt"]] = row
