"""Names in the notebook that a magic gives its result to."""

from __future__ import annotations

import keyword
import linecache
import re
import sys
from typing import Any

from IPython.core.error import UsageError

from llm_magic.jupyter.run.background import BackgroundRun
from llm_magic.jupyter.run.history import RESULT_NAME
from llm_magic.types import Comparison, RouteResult

_STATEMENT = "get_ipython().run_line_magic("
"""What IPython makes of a line that is a magic and nothing else."""

_NAMED = re.compile(r"\s*([^\s<\"'-][^\s<\"']*)\s*<<(.*)", re.DOTALL)
_taken_away: list[Any] = []


def names(out: str | None) -> tuple[str, ...]:
    """The names of a result: `_route`, and that of `--out`."""
    return (RESULT_NAME,) if out is None else (RESULT_NAME, out)


def split_name(line: str) -> tuple[str | None, str]:
    """The name and the options of `%%route NAME << options`: the name says what `--out` says."""
    named = _NAMED.fullmatch(line)
    return (None, line) if named is None else (named.group(1), named.group(2))


def take_away(shell: Any) -> None:
    """Unloading takes `_route` away, but for what the user has put there..."""
    if isinstance(shell.user_ns.get(RESULT_NAME), RouteResult | Comparison | BackgroundRun):
        _taken_away.append(shell.user_ns.pop(RESULT_NAME))


def put_back(shell: Any) -> None:
    """... and loading anew, as `%reload_ext` does, puts it back."""
    if _taken_away:
        shell.user_ns[RESULT_NAME] = _taken_away.pop()
    _taken_away.clear()


def check_name(name: str | None) -> None:
    """Raise UsageError for an `--out` that no Python code could use."""
    if name is not None and (not name.isidentifier() or keyword.iskeyword(name)):
        raise UsageError(f"--out {name}: not a name")


def is_a_statement() -> bool:
    """Whether the line magic that asks stands alone on its line, so that its value would be shown once more.

    In `answer = %route ...` it does not. Code that calls the magic by IPython's own function counts by its line, too.
    """
    frame = sys._getframe()  # pyright: ignore[reportPrivateUsage] - documented by Python
    while frame is not None and frame.f_code.co_name != "run_line_magic":
        frame = frame.f_back
    if frame is None or frame.f_back is None:
        return False
    caller = frame.f_back
    return linecache.getline(caller.f_code.co_filename, caller.f_lineno).lstrip().startswith(_STATEMENT)
