"""Saved notebooks, viewed without a kernel, as HTML, and on sites that sanitize outputs."""

from __future__ import annotations

import html
import re
import threading
from typing import Any

import nbformat
import nh3
import pytest

from llm_magic.jupyter import panel
from llm_magic.jupyter.render import bundles
from llm_magic.jupyter.render.run_state import RunState
from llm_magic.jupyter.run import history
from llm_magic.testing import Reply
from llm_magic.types import RouteResult, Usage
from tests.support import loopback
from tests.support.builders import router
from tests.support.display import events_of, state_after

ANSWER = "# Title\n\nA **bold** word, `code`, and $x_1$.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = 1\n```\n"


@pytest.fixture
def saved() -> nbformat.NotebookNode:
    """A saved notebook: a frozen run with the empty output of its widget, and the panel with a widget without kernel."""
    history.clear()
    session = router(replies=[Reply(chunks=(ANSWER,), usage=Usage(input_tokens=10, output_tokens=50))])
    session.set_budget(5)
    request = session.request("hello", tier="bulk")
    state = RunState(cap_usd=session.budget.session_usd)
    for event in session.stream_sync(request):
        state.apply(event)
    history.add(request, state)
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "gone", "version_major": 2, "version_minor": 0}}
    cells = [[bundles.runs({"": state}), bundles.NOTHING], [panel.bundle(session), {**view, "text/plain": ""}]]
    return nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(
                "%%route", outputs=[nbformat.v4.new_output("display_data", data=data) for data in outputs]
            )
            for outputs in cells
        ]
    )


def assert_has_facts(text: str) -> None:
    for fact in (
        "Title",
        "cheap",
        "BULK",
        "you asked for this tier",
        "$0.001 · ",
        "of $5.00",
        "hello",
    ):
        assert fact in text, fact


def test_the_saved_notebook_is_valid(saved: nbformat.NotebookNode) -> None:
    nbformat.validate(saved)
    assert "widgets" not in saved.metadata


def test_the_facts_survive_conversion_to_html(saved: nbformat.NotebookNode) -> None:
    from nbconvert.exporters import HTMLExporter

    page, _ = HTMLExporter().from_notebook_node(saved)
    assert_has_facts(re.sub(r"<[^>]+>", "", page.split("<body", 1)[1]))
    assert "Error displaying widget" not in page


def test_the_facts_survive_conversion_to_markdown(saved: nbformat.NotebookNode) -> None:
    from nbconvert.exporters import MarkdownExporter

    text, _ = MarkdownExporter().from_notebook_node(saved)
    assert_has_facts(text)


def test_the_facts_survive_sanitizing(saved: nbformat.NotebookNode) -> None:
    """Without styles, classes, attributes and unknown tags, all facts remain, in order."""
    outputs = [nh3.clean(cell.outputs[0].data["text/html"], attributes={}) for cell in saved.cells]
    text = re.sub(r"<[^>]+>", " ", "".join(outputs))
    assert_has_facts(text)
    assert "{" not in text, "no style sheet remains as text"
    assert "<table>" in outputs[0]
    assert text.index("Title") < text.index("cheap")


def test_every_cell_has_a_readable_first_output(saved: nbformat.NotebookNode) -> None:
    for cell in saved.cells:
        assert cell.outputs[0].data["text/plain"]
        assert cell.outputs[0].data["text/markdown"]
        assert "application/vnd.jupyter.widget-view+json" not in cell.outputs[0].data


PARAGRAPH = (
    "A *list comprehension* builds the list at once, and `sorted` returns a new list; a generator computes one value after "
    "the other and keeps one in memory, which matters for ten million rows. Measure before you choose.\n\n"
)
CODE = "```python\ndef squares(n: int) -> list[int]:\n    return [i**2 for i in range(n)]  # 0, 1, 4\n```\n\n"
TABLE = "| way | time |\n|:---|---:|\n| comprehension | 1.0 s |\n| generator | 1.1 s |\n\n"
MIXED = f"{PARAGRAPH * 3}{CODE}{PARAGRAPH * 2}1. the first\n2. the **second**\n\n{PARAGRAPH * 3}{TABLE}The sum is $n(n+1)/2$.\n\n"


@pytest.mark.parametrize(
    ("text", "times"), [(PARAGRAPH * 9, 2.1), (MIXED, 2.5), (PARAGRAPH * 900, 1.2), (MIXED * 100, 1.5)]
)
def test_a_notebook_of_long_answers_is_saved_in_two_and_a_half_times_their_text(text: str, times: float) -> None:
    """Checked with all that a notebook saves for a cell, and with the empty output of the closed widget."""
    reply = Reply(chunks=(text,), usage=Usage(input_tokens=12, output_tokens=len(text) // 4))
    bundle = bundles.runs({"": state_after(events_of(reply))})
    outputs = [nbformat.v4.new_output("display_data", data=data) for data in (bundle, bundles.NOTHING)]
    cells = [nbformat.v4.new_code_cell("%%route\nhello", outputs=outputs) for _ in range(200)]
    assert len(nbformat.writes(nbformat.v4.new_notebook(cells=cells))) <= times * 200 * len(text)
    assert bundle["text/plain"].startswith("A *list comprehension* builds")
    assert f"(The HTML has all {len(text):,} characters.)" in bundle["text/plain"]
    assert "cheap · $" in bundle["text/plain"] or "cheap · <$" in bundle["text/plain"]


def test_a_result_that_is_displayed_as_a_value_has_its_whole_text() -> None:
    """A terminal shows no other kind of output."""
    result = router(replies=[Reply(chunks=(MIXED,))]).route_sync("hello", tier="bulk")
    assert bundles.FORMATTERS[RouteResult](result)["text/plain"].startswith(MIXED.strip())


# Every way in which a run can end, executed by a kernel, saved, and rendered by other tools.

STOPPING = """
import _thread
from llm_magic.events import TextDelta
from llm_magic.jupyter.render.run_state import RunState
apply = RunState.apply
def stop_at_the_first_text(self, event):
    apply(self, event)
    if isinstance(event, TextDelta):
        _thread.interrupt_main()
RunState.apply = stop_at_the_first_text
"""
WHOLE = ("The answer is 42.", "$0.0")
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "whole": ("--tier bulk --cache", (*WHOLE, "deepseek-v3 · ", "you asked for this tier")),
    "from the cache": ("--tier bulk --cache", (*WHOLE, "deepseek-v3 · $0", "nothing was sent")),
    "after a fallback": ("--tier structured", (*WHOLE, "✗ gpt-5.5: auth failed", "✓ claude-sonnet-4-6")),
    "in the background": ("--tier bulk --background", (*WHOLE, "deepseek-v3 · ", "you asked for this tier")),
    "failed in the background": ("--tier structured --max-cost 0.000001 --background", ("no answer: over budget",)),
    "side by side": (
        "--compare claude-sonnet-4-6,gpt-5.5,deepseek-v3",
        (*WHOLE, "1. claude-sonnet-4-6", "2. gpt-5.5", "auth failed", "3. deepseek-v3", "total <$0.0"),
    ),
    "failed": ("--tier complex --model claude-opus-4-7", ("✗ claude-opus-4-7: bad request", "no answer", "$0")),
    "stopped": ("--tier standard", ("claude-sonnet-4-6", "The", "tokens, about $0.0")),
}


@pytest.fixture
def executed(headless: Any, server: loopback.Server) -> dict[str, nbformat.NotebookNode]:
    """The cells of an executed notebook, by kind of run."""
    server.script("gpt-5.5", loopback.Fault(status=401, message="bad key"))
    server.script("claude-opus-4-7", loopback.Fault(status=400, message="no"))
    answer, halting = loopback.Answer(), loopback.Answer(gate=threading.Event())
    server.script("claude-sonnet-4-6", answer, answer, halting)  # as fallback, in the comparison, and to be stopped
    cells = [f"%%route {options}\nhello" for options, _ in KINDS.values()]
    cells.insert(-1, STOPPING)
    cells.insert(-2, "%route_jobs wait")
    notebook = headless("%load_ext llm_magic", *cells, allow_errors=True)
    assert "widgets" not in notebook.metadata
    return dict(zip(KINDS, [cell for cell in notebook.cells if cell.source.startswith("%%route")], strict=True))


def test_every_kind_of_run_is_readable_as_a_page_sanitized_and_as_text(
    executed: dict[str, nbformat.NotebookNode],
) -> None:
    from nbconvert.exporters import HTMLExporter

    for kind, cell in executed.items():
        nbformat.validate(nbformat.v4.new_notebook(cells=[cell]))
        page, _ = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
        first = cell.outputs[0].data
        sanitized = " ".join(re.sub(r"<[^>]+>", " ", nh3.clean(first["text/html"], attributes={})).split())
        renderings = {
            "page": re.sub(r"<[^>]+>", "", page.split("<body", 1)[1]),
            "sanitized": sanitized,
            "Markdown": first["text/markdown"],
            "text": first["text/plain"],
        }
        for place, text in renderings.items():
            for fact in KINDS[kind][1]:
                assert fact in html.unescape(text), (kind, place, fact)
            assert "Error displaying widget" not in text
        assert "{" not in sanitized, "no style sheet remains as text"
