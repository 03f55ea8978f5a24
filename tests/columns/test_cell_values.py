"""Cells of any kind in the text of a row: attributes, keys, bytes, and cells without a text."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from llm_magic import Column, RequestError
from llm_magic.testing import Reply
from tests.support.builders import router, scripted

MAKERS = pytest.mark.parametrize("make", [list, iter], ids=["list", "stream"])


class Broken:
    def __str__(self) -> str:
        raise ValueError("no text today")

    @property
    def city(self) -> str:
        raise ValueError("no city today")


def echo(request: Any) -> Reply:
    return Reply(chunks=(f"<{request.messages[-1].content}>",))


def mapped(text: str, over: object, **options: Any) -> Column:
    return router(replies=echo).map_sync(text, over=over, into="topic", **options)


@MAKERS
@pytest.mark.parametrize(
    ("cell", "error"),
    [
        (Broken(), "a cell has no text: ValueError: no text today"),
        (object(), "a object has no text"),
        (b"\xff\xd8\xff\xe0", "4 bytes are not UTF-8 text"),
        ((word for word in ["a"]), "a generator has no text"),
    ],
    ids=["raises", "object", "bytes", "generator"],
)
def test_a_row_whose_cell_has_no_text_is_a_row_with_an_error(
    make: Callable[..., Any], cell: object, error: str
) -> None:
    done = mapped("{{value}}", make(["good", cell, "bad"]))
    frame = done.frame
    assert list(frame["route_outcome"]) == ["ok", "error", "ok"]
    assert list(frame["topic"].dropna()) == ["<good>", "<bad>"]
    assert error in frame["route_error"].iloc[1]
    assert len(done.errors) == 1
    assert done.retry_failed().report().outcomes == {"ok": 2, "error": 1}


@MAKERS
def test_rows_without_a_text_below_the_instruction_are_rows_with_an_error(make: Callable[..., Any]) -> None:
    assert list(mapped("Topic?", make(["good", object()])).frame["route_outcome"]) == ["ok", "error"]


def test_a_column_of_rows_without_a_text_sends_nothing() -> None:
    ours = router(replies=echo)
    assert ours.map_sync("{{value}}", over=[Broken(), Broken()]).report().outcomes == {"error": 2}
    assert scripted(ours).requests == []
    assert ours.plan_map("{{value}}", over=[Broken(), "good"]).rows == 2


@MAKERS
def test_a_row_without_an_attribute_that_the_others_have_is_a_row_with_an_error(make: Callable[..., Any]) -> None:
    cells = [SimpleNamespace(city="Rome"), 7, Broken(), SimpleNamespace(city=None), SimpleNamespace(city="Oslo")]
    frame = mapped("{{value.city}}", make(cells)).frame
    assert list(frame["topic"].dropna()) == ["<Rome>", "<Oslo>"]
    assert list(frame["route_outcome"]) == ["ok", "error", "error", "missing", "ok"]
    assert frame["route_error"].iloc[1] == "{{value.city}} in the text: a int has no attribute 'city'"


@MAKERS
def test_private_attributes_are_not_read(make: Callable[..., Any]) -> None:
    assert list(mapped("{{value.__class__}}", make([7])).frame["route_outcome"]) == ["error"]


@pytest.mark.parametrize(
    "make",
    [list, iter, pd.DataFrame, pl.DataFrame, lambda rows: pl.DataFrame(rows).to_arrow()],
    ids=["list", "stream", "pandas", "polars", "arrow"],
)
def test_keys_of_nested_cells_can_be_mentioned(make: Callable[..., Any]) -> None:
    rows = [{"place": {"city": "Rome", "in": {"land": "Italy"}}}, {"place": {"city": None, "in": None}}]
    done = mapped("{{place.city}}, {{place.in.land}}", make(rows))
    assert next(str(answer) for answer in done.frame["topic"]) == "<Rome, Italy>"
    assert done.report().outcomes == {"ok": 1, "missing": 1}
    asked = mapped("{{place.city}}, {{place.in.land}}", make(rows), missing="ask")
    assert str(list(asked.frame["topic"])[1]) == "<, >"


@MAKERS
def test_bytes_of_text_are_sent_as_text(make: Callable[..., Any]) -> None:
    cells = [b"caf\xc3\xa9", bytearray(b"tea"), "<a at 0x1F>"]
    assert list(mapped("{{value}}", make(cells)).frame["topic"]) == ["<café>", "<tea>", "<<a at 0x1F>>"]


def test_cells_of_a_stream_that_json_cannot_have_are_kept_as_their_texts() -> None:
    loop: list[Any] = []
    loop.append(loop)
    frame = mapped("Topic?", iter([{"cell": {(1, 2): "a"}}, {"cell": loop}, {"cell": {1, 2}}])).frame
    assert list(frame["cell"]) == ["{(1, 2): 'a'}", "[[...]]", "{1, 2}"]


def test_fields_of_a_structured_array_are_cells() -> None:
    rows = np.array([(5, "good"), (1, "bad")], dtype=[("stars", "i4"), ("text", "U4")])
    assert list(mapped("{{text}} {{stars}}", rows).frame["topic"]) == ["<good 5>", "<bad 1>"]


@pytest.mark.parametrize(
    "groups",
    [
        lambda frame: frame.groupby("stars"),
        lambda frame: frame.groupby("stars")["text"],
        lambda frame: frame.rolling(2),
        lambda frame: pl.from_pandas(frame).group_by("stars"),
    ],
    ids=["groups", "groups of a column", "windows", "polars"],
)
def test_groups_of_rows_are_an_error(groups: Callable[[pd.DataFrame], object]) -> None:
    frame = pd.DataFrame({"text": ["good", "bad"], "stars": [5, 1]})
    with pytest.raises(RequestError, match="aggregate them to a table first"):
        mapped("{{text}}", groups(frame))
