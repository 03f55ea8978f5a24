from __future__ import annotations

import sqlalchemy as sa

answers = sa.Table(
    "llm_magic_cache",
    sa.MetaData(),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("about", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("used_at", sa.Double, nullable=False),
)
