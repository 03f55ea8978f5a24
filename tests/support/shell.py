"""An IPython shell in this process with the extension loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from llm_magic import Router, use_router
from llm_magic.testing import ScriptedProvider


class Shell:
    """A shell with the extension loaded, and what a person would see of a cell."""

    def __init__(self, shell: InteractiveShell, ours: Router, scripted: ScriptedProvider) -> None:
        self.shell, self.router, self.scripted = shell, ours, scripted

    def run(self, cell: str) -> str:
        """Run a cell that must work; returns what it printed."""
        out, result = self._run(cell)
        assert result.success, out
        return out

    def fail(self, cell: str) -> tuple[str, BaseException]:
        """Run a cell that must fail; returns what it printed, and the error."""
        out, result = self._run(cell)
        assert not result.success
        error = result.error_before_exec or result.error_in_exec
        assert error is not None
        return out, error

    def _run(self, cell: str) -> tuple[str, Any]:
        with capture_output() as captured:
            result = self.shell.run_cell(cell)
        return captured.stdout + captured.stderr, result

    def __getitem__(self, name: str) -> Any:
        return self.shell.user_ns[name]


@contextmanager
def loaded(router: Router, provider: Any) -> Iterator[Shell]:
    """Load the extension with `router` as the session's router; unload it and clear the namespace at the end."""
    use_router(router)
    ip = InteractiveShell.instance(colors="nocolor")
    ip.run_line_magic("load_ext", "llm_magic")
    try:
        yield Shell(ip, router, provider)
    finally:
        with patch("gc.collect"):  # a full collection after each test takes longer than most tests
            ip.reset()
        ip.run_line_magic("unload_ext", "llm_magic")
        ip.config.pop("RouteMagics", None)
