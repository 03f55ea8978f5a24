"""The line of progress in a terminal."""

from __future__ import annotations

import io

import pytest

from llm_magic.columns.line import terminal_line
from llm_magic.jupyter.display.column_view import TerminalColumnView
from llm_magic.testing import Reply
from tests.support.builders import router


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [20, 50, 300])
def test_the_line_of_progress_fits_into_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    column = router(replies=[Reply(chunks=("fine",))]).map("{{value}}", over=["a", "b"], max_cost=1).start().wait()
    line = terminal_line(column)
    assert len(line) < columns
    assert line.startswith("2 answered, 0 left"[: columns - 2])
    assert ("cap $1" in line) == (columns == 300)
    assert line.endswith("…") == (columns < 300)
    out = Terminal()
    TerminalColumnView(out=out).update(column)
    assert out.getvalue() == f"\r\x1b[K{line}"
