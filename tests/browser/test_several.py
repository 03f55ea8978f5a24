"""Comparisons, background runs and reports."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.browser import scenes
from tests.browser.inert import NOTHING, inert
from tests.support import loopback
from tests.support.payloads import PAYLOADS

if TYPE_CHECKING:
    from tests.browser.lab import Notebook

MODELS = ("claude-opus-4-7", "claude-sonnet-4-6", "gpt-5.5")


def test_a_comparison_streams_side_by_side_and_scrolls_on_narrow_pages(
    opened: Callable[..., Notebook], server: loopback.Server
) -> None:
    gates = {model: threading.Event() for model in MODELS}
    for model in MODELS:
        half = f"## From {model}\n\nA *list comprehension*:\n\n```python\n[i**2 for i in range(n)]\n```\n\n"
        server.script(model, loopback.Answer(chunks=(half, "More. " * 40 + "The end."), gate=gates[model]))
    server.script("deepseek-v3", loopback.Fault(status=401, message="<img src=x onerror=alert(1)>"))
    notebook = opened(
        "compare.ipynb",
        "%load_ext llm_magic",
        f"%%route --compare {','.join(MODELS)},deepseek-v3\nHow do I compute squares?",
        "%route_panel",
    )
    notebook.run_all(wait=False)
    live = notebook.cell(1).locator(".llmr-columns .llm-magic")
    for number, model in enumerate(MODELS):
        live.nth(number).get_by_text(f"From {model}").wait_for()
        assert "The end." not in live.nth(number).inner_text(), "it streams"
    live.nth(3).get_by_text("auth failed").wait_for()
    lefts = {round(box["x"]) for number in range(3) if (box := live.nth(number).bounding_box())}
    assert len(lefts) >= 2, "side by side"
    for gate in gates.values():
        gate.set()
    notebook.wait()
    assert notebook.errors() == []
    columns = live
    notebook.wait_for_count(columns, 4)
    for number, model in enumerate(MODELS):
        text = columns.nth(number).inner_text()
        assert f"{number + 1}. {model}" in text
        assert f"From {model}" in text
        assert "The end." in text
        assert "$0.0" in text
    assert "auth failed" in columns.nth(3).inner_text()
    notebook.page.set_viewport_size({"width": 480, "height": 1000})
    notebook.page.wait_for_function(
        "() => [...document.querySelectorAll('.llmr-live .llmr-columns')].every(each => each.scrollWidth > each.clientWidth)"
        " && [...document.querySelectorAll('.llmr-live .llmr-columns > *')].every(each => each.offsetWidth >= 360)"
    )
    notebook.page.set_viewport_size({"width": 1280, "height": 1000})
    pick_in_place(notebook)
    pick_in_the_panel(notebook)
    assert notebook.watch.seen() == NOTHING
    notebook.save()
    notebook.command("notebook:shutdown-kernel")
    notebook.open(kernel=False)
    saved = notebook.cell(1).locator("section")
    saved.first.wait_for()
    assert "your pick" in saved.nth(0).inner_text()
    assert "The end." in saved.nth(0).inner_text()
    assert "The end." not in saved.nth(1).inner_text(), "folded"
    assert "The end." in (saved.nth(1).text_content() or "")


def pick_in_place(notebook: Notebook) -> None:
    """Pick an answer in its column: it stays where it is, and the others are folded. Press again: all are shown."""
    columns = notebook.cell(1).locator(".llmr-columns .llm-magic")
    before = columns.nth(2).bounding_box()
    columns.nth(2).get_by_role("button", name="Pick the answer of gpt-5.5").click()
    columns.nth(2).get_by_text("your pick").wait_for()
    after = columns.nth(2).bounding_box()
    assert before
    assert after
    assert (before["x"], before["y"]) == (after["x"], after["y"])
    assert "The end." in columns.nth(2).inner_text()
    assert "The end." not in columns.nth(0).inner_text()
    assert notebook.value("_route.model") == "'gpt-5.5'"
    columns.nth(0).get_by_text("Show the answer").click()
    columns.nth(0).get_by_text("The end.").wait_for()
    notebook.accessible(".llmr-columns")
    columns.nth(2).get_by_role("button", name="✓ Picked").focus()
    notebook.page.keyboard.press("Enter")
    columns.nth(1).get_by_text("The end.").wait_for()


def pick_in_the_panel(notebook: Notebook) -> None:
    """Pick one answer with the mouse, then another one with the keyboard."""
    panel = notebook.page.locator(".llmr-panel")
    entry = panel.locator(".llmr-run").first
    notebook.wait_for_count(entry.get_by_role("button", name="Pick"), 3)  # one per answer
    second = entry.get_by_role("button", name="Pick claude-sonnet-4-6 for comparison")
    second.click()
    entry.get_by_role("button", name="✓ Picked claude-sonnet-4-6").wait_for()
    assert notebook.value("_route.model") == "'claude-sonnet-4-6'"
    entry.get_by_role("button", name="Pick claude-opus-4-7 for comparison").focus()
    notebook.page.keyboard.press("Enter")
    entry.get_by_role("button", name="✓ Picked claude-opus-4-7").wait_for()
    entry.get_by_role("button", name="Pick claude-sonnet-4-6").wait_for()
    ledger = "__import__('llm_magic').router().ledger"
    ratings = (
        f"sorted((r.model, r.rating) for r in {ledger}.rows() if r.session_id == {ledger}.session_id and r.rating)"
    )
    assert notebook.value(ratings) == "[('claude-opus-4-7', 1)]"
    notebook.accessible(".llmr-panel")


def test_every_payload_is_inert_in_a_column(opened: Callable[..., Notebook], server: loopback.Server) -> None:
    notebook = opened(
        "columns.ipynb",
        "%load_ext llm_magic\nfrom tests.browser import scenes\nscenes.hostile()",
        *scenes.batches("%route --compare failing,answering"),
        "%route_panel",
    )
    notebook.run_in_turn()
    assert notebook.errors() == []
    # The last comparisons are widgets above a hidden static copy.
    notebook.wait_for_count(notebook.page.locator(".llmr-columns > section"), 2 * len(PAYLOADS))
    inert(notebook)


def test_an_answer_arrives_in_its_own_cell_while_others_run(
    opened: Callable[..., Notebook], server: loopback.Server
) -> None:
    gate = threading.Event()
    server.script("deepseek-v3", loopback.Answer(chunks=("The first half ", "and the second."), gate=gate))
    notebook = opened(
        "background.ipynb",
        "%load_ext llm_magic",
        "%%route --tier bulk --background --out later\nhello",
        "type(later).__name__",
    )
    notebook.run_all()
    assert notebook.errors() == []
    assert "BackgroundRun" in notebook.cell(2).inner_text()
    notebook.page.get_by_text("The first half").first.wait_for()
    assert "and the second" not in notebook.cell(1).inner_text()
    gate.set()
    notebook.page.get_by_text("and the second").first.wait_for()
    notebook.page.locator(".llmr-foot summary").first.wait_for()
    answer, rest = notebook.save().cells[1].outputs
    assert set(answer.data) == {"text/html", "text/markdown", "text/plain"}
    assert "and the second" in answer.data["text/plain"]
    assert rest.data == {"text/html": ""}
    place = notebook.cell(1).locator("> .jp-OutputArea-child").nth(1)
    assert not place.is_visible(), "the remaining output is invisible"


def test_a_report_is_displayed_as_a_picture_and_tables(
    opened: Callable[..., Notebook], server: loopback.Server
) -> None:
    notebook = opened(
        "report.ipynb",
        "%load_ext llm_magic",
        "for tier in ('bulk', 'standard', 'complex') * 3:\n    get_ipython().run_cell_magic('route', f'--tier {tier} --thread t', 'hello')",
        "%route_report --session",
        "%route_threads t",
    )
    notebook.run_all()
    assert notebook.errors() == []
    picture = notebook.cell(2).locator("img")
    assert picture.evaluate("image => image.naturalWidth") == 1920
    notebook.wait_for_count(notebook.cell(2).locator("table"), 3)
    assert "spent, " in notebook.cell(2).inner_text()
    notebook.wait_for_count(notebook.cell(3).locator("tbody tr"), 9)
