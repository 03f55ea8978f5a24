"""DataFrames of the magics, displayed as short tables."""

from __future__ import annotations

import pandas as pd

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


def test_the_models_show_prices_and_reasons(shell: Shell) -> None:
    frame = returned(shell, "route_models")
    assert {"provider", "circuit", "falls_back_to", "source"} <= set(frame.columns)
    plain = shown(shell, frame)
    assert "cheap" in plain
    assert "✓" in plain
    assert "provider" not in plain
