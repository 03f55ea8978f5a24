"""The ledger's tables, for SQLite and PostgreSQL alike, and how older files of it are brought up to date."""

from __future__ import annotations

import sqlalchemy as sa

from llm_magic.errors import LedgerError

VERSION = 6

metadata = sa.MetaData()

attempts = sa.Table(
    "llm_magic_attempts",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("started_at_us", sa.BigInteger, nullable=False),
    sa.Column("tier", sa.Text, nullable=False),
    sa.Column("confidence", sa.Double, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("served_model", sa.Text),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("fallback_from", sa.Text),
    sa.Column("input_tokens", sa.BigInteger, nullable=False),
    sa.Column("cached_input_tokens", sa.BigInteger, nullable=False),
    sa.Column("cache_write_tokens", sa.BigInteger, nullable=False),
    sa.Column("output_tokens", sa.BigInteger, nullable=False),
    sa.Column("reasoning_tokens", sa.BigInteger, nullable=False),
    sa.Column("cache_write_1h_tokens", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("cost_pusd", sa.BigInteger, nullable=False),
    sa.Column("cost_estimated", sa.Boolean, nullable=False),
    sa.Column("baseline_pusd", sa.BigInteger, nullable=False),
    sa.Column("price_source", sa.Text, nullable=False),
    sa.Column("input_price", sa.Text),
    sa.Column("output_price", sa.Text),
    sa.Column("ttft_s", sa.Double),
    sa.Column("latency_s", sa.Double, nullable=False),
    sa.Column("session_id", sa.Text, nullable=False),
    sa.Column("tags", sa.Text, nullable=False),
    sa.Column("held_pusd", sa.BigInteger, nullable=False),
    sa.Column("lease_until", sa.Double),
    sa.Column("owner", sa.Text, nullable=False, server_default=""),
    sa.Column("service_tier", sa.Text),
    sa.Column("parent_run_id", sa.Text),
    sa.Column("rating", sa.Integer),
    sa.Column("difficulty", sa.Double, nullable=False, server_default="0"),
    sa.Column("reason", sa.Text),
    sa.UniqueConstraint("run_id", "attempt"),
    # Of the few that are under way.
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
"""What the attempts of a session, of its models and tags, and of each day come to: kept by triggers, see `totals`."""

cache = sa.Table(
    "llm_magic_cache",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("about", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("used_at", sa.Double, nullable=False),
)
"""Answers, with their text: empty unless the user turns the cache on."""

turns = sa.Table(
    "llm_magic_turns",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("thread", sa.Text, nullable=False, index=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("prompt", sa.Text, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("tier", sa.Text, nullable=False),
    sa.Column("confidence", sa.Double, nullable=False),
    sa.Column("input_tokens", sa.BigInteger, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
)
"""Conversations, with their text: empty unless the user names a thread."""

about = sa.Table("llm_magic_about", metadata, sa.Column("version", sa.Integer, nullable=False))

_SINCE_VERSION_2 = (
    "id", "owner", "service_tier", "parent_run_id", "rating", "cache_write_1h_tokens", "difficulty", "reason"
)  # fmt: skip
_ADDED = {"difficulty": "DOUBLE PRECISION NOT NULL DEFAULT 0", "reason": "TEXT"}
"""Columns added to tables of version 2 and later, with their definitions."""
_OF_VERSION_1 = [column.name for column in attempts.columns if column.name not in _SINCE_VERSION_2]


def prepare(db: sa.Connection, where: str) -> None:
    """Make the tables in an empty database, bring older ones up to date, refuse newer ones. Within a transaction."""
    from llm_magic.ledger import totals

    tables = sa.inspect(db).get_table_names()
    version = 0
    if about.name in tables:
        version = db.execute(sa.select(about.c.version)).scalar_one()
    elif "attempts" in tables and db.dialect.name == "sqlite":
        version = 1
    if version > VERSION:
        raise LedgerError(
            f"the ledger {where} has schema {version}, this version of llm_magic knows {VERSION}: "
            "upgrade llm_magic, or point LLM_MAGIC_LEDGER at another file"
        )
    if version == VERSION:
        return
    present = {column["name"] for column in sa.inspect(db).get_columns(attempts.name)} if version >= 2 else set(_ADDED)
    for name, definition in _ADDED.items():
        if name not in present:
            db.exec_driver_sql(f"ALTER TABLE {attempts.name} ADD COLUMN {name} {definition}")
    for index in ("llm_magic_of_session", "llm_magic_of_time"):
        db.exec_driver_sql(f"DROP INDEX IF EXISTS {index}")
    metadata.create_all(db)
    db.execute(about.delete())
    db.execute(about.insert().values(version=VERSION))
    if version == 1:
        names = ", ".join(_OF_VERSION_1)
        db.exec_driver_sql(f"INSERT INTO {attempts.name} ({names}) SELECT {names} FROM attempts ORDER BY rowid")  # noqa: S608 - names of ours
        db.exec_driver_sql("DROP TABLE attempts")
        db.exec_driver_sql("PRAGMA user_version = 0")
    totals.begin(db)
