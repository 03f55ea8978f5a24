"""The session's panel, used with the mouse and the keyboard, and checked for screen readers and narrow pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.support import loopback

if TYPE_CHECKING:
    from tests.browser.lab import Notebook


@pytest.fixture
def notebook(opened: Callable[..., Notebook], server: loopback.Server) -> Notebook:
    server.scripts.clear()
    server.script("gpt-5.5", loopback.Fault(status=503, message="overloaded", headers={"retry-after": "99"}))
    server.script("deepseek-v3", loopback.Answer(chunks=("Where is the library? ", "*Où est la bibliothèque ?*")))
    server.script("claude-sonnet-4-6", loopback.Answer(chunks=("A generator keeps **one** value in memory.",)))
    notebook = opened(
        "panel.ipynb",
        "%load_ext llm_magic\n%route_budget 0.05",
        "%route_panel",
        "%%route --tier bulk\nTranslate to French: where is the library?",
        "%%route --tier structured\nExtract every date from the text that follows, as JSON: it was on 3 May, or was it the 4th?",
        "import os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.05)",
    )
    for number in range(4):
        notebook.run(number)
        notebook.wait()
    return notebook


def test_the_panel_works_with_mouse_and_keyboard(notebook: Notebook) -> None:
    assert notebook.errors() == []
    panel = notebook.page.locator(".llmr-panel")
    rows = panel.locator(".llmr-run")
    notebook.wait_for_count(rows, 2)
    for part in ("of $0.050", "saved", "✓ anthropic: 2 models", "✗ openai: gpt-5.5 cooling down until"):
        assert part in panel.inner_text()
    assert "Extract every date" in rows.nth(0).inner_text()
    assert not notebook.cell(1).locator(".llmr-twin").is_visible()
    # Other notebooks have rows in the same ledger.
    run = "next(r for r in llm_magic.router().ledger.rows() if r.session_id == llm_magic.router().ledger.session_id)"
    rating = f"{run}.rating"
    notebook.value("__import__('builtins').__dict__.update(llm_magic=__import__('llm_magic'))")

    # With the mouse.
    first = rows.nth(1)
    first.get_by_role("button", name="Good").click()
    first.get_by_role("button", name="✓ Good").wait_for()
    assert notebook.value(rating) == "1"
    # With the keyboard: Tab moves to the next button.
    first.get_by_role("button", name="✓ Good").focus()
    notebook.page.keyboard.press("Tab")
    notebook.page.keyboard.press("Enter")
    first.get_by_role("button", name="✓ Bad").wait_for()
    assert notebook.value(rating) == "-1"
    assert "is rated bad" in panel.get_by_role("status").first.inner_text()

    # Reading and copying an answer need no kernel.
    first.get_by_text("Show the answer").click()
    first.locator("em").get_by_text("Où est la bibliothèque ?").wait_for()
    first.get_by_role("button", name="Copy the answer of run").click()
    first.get_by_text("Copied").wait_for()
    assert notebook.pasted() == "Where is the library? *Où est la bibliothèque ?*"

    # A button that is pressed while a cell runs acts afterwards.
    notebook.run(4)
    notebook.page.wait_for_function(
        "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'busy'"
    )
    first.get_by_role("button", name="Escalate").click()
    assert rows.count() == 2
    (notebook.lab.files / "go").write_text("")
    try:
        panel.get_by_text("again of 1").wait_for()
    finally:
        (notebook.lab.files / "go").unlink()
    notebook.wait_for_count(rows, 3)
    assert "A generator keeps one value in memory." in rows.nth(0).inner_text()
    parent = "[row.parent_run_id for row in llm_magic.router().ledger.rows()][-1]"
    assert notebook.value(parent) == notebook.value(f"{run}.run_id")
    assert notebook.value("_route.model") == "'claude-sonnet-4-6'"

    notebook.accessible(".llmr-panel")


def test_a_panel_without_its_kernel_is_readable(notebook: Notebook) -> None:
    notebook.page.get_by_role("button", name="Restart the kernel", exact=True).click()
    notebook.page.get_by_role("button", name="Confirm Kernel Restart").click()
    disconnected = notebook.cell(1).locator(".llmr-live.jupyter-widgets-disconnected")
    disconnected.wait_for()
    texts = "[...document.querySelectorAll('.llmr-live, .llmr-live :not(.llmr-path *)')]"
    texts += ".map(e => getComputedStyle(e, '::before'))"  # except the arrows of a path
    texts += ".filter(style => style.display !== 'none' && style.content !== 'none').map(style => style.content)"
    again = "%load_ext llm_magic, then %route_panel"
    assert notebook.page.evaluate(texts) == [f'"Last state before the kernel ended. For a live panel: {again}."']
    assert not disconnected.get_by_role("button", name="Good").first.is_visible()
    disconnected.get_by_role("button", name="Copy").first.wait_for()

    notebook.save()
    notebook.wait_for_kernel()  # the server can't shut down a kernel that is still starting
    notebook.command("notebook:shutdown-kernel")
    notebook.open(kernel=False)
    copy = notebook.cell(1).locator(".llmr-twin")
    copy.wait_for()
    for part in ("of $0.050", "saved", "cooling down until", "Extract every date", "as of 20", again):
        assert part in copy.inner_text()
    assert_only_the_static_copy(notebook, 1)
    notebook.open()
    copy.wait_for()
    assert_only_the_static_copy(notebook, 1)


def assert_only_the_static_copy(notebook: Notebook, cell: int) -> None:
    """Check that the message about a widget that can't be displayed is hidden."""
    dead = notebook.cell(cell).locator(".jp-OutputArea-output").nth(1)
    dead.filter(has_text=re.compile("Loading widget|Error displaying widget")).wait_for(state="attached")
    assert "widget" not in notebook.cell(cell).inner_text().lower()
