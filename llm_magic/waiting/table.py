from __future__ import annotations

import sqlalchemy as sa

waiting = sa.Table(
    "llm_magic_waiting",
    sa.MetaData(),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("names", sa.Text, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("lease_until", sa.Double, nullable=False),
)
"""Runs and columns that wait. content: prompts and options as JSON. digest: its keyed hash, with the names."""
