"""The variables that the text of a magic can name: those that Python code at its place could."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from types import CodeType, FrameType
from typing import Any


def visible(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables at the call of the running magic: local ones hide those of the notebook.

    A local variable that is not assigned yet also hides the notebook's variable of its name, as in Python.
    """
    names = dict(notebook)
    frame = _caller()
    if frame is None:
        return names
    if frame.f_globals is not notebook:
        names |= frame.f_globals
    for scope in reversed(_enclosing(frame)):
        for name in _own_names(scope.f_code):
            names.pop(name, None)
        names |= scope.f_locals
    return names


def _caller() -> FrameType | None:
    """Return the frame that calls the magic, past IPython's own frames; None if no magic is running."""
    frame: FrameType | None = sys._getframe()  # pyright: ignore[reportPrivateUsage] - documented by Python
    while frame is not None and frame.f_code.co_name not in ("run_line_magic", "run_cell_magic"):
        frame = frame.f_back
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith("IPython."):
        frame = frame.f_back
    return frame


def _enclosing(frame: FrameType) -> list[FrameType]:
    """Return the frame, and the frames of the functions around its code that still run, from the inside out.

    A class body around a function is left out: its names are not visible in the function.
    """
    frames, inner = [frame], frame
    outer = frame.f_back
    while outer is not None:
        if inner.f_code in outer.f_code.co_consts:
            if outer.f_code.co_flags & inspect.CO_OPTIMIZED:
                frames.append(outer)
            inner = outer
        outer = outer.f_back
    return frames


def _own_names(code: CodeType) -> tuple[str, ...]:
    return (*code.co_varnames, *code.co_cellvars, *code.co_freevars) if code.co_flags & inspect.CO_OPTIMIZED else ()
