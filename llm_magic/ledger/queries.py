"""What the ledger asks of its database, built once: building a statement costs more than running it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from llm_magic.budget import Cap
from llm_magic.ledger import rows
from llm_magic.ledger.schema import attempts

_c = attempts.c

INSERT = attempts.insert()
SETTLE = attempts.update().where(_c.run_id == sa.bindparam("of_run"), _c.attempt == sa.bindparam("of_attempt"))
DROP = attempts.delete().where(_c.run_id == sa.bindparam("of_run"), _c.attempt == sa.bindparam("of_attempt"))
ALL = attempts.select().order_by(_c.id)
OF_RUN = ALL.where(_c.run_id == sa.bindparam("of_run"))
UNSETTLED = attempts.select().where(_c.lease_until.is_not(None))
RATE = attempts.update().where(_c.run_id == sa.bindparam("of_run"), _c.outcome.in_(("ok", "cached")))
STANDS = sa.select(sa.func.sum(_c.cost_pusd), sa.func.sum(_c.held_pusd)).where(
    _c.session_id == sa.bindparam("of_session")
)
"""What a session has spent, and what it holds."""
SAVED = sa.select(sa.func.sum(_c.baseline_pusd - _c.cost_pusd)).where(_c.session_id == sa.bindparam("of_session"))
"""What a session has saved against the baseline."""

_used = sa.select(sa.func.sum(_c.cost_pusd), sa.func.sum(_c.held_pusd))
_of_session = _used.where(_c.session_id == sa.bindparam("of_session"))
_listed = sa.literal(",") + _c.tags + ","
_USED = {
    "run": _used.where(_c.run_id == sa.bindparam("of_run")),
    "session": _of_session,
    "model": _of_session.where(_c.model == sa.bindparam("key")),
    "tag": _of_session.where(_listed.like(sa.literal("%,") + sa.bindparam("key", type_=sa.Text) + ",%", escape="\\")),
    "day": _used.where(_c.started_at_us >= sa.bindparam("since_us")),
    "month": _used.where(_c.started_at_us >= sa.bindparam("since_us")),
}


_HELD = {
    name: query.with_only_columns(_c.owner, _c.lease_until, _c.held_pusd).where(_c.lease_until.is_not(None))
    for name, query in _USED.items()
}


def used(cap: Cap) -> sa.Select[Any, Any]:
    """What is spent and what is held within a cap's scope: one row."""
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
        case "session":
            return {"of_session": session_id}
        case "model":
            return {"of_session": session_id, "key": cap.key}
        case "tag":
            key = cap.key.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            return {"of_session": session_id, "key": key}
        case "day":
            return {"since_us": rows.microseconds(since)}
        case "month":
            return {"since_us": rows.microseconds(since.replace(day=1))}


@cache
def columnar(dialect: str) -> sa.Select[*tuple[Any, ...]]:
    """Every row: its id, what describes it as one JSON text (few differ, so few are ever parsed), and its numbers."""
    pack = sa.func.json_array if dialect == "sqlite" else sa.func.json_build_array
    described: Any = pack(*(_c[name] for name in rows.DESCRIPTIONS))
    if dialect != "sqlite":
        described = sa.cast(described, sa.Text)
    return sa.select(_c.run_id, described, *(_c[name] for name in rows.NUMBERS)).order_by(_c.id)
