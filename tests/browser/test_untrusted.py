"""Hostile model output in a trusted notebook: nothing in it runs or loads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import nbformat
import pytest

from tests.browser import scenes
from tests.browser.inert import LIVE, inert
from tests.support.payloads import PAYLOADS

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

    from tests.browser.lab import Lab, Notebook

_STRAYS = """() => [...document.querySelectorAll('.jp-OutputArea style')].flatMap(style => {
    if (!style.textContent.includes('llmr')) return [];  // what pandas writes
    const own = style.closest('.jp-OutputArea-child');
    const selectors = (rule, outer) => {
        const selector = rule.selectorText?.replaceAll('&', `:is(${outer})`) ?? outer;
        return [selector, ...[...rule.cssRules ?? []].flatMap(inner => selectors(inner, selector))];
    };
    return [...style.sheet.cssRules].flatMap(rule => selectors(rule, 'none'))
        .filter(selector => selector?.includes(':has(')
            || [...document.querySelectorAll(selector ?? 'none')].some(each => !own.contains(each)))})"""


@pytest.fixture(scope="module")
def hostile(lab: Lab) -> str:
    """A notebook with every payload as answer, as provider error, and as name of the served model."""
    name = "hostile.ipynb"
    lab.write(
        name,
        "%load_ext llm_magic\nfrom tests.browser import scenes\nscenes.hostile()",
        *scenes.batches("%route"),
        "%route_ledger",
        "for each in scenes.hostile_names(): display(each)",
        "%route_models",
        "%route_ledger",
        "%route_plan hello",
        "%route hello",
    )
    return name


def test_active_content_is_detected(opened: Callable[..., Notebook]) -> None:
    notebook = opened(
        "live.ipynb",
        "from IPython.display import HTML\nHTML('<img src=x onerror=pwned=1;alert(1)><img src=https://evil.example/a.png>')",
    )
    notebook.run_in_turn()
    notebook.page.wait_for_function("window.pwned === 1")
    assert set(notebook.watch.requests) == {"https://evil.example/a.png"}
    assert notebook.watch.dialogs == ["1"]
    assert notebook.watch.globals() == ["pwned"]


def test_every_payload_is_inert_live_reopened_and_converted(
    hostile: str, opened: Callable[..., Notebook], lab: Lab, browser: Browser
) -> None:
    notebook = opened(hostile)
    notebook.run_in_turn()
    assert notebook.errors() == []
    notebook.wait_for_count(notebook.page.locator(".llmr-body"), len(PAYLOADS) + 2)
    # A long notebook stays fast: one style sheet per output, whose rules apply to that output only.
    assert (
        notebook.page.locator(".jp-OutputArea style").count() <= notebook.page.locator(".jp-OutputArea-child").count()
    )
    notebook.wait_for_count(notebook.page.locator(".llmr-twin style"), len(PAYLOADS) + 1)
    assert notebook.page.evaluate(_STRAYS) == []
    inert(notebook)
    saved = notebook.save()
    assert "alert(1)" in nbformat.writes(saved)

    notebook.command("notebook:shutdown-kernel")
    notebook.open(kernel=False)
    notebook.page.locator(".llmr-body").last.wait_for()
    inert(notebook)
    converted(saved, lab.files / "hostile.html", browser)


def converted(saved: nbformat.NotebookNode, file: Path, browser: Browser) -> None:
    """Check that the notebook as an HTML page sends no more requests than an empty one."""
    from nbconvert.exporters import HTMLExporter

    from tests.browser.lab import Watch

    requests: list[list[str]] = []
    for notebook in (nbformat.v4.new_notebook(), saved):
        file.write_text(HTMLExporter().from_notebook_node(notebook)[0])
        page = browser.new_page()
        watch = Watch(page, "file:")
        page.goto(file.as_uri())
        page.wait_for_load_state("networkidle")
        assert watch.dialogs == []
        assert watch.globals() == []
        assert page.evaluate(LIVE) == []
        requests.append(sorted(set(watch.requests)))
        page.context.close()
    assert requests[0] == requests[1]


def test_every_payload_is_inert_in_a_widget_that_stays(opened: Callable[..., Notebook]) -> None:
    notebook = opened(
        "widgets.ipynb",
        "%load_ext llm_magic\nfrom tests.browser import scenes\nscenes.hostile()\n%config RouteMagics.freeze = False",
        *scenes.batches("%route"),
    )
    notebook.run_in_turn()
    notebook.page.wait_for_function(f"document.querySelectorAll('.llm-magic').length === {len(PAYLOADS)}")
    assert notebook.errors() == []
    inert(notebook)


def test_every_payload_is_inert_as_a_name(opened: Callable[..., Notebook], lab: Lab, browser: Browser) -> None:
    """Checks names of models, tags, threads, files, columns and variables, in runs, plans, the panel and all tables."""
    word = next(payload for payload in PAYLOADS if payload.startswith("<img/src/"))
    batches = range(0, len(PAYLOADS), scenes.BATCH)
    notebook = opened(
        "names.ipynb",
        "%load_ext llm_magic\nfrom tests.browser import scenes\nscenes.hostile_everywhere()\n%route_budget 5 --tag x=1",
        "%route_panel",
        *(f"scenes.runs_named({start}, {start + scenes.BATCH})" for start in batches),
        "%route_jobs wait",
        "%route_jobs",
        "%route_threads",
        f"%route_threads {word}",
        "%route_report --session",
        f"%route_report --tag {word}",
        "%route_ledger",
        "%route_models",
        f"%route_plan --model {word} --thread {word} --tag {word} hello",
        "from tests.support.payloads import PAYLOADS\n"
        "for each in PAYLOADS: display(scenes.session_router().plan('hello', model=each, **scenes.named_after(each)))",
        f"%route --compare {word},<plaintext> hello",
        f"%route_budget --model {word}=1 --tag {word}=1",
        f"%route_again --model {word}\n%route_rate down\n%route_tune",
        "from IPython import get_ipython\n"
        "for name in ('--out', '--model', '--schema', '--check', '--compare', '--tier', '--attach'):\n"
        f"    get_ipython().run_cell('%%route ' + name + ' {word}\\nhello')\n"
        f"get_ipython().run_cell('%%route {word} << \\nhello')",
        "%route_panel",
    )
    notebook.run_in_turn()
    errors = notebook.errors()
    assert len(errors) == 6
    assert all(error.startswith(("UsageError: ", "RequestError: ")) for error in errors), errors
    saved = notebook.save()
    assert nbformat.writes(saved).count("alert(1)") > 1_000
    inert(notebook)
    notebook.command("notebook:shutdown-kernel")
    notebook.open(kernel=False)
    notebook.page.locator(".llmr-twin").last.wait_for()
    inert(notebook)
    converted(saved, lab.files / "names.html", browser)
