from __future__ import annotations

import sqlalchemy as sa

from llm_magic.ledger.any_text import AnyText

metadata = sa.MetaData()

answers = sa.Table(
    "llm_magic_column_answers",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("text", AnyText),
    sa.Column("about", sa.Text),
    sa.Column("claim", sa.Text, index=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("keep_until", sa.Double),
)
"""Answers by the keyed hash of instruction, schema, row and options. Without a text, a column has claimed the row."""

STORE = (
    answers.update()
    .where(answers.c.key == sa.bindparam("of_key"))
    .values(
        text=sa.bindparam("new_text"),
        about=sa.bindparam("new_about"),
        at=sa.bindparam("now"),
        keep_until=sa.bindparam("until"),
    )
)

columns = sa.Table(
    "llm_magic_columns",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("lease_until", sa.Double, nullable=False),
)
"""The columns that run, or whose result needs kept answers. digest: keyed hash of everything but the rows."""

rows = sa.Table(
    "llm_magic_column_rows",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger, primary_key=True),
    sa.Column("key", sa.Text),
    sa.Column("cells", sa.Text, nullable=False),
    sa.Column("about", sa.Text, nullable=False),
)
"""The rows of a stream with what became of them, until the column's result is dropped."""
