"""The variables of the notebook that a magic binds its result to."""

from __future__ import annotations

import builtins
import keyword
import linecache
import re
import sys
from typing import Any

from IPython.core.error import UsageError

from llm_magic.columns import Column
from llm_magic.jupyter.run.background import BackgroundRun
from llm_magic.jupyter.run.history import RESULT_NAME
from llm_magic.types import Comparison, RouteResult

_TRANSLATED_LINE_MAGIC = "get_ipython().run_line_magic("

_NAMED = re.compile(r"\s*([^\s<\"'-][^\s<\"']*)\s*<<(.*)", re.DOTALL)
_removed: list[Any] = []


def names(out: str | None) -> tuple[str, ...]:
    return (RESULT_NAME,) if out is None else (RESULT_NAME, out)


def split_name(line: str) -> tuple[str | None, str]:
    """Split `NAME << options` into the name, which is that of `--out`, and the options."""
    named = _NAMED.fullmatch(line)
    return (None, line) if named is None else (named.group(1), named.group(2))


def remove_last(shell: Any) -> None:
    """Remove `_route`, unless the user bound it, and remember its value for `restore_last`."""
    if isinstance(shell.user_ns.get(RESULT_NAME), RouteResult | Comparison | BackgroundRun | Column):
        _removed.append(shell.user_ns.pop(RESULT_NAME))


def restore_last(shell: Any) -> None:
    if _removed:
        shell.user_ns[RESULT_NAME] = _removed.pop()
    _removed.clear()


def check_name(name: str | None) -> None:
    if name is not None and (not name.isidentifier() or keyword.iskeyword(name)):
        raise UsageError(f"invalid --out {name}: must be the name of a variable")
    if name is not None and hasattr(builtins, name):
        hint = f"warning: {name} now hides Python's {name}; del {name} restores it"
        print(hint, file=sys.stderr)  # noqa: T201 - a magic answers in the cell


def is_a_statement() -> bool:
    """Return True if the calling line magic is alone on its line, so that IPython would display its value again.

    False for `answer = %route ...`. Calls of `run_line_magic` are judged by their line, too.
    """
    frame = sys._getframe()  # pyright: ignore[reportPrivateUsage] - documented by Python
    while frame is not None and frame.f_code.co_name != "run_line_magic":
        frame = frame.f_back
    if frame is None or frame.f_back is None:
        return False
    caller = frame.f_back
    return linecache.getline(caller.f_code.co_filename, caller.f_lineno).lstrip().startswith(_TRANSLATED_LINE_MAGIC)
