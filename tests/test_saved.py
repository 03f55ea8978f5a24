"""Executed notebooks, kept and passed on: without a kernel, as HTML, and on sites that sanitise what they show."""

from __future__ import annotations

import re

import nbformat
import nh3
import pytest

from llm_magic.jupyter import draw, panel, session, twin
from llm_magic.jupyter.state import RunState
from llm_magic.providers.scripted import Reply
from tests.helpers import router

ANSWER = "# Title\n\nA **bold** word, `code`, and $x_1$.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = 1\n```\n"


@pytest.fixture
def saved() -> nbformat.NotebookNode:
    """A notebook as it is saved: the frozen run, what is left of its widget, and the panel with its dead widget."""
    session._runs.clear()
    ours = router(replies=[Reply(chunks=(ANSWER,))])
    ours.set_budget(5)
    request = ours.request("hello", tier="bulk")
    state = RunState(cap_usd=ours.budget.session_usd)
    for event in ours.stream_sync(request):
        state.apply(event)
    session.note(request, state)
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "gone", "version_major": 2, "version_minor": 0}}
    cells = [[draw.bundle(state), twin.NOTHING], [panel.bundle(ours), {**view, "text/plain": ""}]]
    return nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(
                "%%route", outputs=[nbformat.v4.new_output("display_data", data=data) for data in outputs]
            )
            for outputs in cells
        ]
    )


def facts_in(text: str) -> None:
    for fact in (
        "Title",
        "cheap",
        "BULK",
        "you asked for this tier",
        "this cell USD 0.0000035",
        "of USD 5.00",
        "hello",
    ):
        assert fact in text, fact


def test_it_is_a_valid_notebook(saved: nbformat.NotebookNode) -> None:
    nbformat.validate(saved)
    assert "widgets" not in saved.metadata


def test_converted_to_html(saved: nbformat.NotebookNode) -> None:
    from nbconvert.exporters import HTMLExporter

    html, _ = HTMLExporter().from_notebook_node(saved)
    facts_in(re.sub(r"<[^>]+>", "", html.split("<body", 1)[1]))
    assert "Error displaying widget" not in html


def test_converted_to_markdown(saved: nbformat.NotebookNode) -> None:
    from nbconvert.exporters import MarkdownExporter

    text, _ = MarkdownExporter().from_notebook_node(saved)
    facts_in(text)


def test_on_a_site_that_sanitises(saved: nbformat.NotebookNode) -> None:
    """Styles, classes and attributes gone, unknown tags dropped: what is left is still the whole story, in order."""
    shown = [nh3.clean(cell.outputs[0].data["text/html"], attributes={}) for cell in saved.cells]
    text = re.sub(r"<[^>]+>", " ", "".join(shown))
    facts_in(text)
    assert "{" not in text, "no style sheet left as text"
    assert "<table>" in shown[0]
    assert text.index("cheap") < text.index("Title")


def test_every_cell_has_a_readable_first_output(saved: nbformat.NotebookNode) -> None:
    for cell in saved.cells:
        assert cell.outputs[0].data["text/plain"]
        assert cell.outputs[0].data["text/markdown"]
        assert "application/vnd.jupyter.widget-view+json" not in cell.outputs[0].data


def test_what_is_saved_stays_in_proportion() -> None:
    """A long answer is kept as HTML, Markdown and text: at most some four times its length, and no widget state at all."""
    text = "A paragraph of **words** and `code`, of the usual kind.\n\n" * 2_000
    ours = router(replies=[Reply(chunks=(text,))])
    state = RunState()
    for event in ours.stream_sync("hello", tier="bulk"):
        state.apply(event)
    bundle = draw.bundle(state)
    assert sum(map(len, bundle.values())) < 5 * len(text)
