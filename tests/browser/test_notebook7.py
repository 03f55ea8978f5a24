"""The same views in Notebook 7, which the JupyterLab server of the tests also serves."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tests.browser.inert import NOTHING
from tests.support import loopback

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.browser.lab import Lab


def test_a_run_a_comparison_and_the_panel_work_in_notebook_7(
    lab: Lab, browser: Browser, server: loopback.Server
) -> None:
    from tests.browser.lab import Notebook

    gate = threading.Event()
    server.script(
        "claude-opus-4-7", loopback.Answer(chunks=("The root is $\\sqrt{2}$, ", "and it costs $5 or $6."), gate=gate)
    )
    server.script("claude-sonnet-4-6", loopback.Answer(chunks=("From *sonnet*.",)))
    server.script("gpt-5.5", loopback.Answer(chunks=("From *gpt*.",)))
    lab.write(
        "seven.ipynb",
        "%load_ext llm_magic\n%route_budget 0.50",
        "%%route --tier complex\nWhat is the root of 2?",
        "%%route --compare claude-sonnet-4-6,gpt-5.5\nWho are you?",
        "%route_panel",
    )
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    notebook = Notebook(page, lab, "seven.ipynb", "notebook")
    notebook.run_all(wait=False)
    answer = notebook.cell(1)
    answer.get_by_text("answering").wait_for()
    answer.locator("math").first.wait_for()
    gate.set()
    notebook.wait()
    assert notebook.errors() == []
    assert "of $0.50" in notebook.cell(0).inner_text() or "cap $0.50" in notebook.cell(0).inner_text()
    assert "it costs $5 or $6." in answer.inner_text()
    assert "claude-opus-4-7 · " in answer.inner_text()
    columns = notebook.cell(2).locator(".llmr-columns .llm-magic")
    columns.nth(1).get_by_role("button", name="Pick the answer of gpt-5.5").click()
    columns.nth(1).get_by_text("your pick").wait_for()
    assert "From sonnet." not in columns.nth(0).inner_text()
    panel = page.locator(".llmr-panel")
    panel.get_by_role("button", name="✓ Picked gpt-5.5").wait_for()
    panel.get_by_text("Show the answer").last.click()
    panel.locator("p").get_by_text("it costs $5 or $6.").wait_for()
    notebook.accessible(".llmr-panel")
    notebook.accessible(".llmr-columns")
    assert notebook.watch.seen() == NOTHING

    notebook.save()
    notebook.command("notebook:shutdown-kernel")
    notebook.open(kernel=False)
    notebook.cell(2).locator("section").first.wait_for()
    notebook.cell(1).locator("math").first.wait_for()
    assert "your pick" in notebook.cell(2).locator("section").nth(1).inner_text()
    page.context.close()
