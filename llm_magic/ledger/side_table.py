"""Tables that other packages keep in the ledger's database."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import sqlalchemy as sa

from llm_magic.ledger.transactions import Transactions


class SideTable:
    """A table in the ledger's database that is created at the first write to it."""

    def __init__(self, transactions: Transactions, table: sa.Table) -> None:
        self._transactions = transactions
        self._table = table
        self._exists = False

    @contextmanager
    def writing(self) -> Generator[sa.Connection]:
        """Begin a transaction in which the table exists."""
        with self._transactions.writing() as db:
            if not self._exists:
                self._table.create(db, checkfirst=True)
            yield db
        self._exists = True

    @contextmanager
    def reading(self) -> Generator[sa.Connection | None]:
        """Begin a transaction for reading; None if the table does not exist."""
        with self._transactions.reading() as db:
            self._exists = self._exists or sa.inspect(db).has_table(self._table.name)
            yield db if self._exists else None

    def clear(self, *conditions: sa.ColumnElement[bool]) -> int:
        """Delete the rows that meet the conditions, and return their number. In SQLite their bytes are overwritten."""
        with self.writing() as db:
            count = db.execute(self._table.delete().where(*conditions)).rowcount
        self._transactions.vacuum()
        return count
