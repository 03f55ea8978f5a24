"""The cell below the current one, filled with the code of an answer."""

from __future__ import annotations

from typing import Any

from llm_magic.jupyter.render.markdown import code_blocks

_PYTHON = ("python", "py", "python3", "ipython", "ipython3")


def insert_code(shell: Any, answer: str) -> None:
    """Write the Python of an answer into a new cell, and run nothing."""
    blocks = code_blocks(answer)
    python = [code for language, code in blocks if language in _PYTHON]
    if code := "\n\n".join(python or [code for language, code in blocks if not language]):
        shell.set_next_input(code)
    else:
        print("the answer has no Python code, so no cell was added")  # noqa: T201 - a magic answers in the cell
