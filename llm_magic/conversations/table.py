from __future__ import annotations

import sqlalchemy as sa

from llm_magic.ledger.any_text import AnyText

exchanges = sa.Table(
    "llm_magic_turns",
    sa.MetaData(),
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("thread", sa.Text, nullable=False, index=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("prompt", sa.Text, nullable=False),
    sa.Column("answer", AnyText, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("tier", sa.Text, nullable=False),
    sa.Column("confidence", sa.Double, nullable=False),
    sa.Column("input_tokens", sa.BigInteger, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
)
