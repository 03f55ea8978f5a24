"""The totals that caps are checked against are the sums of the rows, whoever has changed the rows."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llm_magic import Ledger
from llm_magic.budget import Cap
from llm_magic.ledger.schema import attempts, totals
from llm_magic.types import Attempt
from tests.support.builders import NOON, attempt, replaced
from tests.support.fuzzing import examples

MONEY = ("cost_pusd", "held_pusd", "baseline_pusd")
TAGS = st.lists(st.sampled_from(["a", "b", 'say "x"', "back\\slash", "größe", "it's", "%", "_"]), max_size=3).map(tuple)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["hold", "reserve", "settle", "release", "record", "again", "delete", "edit"]),
        st.integers(0, 30),
        st.sampled_from(["cheap", "strong"]),
        TAGS,
        st.integers(-60, 60).map(lambda hours: NOON + timedelta(hours=hours)),
        st.decimals(0, 5, places=12),
    ),
    max_size=25,
)

DELETED_AND_RESTORED = [("hold", 0), ("settle", 0), ("delete", 0), ("hold", 1), ("release", 0), ("settle", 0)]


def check(ledger: Ledger) -> None:
    """Every total against the sum of its rows, reckoned here."""
    sums: defaultdict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    with ledger.transactions.reading() as db:
        for row in db.execute(sa.select(attempts)).mappings():
            day = NOON.fromtimestamp(row["started_at_us"] / 1e6, tz=NOON.tzinfo).strftime("%Y-%m-%d")
            keys = {(row["session_id"], "session", ""), (row["session_id"], "model", row["model"]), ("", "day", day)}
            for key in keys | {(row["session_id"], "tag", tag) for tag in row["tags"].split(",") if tag}:
                sums[key] = [had + row[name] for had, name in zip(sums[key], MONEY, strict=True)]
        kept = {
            (row["session_id"], row["scope"], row["name"]): [row[name] for name in MONEY]
            for row in db.execute(sa.select(totals)).mappings()
        }
    assert {key: money for key, money in kept.items() if any(money)} == {
        key: money for key, money in sums.items() if any(money)
    }


def walk(ledger: Ledger, steps: list[tuple[str, int, str, tuple[str, ...], object, Decimal]]) -> None:
    # An id is never used again: a deleted row comes back with the next hold.
    rows: dict[int, Attempt] = {}
    for kind, number, model, tags, at, usd in steps:
        blank = attempt(run_id=f"r{number}", model=model, tags=tags, started_at=at, session_id=f"s{number % 2}")
        if kind in ("hold", "record", "reserve"):
            if number in rows:
                continue
            if kind == "hold":
                ledger.hold(blank, usd, ())
            elif kind == "reserve":
                blank = replaced(blank, attempt=0)
                ledger.reserve(blank, usd, ())
            else:
                ledger.record(replaced(blank, baseline_usd=usd))
            rows[number] = blank
        elif (had := rows.get(number)) is None:
            continue
        elif kind == "settle":
            ledger.settle(replaced(had, cost_usd=usd, baseline_usd=2 * usd))
        elif kind == "again":  # as when a model that served another name is known later
            rows[number] = replaced(had, model=model, tags=tags, started_at=at, cost_usd=usd)
            ledger.settle(rows[number])
        elif kind == "release":
            ledger.release(had)
        else:  # another program's hand in the ledger
            with ledger.transactions.writing() as db:
                of_run = attempts.c.run_id == had.run_id
                change = attempts.delete() if kind == "delete" else attempts.update().values(model="other", cost_pusd=7)
                db.execute(change.where(of_run))


@given(STEPS)
@example([(kind, number, "cheap", (), NOON, Decimal(1)) for kind, number in DELETED_AND_RESTORED])
@settings(max_examples=examples(60))
def test_totals_are_the_sums_of_the_rows(steps: list[tuple[str, int, str, tuple[str, ...], object, Decimal]]) -> None:
    ledger = Ledger(":memory:", session_id="s0")
    walk(ledger, steps)
    check(ledger)
    ledger.close()


@given(STEPS)
@settings(max_examples=examples(5), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_totals_are_the_sums_of_the_rows_in_each_kind_of_database(
    location: str, steps: list[tuple[str, int, str, tuple[str, ...], object, Decimal]]
) -> None:
    ledger = Ledger(location, session_id="s0")
    with ledger.transactions.writing() as db:
        db.execute(attempts.delete())
    walk(ledger, steps)
    check(ledger)
    ledger.close()


def test_totals_are_created_for_an_older_ledger(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    ledger = Ledger(path, session_id="session")
    for number, tags in enumerate([(), ("a",), ("a", "b"), ("a", "a")]):
        blank = attempt(run_id=str(number), tags=tags, started_at=NOON - timedelta(days=number))
        with ledger.hold(blank, Decimal(1), ()) as hold:
            hold.settle(replaced(blank, cost_usd=Decimal("0.1"), baseline_usd=Decimal("0.3")))
    ledger.close()
    with sqlite3.connect(path) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")]
        for name in names:
            db.execute(f"DROP TRIGGER {name}")
        db.executescript(
            "DROP TABLE llm_magic_totals; UPDATE llm_magic_about SET version = 4;"
            "CREATE INDEX llm_magic_of_session ON llm_magic_attempts (session_id, cost_pusd, held_pusd);"
        )
    db.close()
    assert names
    for nth in range(2):
        ledger = Ledger(path, session_id="session")
        check(ledger)
        assert (ledger.spent_usd, ledger.saved_usd) == (Decimal("0.4") + nth, Decimal("0.8") - nth)
        (room,) = ledger.headroom([Cap(scope="tag", limit_usd=Decimal(1), key="a")])
        assert room.left_usd == Decimal("0.7")
        ledger.record(attempt(run_id=f"later{nth}", cost_usd=Decimal(1)))
        check(ledger)
        ledger.close()


def test_a_hold_reads_no_more_rows_in_a_long_session() -> None:
    """The check of every cap but a run's looks up its total; a run's rows are found by its id."""
    from sqlalchemy.dialects import sqlite

    from llm_magic.ledger import queries

    ledger = Ledger(":memory:")
    with ledger.transactions.reading() as db:
        for scope in ("session", "model", "tag", "day", "month", "run"):
            query = queries.used(Cap(scope=scope, limit_usd=Decimal(1)))  # type: ignore[arg-type]
            text = str(query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": False}))
            compiled = query.compile(dialect=sqlite.dialect())
            plan = db.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {text}", tuple("x" for _ in compiled.positiontup or ())
            ).all()
            assert all(step[3].startswith("SEARCH") for step in plan), (scope, plan)


@pytest.mark.parametrize("scope", ["day", "month"])
def test_a_clock_that_goes_back_across_midnight_frees_nothing(scope: str) -> None:
    midnight = NOON.replace(hour=0) + timedelta(days=1)
    now = [midnight + timedelta(seconds=1)]
    ledger = Ledger(":memory:", session_id="session", clock=lambda: now[0].timestamp())
    late = attempt(run_id="late", started_at=now[0])
    ledger.hold(late, Decimal(1), ())
    now[0] = midnight - timedelta(seconds=1)
    (room,) = ledger.headroom([Cap(scope=scope, limit_usd=Decimal(1))])  # type: ignore[arg-type]
    assert room.left_usd == 0
