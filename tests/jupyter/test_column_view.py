"""`%%route --over`: a column in a cell, its display, and its names."""

from __future__ import annotations

import time

import pandas as pd
import pytest
from IPython.core.error import UsageError

from llm_magic import BadRequest
from llm_magic.columns import Column, ColumnPlan
from llm_magic.jupyter.render.columns import ColumnFacts, column_html
from llm_magic.testing import Failure, Reply
from tests.support.shell import Shell

REVIEWS = "import pandas as pd; reviews = pd.DataFrame({'text': ['good', 'bad', None]}); word = 'one'"


@pytest.fixture
def reviews(shell: Shell) -> Shell:
    shell.scripted.reply = lambda request: Reply(chunks=(f"<{request.messages[-1].content}>",))
    shell.run(REVIEWS)
    return shell


def test_a_cell_runs_over_the_rows_of_a_table(reviews: Shell) -> None:
    out = reviews.run("%%route --over reviews --into topic --out topics\nIn {{word}} word: {{text}}")
    assert list(reviews["topics"]["topic"][:2]) == ["<In one word: good>", "<In one word: bad>"]
    assert isinstance(reviews["_route"], Column)
    assert "2 answered, 0 left, 1 without a value" in out
    assert "good → <In one word: good>" in out


def test_the_row_s_cell_hides_a_variable_of_the_same_name(reviews: Shell) -> None:
    reviews.run("text = 'variable'")
    reviews.run("%%route --over reviews --out topics\n{{text}}")
    assert reviews["topics"]["answer"][0] == "<good>"


def test_a_plan_of_a_column_sends_nothing(reviews: Shell) -> None:
    for cell in ("%%route --plan --over reviews\n{{text}}", "%route_plan --over reviews {{text}}"):
        out = reviews.run(cell)
        assert "rows: 3, 2 distinct, 1 without a value" in out
        assert "cost (estimated)" in out
    assert isinstance(reviews.shell.run_cell("%route_plan --over reviews {{text}}").result, ColumnPlan)
    assert reviews.scripted.requests == []


def test_failed_rows_are_grouped_with_an_example(reviews: Shell) -> None:
    reason = "HTTP 400: <b>no</b>, this content can't be processed, for a reason that takes a long sentence"
    reviews.scripted.reply = lambda request: Failure(error=BadRequest(reason))
    out = reviews.run("%%route --over reviews\n{{text}}")
    assert "✗ bad request (2):" in out
    assert reason in out
    assert "2 rows without an answer: see _route.errors, or ask again with _route.retry_failed()" in out
    assert "0 answered, 2 failed, 0 left" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--into topic", "--into needs --over"),
        ("--over nothing", "invalid --over nothing: must be the name of a variable"),
        ("--over reviews --compare tiers", "can't be combined"),
        ("--over reviews --pilot -1", "invalid --pilot -1"),
        ("--over reviews --missing drop", "invalid --missing drop"),
        ("--over reviews --max-cost no", "--max-cost"),
    ],
)
def test_options_that_do_not_fit_are_errors(reviews: Shell, options: str, message: str) -> None:
    _, error = reviews.fail(f"%%route {options}\nWhich topic?")
    assert isinstance(error, UsageError)
    assert message in str(error)
    assert reviews.scripted.requests == []


def test_braces_stay_text_on_request(reviews: Shell) -> None:
    reviews.run("%%route --over reviews --no-interpolate --out topics\n{{text}}")
    assert reviews["topics"]["answer"][0] == "<{{text}}\n\ngood>"


def test_a_column_in_the_background_is_listed_and_awaited(reviews: Shell) -> None:
    reviews.run("%%route --over reviews --background --out topics\n{{text}}")
    assert isinstance(reviews["_route"], Column)
    reviews.run("%route_jobs wait")
    jobs = reviews.shell.run_cell("%route_jobs").result
    assert jobs["status"].iloc[-1] == "ended: 2 of 2 rows"
    until = time.monotonic() + 5
    while not isinstance(reviews["topics"], pd.DataFrame) and time.monotonic() < until:
        time.sleep(0.01)
    assert list(reviews["topics"]["answer"][:2]) == ["<good>", "<bad>"]


def test_purging_the_cache_deletes_kept_answers(reviews: Shell) -> None:
    reviews.run("%%route --over reviews --keep 7\n{{text}}")
    assert "holds the text of 0 answers, 0 bytes; holds the text of 2 answers of columns" in reviews.run("%route_cache")
    reviews.run("%route_cache --purge")
    assert reviews.router.column_store.count() == 0


@pytest.mark.parametrize("has_ended", [False, True])
def test_screen_readers_get_a_progress_bar_while_a_column_runs_and_its_end_is_read_aloud(has_ended: bool) -> None:
    facts = ColumnFacts(
        title="Topic?",
        done=3,
        total=10,
        state="waiting for off-peak hours",
        lines=(),
        errors=(),
        header=("row", "topic"),
        sample=(),
        has_ended=has_ended,
    )
    shown = column_html(facts)
    assert ('<progress max="10" value="3" aria-label="' in shown) != has_ended
    assert ('role="status"' in shown) == has_ended
