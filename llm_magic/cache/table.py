from __future__ import annotations

import sqlalchemy as sa

from llm_magic.ledger.any_text import AnyText

answers = sa.Table(
    "llm_magic_cache",
    sa.MetaData(),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("text", AnyText, nullable=False),
    sa.Column("about", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("used_at", sa.Double, nullable=False),
)
