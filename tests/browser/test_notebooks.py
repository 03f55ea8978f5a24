"""Notebooks run from the menu, as a person would."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from llm_magic import Ledger
from tests.support import loopback

if TYPE_CHECKING:
    from tests.browser.lab import Lab, Notebook

ROOT = Path(__file__).parent.parent.parent

ANSWER = loopback.Answer(
    chunks=tuple(
        """## Two ways

A *list comprehension* is the usual one, with `sorted` where order matters:

```python
def squares(n: int) -> list[int]:
    \"\"\"The first n squares.\"\"\"
    return [i**2 for i in range(n) if i != 3]  # 0, 1, 4, 16
```

| way | time | memory |
|:---|---:|---:|
| comprehension | 1.0 s | 80 MB |
| generator | 1.1 s | 1 MB |

The sum is $\\sum_{i=0}^{n-1} i^2 = \\frac{(n-1)n(2n-1)}{6}$, and it costs $5 or $6:

$$\\int_0^n x^2\\,dx = \\frac{n^3}{3}$$

1. one
2. two [with a link](https://example.com/page)

> A quote, ~~struck~~.
""".replace(" ", " \0").split("\0")
    )
)


def test_an_answer_as_a_person_sees_it(opened: Callable[..., Notebook], server: loopback.Server) -> None:
    server.script("claude-opus-4-7", loopback.Fault(status=401, message="invalid x-api-key"))
    server.script("claude-sonnet-4-6", ANSWER)
    notebook = opened(
        "answer.ipynb",
        "%load_ext llm_magic\n%route_budget 0.05",
        "%%route --tier complex\nHow do I compute squares?",
        "%%route --plan\nProve that the square root of 2 is irrational, step by step.",
    )
    notebook.run_all()
    assert notebook.errors() == []
    said = notebook.cell(1).inner_text()
    for part in ("claude-sonnet-4-6", "COMPLEX", "you asked for this tier", "auth failed", "of USD 0.05", "Two ways"):
        assert part in said
    notebook.accessible(".llmr")
    notebook.screenshots("answer", notebook.cell(1))
    notebook.screenshots("plan", notebook.cell(2))


@pytest.mark.parametrize("name", ["budget_and_fallback.ipynb", "ledger.ipynb", "quickstart.ipynb"])
def test_our_notebooks_run_from_top_to_bottom(
    name: str, opened: Callable[..., Notebook], lab: Lab, smollm2: Path
) -> None:
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    if name == "quickstart.ipynb":
        settings = {"LLM_MAGIC_LOCAL": "1", "LLM_MAGIC_LOCAL_MODEL": str(smollm2)}
        keys = [f"{each}_API_KEY" for each in ("ANTHROPIC", "OPENAI", "DEEPSEEK")]
        first = f"import os\nos.environ.update({settings})\nfor key in {keys}:\n    os.environ.pop(key, None)"
        notebook.cells.insert(0, nbformat.v4.new_code_cell(first))
    nbformat.write(notebook, lab.files / name)
    page = opened(name)
    page.run_all()
    assert page.errors() == []
    code = [cell for cell in page.save().cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)


def test_stop_in_mid_stream_is_quiet_at_once(opened: Callable[..., Notebook], server: loopback.Server) -> None:
    """At most 300 ms beyond twice what stopping a cell that only waits takes in this front end, on this machine."""
    server.script("claude-opus-4-7", loopback.Answer(chunks=("The ", "answer"), gate=threading.Event()))
    notebook = opened(
        "stop.ipynb",
        "%load_ext llm_magic\nimport llm_magic, time",
        "print('waiting', flush=True)\nwhile True:\n    time.sleep(0.01)",
        "%%route --tier complex\nhello",
    )
    notebook.run(0)
    notebook.wait()
    notebook.run(1)
    notebook.cell(1).get_by_text("waiting").wait_for()
    alone = stopped_in_ms(notebook)
    notebook.run(2)
    notebook.cell(2).get_by_text("The", exact=True).wait_for()
    took = stopped_in_ms(notebook)
    logging.getLogger(__name__).warning("quiet %.0f ms after stop; a cell that waits: %.0f ms", took, alone)
    assert took < 300 + 2 * alone

    server.wait_until(lambda: server.journal[-1].ended == "disconnected")
    assert "stopped after" in notebook.cell(2).inner_text()
    assert notebook.value("llm_magic.router().ledger.held_usd == 0") == "True"
    assert notebook.value("llm_magic.router().ledger.rows()[-1].outcome") == "'cancelled'"
    server.script("claude-opus-4-7", loopback.Answer())
    notebook.run(2)
    notebook.cell(2).get_by_text("The answer is 42.").wait_for()


def stopped_in_ms(notebook: Notebook) -> float:
    """Press the toolbar's stop; the time until no cell is running, the mouse's way to the button included."""
    assert notebook.pending() == 1
    pressed = time.monotonic()
    notebook.page.get_by_role("button", name="Interrupt the kernel").click()
    while notebook.pending():
        assert time.monotonic() - pressed < 30
    return (time.monotonic() - pressed) * 1000


def test_a_kernel_that_is_restarted_leaves_word(opened: Callable[..., Notebook], server: loopback.Server) -> None:
    """Kernel > Restart in mid-stream: Jupyter interrupts first, so the run is settled and says that it was stopped."""
    server.script("claude-opus-4-7", loopback.Answer(chunks=("The ", "answer"), gate=threading.Event()))
    notebook = opened("restart.ipynb", "%load_ext llm_magic", "%%route --tier complex\nhello")
    notebook.run_all(wait=False)
    notebook.cell(1).get_by_text("The", exact=True).wait_for()
    notebook.page.get_by_role("button", name="Restart the kernel", exact=True).click()
    notebook.page.get_by_role("button", name="Confirm Kernel Restart").click()
    server.wait_until(lambda: server.journal[-1].ended == "disconnected")
    said_after_reopening(notebook)


def test_a_kernel_that_is_killed_leaves_word_and_an_uncertain_hold(
    opened: Callable[..., Notebook], server: loopback.Server
) -> None:
    server.script("claude-opus-4-7", loopback.Answer(chunks=("The ", "answer"), gate=threading.Event()))
    notebook = opened(
        "killed.ipynb", "import os\nprint(os.getpid())\n%load_ext llm_magic", "%%route --tier complex\nhello"
    )
    notebook.run_all(wait=False)
    notebook.cell(1).get_by_text("The", exact=True).wait_for()
    os.kill(int(notebook.cell(0).inner_text().split()[0]), signal.SIGKILL)
    server.wait_until(lambda: server.journal[-1].ended == "disconnected")
    said_after_reopening(notebook)
    ledger = Ledger(notebook.lab.home / "llm_magic" / "ledger.db")
    (held,) = [attempt for attempt, _ in ledger.uncertain()]
    assert held.model == "claude-opus-4-7"
    ledger.close()


def said_after_reopening(notebook: Notebook) -> None:
    """The saved notebook, reopened without a kernel, says what was asked and what became of it."""
    notebook.save()
    notebook.open(kernel=False)
    said = notebook.cell(1)
    said.get_by_text("claude-opus-4-7").first.wait_for()
    words = said.inner_text()
    assert "stopped after" in words or "did not finish" in words, words
    assert "widget" not in words.lower(), words
