"""Columns of several kernels that share a ledger, in a file and on a PostgreSQL server."""

from __future__ import annotations

import gc
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llm_magic import BadRequest, Ledger, Router
from llm_magic.columns import files
from llm_magic.providers.base import ProviderRequest
from llm_magic.testing import Failure, Reply
from llm_magic.types import Usage
from tests.support.builders import model, router, scripted

ROW_USD = Decimal("0.00006")
TEXT = "Topic? {{value}}"

pytestmark = pytest.mark.parametrize("location", ["file", "postgresql"], indirect=True)


def short(request: ProviderRequest) -> Reply:
    return Reply(chunks=("fine",), usage=Usage(input_tokens=60, output_tokens=12))


def rows(count: int) -> list[str]:
    return [f"review number {number}" for number in range(count)]


def kernel(location: str, replies: object = short) -> Router:
    return router(model("only", price="0.5/2.5"), replies=replies, ledger=Ledger(location))


def asked(*routers: Router) -> Counter[str]:
    return Counter(request.messages[-1].content for one in routers for request in scripted(one).requests)


def test_a_column_stops_at_a_cap_for_half_of_its_rows_and_another_kernel_resumes_it(location: str) -> None:
    first, count = kernel(location), 100
    cap = ROW_USD * (count // 2)
    stopped = first.map_sync(TEXT, over=rows(count), max_cost=cap)
    assert Decimal("0.95") * cap <= first.ledger.spent_usd <= cap
    assert first.ledger.held_usd == 0
    answered = stopped.report().answered
    assert len(stopped.errors) == count - answered

    second = kernel(location)
    plan = second.plan_map(TEXT, over=rows(count))
    assert (plan.answered, plan.to_ask) == (answered, count - answered)
    done = second.map_sync(TEXT, over=rows(count))
    assert done.report().is_whole
    assert done.cost_usd == ROW_USD * (count - answered)
    assert asked(first, second) == Counter(dict.fromkeys(asked(first, second), 1))
    assert second.column_store.count() == count
    assert len(done.frame) == count
    assert second.column_store.count() == 0


def test_two_kernels_that_run_a_column_at_once_pay_once_for_each_row(location: str) -> None:
    kernels = [kernel(location), kernel(location)]

    columns = [one.map(TEXT, over=rows(80), pilot=5).start() for one in kernels]
    assert [column.wait().report().is_whole for column in columns] == [True, True]
    counts = asked(*kernels)
    assert (len(counts), max(counts.values())) == (80, 1)
    assert sum(one.ledger.spent_usd for one in kernels) == ROW_USD * 80


def test_a_stream_retries_its_failed_rows_and_resumes(location: str) -> None:
    fails = True

    def reply(request: ProviderRequest) -> Reply | Failure:
        return (
            Failure(error=BadRequest("HTTP 400: no"))
            if fails and request.messages[-1].content.endswith("7")
            else short(request)
        )

    first = kernel(location, reply)
    done = first.map_sync(TEXT, over=iter(rows(60)))
    assert list(done.errors.index) == [7, 17, 27, 37, 47, 57]
    fails = False
    assert done.retry_failed().report().is_whole
    second = kernel(location)
    again = second.map_sync(TEXT, over=iter(rows(70)))
    assert again.frame["answer"].tolist() == ["fine"] * 70
    assert len(scripted(second).requests) == 10


@pytest.mark.parametrize("kind", ["stream", "file"])
def test_answers_stay_until_no_result_needs_them(location: str, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "in.csv"
    path.write_text("value\n" + "\n".join(rows(10)))

    def over() -> Any:
        return iter(rows(10)) if kind == "stream" else files.read(path)

    first, second = kernel(location), kernel(location)
    done = first.map_sync(TEXT, over=over())
    assert len(second.map_sync(TEXT, over=over()).frame) == 10
    gc.collect()
    second.map_sync(TEXT, over=rows(10)).frame  # noqa: B018 - deletes the answers that no column needs
    assert list(done.frame["answer"]) == ["fine"] * 10
    del done
    gc.collect()
    assert first.column_store.count() == 0
    assert scripted(second).requests == []


@pytest.mark.parametrize("answer", ["a\x00b", "half of a pair: \ud83d", "\x01json:1"])
def test_answers_of_any_characters_are_kept(location: str, answer: str) -> None:
    def reply(request: ProviderRequest) -> Reply:
        return Reply(chunks=(answer,), usage=Usage(input_tokens=60, output_tokens=12))

    first = kernel(location, reply)
    texts = rows(5)
    frame = first.map_sync(TEXT, over=iter(texts), keep=1).frame
    assert first.map_sync(TEXT, over=texts).frame["answer"].tolist() == frame["answer"].tolist()
    assert len(scripted(first).requests) == 5
