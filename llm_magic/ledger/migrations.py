"""Creation of the ledger's tables, and migration of older ledgers."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn

from llm_magic.errors import LedgerError
from llm_magic.ledger import totals
from llm_magic.ledger.columns import COLUMNS
from llm_magic.ledger.schema import about, attempts, metadata
from llm_magic.types import CostBasis

VERSION = 14


def prepare(db: sa.Connection, location: str) -> None:
    """Create the tables in an empty database, or migrate older ones. To be called within a transaction.

    Raises LedgerError for a ledger that a newer version of llm_magic wrote, or that has lost its version.
    """
    version = _version(db, location)
    if version > VERSION:
        raise LedgerError(
            f"the ledger {location} has schema {version}, this version of llm_magic knows {VERSION}: "
            "upgrade llm_magic, or point LLM_MAGIC_LEDGER at another file"
        )
    if version == VERSION:
        return
    if version >= 2:
        _add_missing_columns(db)
    if 2 <= version < 7:
        estimated = attempts.update().where(attempts.c.cost_estimated).values(cost_basis=CostBasis.ESTIMATED.value)
        db.execute(estimated)
    for index in ("llm_magic_of_session", "llm_magic_of_time"):  # up to version 4
        db.exec_driver_sql(f"DROP INDEX IF EXISTS {index}")
    about.drop(db, checkfirst=True)
    metadata.create_all(db)
    db.execute(about.insert().values(version=VERSION, ledger_id=uuid.uuid4().hex, generation=0))
    if version == 1:
        _move_rows_of_version_1(db)
    totals.create(db)


def _version(db: sa.Connection, location: str) -> int:
    """Return the schema version of a database; 0 for an empty one."""
    tables = sa.inspect(db).get_table_names()
    if about.name in tables:
        version = db.execute(sa.select(about.c.version)).scalar_one_or_none()
        if version is None:
            raise LedgerError(
                f"the ledger {location} has lost its version, {about.name} is empty: restore a backup, or move it away "
                "to begin with an empty ledger"
            )
        return version
    return 1 if "attempts" in tables and db.dialect.name == "sqlite" else 0


def _add_missing_columns(db: sa.Connection) -> None:
    present = {column["name"] for column in sa.inspect(db).get_columns(attempts.name)}
    for column in attempts.columns:
        if column.name not in present:
            definition = CreateColumn(column).compile(dialect=db.dialect)
            db.exec_driver_sql(f"ALTER TABLE {attempts.name} ADD COLUMN {definition}")


def _move_rows_of_version_1(db: sa.Connection) -> None:
    names = ", ".join(column.sql_name for column in COLUMNS if column.since == 1)
    db.exec_driver_sql(f"INSERT INTO {attempts.name} ({names}) SELECT {names} FROM attempts ORDER BY rowid")  # noqa: S608 - constant names
    db.exec_driver_sql("DROP TABLE attempts")
    db.exec_driver_sql("PRAGMA user_version = 0")
