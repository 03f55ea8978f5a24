"""A saved notebook in viewers that do not trust it: they remove styles and MathML."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import nbformat
import pytest

from llm_magic import AuthFailed
from llm_magic.jupyter.render import bundles
from llm_magic.testing import Failure, Reply
from tests.support import sanitizers
from tests.support.display import events_of, state_after

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.browser.lab import Lab, Notebook

FORMULAS = (
    r"(1-\sqrt{\mu/L})^k",
    r"\eta_0/\sqrt{k}",
    r"\begin{pmatrix} 2 & 0 \\ 0 & -2 \end{pmatrix}",
    r"\begin{aligned} a &= b^2 \\ c &= \frac{1}{2} \end{aligned}",
    "x^2-y^2",
)
ANSWER = "\n\n".join([*(f"So ${tex}$ holds." for tex in FORMULAS), "| a |\n|---|\n| $|z|$ |", "```python\nx = 1\n```"])


@pytest.fixture
def shared(lab: Lab) -> str:
    """A notebook that this JupyterLab has not signed."""
    state = state_after(events_of(Failure(error=AuthFailed("bad key")), Reply(chunks=(ANSWER,))))
    path = lab.write("shared.ipynb", "%%route")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].outputs = [nbformat.v4.new_output("display_data", data=bundles.runs({"": state}))]
    nbformat.write(notebook, path)
    return path.name


def test_formulas_read_as_their_tex_and_facts_are_separated(opened: Callable[..., Notebook], shared: str) -> None:
    notebook = opened(shared)
    assert notebook.page.locator(".jp-OutputArea math").count() == 0, "the notebook is not trusted"
    lines = notebook.cell(0).inner_text().splitlines()
    for tex in FORMULAS:
        assert f"So \\({tex}\\) holds." in lines
    assert r"\(|z|\)" in lines
    assert "x = 1" in lines
    (summary,) = [line for line in lines if line.startswith("strong · ")]
    assert " · session " in summary
    notebook.wait_for_count(notebook.page.locator(".jp-OutputArea pre"), 1)


def test_formulas_read_as_their_tex_on_github_and_are_drawn_without_a_sanitizer(browser: Browser) -> None:
    state = state_after(events_of(Reply(chunks=(ANSWER,))))
    html = bundles.runs({"": state})["text/html"]
    page = browser.new_page()
    page.set_content(sanitizers.github(html))
    lines = page.inner_text("body").splitlines()
    for tex in FORMULAS:
        assert f"So \\({tex}\\) holds." in lines
    page.set_content(html)
    formulas = page.locator("math")
    assert formulas.count() == len(FORMULAS) + 1
    assert all(formula.is_visible() for formula in formulas.all())
    assert "\\(" not in page.inner_text("body")
    page.close()
