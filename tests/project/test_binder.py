"""The Binder environment: the quickstart runs without a key in an environment made from binder/ alone."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from uv import find_uv_bin

ROOT = Path(__file__).resolve().parent.parent.parent
NOTEBOOK = ROOT / "notebooks" / "quickstart.ipynb"
BASE = ("ipykernel", "ipywidgets", "jupyter_client", "jupyterlab", "nbclient", "notebook")
# Taken before any fixture changes the environment: the weights are found where the demo left them.
OUTSIDE = {"UV_SYSTEM_CERTS": "true"} | {
    name: value
    for name, value in os.environ.items()
    if not name.endswith("_API_KEY") and not name.startswith(("PYTHON", "JUPYTER", "VIRTUAL_ENV", "IPYTHON"))
}
EXECUTE = """
import sys, nbclient, nbformat
source, target, folder = sys.argv[1:]
notebook = nbformat.read(source, as_version=4)
resources = {"metadata": {"path": folder}}
try:
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=900, resources=resources).execute()
finally:
    nbformat.write(notebook, target)
"""


def run(*command: object, env: dict[str, str] | None = None) -> str:
    """Run a command in the root of the repository, as repo2docker does, and return its output."""
    done = subprocess.run(
        [str(word) for word in command], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        pytest.fail(f"{command[0]} ended with {done.returncode}:\n{done.stdout}", pytrace=False)
    return done.stdout


def base_image_versions() -> list[str]:
    """Return the packages of Binder's base image as `name==version`, from repo2docker's lock file."""
    package = find_spec("repo2docker")  # found, not imported: that warns of deprecations
    assert package
    assert package.origin
    lock = Path(package.origin).parent / "buildpacks" / "conda" / "environment.py-3.12-linux-64.lock"
    found = re.findall(rf"/({'|'.join(BASE)})-([0-9.]+)-[^/]*$", lock.read_text(), re.MULTILINE)
    return [f"{name.replace('_', '-')}=={version}" for name, version in found]


@pytest.fixture(scope="module")
def binder_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables of a venv made like Binder's: base image, requirements.txt, postBuild."""
    venv = tmp_path_factory.mktemp("binder") / "venv"
    uv = find_uv_bin()
    python = subprocess.run(
        [uv, "python", "find", "--no-project", "--no-python-downloads", "3.12"], capture_output=True, text=True
    )
    run(uv, "venv", "--quiet", "--python", python.stdout.strip() or sys.executable, venv, env=OUTSIDE)
    install = (uv, "pip", "install", "--quiet", "--python", venv / "bin" / "python")
    run(*install, *base_image_versions(), env=OUTSIDE)
    run(*install, "-r", "binder/requirements.txt", env=OUTSIDE)
    env = {
        **OUTSIDE,
        "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(venv),
        "IPYTHONDIR": str(venv / "ipython"),
        "LLM_MAGIC_LEDGER": str(venv / "ledger.db"),
    }
    run("binder/postBuild", env=env)
    return env


@pytest.mark.slow
def test_the_requirements_do_not_change_the_base_image(binder_env: dict[str, str]) -> None:
    """Another version of JupyterLab or ipywidgets would break the front end of the image."""
    frozen = run(find_uv_bin(), "pip", "freeze", env=binder_env).splitlines()
    assert len(base_image_versions()) == len(BASE)
    assert set(base_image_versions()) <= set(frozen)


@pytest.mark.slow
def test_the_quickstart_runs_without_a_key(binder_env: dict[str, str], tmp_path: Path) -> None:
    """Every code cell runs without an error in the kernel of the Binder environment."""
    target = tmp_path / "executed.ipynb"
    run(
        shutil.which("python", path=binder_env["PATH"]),
        "-c",
        EXECUTE,
        NOTEBOOK,
        target,
        NOTEBOOK.parent,
        env=binder_env,
    )
    cells = [cell for cell in json.loads(target.read_text())["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert all(cell["execution_count"] for cell in cells)
    assert outputs
    assert not [output for output in outputs if output["output_type"] == "error"]


def test_repo2docker_reads_the_binder_folder() -> None:
    """repo2docker plans Python 3.12, the requirements after the sources, then postBuild."""
    plan = run(sys.executable, "-m", "repo2docker", "--no-build", "--debug", ".", env=OUTSIDE)
    assert "conda environment for python=3.12" in plan
    steps = [
        plan.index(step)
        for step in (
            " src/ ${REPO_DIR}/",
            'pip install --no-cache-dir -r "binder/requirements.txt"',
            "RUN ./binder/postBuild",
        )
    ]
    assert steps == sorted(steps)


def test_post_build_is_executable_and_never_fails_the_build(tmp_path: Path) -> None:
    """Binder builds the image even if the weights can't be downloaded."""
    assert os.access(ROOT / "binder" / "postBuild", os.X_OK)
    bash = shutil.which("bash")
    assert bash
    assert "the weights could not be downloaded" in run(bash, "binder/postBuild", env={"PATH": str(tmp_path)})
