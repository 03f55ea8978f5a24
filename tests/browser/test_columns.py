"""A column in JupyterLab: its progress, its summary, and their looks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.support import loopback

if TYPE_CHECKING:
    from tests.browser.lab import Notebook


def test_a_column_shows_its_progress_and_then_a_summary(
    opened: Callable[..., Notebook], server: loopback.Server
) -> None:
    gate = threading.Event()
    server.script("gpt-5.5", loopback.Answer(chunks=("Battery ", "life"), gate=gate))
    notebook = opened(
        "column.ipynb",
        "%load_ext llm_magic\nreviews = [f'The battery lasts {n} days. <b>Good</b>' for n in range(40)] + ['bad \\0 row']",
        "%%route --over reviews --into topic --out topics --model gpt-5.5 --max-cost 1\n"
        "In one or two words, which topic is this review about? {{value}}",
    )
    notebook.run_all(wait=False)
    live = notebook.cell(1).locator(".llm-magic")
    live.get_by_text("0 answered, 41 left").wait_for()
    gate.set()
    notebook.wait()
    assert notebook.errors() == []
    text = notebook.cell(1).inner_text()
    for part in ("40 answered, 1 failed, 0 left", "cap ", "NUL byte", "Battery life", "<b>Good</b>"):
        assert part in text
    assert live.count() == 0
    notebook.accessible(".llmr")
