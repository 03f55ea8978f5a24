"""A PostgreSQL server that restarts: runs wait for it as for a lock."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from decimal import Decimal

import pytest

from llm_magic import Ledger, LedgerError
from llm_magic.execute import RetryPolicy
from llm_magic.testing import FakeClock
from tests.support import builders, postgres
from tests.support.builders import attempt, scripted
from tests.support.postgres import OwnServer

CENT = Decimal("0.01")
pytestmark = pytest.mark.database


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    if why := postgres.unusable():
        pytest.skip(why)
    server = OwnServer()
    yield server
    server.remove()


class RealSleeps(FakeClock):
    """A clock whose waits take their time."""

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        await asyncio.sleep(seconds)


def test_a_run_waits_until_the_server_is_back(server: OwnServer) -> None:
    ledger = Ledger(server.new_database(), session_id="session")
    router = builders.router(builders.model("only"), ledger=ledger, clock=RealSleeps())
    router.route_sync("hello")
    server.stop()
    back = threading.Timer(1.0, server.start)
    back.start()
    router.route_sync("hello again")
    back.join()
    assert len(ledger.rows()) == 2
    assert ledger.held_usd == 0
    ledger.close()


def test_opening_waits_until_the_server_is_back(server: OwnServer) -> None:
    address = server.new_database()
    server.stop()
    back = threading.Timer(0.5, server.start)
    back.start()
    ledger = Ledger(address, session_id="session")
    back.join()
    assert ledger.rows() == []
    ledger.close()


def test_nothing_is_sent_if_the_server_does_not_come_back_before_the_deadline(server: OwnServer) -> None:
    ledger = Ledger(server.new_database(), session_id="session")
    router = builders.router(
        builders.model("only"), ledger=ledger, clock=RealSleeps(), policy=RetryPolicy(deadline_s=1.0)
    )
    server.stop()
    with pytest.raises(LedgerError, match="can't be reached"):
        router.route_sync("hello")
    assert scripted(router).requests == []
    server.start()
    ledger.close()


def test_a_settlement_is_written_once_the_server_is_back(server: OwnServer) -> None:
    ledger = Ledger(server.new_database(), session_id="session")
    row = attempt(cost_usd=CENT)
    hold = ledger.hold(row, CENT, [])
    server.stop()
    with pytest.raises(LedgerError):
        hold.settle(row)
    server.start()
    until = time.monotonic() + 20
    while ledger.transactions.pending and time.monotonic() < until:
        time.sleep(0.05)
    assert (ledger.spent_usd, ledger.held_usd) == (CENT, 0)
    ledger.close()


def test_nothing_is_sent_if_the_server_has_lost_the_tables(server: OwnServer) -> None:
    import psycopg

    address = server.new_database()
    router = builders.router(ledger=Ledger(address, session_id="session"))
    with psycopg.connect(address) as db:
        db.execute("DROP TABLE llm_magic_attempts, llm_magic_about, llm_magic_totals CASCADE")
    with pytest.raises(LedgerError, match="has lost its tables, and nothing is sent without it: restore a backup"):
        router.route_sync("hello")
    assert scripted(router).requests == []
    router.ledger.close()
