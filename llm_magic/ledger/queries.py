"""What the ledger asks of its database, built once: building a statement costs more than running it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from llm_magic.budget import Cap
from llm_magic.ledger.columns import to_microseconds
from llm_magic.ledger.dataframe import REPEATING, VARYING
from llm_magic.ledger.schema import attempts, totals
from llm_magic.ledger.totals import day_of
from llm_magic.types import Attempt

_c = attempts.c

INSERT = attempts.insert()
SETTLE = attempts.update().where(_c.run_id == sa.bindparam("of_run"), _c.attempt == sa.bindparam("of_attempt"))
DROP = attempts.delete().where(_c.run_id == sa.bindparam("of_run"), _c.attempt == sa.bindparam("of_attempt"))
ALL = attempts.select().order_by(_c.id)
OF_RUN = ALL.where(_c.run_id == sa.bindparam("of_run"))
UNSETTLED = attempts.select().where(_c.lease_until.is_not(None))
RATE = attempts.update().where(_c.run_id == sa.bindparam("of_run"), _c.outcome.in_(("ok", "cached")))

_t = totals.c
_named = sa.select(_t.cost_pusd, _t.held_pusd).where(
    _t.session_id == sa.bindparam("of_session"), _t.scope == sa.bindparam("scope"), _t.name == sa.bindparam("key")
)
_since = sa.select(sa.func.sum(_t.cost_pusd), sa.func.sum(_t.held_pusd)).where(
    _t.session_id == "", _t.scope == "day", _t.name >= sa.bindparam("since")
)
STANDS = sa.select(_t.cost_pusd, _t.held_pusd, _t.baseline_pusd).where(
    _t.session_id == sa.bindparam("of_session"), _t.scope == "session", _t.name == ""
)
"""What a session has spent, what it holds, and what its answers would have cost on the baseline."""

_of_run = _c.run_id == sa.bindparam("of_run")
_of_session = _c.session_id == sa.bindparam("of_session")
_tagged = (sa.literal(",") + _c.tags + ",").like(
    sa.literal("%,") + sa.bindparam("like", type_=sa.Text) + ",%", escape="\\"
)
_of_time = _c.started_at_us >= sa.bindparam("since_us")
_USED = {
    "run": sa.select(sa.func.sum(_c.cost_pusd), sa.func.sum(_c.held_pusd)).where(_of_run),
    "session": _named,
    "model": _named,
    "tag": _named,
    "day": _since,
    "month": _since,
}
_HELD = {
    scope: sa.select(_c.owner, _c.lease_until, _c.held_pusd).where(_c.lease_until.is_not(None), *within)
    for scope, within in {
        "run": (_of_run,),
        "session": (_of_session,),
        "model": (_of_session, _c.model == sa.bindparam("key")),
        "tag": (_of_session, _tagged),
        "day": (_of_time,),
        "month": (_of_time,),
    }.items()
}


def key(attempt: Attempt) -> dict[str, Any]:
    """Which row `SETTLE` and `DROP` are for."""
    return {"of_run": attempt.run_id, "of_attempt": attempt.attempt}


def used(cap: Cap) -> sa.Select[Any, Any]:
    """What is spent and what is held within a cap's scope: one row, or none."""
    return _USED[cap.scope]


def held(cap: Cap) -> sa.Select[Any, Any, Any]:
    """The holds within a cap's scope."""
    return _HELD[cap.scope]


def scope(cap: Cap, *, session_id: str, run_id: str, now: datetime) -> dict[str, Any]:
    """The parameters of both."""
    since = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    match cap.scope:
        case "run":
            return {"of_run": run_id}
        case "session" | "model" | "tag":
            like = cap.key.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            return {"of_session": session_id, "scope": cap.scope, "key": cap.key, "like": like}
        case "day" | "month":
            since = since.replace(day=1) if cap.scope == "month" else since
            return {"since": day_of(since), "since_us": to_microseconds(since)}


@cache
def columnar(dialect: str) -> sa.Select[*tuple[Any, ...]]:
    """Select every row: its id, its repeating columns as one JSON text (few differ, so few are parsed), its numbers."""
    pack = sa.func.json_array if dialect == "sqlite" else sa.func.json_build_array
    repeating: Any = pack(*(_c[column.sql_name] for column in REPEATING))
    if dialect != "sqlite":
        repeating = sa.cast(repeating, sa.Text)
    return sa.select(_c.run_id, repeating, *(_c[column.sql_name] for column in VARYING)).order_by(_c.id)
