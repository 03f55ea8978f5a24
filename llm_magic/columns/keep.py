"""Answers of columns in the ledger's database: what was paid for is asked once, also after a stop or a killed process.

Rows are stored as keyed hashes only, answers with their text.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from llm_magic.columns.records import MISSING, Record
from llm_magic.columns.rows import Item
from llm_magic.columns.source import cells_json
from llm_magic.ledger import Ledger
from llm_magic.types import ZERO, Outcome

if TYPE_CHECKING:
    import sqlalchemy as sa

    from llm_magic.ledger.transactions import Write

Key = TypeVar("Key", str, int)

_LEASE_S = 900.0
_RESULT_LEASE_S = 30 * 86_400.0
_CHUNK = 400
_PROMPT = 6
"""Below the number of parameters that a statement may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The state of rows that a column wants to ask.

    own: the answered ones that this column has paid for. busy: those that another column that runs is asking.
    """

    answered: Mapping[str, Record]
    own: frozenset[str]
    busy: frozenset[str]


@dataclass(slots=True, kw_only=True)
class StreamEnd:
    """The state of a stream. digest: of its column, once each row has an answer; empty before."""

    digest: str = ""


class ColumnStore:
    """The kept answers of all columns. Any thread may use it."""

    def __init__(self, ledger: Ledger) -> None:
        from llm_magic.columns import table

        self._ledger = ledger
        self._table = table
        self._exists = False

    def begin(self, column_id: str, digest: str) -> None:
        from llm_magic.ledger import owners

        columns, now = self._table.columns, self._ledger.clock()
        with self._writing() as db:
            is_dead = owners.is_dead(now)
            dead = [row.id for row in db.execute(columns.select()) if is_dead(row.owner, row.lease_until)]
            for chunk in _chunks(dead):
                self._drop(db, chunk)
            db.execute(self._table.answers.delete().where(self._table.answers.c.keep_until < now))
            owner = owners.process_name(os.getpid())
            db.execute(columns.delete().where(columns.c.id == column_id))
            row = {"id": column_id, "digest": digest, "owner": owner, "lease_until": now + _LEASE_S}
            db.execute(columns.insert(), row)

    def renew(self, column_id: str) -> None:
        with self._writing() as db:
            self._extend(db, column_id, _LEASE_S)

    def end(self, column_id: str, *, is_result_kept_here: bool) -> None:
        """Free the claims of a column. is_result_kept_here: its answers stay until `drop` or `forget`."""
        answers, columns = self._table.answers, self._table.columns
        with self._writing() as db:
            if is_result_kept_here:
                self._extend(db, column_id, _RESULT_LEASE_S)
            else:
                db.execute(columns.delete().where(columns.c.id == column_id))
            db.execute(answers.delete().where(answers.c.claim == column_id, answers.c.text.is_(None)))

    def forget(self, column_id: str, digest: str, keys: Iterable[str]) -> None:
        """Delete the answers of a column whose frame was given back whole, unless another one like it needs them."""
        import sqlalchemy as sa

        answers, columns = self._table.answers, self._table.columns
        with self._writing() as db:
            db.execute(columns.delete().where(columns.c.id == column_id))
            if db.execute(sa.select(sa.func.count()).where(columns.c.digest == digest)).scalar_one():
                return
            for chunk in _chunks(keys):
                db.execute(answers.delete().where(answers.c.key.in_(chunk), answers.c.keep_until.is_(None)))

    def delete(self, keys: Iterable[str]) -> None:
        answers = self._table.answers
        with self._writing() as db:
            for chunk in _chunks(keys):
                db.execute(answers.delete().where(answers.c.key.in_(chunk), answers.c.text.is_not(None)))

    def answered(self, keys: Iterable[str]) -> Iterator[tuple[int, Record]]:
        """Yield the kept answers, each with the number of its key."""
        answers, numbered = self._table.answers, enumerate(keys)
        with self._ledger.transactions.reading() as db:
            if not self._is_there(db):
                return
            while chunk := {key: number for number, key in itertools.islice(numbered, _CHUNK)}:
                query = answers.select().where(answers.c.key.in_(list(chunk)), answers.c.text.is_not(None))
                for row in db.execute(query):
                    yield chunk[row.key], _record(row.text, row.about)

    def claim(self, column_id: str, keys: Sequence[str]) -> Claims:
        from llm_magic.ledger import owners

        answers, columns, now = self._table.answers, self._table.columns, self._ledger.clock()
        answered: dict[str, Record] = {}
        busy: set[str] = set()
        own: set[str] = set()
        with self._writing() as db:
            known: dict[str, Any] = {}
            for chunk in _chunks(keys):
                known |= {row.key: row for row in db.execute(answers.select().where(answers.c.key.in_(chunk)))}
            is_dead = owners.is_dead(now)
            claimants = {row.claim for row in known.values() if row.text is None and row.claim != column_id}
            running = db.execute(columns.select().where(columns.c.id.in_(list(claimants)))) if claimants else ()
            alive = {row.id for row in running if not is_dead(row.owner, row.lease_until)}
            for key, row in known.items():
                if row.text is not None:
                    answered[key] = _record(row.text, row.about)
                    if row.claim == column_id:
                        answered[key].cost_usd = ZERO
                        own.add(key)
                elif row.claim in alive:
                    busy.add(key)
            mine = [key for key in keys if key not in answered and key not in busy]
            for chunk in _chunks(key for key in mine if key in known):
                db.execute(answers.delete().where(answers.c.key.in_(chunk)))
            if mine:
                db.execute(answers.insert(), [{"key": key, "claim": column_id, "at": now} for key in mine])
        return Claims(answered=answered, own=frozenset(own), busy=frozenset(busy))

    def write(self, changes: Write) -> None:
        """Write changes in a transaction of their own, with the settlements of all attempts that have ended."""
        with self._writing() as db:
            changes(db)

    def save(
        self,
        db: sa.Connection,
        column_id: str,
        ended: Mapping[str, Record],
        keep_s: float | None,
        items: Sequence[Item],
        *,
        is_repeated: bool = False,
    ) -> None:
        """Store answers and the rows of a stream, and free the claims of failed rows.

        is_repeated: some of it may be stored already, because the task was canceled during the commit.
        """
        answers, now = self._table.answers, self._ledger.clock()
        until = None if keep_s is None else now + keep_s
        stored: list[dict[str, Any]] = [
            {"of_key": key, "new_text": record.text, "new_about": _about(record), "now": now, "until": until}
            for key, record in ended.items()
            if record.is_answered
        ]
        if stored:
            db.execute(self._table.STORE, stored)
        failed = [key for key, record in ended.items() if not record.is_answered]
        for chunk in _chunks(failed):
            db.execute(answers.delete().where(answers.c.key.in_(chunk), answers.c.text.is_(None)))
        if stream_rows := [
            {
                "id": column_id,
                "position": position,
                "key": item.key,
                "cells": cells_json(cells),
                "about": _about_row(item, is_first=number == 0),
            }
            for item in items
            for number, (position, cells) in enumerate(item.cells)
        ]:
            rows = self._table.rows
            positions = [position for item in items for position, _ in item.cells] if is_repeated else []
            for chunk in _chunks(positions):
                db.execute(rows.delete().where(rows.c.id == column_id, rows.c.position.in_(chunk)))
            db.execute(rows.insert(), stream_rows)

    def stream_rows(self, column_id: str) -> Iterator[tuple[int, dict[int, Any], Record]]:
        """Yield the rows of a stream in order: position, cells, and what became of the row."""
        import sqlalchemy as sa

        rows, answers = self._table.rows, self._table.answers
        query = (
            sa.select(rows.c.position, rows.c.cells, rows.c.about, answers.c.text)
            .select_from(rows.outerjoin(answers, rows.c.key == answers.c.key))
            .where(rows.c.id == column_id)
            .order_by(rows.c.position)
        )
        with self._ledger.transactions.snapshot() as db:
            if not self._is_there(db):
                return
            for row in db.execute(query):
                yield row.position, _cells(row.cells), _record(row.text, row.about)

    def stream_keys(self, column_id: str) -> list[str]:
        import sqlalchemy as sa

        rows = self._table.rows
        with self._ledger.transactions.reading() as db:
            if not self._is_there(db):
                return []
            return list(db.execute(sa.select(rows.c.key).where(rows.c.id == column_id).distinct()).scalars())

    def take_failed(self, column_id: str) -> list[tuple[int, dict[int, Any], str]]:
        """Return the failed rows of a stream, each with its text, and delete them. Rows without a text stay."""
        rows = self._table.rows
        with self._writing() as db:
            stored = db.execute(rows.select().where(rows.c.id == column_id).order_by(rows.c.position))
            failed = [
                (row.position, _cells(row.cells), prompt)
                for row in stored
                if (prompt := _prompt(row.about)) is not None
            ]
            for positions in _chunks(position for position, _, _ in failed):
                db.execute(rows.delete().where(rows.c.id == column_id, rows.c.position.in_(positions)))
        return failed

    def drop(self, column_id: str, end: StreamEnd) -> None:
        """Delete the rows of a stream whose result is gone, and their answers if all rows had one."""
        columns, rows = self._table.columns, self._table.rows
        if end.digest:
            self.forget(column_id, end.digest, self.stream_keys(column_id))
        with self._writing() as db:
            db.execute(columns.delete().where(columns.c.id == column_id))
            db.execute(rows.delete().where(rows.c.id == column_id))

    def count(self) -> int:
        import sqlalchemy as sa

        answers = self._table.answers
        with self._ledger.transactions.reading() as db:
            if not self._is_there(db):
                return 0
            return db.execute(sa.select(sa.func.count()).where(answers.c.text.is_not(None))).scalar_one()

    def purge(self) -> int:
        answers = self._table.answers
        with self._writing() as db:
            count = db.execute(answers.delete().where(answers.c.text.is_not(None))).rowcount
            db.execute(self._table.rows.delete())
        self._ledger.transactions.vacuum()
        return count

    def _extend(self, db: sa.Connection, column_id: str, lease_s: float) -> None:
        columns, until = self._table.columns, self._ledger.clock() + lease_s
        db.execute(columns.update().where(columns.c.id == column_id).values(lease_until=until))

    def _drop(self, db: sa.Connection, ids: Sequence[str]) -> None:
        tables = self._table
        db.execute(tables.columns.delete().where(tables.columns.c.id.in_(ids)))
        db.execute(tables.rows.delete().where(tables.rows.c.id.in_(ids)))
        db.execute(tables.answers.delete().where(tables.answers.c.claim.in_(ids), tables.answers.c.text.is_(None)))

    @contextmanager
    def _writing(self) -> Generator[sa.Connection]:
        with self._ledger.transactions.writing() as db:
            if not self._exists:
                self._table.metadata.create_all(db)
            yield db
        self._exists = True

    def _is_there(self, db: sa.Connection) -> bool:
        import sqlalchemy as sa

        self._exists = self._exists or sa.inspect(db).has_table(self._table.answers.name)
        return self._exists


def _about(record: Record) -> str:
    about = [record.model, record.effort, str(record.cost_usd), record.run_id]
    return json.dumps(about)


def _about_row(item: Item, *, is_first: bool) -> str:
    """Return the facts of a row, with its text if it failed: that of its cells may differ once they are stored."""
    record = item.record
    cost_usd = str(record.cost_usd if is_first else ZERO)
    is_failed = not record.is_answered and record.outcome != MISSING and isinstance(item.prompt, str)
    facts = [record.model, record.effort, cost_usd, record.run_id, record.outcome, record.error]
    return json.dumps([*facts, item.prompt if is_failed else None])


def _prompt(about: str) -> str | None:
    """Return the text of a failed row. Earlier versions stored none."""
    facts = json.loads(about)
    return facts[_PROMPT] if len(facts) > _PROMPT else None


def _cells(stored: str) -> dict[int, Any]:
    return {int(number): cell for number, cell in json.loads(stored).items()}


def _record(text: str | None, about: str) -> Record:
    model, effort, cost_usd, run_id, *rest = json.loads(about)
    outcome, error = rest[:2] or (Outcome.OK.value, None)
    return Record(
        outcome=outcome,
        text=text,
        model=model,
        effort=effort,
        error=error,
        cost_usd=Decimal(cost_usd),
        run_id=run_id,
        is_paid_before=not rest,
    )


def _chunks(keys: Iterable[Key]) -> Iterator[list[Key]]:
    remaining = iter(keys)
    while chunk := list(itertools.islice(remaining, _CHUNK)):
        yield chunk
