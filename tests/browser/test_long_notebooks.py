"""A long notebook: 200 finished cells and an answer of 50,000 tokens, compared with plain Markdown of the same text."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import nbformat

from llm_magic.jupyter.render import bundles
from llm_magic.testing import Reply
from tests.support.display import events_of, state_after

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.browser.lab import Lab

CELLS = 200
LONG_CHARS = 200_000
PARAGRAPH = (
    "A *list comprehension* builds the list at once, and `sorted` returns a new list; a generator computes one value after "
    "the other and keeps one in memory, which matters for ten million rows. Measure before you choose.\n\n"
)
BLOCKS = (
    PARAGRAPH * 3,
    "```python\ndef squares(n: int) -> list[int]:\n    return [i**2 for i in range(n)]  # 0, 1, 4\n```\n\n",
    PARAGRAPH * 2,
    "1. the first point\n2. the second **point**\n3. the third\n\n",
    PARAGRAPH * 3,
    "| way | time |\n|:---|---:|\n| comprehension | 1.0 s |\n| generator | 1.1 s |\n\n",
    "The sum of the first $n$ numbers is $n(n+1)/2$.\n\n",
)
METRICS = ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration")


def text_of(chars: int) -> str:
    text = "".join(BLOCKS)
    return text * (chars // len(text) + 1) if chars > len(text) else text


def texts() -> list[str]:
    return [text_of(0)] * CELLS + [text_of(LONG_CHARS)]


def written(lab: Lab, name: str, outputs: list[dict[str, str]]) -> int:
    """Write a trusted notebook with these outputs, and return its size in bytes."""
    path = lab.write(name, *["%%route\nhello"] * len(outputs))
    notebook = nbformat.read(path, as_version=4)
    for cell, data in zip(notebook.cells, outputs, strict=True):
        cell.outputs = [nbformat.v4.new_output("display_data", data=data)]
    nbformat.write(notebook, path)
    command = [sys.executable, "-m", "jupyter", "trust", str(path)]
    subprocess.run(command, check=True, env={**os.environ, "JUPYTER_DATA_DIR": str(lab.home / "data")})
    return path.stat().st_size


def seconds_to_draw(browser: Browser, lab: Lab, name: str) -> dict[str, float]:
    """Return the time that the page spends on scripts, layout and styles until all of a notebook is drawn."""
    from tests.browser.lab import Notebook

    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    session: Any = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    Notebook(page, lab, name)
    page.wait_for_function(
        f"() => document.querySelectorAll('.jp-RenderedHTMLCommon table').length >= {CELLS + 100}", timeout=120_000
    )
    page.evaluate(
        "async () => {const area = document.querySelector('.jp-WindowedPanel-outer');"
        "for (let top = 0; top < area.scrollHeight; top += 20_000) {area.scrollTop = top;"
        "await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))}}"
    )
    values = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
    page.context.close()
    return {name: values[name] for name in METRICS}


def test_a_long_notebook_costs_at_most_twice_the_time_of_plain_markdown(lab: Lab, browser: Browser) -> None:
    states = {text: state_after(events_of(Reply(chunks=(text,)))) for text in dict.fromkeys(texts())}
    ours = [bundles.runs({"": states[text]}) for text in texts()]
    size = written(lab, "long.ipynb", ours)
    plain = [{"text/markdown": text, "text/plain": "<Markdown>"} for text in texts()]
    written(lab, "markdown.ipynb", plain)
    text_bytes = sum(map(len, texts()))
    markdown, cells = (seconds_to_draw(browser, lab, name) for name in ("markdown.ipynb", "long.ipynb"))
    measured = {"cells": cells, "markdown": markdown, "saved": size / text_bytes}
    logging.getLogger(__name__).warning("%s", json.dumps(measured))
    assert sum(cells.values()) <= 2 * sum(markdown.values()), measured
    assert size <= 2.5 * text_bytes, measured
