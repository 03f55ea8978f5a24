"""Rows from every kind of table, list and iterable, and the table with its answers in the same kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from llm_magic import RequestError
from llm_magic.columns import Column
from llm_magic.columns.output import FACTS
from llm_magic.testing import Reply
from tests.support.builders import router, scripted


def echo(request: Any) -> Reply:
    return Reply(chunks=(f"<{request.messages[-1].content}>",))


def mapped(text: str, over: object, **given: Any) -> Column:
    return router(replies=echo).map_sync(text, over=over, into="topic", **given)


STARS = {"type": "object", "properties": {"stars": {"type": "integer"}}}
REVIEWS = pd.DataFrame({"text": ["good", "bad"], "stars": [5, 1]}, index=["a", "b"])


def test_the_cells_of_a_dataframe_are_put_into_the_text() -> None:
    frame = mapped("{{text}}: {{ stars }}", REVIEWS).frame
    assert list(frame["topic"]) == ["<good: 5>", "<bad: 1>"]
    assert list(frame.columns) == [
        "text", "stars", "topic",
        "route_model", "route_effort", "route_outcome", "route_error", "route_cost_usd", "route_run_id",
    ]  # fmt: skip


def test_index_types_and_order_of_the_input_stay() -> None:
    frame = mapped("{{text}}", REVIEWS).frame
    pd.testing.assert_frame_equal(frame[["text", "stars"]], REVIEWS)
    assert list(REVIEWS.columns) == ["text", "stars"]


@pytest.mark.parametrize(
    "index",
    [
        pd.Index(["a", "a"]),
        pd.MultiIndex.from_tuples([("x", 1), ("x", 1)], names=["letter", "number"]),
        pd.DatetimeIndex(["2026-01-02", "2026-01-01"]),
        pd.RangeIndex(7, 9),
    ],
    ids=["duplicates", "levels", "dates", "range"],
)
def test_any_index_is_kept(index: pd.Index) -> None:
    frame = mapped("{{text}}", REVIEWS.set_axis(index)).frame
    pd.testing.assert_index_equal(frame.index, index)
    assert list(frame["topic"]) == ["<good>", "<bad>"]


@pytest.mark.parametrize(
    ("name", "placeholder"),
    [
        ("name", "{{name}}"),
        ("first name", "{{first name}}"),
        (2021, "{{2021}}"),
        ("value", "{{value}}"),
        ("a.b", "{{a.b}}"),
    ],
)
def test_columns_of_any_name_can_be_mentioned(name: Any, placeholder: str) -> None:
    frame = pd.DataFrame({name: ["good"], "other": [1]})
    assert list(mapped(placeholder, frame).frame["topic"]) == ["<good>"]


def test_columns_with_levels_can_be_mentioned() -> None:
    frame = pd.DataFrame([["good", 5]], columns=pd.MultiIndex.from_tuples([("review", "text"), ("review", "stars")]))
    answered = mapped("{{review.text}}", frame).frame
    assert list(answered["topic"]) == ["<good>"]
    assert answered[("review", "stars")].tolist() == [5]


def test_a_name_of_two_columns_is_an_error_if_the_text_mentions_it() -> None:
    frame = pd.DataFrame([["first", "second", 5]], columns=["text", "text", "stars"])
    for text in ("{{text}}", "{{text.title}}"):
        with pytest.raises(RequestError, match="2 columns have this name: rename one of 'text'"):
            mapped(text, frame)
    answered = mapped("{{stars}}", frame).frame
    assert list(answered["topic"]) == ["<5>"]
    assert answered.shape == (1, 10)
    assert list(mapped("Topic?", frame).frame["topic"]) == ["<Topic?\n\ntext: first\ntext: second\nstars: 5>"]


def test_an_unknown_name_is_answered_with_the_columns_in_their_order() -> None:
    frame = pd.DataFrame([[1, 2, 3]], columns=["zeta", "beta", "alpha"])
    with pytest.raises(RequestError, match="the columns are zeta, beta, alpha"):
        mapped("{{unrelated}}", frame)


def test_attributes_of_a_cell_can_be_mentioned() -> None:
    frame = pd.DataFrame({"day": pd.to_datetime(["2026-03-04"])})
    assert list(mapped("{{day.year}}", frame).frame["topic"]) == ["<2026>"]


@pytest.mark.parametrize(
    "over",
    [
        ["good", "bad"],
        ("good", "bad"),
        pd.Series(["good", "bad"], name="review"),
        pd.Series(["good", "bad"]),
        pd.Index(["good", "bad"]),
        pa.array(["good", "bad"]),
        {"good": 1, "bad": 2}.keys(),
        (word for word in ["good", "bad"]),
        pd.Series(["good", "bad"], dtype="string"),
        pd.Series(["good", "bad"], dtype="category"),
    ],
    ids=lambda over: type(over).__name__,
)
def test_the_item_of_a_list_is_its_value(over: object) -> None:
    frame = mapped("{{value}}!", over).frame
    assert list(frame["topic"]) == ["<good!>", "<bad!>"]


def test_the_item_of_a_named_series_has_its_name_too() -> None:
    frame = mapped("{{review}} {{value}}", pd.Series(["good"], name="review", index=[7])).frame
    assert list(frame["topic"]) == ["<good good>"]
    assert frame["review"].to_dict() == {7: "good"}


@pytest.mark.parametrize(
    "over",
    [
        {"text": ["good", "bad"], "stars": [5, 1]},
        [{"text": "good", "stars": 5}, {"text": "bad", "stars": 1}],
        iter([{"text": "good", "stars": 5}, {"text": "bad", "stars": 1}]),
    ],
    ids=["lists", "records", "stream"],
)
def test_cells_of_records_have_names(over: object) -> None:
    frame = mapped("{{text}}{{stars}}", over).frame
    assert list(frame["topic"]) == ["<good5>", "<bad1>"]
    assert list(frame["text"]) == ["good", "bad"]


def test_an_arrow_table_comes_back_as_an_arrow_table() -> None:
    table = pa.table({"text": ["good", None, "bad"], "stars": pa.array([5, 4, 1], "int8")})
    done = mapped("{{text}}", table)
    assert isinstance(done.frame, pa.Table)
    assert done.frame.column("topic").to_pylist() == ["<good>", None, "<bad>"]
    assert done.frame.schema.field("stars").type == pa.int8()
    assert done.errors.column("stars").to_pylist() == [4]


@pytest.mark.parametrize("kind", ["polars", "arrow"])
def test_answers_in_other_tables_have_stable_types(kind: str) -> None:
    """Columns without a value, and tables without rows, have the types of others."""
    library: Any = pytest.importorskip("polars") if kind == "polars" else pa
    make = library.DataFrame if kind == "polars" else library.table
    tables = [mapped("{{text}}", make({"text": texts})).frame for texts in (["good"], [None])]
    types = [[str(tables[0][name].dtype if kind == "polars" else tables[0][name].type) for name in FACTS]]
    types += [[str(table[name].dtype if kind == "polars" else table[name].type) for name in FACTS] for table in tables]
    text, number = ("String", "Float64") if kind == "polars" else ("string", "double")
    assert types[0] == types[1] == types[2] == [number if name == "route_cost_usd" else text for name in FACTS]


def test_a_polars_table_comes_back_as_a_polars_table() -> None:
    pl: Any = pytest.importorskip("polars")
    table = pl.DataFrame({"text": ["good", None, "bad"], "mood": pl.Series(["x", "y", "x"], dtype=pl.Categorical)})
    done = mapped("{{text}}", table)
    assert isinstance(done.frame, pl.DataFrame)
    assert done.frame["topic"].to_list() == ["<good>", None, "<bad>"]
    assert done.frame.schema["mood"] == pl.Categorical
    assert done.errors["text"].to_list() == [None]


def test_nested_fields_of_other_tables_are_structs() -> None:
    schema = {
        "type": "object",
        "properties": {
            "place": {"type": "object", "properties": {"city": {"type": "string"}}},
            "stars": {"type": "integer"},
        },
    }
    reply = Reply(chunks=('{"place": {"city": "Rome"}, "stars": 4}',))
    done = router(replies=[reply]).map_sync("{{text}}", over=pa.table({"text": ["x", None]}), schema=schema)
    assert done.frame.column("place").to_pylist() == [{"city": "Rome"}, None]
    assert done.frame.schema.field("stars").type == pa.int64()


def test_a_reader_of_arrow_batches_comes_back_as_a_table() -> None:
    done = mapped("{{text}}", pa.table({"text": ["good", "bad"]}).to_reader())
    assert done.frame.column("topic").to_pylist() == ["<good>", "<bad>"]


async def _later(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        await asyncio.sleep(0)
        yield item


@pytest.mark.parametrize("items", [["good", "bad"], [{"value": "good"}, {"value": "bad"}]])
def test_an_asynchronous_iterable_is_read_as_a_stream(items: list[Any]) -> None:
    assert list(mapped("{{value}}", _later(items)).frame["topic"]) == ["<good>", "<bad>"]


async def test_an_asynchronous_iterable_can_be_mapped_in_async_code() -> None:
    done = await router(replies=echo).map("{{value}}", over=_later(["good", "bad"]), into="topic")
    assert list(done.frame["topic"]) == ["<good>", "<bad>"]


class Interchange:
    """A table of another library, which offers the dataframe interchange protocol only."""

    def __dataframe__(self, nan_as_null: bool = False, allow_copy: bool = True) -> object:
        return pa.table({"text": ["good", "bad"]}).__dataframe__(nan_as_null, allow_copy)


class ArrowStream:
    """A table of another library, which offers an Arrow stream only."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.table({"text": ["good", "bad"]}).__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize("over", [Interchange(), ArrowStream()])
def test_tables_of_other_libraries_are_read_by_their_protocols(over: object) -> None:
    assert list(mapped("{{text}}", over).frame["topic"]) == ["<good>", "<bad>"]


def test_a_text_without_cells_gets_the_value_below_it() -> None:
    assert list(mapped("Which topic?", ["good"]).frame["topic"]) == ["<Which topic?\n\ngood>"]


def test_a_text_without_cells_gets_the_named_cells_of_a_row_below_it() -> None:
    assert list(mapped("Which topic?", REVIEWS[:1]).frame["topic"]) == ["<Which topic?\n\ntext: good\nstars: 5>"]


@pytest.mark.parametrize("gap", [None, float("nan"), pd.NA, pd.NaT])
@pytest.mark.parametrize("make", [list, iter], ids=["list", "stream"])
def test_rows_without_a_value_are_skipped_and_counted(make: Any, gap: object) -> None:
    done = mapped("{{value}}", make(["good", gap]))
    assert list(done.frame["route_outcome"]) == ["ok", "missing"]
    assert done.frame["topic"].isna().tolist() == [False, True]
    assert done.report().outcomes == {"ok": 1, "missing": 1}
    assert "1 missing" in str(done.report())


def test_rows_without_a_value_are_asked_with_an_empty_text_on_request() -> None:
    frame = mapped("{{text}}: {{stars}}", pd.DataFrame({"text": ["good"], "stars": [None]}), missing="ask").frame
    assert list(frame["topic"]) == ["<good: >"]


def test_only_the_mentioned_cells_must_have_a_value() -> None:
    assert list(mapped("{{text}}", pd.DataFrame({"text": ["good"], "stars": [None]})).frame["topic"]) == ["<good>"]


@pytest.mark.parametrize("make", [list, iter], ids=["list", "stream"])
def test_equal_rows_are_asked_once(make: Any) -> None:
    ours = router(replies=echo)
    done = ours.map_sync("{{value}}", over=make(["good", "bad", "good", "good"]))
    assert len(scripted(ours).requests) == 2
    assert list(done.frame["answer"]) == ["<good>", "<bad>", "<good>", "<good>"]
    assert done.frame["route_run_id"].nunique() == 2
    assert done.frame["route_cost_usd"].sum() == pytest.approx(float(done.cost_usd))
    assert done.cost_usd == ours.ledger.spent_usd


@pytest.mark.parametrize("over", [[], pd.DataFrame({"text": []}), iter(())], ids=["list", "frame", "stream"])
def test_a_table_without_rows_gets_empty_columns(over: object) -> None:
    done = mapped("Which topic?", over)
    assert len(done.frame) == 0
    assert "topic" in done.frame.columns
    assert done.report().rows == 0


@pytest.mark.parametrize("over", ["text", b"bytes", 7, None, pd.DataFrame, np.array(3)])
def test_a_value_without_rows_is_an_error(over: object) -> None:
    with pytest.raises(RequestError, match="a column needs a DataFrame"):
        mapped("{{value}}", over)


@pytest.mark.parametrize("columns", [{"a": [1, 2], "b": [1]}, {"a": "text"}, {"a": {"b": 1}}, {"a": [1], "b": 1}])
def test_a_dict_of_anything_but_lists_of_one_length_is_an_error(columns: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="lists of the same length"):
        mapped("{{a}}", columns)


def test_an_unknown_name_is_an_error_that_suggests_a_column() -> None:
    with pytest.raises(RequestError, match=r"no column 'txt' exists; did you mean \{\{text\}\}"):
        mapped("{{txt}}", REVIEWS)


@pytest.mark.parametrize("make", [pd.DataFrame, lambda columns: iter([{"text": cell} for cell in columns["text"]])])
def test_cells_may_be_arrays(make: Any) -> None:
    frame = mapped("{{text}}", make({"text": [np.array([1, 2]), None, np.array([])]})).frame
    assert frame["topic"].fillna("").tolist() == ["<[1 2]>", "", "<[]>"]


def test_braces_around_anything_else_are_text() -> None:
    assert list(mapped("{{{value}}} {{1 + 1}} {x}", ["good"]).frame["topic"]) == ["<{good} {{1 + 1}} {x}>"]


def test_braces_in_a_cell_are_text() -> None:
    frame = pd.DataFrame({"text": ["{{stars}}"], "stars": [5]})
    assert list(mapped("{{text}}", frame).frame["topic"]) == ["<{{stars}}>"]


@pytest.mark.parametrize("into", ["text", "route_model", ""])
def test_answers_replace_no_column_of_the_input(into: str) -> None:
    with pytest.raises(RequestError, match="into"):
        router().map_sync("{{text}}", over=REVIEWS, into=into)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("answer", {}, "the input has a column 'answer' already: name another one with into"),
        (
            "route_model",
            {"into": "topic"},
            "every result has a column 'route_model', and the input has one too: rename",
        ),
        ("route_cost_usd", {"schema": STARS}, "every result has a column 'route_cost_usd', and the input has one too"),
        ("stars", {"schema": STARS}, "the schema's field 'stars' is a column of the input: rename one of them"),
    ],
)
@pytest.mark.parametrize("make", [pd.DataFrame, pa.table, lambda columns: iter([columns])])
def test_columns_that_answers_would_replace_are_errors_before_anything_is_sent(
    make: Any, name: str, given: dict[str, Any], message: str
) -> None:
    ours = router()
    with pytest.raises(RequestError, match=message):
        ours.map_sync("{{text}}", over=make({"text": ["good"], name: ["mine"]}), **given)
    assert scripted(ours).requests == []


def test_a_schema_has_no_field_with_the_name_of_a_fact() -> None:
    schema = {"type": "object", "properties": {"route_model": {"type": "string"}}}
    with pytest.raises(RequestError, match="'route_model' is the name of a column that every result has: rename"):
        router().map_sync("{{value}}", over=["good"], schema=schema)


def test_answers_replace_those_of_an_earlier_column() -> None:
    first = mapped("{{text}}", REVIEWS).frame
    second = mapped("again {{text}}", first).frame
    assert list(second["topic"]) == ["<again good>", "<again bad>"]
    assert list(second.columns) == list(first.columns)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pilot": -1}, "pilot = -1"),
        ({"missing": "drop"}, "missing = 'drop'"),
        ({"keep": 0}, "keep = 0"),
        ({"thread": "trip"}, "a column takes no thread"),
        ({"colour": "red"}, "no option 'colour'"),
    ],
)
def test_invalid_options_are_errors_before_anything_is_sent(given: dict[str, Any], message: str) -> None:
    ours = router()
    with pytest.raises(RequestError, match=message):
        ours.map("{{value}}", over=["good"], **given)
    assert scripted(ours).requests == []
