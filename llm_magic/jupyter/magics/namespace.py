"""The variables of the notebook that a magic binds its result to."""

from __future__ import annotations

import builtins
import dis
import keyword
import re
import sys
from types import FrameType
from typing import Any

from IPython.core.error import UsageError

from llm_magic.columns import Column
from llm_magic.jupyter.run.background import BackgroundRun
from llm_magic.jupyter.run.history import RESULT_NAME
from llm_magic.types import Comparison, RouteResult

_NAMED = re.compile(r"\s*([^\s<\"'-][^\s<\"']*)\s*<<(.*)", re.DOTALL)
_removed: list[Any] = []


def names(out: str | None) -> tuple[str, ...]:
    return (RESULT_NAME,) if out is None else (RESULT_NAME, out)


def split_name(line: str) -> tuple[str | None, str]:
    """Split `NAME << options` into the name, which is that of `--out`, and the options."""
    named = _NAMED.fullmatch(line)
    return (None, line) if named is None else (named.group(1), named.group(2))


def join_lines(line: str, cell: str) -> tuple[str, str]:
    """Join the lines of a cell magic's options, each but the last of which ends in a backslash."""
    while line.rstrip().endswith(" \\") and cell:
        following, _, cell = cell.partition("\n")
        line = f"{line.rstrip()[:-1]}{following}"
    return line, cell


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


def is_displayed() -> bool:
    """Return True if IPython displays the value of the running magic, which has displayed itself.

    That is the value of the last expression of a cell, also below `%time`, which returns the value of its expression.
    """
    caller = _caller_of_magic(sys._getframe())  # pyright: ignore[reportPrivateUsage] - documented by Python
    while caller is not None and _next_instruction(caller) == "RETURN_VALUE" and caller.f_code.co_name == "<module>":
        caller = _caller_of_magic(caller)
    return caller is not None and _next_instruction(caller) in ("PRINT_EXPR", "INTRINSIC_PRINT")


def _caller_of_magic(frame: FrameType | None) -> FrameType | None:
    while frame is not None and frame.f_code.co_name not in ("run_line_magic", "run_cell_magic"):
        frame = frame.f_back
    return None if frame is None else frame.f_back


def _next_instruction(frame: FrameType) -> str:
    """Return what happens to the value of the call that a frame is in."""
    following = (part for part in dis.get_instructions(frame.f_code) if part.offset > frame.f_lasti)
    part = next(following, None)
    if part is None:
        return ""
    return part.argrepr if part.opname == "CALL_INTRINSIC_1" else part.opname
