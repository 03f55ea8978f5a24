"""`%route_fix`: the last error of the notebook, sent to a model together with the cells that it came from."""

from __future__ import annotations

import linecache
import os
import sys
import traceback
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand

from llm_magic.errors import LLMMagicError
from llm_magic.jupyter.magics import options
from llm_magic.jupyter.magics.route import RouteMagics, Value, unless_shown
from llm_magic.jupyter.render.markdown import fenced
from llm_magic.jupyter.render.text import printable

_TASK = (
    "A cell of a Jupyter notebook raised the error below. State the cause in one or two sentences. "
    "Then give the whole corrected cell in one Python code block."
)
_FRAMES = 12
_NAME_CHARACTERS = 200
_TRACEBACK_CHARACTERS = 8_000


@magics_class
class FixMagics(Magics):
    """`%route_fix`, and the error that it is about."""

    def __init__(self, shell: Any, route: RouteMagics) -> None:
        super().__init__(shell)
        self._shell, self._route = shell, route
        self._error: BaseException | None = None
        shell.events.register("post_run_cell", self._remember)

    def close(self) -> None:
        self._shell.events.unregister("post_run_cell", self._remember)

    def _remember(self, _: Any = None) -> None:
        """Keep the last error, unless it is an interrupt or raised by llm_magic."""
        error = getattr(sys, "last_value", None)
        if error is not None and not isinstance(error, UsageError | LLMMagicError | KeyboardInterrupt):
            self._error = error

    @line_magic
    @no_var_expand
    def route_fix(self, line: str) -> Value | None:
        """Ask a model about the last error, and write its corrected cell below. It is not run.

        Sends the traceback and the cells in it. Text after the options is added to the prompt.

        Usage: %route_fix [options of %route] [text]

        Examples:
          %route_fix
          %route_fix --model claude-opus-5-5 The column holds prices in euros.
        """
        args, text = options.parsed(line, self._route.route, self._shell.user_ns, takes_text=True, needs_text=False)
        if args.over is not None:
            raise UsageError("%route_fix can't be combined with --over")
        self._remember()
        if self._error is None:
            raise UsageError("there is no error to fix: %route_fix sends the last one of the notebook's cells")
        args.no_interpolate = True
        args.insert = not (args.background or args.compare or args.plan or args.when == "cheap")
        sources = _sources(self._shell, self._error)
        prompt = _prompt(self._error, sources, text)
        name = "".join(traceback.format_exception_only(type(self._error), self._error)).strip().splitlines()[-1]
        cells = f"{len(sources)} cell{'s' * (len(sources) != 1)}"
        print(f"{printable(name)[:_NAME_CHARACTERS]} (sent with its traceback and {cells})")  # noqa: T201 - a magic answers in the cell
        return unless_shown(self._route.send(args, prompt))


def _prompt(error: BaseException, sources: dict[str, str], request: str) -> str:
    cells = [f"Cell {number}:\n{fenced(text, 'python')}" for number, text in enumerate(sources.values(), 1)]
    raised = f"Traceback:\n{fenced(_traceback(error, sources))}"
    return "\n\n".join(part for part in (_TASK, request.strip(), *cells, raised) if part)


def _sources(shell: Any, error: BaseException) -> dict[str, str]:
    """Return the source of each cell in the traceback, as it was typed, by its file name. Outer frames come first."""
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename is not None:
        files.append(error.filename)
    log = shell.history_manager
    typed = {run.rstrip(): raw for run, raw in zip(log.input_hist_parsed, log.input_hist_raw, strict=False)}
    sources: dict[str, str] = {}
    for file in files:
        source = "".join(linecache.getlines(file)).rstrip()
        if source and not os.path.exists(file):  # IPython puts cells into the cache of lines
            sources[file] = typed.get(source, source).rstrip()
    return sources


def _traceback(error: BaseException, sources: dict[str, str]) -> str:
    """Format the traceback from its first cell on, with the numbers of the cells as their file names."""
    start = error.__traceback__
    while start is not None and start.tb_frame.f_code.co_filename not in sources:
        start = start.tb_next
    start = start or (None if isinstance(error, SyntaxError) else error.__traceback__)
    text = "".join(traceback.format_exception(type(error), error, start, limit=-_FRAMES)).strip()
    for number, file in enumerate(sources, 1):
        text = text.replace(f'File "{file}"', f'File "cell {number}"')
    if (surplus := len(text) - _TRACEBACK_CHARACTERS) <= 0:
        return text
    head = _TRACEBACK_CHARACTERS // 4
    return f"{text[:head]}\n[{surplus} characters left out]\n{text[head + surplus :]}"
