"""DataFrames of the magics, displayed as short tables."""

from __future__ import annotations

import pandas as pd
import pytest

from llm_magic.jupyter.render import frames
from llm_magic.jupyter.run import background
from tests.support.shell import Shell


def shown(shell: Shell, frame: pd.DataFrame, kind: str = "text/plain") -> str:
    bundle, _ = shell.shell.display_formatter.format(frame)
    return bundle[kind]


def returned(shell: Shell, magic: str) -> pd.DataFrame:
    frame = shell.shell.run_line_magic(magic, "")
    assert isinstance(frame, pd.DataFrame)
    return frame


def test_the_ledger_shows_what_people_look_for_and_has_every_column(shell: Shell) -> None:
    shell.run("%%route --tier bulk --tag draft\nhello")
    frame = returned(shell, "route_ledger")
    assert list(frame.columns) == list(shell.router.ledger.to_frame().columns)
    plain = shown(shell, frame)
    assert plain.splitlines()[0].split() == ["when", "model", "outcome", "tokens", "in", "out", "cost", "tags"]
    for fact in ("cheap", "ok", "<$0.001", "draft", "1 row;"):
        assert fact in plain
    assert "&lt;$0.001" in shown(shell, frame, "text/html")
    assert max(map(len, plain.splitlines())) <= 100
    assert type(frame[frame["outcome"] == "ok"]) is pd.DataFrame


def test_tables_without_rows_are_a_sentence(shell: Shell) -> None:
    assert shown(shell, returned(shell, "route_ledger")) == "the ledger has no rows yet: run a %%route cell"
    assert shown(shell, frames.jobs(background.frame([]))) == "no background runs: %%route --background starts one"
    assert shown(shell, returned(shell, "route_threads")) == "no threads yet: %%route --thread NAME starts one"


def test_threads_and_their_exchanges_fit_one_screen_and_have_whole_texts(shell: Shell) -> None:
    long = "a long prompt " * 20
    shell.run(f"%%route --thread trip\n{long}")
    threads = returned(shell, "route_threads")
    assert shown(shell, threads).splitlines()[0].split() == [
        "thread",
        "exchanges",
        "tokens",
        "left",
        "out",
        "model",
        "last",
    ]
    thread = shell.shell.run_line_magic("route_threads", "trip")
    assert thread["prompt"][0] == long
    for frame in (threads, thread):
        assert "<style>" in shown(shell, frame, "text/html")
        assert max(map(len, shown(shell, frame).splitlines()[:-1])) <= 170


def test_a_check_of_the_models_is_a_table(shell: Shell) -> None:
    checks = shell.shell.run_line_magic("route_models", "--check")
    assert {"provider", "status", "detail", "differs"} == set(checks.columns)
    if len(checks):
        assert shown(shell, checks).splitlines()[0].split() == [
            "model",
            "provider",
            "status",
            "detail",
            "differs",
            "in",
        ]
    assert "<div>\n<style scoped>" not in str(shell.shell.display_formatter.format(checks)[0])


def test_a_long_status_of_a_job_is_shortened(shell: Shell) -> None:
    status = "waiting until Tue 04:00 UTC for the off-peak price of deepseek-flash"
    row = dict.fromkeys(("model", "tier", "names", "prompt"), "") | {"run": 1, "status": status, "cost_usd": 0.0}
    jobs = frames.jobs(pd.DataFrame([row]).set_index("run"))
    assert jobs["status"][1] == status
    assert "waiting until Tue 04:00 UTC" in shown(shell, jobs)
    assert "deepseek" not in shown(shell, jobs)


def test_the_models_show_prices_and_reasons(shell: Shell) -> None:
    frame = returned(shell, "route_models")
    assert {"provider", "circuit", "falls_back_to", "source"} <= set(frame.columns)
    plain = shown(shell, frame)
    assert "cheap" in plain
    assert "✓" in plain
    assert "provider" not in plain


@pytest.mark.filterwarnings("error")
def test_the_moments_of_exchanges_may_have_nanoseconds() -> None:
    columns = {"prompt": ["p"], "answer": ["a"], "model": ["m"], "tokens": [1], "sent": [True]}
    at = pd.to_datetime([1_790_000_000.123456789], unit="s", utc=True)
    assert at[0].nanosecond, "otherwise nothing is tested"
    short = frames.thread(pd.DataFrame({**columns, "at": at}), "t").short_table
    assert short["when"][0].count(":") >= 1
