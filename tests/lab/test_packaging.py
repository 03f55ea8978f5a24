"""The boundary of the lab package: the contents of the wheel, and the error for a missing file."""

from __future__ import annotations

import fnmatch
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from llm_magic import EvaluationError
from llm_magic.lab import prompts

ROOT = Path(__file__).parents[2]


def test_the_wheel_excludes_the_training_prompts_and_nothing_else() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (pattern,) = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["exclude"]
    files = [path.relative_to(ROOT).as_posix() for path in (ROOT / "llm_magic").rglob("*.toml")]
    excluded = {name for name in files if fnmatch.fnmatch(name, pattern)}
    assert excluded == {name for name in files if name.startswith("llm_magic/lab/prompts/")}
    assert len(excluded) >= 5


def test_training_without_the_prompt_files_asks_for_a_source_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompts.resources, "files", lambda _: tmp_path)
    with pytest.raises(EvaluationError, match=r"lab/prompts/bulk\.toml.* source checkout"):
        prompts.read_prompt_file("bulk")


def test_a_cell_never_imports_the_lab_package() -> None:
    code = (
        "import sys, llm_magic.jupyter, llm_magic.jupyter.magics; "
        "llm_magic.Router().plan('Prove it.'); "
        "print([name for name in sys.modules if name.startswith('llm_magic.lab')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
