"""Names in the notebook that a magic gives its result to."""

from __future__ import annotations

import keyword
import linecache
import sys

from IPython.core.error import UsageError

_STATEMENT = "get_ipython().run_line_magic("
"""What IPython makes of a line that is a magic and nothing else."""


def check_name(name: str | None) -> None:
    """Raise UsageError for an `--out` that no Python code could use."""
    if name is not None and (not name.isidentifier() or keyword.iskeyword(name)):
        raise UsageError(f"--out {name}: not a name")


def is_a_statement() -> bool:
    """Whether the line magic that asks stands alone on its line, so that its value would be shown once more.

    In `answer = %route ...` it does not. Code that calls the magic by IPython's own function counts by its line, too.
    """
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_name != "run_line_magic":
        frame = frame.f_back
    if frame is None or frame.f_back is None:
        return False
    caller = frame.f_back
    return linecache.getline(caller.f_code.co_filename, caller.f_lineno).lstrip().startswith(_STATEMENT)
