"""A kernel, a loopback server and a recorded display, shared by the notebook tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import loopback
from tests.support.display import Display
from tests.support.kernel import WAIT_S, Kernel, NotebookKernel, started

if TYPE_CHECKING:
    import nbformat


@pytest.fixture(scope="session")
def running_server() -> Iterator[loopback.Server]:
    with loopback.running() as server:
        yield server


@pytest.fixture
def server(running_server: loopback.Server) -> loopback.Server:
    """The providers, on loopback, with neither scripts nor a journal."""
    running_server.scripts.clear()
    running_server.journal.clear()
    return running_server


@pytest.fixture(scope="session")
def running_kernel(running_server: loopback.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with started(running_server, tmp_path_factory.mktemp("home")) as kernel:
        yield kernel


@pytest.fixture
def kernel(running_kernel: Kernel, server: loopback.Server) -> Kernel:
    """A kernel that the tests of a process share, connected to `server`."""
    return running_kernel


@pytest.fixture
def kernel_of_its_own(server: loopback.Server, tmp_path: Path) -> Iterator[Kernel]:
    """A kernel for a test that changes it for good."""
    with started(server, tmp_path) as kernel:
        yield kernel


@pytest.fixture
def headless(server: loopback.Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs cells through nbclient, as papermill and CI do; returns the executed notebook."""
    import nbclient  # takes seconds
    import nbformat

    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("LLM_MAGIC_PROFILE", "article")
    monkeypatch.setenv("LLM_MAGIC_LEDGER", str(tmp_path / "ledger.db"))

    def run(*cells: str, allow_errors: bool = False) -> nbformat.NotebookNode:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        client = nbclient.NotebookClient(
            notebook,
            kernel_name="python3",
            kernel_manager_class=NotebookKernel,
            timeout=WAIT_S,
            allow_errors=allow_errors,
        )
        client.execute()
        return notebook

    return run


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Display:
    """Replace IPython's `display` by a recorder."""
    recorder = Display()
    monkeypatch.setattr("IPython.display.display", recorder)
    return recorder
