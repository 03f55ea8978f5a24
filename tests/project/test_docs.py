"""What the documents say is so: their code runs, their names exist, their tables are complete."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from llm_magic import Registry
from llm_magic.jupyter.magics.history import SessionMagics
from llm_magic.jupyter.magics.ledger import BookMagics
from llm_magic.jupyter.magics.route import RouteMagics
from llm_magic.testing import Reply, ScriptedProvider
from tests.jupyter.test_kernel import NotebookKernel

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text("utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")


def test_the_python_of_the_readme_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    scripted = ScriptedProvider([Reply(chunks=("Bonjour ", "le monde."))])
    monkeypatch.setattr("llm_magic.routing.router.connect", lambda specs: dict.fromkeys(specs, scripted))
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)  # noqa: S102 - our own document
    said = capsys.readouterr().out
    assert "COMPLEX ['claude-opus-5-5'" in said
    assert "Bonjour le monde. gpt-6-luna BULK" in said


def test_the_toml_of_the_readme_loads(clean_environment: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    clean_environment.mkdir()
    (clean_environment / "models.toml").write_text(block)
    assert "llama3.2" in Registry.load()


def test_the_readme_names_every_magic_and_every_option() -> None:
    for kind in (RouteMagics, SessionMagics, BookMagics):
        for name in {name for magics in kind.magics.values() for name in magics}:
            assert f"%{name}" in README
    options = set(re.findall(r"(--[a-z-]+)", RouteMagics.route.__doc__ or ""))
    assert options
    for option in options:
        assert f"`{option}" in README, option


def test_the_readme_names_every_variable_that_is_read() -> None:
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "llm_magic").rglob("*.py"))
    for variable in set(re.findall(r"\"(LLM_MAGIC_[A-Z_]+)\"", sources)):
        assert variable in README, variable


def test_every_room_is_in_the_architecture() -> None:
    rooms = {path.stem if path.is_file() else path.name for path in (ROOT / "llm_magic").iterdir()}
    for room in rooms - {"__init__", "__pycache__", "py"}:
        assert room in ARCHITECTURE, room


NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("name", [name for name in NOTEBOOKS if name != "quickstart.ipynb"])
def test_the_scripted_notebooks_run_and_send_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(name, monkeypatch, tmp_path)


@pytest.mark.local_model
def test_the_quickstart_runs(smollm2: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLM_MAGIC_LOCAL", "1")
    monkeypatch.setenv("LLM_MAGIC_LOCAL_MODEL", str(smollm2))
    run("quickstart.ipynb", monkeypatch, tmp_path)


def run(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "committed without outputs"
    nbclient.NotebookClient(notebook, kernel_name="python3", kernel_manager_class=NotebookKernel, timeout=300).execute()
