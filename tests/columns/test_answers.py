"""The result of a column: answers, fields of schemas, errors, costs, and rows as they end."""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pydantic
import pytest

from llm_magic import BadRequest, NoCandidate, ServerError
from llm_magic.testing import Failure, Reply, ScriptedProvider
from tests.support.builders import model, router, scripted


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Place(pydantic.BaseModel):
    city: str


class Topic(pydantic.BaseModel):
    label: str
    stars: int
    share: float
    is_spam: bool
    mood: Mood
    place: Place
    words: list[str]
    note: str | None = None


TOPIC = (
    '{"label": "battery", "stars": 4, "share": 0.5, "is_spam": false, "mood": "good", '
    '"place": {"city": "Rome"}, "words": ["a", "b"]}'
)


def test_fields_of_a_schema_become_typed_columns() -> None:
    done = router(replies=[Reply(chunks=(TOPIC,))]).map_sync("{{value}}", over=["x", None], schema=Topic)
    frame = done.frame
    names = ["label", "stars", "share", "is_spam", "mood", "place", "words", "note"]
    dtypes = {name: str(frame[name].dtype) for name in names}
    assert dtypes == {
        "label": "string", "stars": "Int64", "share": "Float64", "is_spam": "boolean", "mood": "string",
        "place": "object", "words": "object", "note": "string",
    }  # fmt: skip
    first = frame.iloc[0]
    assert (first["label"], first["stars"], first["mood"], first["words"]) == ("battery", 4, "good", ["a", "b"])
    assert first["place"] == Place(city="Rome")
    assert frame[names].iloc[1].isna().all()


def test_the_whole_answer_of_a_schema_is_in_the_named_column() -> None:
    done = router(replies=[Reply(chunks=(TOPIC,))]).map_sync("{{value}}", over=["x"], schema=Topic, into="topic")
    assert done.frame["topic"].iloc[0] == Topic.model_validate_json(TOPIC)
    assert done.frame["label"].iloc[0] == "battery"


def test_a_field_with_the_name_of_the_column_is_that_column() -> None:
    @dataclass
    class Label:
        topic: str

    done = router(replies=[Reply(chunks=('{"topic": "battery"}',))]).map_sync(
        "{{value}}", over=["x"], schema=Label, into="topic"
    )
    assert done.frame["topic"].iloc[0] == "battery"


def test_a_schema_without_fields_fills_the_named_column() -> None:
    schema = {"type": "integer"}
    done = router(replies=[Reply(chunks=("7",))]).map_sync("{{value}}", over=["x"], schema=schema, into="stars")
    assert done.frame["stars"].dtype == "Int64"
    assert done.frame["stars"].iloc[0] == 7


def failing(text: str) -> Any:
    """A provider that rejects the rows that contain this text, and answers the others."""

    def reply(request: Any) -> Reply | Failure:
        if text in request.messages[-1].content:
            return Failure(error=BadRequest("HTTP 400: no"))
        return Reply(chunks=("fine",))

    return reply


def test_a_row_that_fails_is_a_row_with_its_error() -> None:
    ours = router(model("only"), replies=failing("bad"))
    done = ours.map_sync("{{value}}", over=["good", "bad", "fine"])
    assert list(done.frame["route_outcome"]) == ["ok", "bad_request", "ok"]
    assert "HTTP 400" in done.frame["route_error"].iloc[1]
    assert done.frame["answer"].isna().tolist() == [False, True, False]
    assert list(done.errors["value"]) == ["bad"]
    assert done.report().errors["bad_request"][0] == 1


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_a_row_that_cannot_be_sent_is_a_row_with_its_error(text: str) -> None:
    done = router().map_sync("{{value}}", over=["good", text])
    assert list(done.frame["route_outcome"]) == ["ok", "error"]


def test_failed_rows_can_be_asked_again() -> None:
    provider = ScriptedProvider(failing("bad"))
    ours = router(model("only"), providers={"cloud": provider})
    done = ours.map_sync("{{value}}", over=["good", "bad"])
    provider.reply = lambda request: Reply(chunks=("now",))
    asked = len(provider.requests)
    assert done.retry_failed() is done
    assert list(done.frame["answer"]) == ["fine", "now"]
    assert len(provider.requests) == asked + 1
    assert len(done.errors) == 0
    assert done.cost_usd == ours.ledger.spent_usd


def test_failed_rows_of_a_stream_can_be_asked_again() -> None:
    provider = ScriptedProvider(failing("bad"))
    ours = router(model("only"), providers={"cloud": provider})
    done = ours.map_sync("{{value}}", over=iter(["good", "bad"]))
    assert list(done.frame["route_outcome"]) == ["ok", "bad_request"]
    provider.reply = lambda request: Reply(chunks=("now",))
    assert list(done.retry_failed().frame["answer"]) == ["fine", "now"]


async def test_rows_arrive_as_they_end() -> None:
    ours = router(model("only"), replies=failing("bad"))
    rows = [row async for row in ours.map("{{value}}", over=["good", None, "bad", "good"])]
    assert sorted(row.position for row in rows) == [0, 1, 2, 3]
    by_position = {row.position: row for row in rows}
    assert by_position[0].text == by_position[3].text == "fine"
    assert by_position[1].outcome == "missing"
    assert by_position[2].error is not None
    assert sum(row.cost_usd for row in rows) == ours.ledger.spent_usd


async def test_a_column_can_be_awaited() -> None:
    done = await router().map("{{value}}", over=["x"], into="topic")
    assert list(done.frame["topic"]) == ["A scripted answer."]
    assert (await done) is done


async def test_leaving_the_iteration_stops_the_column() -> None:
    ours = router()
    column = ours.map("{{value}}", over=[str(number) for number in range(500)])
    async for _ in column:
        break
    await asyncio.sleep(0.05)
    assert column.done() or column.progress.in_flight == 0
    assert len(scripted(ours).requests) < 500
    assert ours.ledger.held_usd == 0


def test_a_column_without_a_usable_model_is_an_error() -> None:
    ours = router(providers={"cloud": ScriptedProvider([Reply()], unavailable="no key")})
    with pytest.raises(NoCandidate, match="no key"):
        ours.map_sync("{{value}}", over=["x"])


def test_every_attempt_of_a_row_is_a_row_of_the_ledger() -> None:
    ours = router(replies=[Failure(error=ServerError("HTTP 500: no")), Reply()])
    done = ours.map_sync("{{value}}", over=["x"], tags="topics")
    rows = ours.ledger.rows()
    assert [row.outcome for row in rows] == ["server_error", "ok"]
    assert {row.run_id for row in rows} == set(done.frame["route_run_id"])
    assert {row.parent_run_id for row in rows} == {done.id}
    assert rows[0].tags == ("topics",)


def test_a_column_uses_one_model_for_all_rows() -> None:
    texts = ["Prove that there are infinitely many primes.", "hi", "Translate: hello"]
    done = router().map_sync("Which language is this? {{value}}", over=texts)
    assert done.frame["route_model"].nunique() == 1


def test_a_row_that_fits_no_small_window_gets_a_plan_of_its_own() -> None:
    small, large = model("small", context_window=4_000), model("large", price="9/9", context_window=100_000)
    texts = ["short review"] * 3 + [f"short review {number}" for number in range(20)] + ["word " * 8_000]
    done = router(small, large).map_sync("Topic? {{value}}", over=texts)
    assert done.frame["route_model"].iloc[-1] == "large"
    assert set(done.frame["route_model"].iloc[:-1]) == {"small"}


def test_the_frame_is_there_before_the_column_has_started() -> None:
    column = router().map("{{value}}", over=["x"])
    assert list(column.frame["route_outcome"]) == ["not_asked"]
    assert column.wait().frame["route_outcome"].tolist() == ["ok"]


def test_cascades_work_for_rows() -> None:
    ours = router(model("strong", price="4/20"), model("one", price="0.1/0.1"), model("two", price="0.1/0.2"),
                  replies=[Reply(chunks=("yes",))])  # fmt: skip
    done = ours.map_sync("Yes or no? {{value}}", over=["a", "b"], cascade="agree", model="strong")
    assert list(done.frame["answer"]) == ["yes", "yes"]
    assert {row.outcome.value for row in ours.ledger.rows()} == {"ok", "agreed"}
    assert pd.notna(done.frame["route_cost_usd"]).all()
