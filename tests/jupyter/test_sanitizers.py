"""Saved outputs in viewers that remove styles, classes and MathML: the meaning stays."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from llm_magic.jupyter.render import bundles
from llm_magic.testing import Reply
from tests.support import sanitizers
from tests.support.builders import router
from tests.support.display import events_of, state_after

FORMULAS = (
    r"(1-\sqrt{\mu/L})^k", r"\eta_0/\sqrt{k}", r"\begin{pmatrix} 2 & 0 \\ 0 & -2 \end{pmatrix}",
    r"\begin{aligned} a &= b^2 \\ c &= \frac{1}{2} \end{aligned}", "x^2-y^2", r"\cancel{x}+\boxed{y}", "a<b",
)  # fmt: skip
ANSWER = "\n\n".join([
    *(f"So ${tex}$ holds." for tex in FORMULAS), "$$\\int_0^1 x\\,dx$$", "It costs $5 or $6.",
    "| a | b |\n|---|---|\n| $|z|$ | 2 |", "```python\nx = 1\ny = 2\n```",
])  # fmt: skip
VIEWERS = {"github": sanitizers.github, "jupyterlab": sanitizers.jupyterlab}


def answer_html() -> str:
    return bundles.runs({"": state_after(events_of(Reply(chunks=(ANSWER,))))})["text/html"]


@pytest.mark.parametrize("viewer", VIEWERS.values(), ids=VIEWERS)
def test_formulas_prices_and_code_read_right_after_a_sanitizer(viewer: Callable[[str], str]) -> None:
    cleaned = viewer(answer_html())
    lines = sanitizers.visible_text(cleaned).splitlines()
    for tex in FORMULAS:
        assert f"So \\({tex}\\) holds." in lines
    assert r"\[\int_0^1 x\,dx\]" in lines
    assert "It costs $5 or $6." in lines
    assert any(r"\(|z|\)" in line for line in lines)
    assert "<pre" in cleaned
    assert lines[lines.index("x = 1") :][:2] == ["x = 1", "y = 2"]
    assert "cheap · <$0.001 (estimated) · 0.0 s · session <$0.001 of $5.00  0%" in lines


def test_mathml_stays_hidden_after_the_sanitizer_of_jupyterlab() -> None:
    """It removes attributes without a value, and keeps the text of MathML."""
    assert sanitizers.jupyterlab(answer_html()).count('class="m" hidden="hidden"') == len(FORMULAS) + 2


def test_without_a_sanitizer_the_style_shows_the_formula_and_hides_its_tex() -> None:
    html = answer_html()
    assert ".t{display:none}" in html
    assert html.count("<math") == html.count("class=t>") == len(FORMULAS) + 2


@pytest.mark.parametrize("viewer", VIEWERS.values(), ids=VIEWERS)
def test_plans_and_comparisons_read_right_after_a_sanitizer(viewer: Callable[[str], str]) -> None:
    plan = sanitizers.visible_text(viewer(bundles.plan(router().plan("hello"))["text/html"]))
    assert "COMPLEX" in plan or "BULK" in plan
    assert "nothing was sent" in plan
    state = state_after(events_of(Reply(chunks=("One.",))))
    compared = sanitizers.visible_text(viewer(bundles.runs({"a": state, "b": state}, "b")["text/html"]))
    assert "1. a" in compared
    assert "✓ 2. b" in compared
    assert "your pick · <$0.001" in compared
    assert compared.count("One.") == 2


def test_no_text_has_two_dollar_signs_that_could_begin_a_formula() -> None:
    """MathJax looks for delimiters within the text of one element only."""
    html = answer_html()
    assert "<span>session &lt;$0.001</span> <span>of $5.00</span>" in html
    assert [text for text in re.findall(r">([^<]*)<", html.split("</style>")[1]) if text.count("$") > 1] == []
    assert "costs <span>$5</span> or <span>$6.</span>" in html
