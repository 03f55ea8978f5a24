"""Iterables without a length: slow ones, endless ones, and those that raise."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from llm_magic import Column, Router, ServerError
from llm_magic.testing import Failure, Reply
from tests.support.builders import model, router, scripted

ROWS = 30
"""More than a pilot has, and fewer than are claimed at once."""
KINDS = pytest.mark.parametrize("kind", ["iterable", "asynchronous iterable"])


def echo(request: Any) -> Reply:
    return Reply(chunks=(f"<{request.messages[-1].content}>",))


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def rows(kind: str, gate: threading.Event | None = None, error: Exception | None = None) -> Any:
    """Rows of which the last one comes only after the gate was opened, or instead of which an error comes."""

    def iterable() -> Iterator[str]:
        yield from (f"row {number}" for number in range(ROWS))
        if gate is not None:
            gate.wait(20)
            yield "last row"
        if error is not None:
            raise error

    async def asynchronous_iterable() -> AsyncIterator[str]:
        for number in range(ROWS):
            yield f"row {number}"
        while gate is not None and not gate.is_set():
            await asyncio.sleep(0.01)
        if gate is not None:
            yield "last row"
        if error is not None:
            raise error

    return iterable() if kind == "iterable" else asynchronous_iterable()


def ended_rows(column: Column, count: int) -> None:
    for _ in range(1_000):
        if column.progress.answered == count or column.join(0.01):
            return


def kept(ours: Router) -> int:
    return ours.map("{{value}}", over=[f"row {number}" for number in range(ROWS)]).plan.answered or 0


@KINDS
@pytest.mark.parametrize("pilot", [0, 20])
def test_rows_are_asked_and_stored_while_the_next_one_is_awaited(kind: str, pilot: int, gate: threading.Event) -> None:
    ours = router(replies=echo)
    column = ours.map("{{value}}", over=rows(kind, gate), pilot=pilot).start()
    ended_rows(column, ROWS)
    assert len(scripted(ours).requests) == ROWS
    column.join(0.05)
    assert kept(ours) == ROWS
    gate.set()
    assert column.wait().report().answered == ROWS + 1


@KINDS
def test_a_stop_does_not_wait_for_the_next_row(kind: str, gate: threading.Event) -> None:
    column = router(replies=echo).map("{{value}}", over=rows(kind, gate)).start()
    ended_rows(column, ROWS)
    column.cancel()
    assert column.join(5)
    assert not gate.is_set()
    assert len(column.frame) == ROWS
    assert "stopped by the user" in column.report().stopped


@KINDS
@pytest.mark.parametrize("pilot", [0, 20])
def test_rows_before_an_error_of_the_iterable_are_asked(kind: str, pilot: int) -> None:
    ours = router(replies=echo)
    column = ours.map("{{value}}", over=rows(kind, error=ValueError("the source broke")), pilot=pilot)
    with pytest.raises(ValueError, match="the source broke"):
        column.wait()
    assert list(column.frame["answer"]) == [f"<row {number}>" for number in range(ROWS)]
    assert kept(ours) == ROWS


def test_an_iterable_that_raises_at_once_is_an_error_before_anything_is_sent() -> None:
    ours = router(replies=echo)
    with pytest.raises(ZeroDivisionError):
        ours.map("{{value}}", over=(1 // number for number in range(3)))
    assert scripted(ours).requests == []


def test_failed_rows_of_a_stream_are_asked_again_with_the_same_text() -> None:
    ours = router(model("only"), replies=lambda request: Failure(error=ServerError("down")))
    done = ours.map_sync("{{value}}!", over=iter([b"good", {1: "bad"}, "good"]))
    sent = {request.messages[-1].content for request in scripted(ours).requests}
    assert done.report().outcomes == {"server_error": 3}
    scripted(ours).reply = echo
    assert sorted(done.retry_failed().frame["answer"]) == ["<good!>", "<good!>", "<{1: 'bad'}!>"]
    assert {request.messages[-1].content for request in scripted(ours).requests} == sent


def test_rows_that_an_earlier_version_stored_are_read() -> None:
    """It stored six facts of a row, and no text."""
    ours = router(model("only"), replies=lambda request: Failure(error=ServerError("down")))
    done = ours.map_sync("{{value}}!", over=iter(["good"]))
    with ours.ledger.transactions.writing() as db:
        assert db.exec_driver_sql("UPDATE llm_magic_column_rows SET about = json_remove(about, '$[6]')").rowcount == 1
    assert list(done.frame["answer"].isna()) == [True]
    assert done.retry_failed().report().outcomes == {"server_error": 1}
