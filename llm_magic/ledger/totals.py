"""Totals by session, model, tag and day, so that a check of a cap takes as long in a long session as in a new one.

Triggers in the database add every inserted, changed or deleted row in the same transaction, by any program, so the
totals and the rows can't disagree. The total of a day counts all sessions; a month is the sum of its days.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from llm_magic.ledger.schema import attempts, totals

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONEY = ("cost_pusd", "held_pusd", "baseline_pusd")
_SCOPED = ("session_id", "model", "tags", "started_at_us")
"""Columns that decide in which totals a row counts."""
_TAGS = {
    "sqlite": """json_each('[' || replace(json_quote({row}.tags), ',', '","') || ']')""",
    "postgresql": "unnest(string_to_array({row}.tags, ',')) AS value",
}
_DAY = {
    "sqlite": "date({row}.started_at_us / 1000000, 'unixepoch')",
    "postgresql": "to_char(to_timestamp({row}.started_at_us / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
}


def day_of(moment: datetime) -> str:
    """Return the name of a day's total (UTC)."""
    return moment.astimezone(UTC).date().isoformat()


def create(db: sa.Connection) -> None:
    """Add up the rows that are there, and create the triggers that keep the totals from then on."""
    sums: defaultdict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in db.execute(sa.select(*(attempts.c[name] for name in (*_SCOPED, *_MONEY)))).mappings():
        session, model, tags = row["session_id"], row["model"], row["tags"]
        day = (_EPOCH + timedelta(microseconds=row["started_at_us"])).isoformat()[:10]
        names = {(session, "session", ""), (session, "model", model), ("", "day", day)}
        for key in names | {(session, "tag", tag) for tag in tags.split(",") if tag}:
            sums[key] = [total + row[name] for total, name in zip(sums[key], _MONEY, strict=True)]
    db.execute(totals.delete())
    columns = [column.name for column in totals.columns]
    if sums:
        db.execute(totals.insert(), [dict(zip(columns, (*key, *sums[key]), strict=True)) for key in sums])
    for statement in _triggers(db.dialect.name):
        db.exec_driver_sql(statement)


def _triggers(dialect: str) -> list[str]:
    new, old = (f"NEW.{name}" for name in _MONEY), (f"-OLD.{name}" for name in _MONEY)
    added, added_tags = _add(dialect, "NEW", *new)
    taken, taken_tags = _add(dialect, "OLD", *old)
    if dialect == "postgresql":
        return [
            "CREATE OR REPLACE FUNCTION llm_magic_total() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF TG_OP <> 'INSERT' THEN {taken}{taken_tags} END IF; "
            f"IF TG_OP <> 'DELETE' THEN {added}{added_tags} END IF; RETURN NULL; END $$",
            f"DROP TRIGGER IF EXISTS llm_magic_total ON {attempts.name}",
            f"CREATE TRIGGER llm_magic_total AFTER INSERT OR UPDATE OR DELETE ON {attempts.name} "
            "FOR EACH ROW EXECUTE FUNCTION llm_magic_total()",
        ]
    changed, changed_tags = _add(dialect, "NEW", *(f"NEW.{name} - OLD.{name}" for name in _MONEY))
    moves = " OR ".join(f"NEW.{name} IS NOT OLD.{name}" for name in _SCOPED)
    change, move = f"UPDATE OF {', '.join(_MONEY)}", f"UPDATE OF {', '.join(_SCOPED)}"
    # Most rows have no tags: splitting them takes a tenth of the time of a hold.
    events = {
        "insert": ("INSERT", "", added),
        "insert_tags": ("INSERT", "WHEN NEW.tags <> ''", added_tags),
        "delete": ("DELETE", "", taken),
        "delete_tags": ("DELETE", "WHEN OLD.tags <> ''", taken_tags),
        "change": (change, f"WHEN NOT ({moves})", changed),
        "change_tags": (change, f"WHEN NEW.tags <> '' AND NOT ({moves})", changed_tags),
        "move": (move, f"WHEN {moves}", taken + taken_tags + added + added_tags),
    }
    return [f"DROP TRIGGER IF EXISTS llm_magic_total_{name}" for name in events] + [
        f"CREATE TRIGGER llm_magic_total_{name} AFTER {event} ON {attempts.name} {when} BEGIN {body} END"
        for name, (event, when, body) in events.items()
    ]


def _add(dialect: str, row: str, *money: str) -> tuple[str, str]:
    """Return statements that add these amounts to the totals in which a row counts: all but its tags, and its tags."""
    amounts = ", ".join(money)
    tags = f"SELECT DISTINCT {row}.session_id, 'tag', value, {amounts} FROM {_TAGS[dialect].format(row=row)}"  # noqa: S608 - constant names
    sources = (
        f"VALUES ({row}.session_id, 'session', '', {amounts})",
        f"VALUES ({row}.session_id, 'model', {row}.model, {amounts})",
        f"VALUES ('', 'day', {_DAY[dialect].format(row=row)}, {amounts})",
    )
    sums = ", ".join(f"{name} = {totals.name}.{name} + excluded.{name}" for name in _MONEY)
    *statements, of_tags = (
        f"INSERT INTO {totals.name} {source} ON CONFLICT (session_id, scope, name) DO UPDATE SET {sums}; "
        for source in (*sources, f"{tags} WHERE {row}.tags <> ''")
    )
    return "".join(statements), of_tags
