"""The statements on the table of attempts. They are built once: building one takes longer than running it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from llm_magic.budget import Cap
from llm_magic.ledger.columns import COLUMNS, to_microseconds
from llm_magic.ledger.dataframe import REPEATING, VARYING
from llm_magic.ledger.own_rows import OwnRows
from llm_magic.ledger.schema import about, attempts, totals
from llm_magic.ledger.state import State
from llm_magic.ledger.totals import day_of
from llm_magic.types import Attempt, CostBasis, Outcome

_c = attempts.c

INSERT = attempts.insert()
SETTLE = attempts.update().where(_c.run_id == sa.bindparam("run"), _c.attempt == sa.bindparam("number"))
DELETE = attempts.delete().where(_c.run_id == sa.bindparam("run"), _c.attempt == sa.bindparam("number"))
_last = attempts.alias("last")
_own_session = (
    sa.select(totals.c.cost_pusd)
    .where(totals.c.session_id == sa.bindparam("own_session"), totals.c.scope == "session", totals.c.name == "")
    .scalar_subquery()
)
_has_last = sa.exists().where(
    _last.c.run_id == sa.bindparam("last_run"),
    _last.c.attempt == sa.bindparam("last_number"),
    _last.c.lease_until.is_(None),
)
_has_own_rows = sa.and_(_has_last, _own_session >= sa.bindparam("own_pusd"))
_is_known = about.c.ledger_id == sa.bindparam("known_id")
_has_none = sa.bindparam("last_run", type_=sa.Text) == ""
STATE = sa.select(about.c.ledger_id, about.c.generation, _has_own_rows)
"""Id and generation of the ledger; and whether the row that a process settled last is in it, and all that it spent."""
ADVANCE_IF = (
    about.update()
    .where(about.c.generation == sa.bindparam("known"), _is_known, sa.or_(_has_none, _has_own_rows))
    .values(generation=about.c.generation + 1)
)
"""Count a hold, if the ledger is in the state in which this process saw it last."""
SETTLE_IF = SETTLE.where(
    sa.exists().where(about.c.generation >= sa.bindparam("known"), _is_known, sa.or_(_has_none, _has_last))
)
"""Settle a row, if the ledger was not restored to an earlier state."""
SET_GENERATION = about.update().values(generation=sa.bindparam("number"))
_IDENTITY = frozenset({"run_id", "attempt", "session_id"})
_SETTLED = (
    *(column.sql_name for column in COLUMNS if column.path is not None and column.sql_name not in _IDENTITY),
    "held_pusd",
    "lease_until",
)
_settled_values = itemgetter(*_SETTLED)
LEASES = sa.select(_c.run_id, _c.attempt, _c.lease_until).where(_c.run_id.in_(sa.bindparam("runs", expanding=True)))
RENEW = (
    attempts.update()
    .where(_c.owner == sa.bindparam("holder"), _c.lease_until.is_not(None))
    .values(lease_until=sa.bindparam("until"))
)
ALL = attempts.select().order_by(_c.id)
ONE_RUN = ALL.where(_c.run_id == sa.bindparam("run"))
UNSETTLED = attempts.select().where(_c.lease_until.is_not(None))
_ANSWERS = [outcome.value for outcome in Outcome if outcome.is_answer]
RATE = attempts.update().where(_c.run_id == sa.bindparam("run"), _c.outcome.in_(_ANSWERS))

_LATEST_ROWS = 5_000
PACE = (
    sa.select(_c.output_tokens, _c.reasoning_tokens, _c.ttft_s, _c.latency_s)
    .where(
        _c.id > sa.select(sa.func.max(_c.id)).scalar_subquery() - _LATEST_ROWS,
        _c.model == sa.bindparam("of_model"),
        _c.outcome == Outcome.OK.value,
        _c.cost_basis == CostBasis.REPORTED.value,
        _c.output_tokens >= 50,
        _c.latency_s > 0,
    )
    .order_by(_c.id.desc())
    .limit(50)
)
"""Tokens and seconds of a model's latest answers, for its pace."""

LENGTHS = (
    sa.select(_c.id, _c.run_id, _c.attempt, _c.model, _c.effort, _c.tier, _c.output_tokens, _c.reasoning_tokens)
    .where(
        _c.id > sa.bindparam("after"),
        _c.id > sa.select(sa.func.max(_c.id)).scalar_subquery() - _LATEST_ROWS,
        _c.outcome.in_(sa.bindparam("outcomes", expanding=True)),
        _c.cost_basis == CostBasis.REPORTED.value,
        _c.output_tokens > 0,
    )
    .order_by(_c.id)
)
"""The latest answers with their model, effort, tier and tokens, the newest last."""

_t = totals.c
_named = sa.select(_t.cost_pusd, _t.held_pusd).where(
    _t.session_id == sa.bindparam("session"), _t.scope == sa.bindparam("scope"), _t.name == sa.bindparam("key")
)
_since = sa.select(sa.func.sum(_t.cost_pusd), sa.func.sum(_t.held_pusd)).where(
    _t.session_id == "", _t.scope == "day", _t.name >= sa.bindparam("since"), _t.name <= sa.bindparam("until")
)
SESSION_TOTALS = sa.select(_t.cost_pusd, _t.held_pusd, _t.baseline_pusd).where(
    _t.session_id == sa.bindparam("session"), _t.scope == "session", _t.name == ""
)
"""Cost, held money and baseline of a session."""

_in_run = _c.run_id == sa.bindparam("run")
_in_session = _c.session_id == sa.bindparam("session")
_tagged = (sa.literal(",") + _c.tags + ",").like(
    sa.literal("%,") + sa.bindparam("like", type_=sa.Text) + ",%", escape="\\"
)
_in_period = sa.and_(_c.started_at_us >= sa.bindparam("since_us"), _c.started_at_us < sa.bindparam("end_us"))
_USED = {
    "run": sa.select(sa.func.sum(_c.cost_pusd), sa.func.sum(_c.held_pusd)).where(_in_run),
    "session": _named,
    "model": _named,
    "tag": _named,
    "shadow": _named,
    "column": _named,
    "day": _since,
    "month": _since,
}
_HELD = {
    scope: sa.select(_c.owner, _c.lease_until, _c.held_pusd).where(_c.lease_until.is_not(None), *within)
    for scope, within in {
        "run": (_in_run,),
        "session": (_in_session,),
        "model": (_in_session, _c.model == sa.bindparam("key")),
        "tag": (_in_session, _tagged),
        "column": (_in_session, _tagged),
        "shadow": (_in_session, _tagged),
        "day": (_in_period,),
        "month": (_in_period,),
    }.items()
}


def key(attempt: Attempt) -> dict[str, Any]:
    """Return the parameters of DELETE that select the row of an attempt."""
    return {"run": attempt.run_id, "number": attempt.attempt}


def settlement(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of SETTLE and SETTLE_IF: the columns that a settlement can change, and the row's key.

    SQLite rewrites the entries of an index for each of its columns that is set, to the same value too.
    """
    return {**dict(zip(_SETTLED, _settled_values(row), strict=True)), "run": row["run_id"], "number": row["attempt"]}


def own(rows: OwnRows) -> dict[str, Any]:
    """Return the parameters of STATE."""
    run_id, number = rows.last
    spent_pusd = rows.spent_pusd[rows.last_session]
    return {"last_run": run_id, "last_number": number, "own_session": rows.last_session, "own_pusd": spent_pusd}


def expected(state: State, rows: OwnRows) -> dict[str, Any]:
    """Return the parameters of ADVANCE_IF and SETTLE_IF."""
    return own(rows) | {"known": state.generation, "known_id": state.ledger_id}


def used(cap: Cap) -> sa.Select[Any, Any]:
    """Select what is spent and held within a cap's scope: one row, or none."""
    return _USED[cap.scope]


def held(cap: Cap) -> sa.Select[Any, Any, Any]:
    """Select the holds within a cap's scope."""
    return _HELD[cap.scope]


def scope(cap: Cap, *, session_id: str, run_id: str, now: datetime) -> dict[str, Any]:
    """Return the parameters of `used` and `held`.

    A day's or month's cap counts rows that are dated up to tomorrow, so a clock that goes back across midnight frees
    nothing. Rows that are dated later were written while a clock was wrong.
    """
    match cap.scope:
        case "run":
            return {"run": run_id}
        case "session" | "model" | "tag" | "column" | "shadow":
            like = cap.key.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            counted = "tag" if cap.scope in ("column", "shadow") else cap.scope
            return {"session": session_id, "scope": counted, "key": cap.key, "like": like}
        case "day" | "month":
            period = cap.period(now)
            assert period is not None
            today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            return {
                "since": day_of(period[0]),
                "until": day_of(today + timedelta(days=1)),
                "since_us": to_microseconds(period[0]),
                "end_us": to_microseconds(today + timedelta(days=2)),
            }


@cache
def columnar(dialect: str) -> sa.Select[*tuple[Any, ...]]:
    """Select every row: its id, its repeating columns as one JSON text (few differ, so few are parsed), its numbers."""
    pack = sa.func.json_array if dialect == "sqlite" else sa.func.json_build_array
    repeating: Any = pack(*(_c[column.sql_name] for column in REPEATING))
    if dialect != "sqlite":
        repeating = sa.cast(repeating, sa.Text)
    return sa.select(_c.run_id, repeating, *(_c[column.sql_name] for column in VARYING)).order_by(_c.id)
