"""Notebooks that are run from the menu."""

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


def test_an_answer_and_a_plan_are_displayed(opened: Callable[..., Notebook], server: loopback.Server) -> None:
    server.script("claude-opus-4-7", loopback.Fault(status=401, message="invalid x-api-key"))
    server.script("gpt-5.5", ANSWER)
    notebook = opened(
        "answer.ipynb",
        "%load_ext llm_magic\n%route_budget 0.05",
        "%%route --tier complex\nHow do I compute squares?",
        "%%route --plan\nProve that the square root of 2 is irrational, step by step.",
    )
    notebook.run_all()
    assert notebook.errors() == []
    text = notebook.cell(1).inner_text()
    for part in ("claude-sonnet-4-6", "COMPLEX", "you asked for this tier", "auth failed", "of $0.050", "Two ways"):
        assert part in text
    notebook.accessible(".llmr")


@pytest.mark.parametrize("name", ["budget_and_fallback.ipynb", "ledger.ipynb", "quickstart.ipynb"])
def test_the_example_notebooks_run_from_top_to_bottom(
    name: str, opened: Callable[..., Notebook], lab: Lab, smollm2: Path
) -> None:
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    if name == "quickstart.ipynb":
        settings = {"LLM_MAGIC_LOCAL": "1", "LLM_MAGIC_LOCAL_MODEL": str(smollm2)}
        keys = [f"{name}_API_KEY" for name in ("ANTHROPIC", "OPENAI", "DEEPSEEK")]
        first = f"import os\nos.environ.update({settings})\nfor key in {keys}:\n    os.environ.pop(key, None)"
        notebook.cells.insert(0, nbformat.v4.new_code_cell(first))
    nbformat.write(notebook, lab.files / name)
    page = opened(name)
    page.run_all()
    assert page.errors() == []
    code = [cell for cell in page.save().cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)


def test_stopping_in_mid_stream_is_immediate(opened: Callable[..., Notebook], server: loopback.Server) -> None:
    """Takes at most 300 ms more than twice the time to stop a cell that only waits."""
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
    baseline_ms = stopped_in_ms(notebook)
    notebook.run(2)
    notebook.cell(2).get_by_text("The", exact=True).wait_for()
    took_ms = stopped_in_ms(notebook)
    logging.getLogger(__name__).warning("stopped in %.0f ms; a cell that only waits in %.0f ms", took_ms, baseline_ms)
    assert took_ms < 300 + 2 * baseline_ms

    server.wait_until(lambda: server.journal[-1].ended == "disconnected")
    assert "stopped after" in notebook.cell(2).inner_text()
    assert notebook.value("llm_magic.router().ledger.held_usd == 0") == "True"
    assert notebook.value("llm_magic.router().ledger.rows()[-1].outcome") == "'cancelled'"
    server.script("claude-opus-4-7", loopback.Answer())
    notebook.run(2)
    notebook.cell(2).get_by_text("The answer is 42.").wait_for()


def test_the_corrected_cell_is_inserted_below_and_not_run(
    opened: Callable[..., Notebook], server: loopback.Server
) -> None:
    server.script("claude-opus-4-7", loopback.Answer(chunks=("The list is empty.\n\n```python\nprint(", "42)\n```")))
    notebook = opened("fix.ipynb", "%load_ext llm_magic", "[][0]", "%route_fix --tier complex")
    for number in range(3):
        notebook.run(number)
        notebook.wait()
    notebook.wait_for_count(notebook.page.locator(".jp-CodeCell"), 4)
    assert "IndexError: list index out of range (sent with its traceback and 1 cell)" in notebook.cell(2).inner_text()
    assert "Cell 1:\n```python\n[][0]\n```" in server.journal[-1].body["messages"][-1]["content"]
    inserted = [cell for cell in notebook.save().cells if cell.cell_type == "code"][-1]
    assert (inserted.source, inserted.execution_count) == ("print(42)", None)


def stopped_in_ms(notebook: Notebook) -> float:
    """Press the stop button and return the time until no cell is running, including the move of the mouse."""
    assert notebook.pending() == 1
    pressed = time.monotonic()
    notebook.page.get_by_role("button", name="Interrupt the kernel").click()
    while notebook.pending():
        assert time.monotonic() - pressed < 30
    return (time.monotonic() - pressed) * 1000


def test_a_restarted_kernel_leaves_a_readable_output(opened: Callable[..., Notebook], server: loopback.Server) -> None:
    """Jupyter interrupts the kernel before it restarts it, so the run is settled and displayed as stopped."""
    server.script("claude-opus-4-7", loopback.Answer(chunks=("The ", "answer"), gate=threading.Event()))
    notebook = opened("restart.ipynb", "%load_ext llm_magic", "%%route --tier complex\nhello")
    notebook.run_all(wait=False)
    notebook.cell(1).get_by_text("The", exact=True).wait_for()
    notebook.page.get_by_role("button", name="Restart the kernel", exact=True).click()
    notebook.page.get_by_role("button", name="Confirm Kernel Restart").click()
    server.wait_until(lambda: server.journal[-1].ended == "disconnected")
    assert_readable_after_reopening(notebook)


def test_a_killed_kernel_leaves_a_readable_output_and_an_uncertain_hold(
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
    assert_readable_after_reopening(notebook)
    ledger = Ledger(notebook.lab.home / "llm_magic" / "ledger.db")
    (held,) = [attempt for attempt, _ in ledger.uncertain()]
    assert held.model == "claude-opus-4-7"
    ledger.close()


def assert_readable_after_reopening(notebook: Notebook) -> None:
    """Check that the saved notebook, reopened without a kernel, shows the model and how the run ended."""
    notebook.save()
    notebook.open(kernel=False)
    output = notebook.cell(1)
    output.get_by_text("claude-opus-4-7").first.wait_for()
    text = output.inner_text()
    assert "stopped after" in text or "did not finish" in text, text
    assert "widget" not in text.lower(), text
