"""The tables of the ledger, for SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from llm_magic.ledger.columns import COLUMNS

_TYPES: dict[str, Any] = {
    "text": sa.Text,
    "integer": sa.Integer,
    "bigint": sa.BigInteger,
    "double": sa.Double,
    "boolean": sa.Boolean,
}

metadata = sa.MetaData()

attempts = sa.Table(
    "llm_magic_attempts",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    *(
        sa.Column(
            column.sql_name,
            _TYPES[column.kind.sql],
            nullable=column.nullable,
            server_default=None if column.default is None else sa.text(column.default),
        )
        for column in COLUMNS
    ),
    sa.UniqueConstraint("run_id", "attempt"),
    # Covers the few attempts in flight.
    sa.Index(
        "llm_magic_held",
        "session_id",
        "lease_until",
        sqlite_where=sa.text("lease_until IS NOT NULL"),
        postgresql_where=sa.text("lease_until IS NOT NULL"),
    ),
)

totals = sa.Table(
    "llm_magic_totals",
    metadata,
    sa.Column("session_id", sa.Text, primary_key=True),
    sa.Column("scope", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("cost_pusd", sa.BigInteger, nullable=False),
    sa.Column("held_pusd", sa.BigInteger, nullable=False),
    sa.Column("baseline_pusd", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""The sums over a session, its models and tags, and over each day. Triggers keep them, see `totals`."""

about = sa.Table(
    "llm_magic_about",
    metadata,
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("ledger_id", sa.Text, nullable=False),
    sa.Column("generation", sa.BigInteger, nullable=False),
)
"""One row: the schema version, a random id, and the number of holds that were ever made."""
